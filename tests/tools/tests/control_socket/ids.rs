//! The control socket: ids in requests.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use state_migration::MemoryStore;
use state_migration::control_socket::ControlSocket;
use state_migration_tests::scripted_workflow::{Upgrade, at_v2, put};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

async fn ask(client: &mut BufReader<UnixStream>, line: &[u8]) -> Value {
    client.get_mut().write_all(line).await.unwrap();
    client.get_mut().write_all(b"\n").await.unwrap();
    loop {
        let mut answer = String::new();
        let read = timeout(PATIENCE, client.read_line(&mut answer)).await;
        assert!(read.expect("an answer").unwrap() > 0, "it hung up");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        if answer["answer"] != "progress" {
            return answer;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_in_requests_are_checked_and_select_nothing_else() {
    let store = MemoryStore::new();
    for n in 0..4 {
        put(&store, n).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let runner = Arc::new(Upgrade::new().runner(&store));
    let _serving = ControlSocket::bind(&path).unwrap().serve(runner).unwrap();
    let mut client = BufReader::new(UnixStream::connect(&path).await.unwrap());

    let run = |selection: Value| {
        let mut all = json!({"workflows": null, "tenants": null, "prefix": null, "streams": null,
            "first": null, "share": null, "in_flight": false});
        for (field, value) in selection.as_object().unwrap() {
            all[field] = value.clone();
        }
        json!({"version": 2, "request": "run", "selection": all}).to_string()
    };
    // No ids at all.
    let long = "x".repeat(2_000);
    for id in ["", "\0", "a\0b", "a\nb", "\u{1b}[2J", &long] {
        for what in ["streams", "tenants"] {
            let answer = ask(&mut client, run(json!({ what: [id] })).as_bytes()).await;
            assert_eq!(
                (&answer["answer"], &answer["kind"]),
                (&json!("error"), &json!("invalid")),
                "{what} {id:?}: {answer}"
            );
        }
    }
    for line in [
        &b"{\"version\":2,\"request\":\"run\",\"selection\":{\"prefix\":\"\xff\"}}"[..],
        b"{\"version\":2,\"request\":\"resume\",\"run\":\"../../run\"}",
        b"{\"version\":2,\"request\":\"show\",\"run\":\"..\"}",
    ] {
        let answer = ask(&mut client, line).await;
        assert_eq!(answer["answer"], "error", "{answer}");
    }
    // Ids, but of nothing that is there.
    for selection in [
        json!({"streams": ["..", "process/yard/..", "process/yard", "process/yard/000000"]}),
        json!({"tenants": ["..", "yar", "yard ", "Yard"]}),
        json!({"prefix": "process/yard/\u{0}"}),
        json!({"prefix": "../process"}),
    ] {
        let answer = ask(&mut client, run(selection.clone()).as_bytes()).await;
        assert_eq!(answer["answer"], "ended", "{selection}: {answer}");
        assert_eq!(answer["report"]["migrated"], 0, "{selection}: {answer}");
    }
    assert_eq!(at_v2(&store, 0..4).await.unwrap(), Vec::<u64>::new());
    let one = run(json!({"streams": ["process/yard/0000002"]}));
    let answer = ask(&mut client, one.as_bytes()).await;
    assert_eq!(answer["report"]["migrated"], 1, "{answer}");
    assert_eq!(at_v2(&store, 0..4).await.unwrap(), [2]);
}
