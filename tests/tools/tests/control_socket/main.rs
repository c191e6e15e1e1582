//! A run inside a service, driven by other programs through a Unix socket.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod client;
mod ids;
mod status;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use state_migration::control_socket::ControlSocket;
use state_migration::{FailureClass, MemoryStore, RunState, Runs};
use state_migration_tests::scripted_workflow::{Store, Upgrade, at_v2, put};
use state_migration_tests::stores::OnDisk;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use client::{Client, PATIENCE, ask, service, slow, until, until_migrated};

async fn a_run_is_driven_from_outside(store: impl Store) {
    const JOBS: u64 = 120;
    let service = service(store, JOBS, slow()).await;
    let path = service.path.clone();
    let status = ask(&path, json!({"request": "status"})).await;
    assert_eq!(status["in_progress"], false);
    assert_eq!(status["progress"]["run"], Value::Null);

    let plan = ask(&path, json!({"request": "plan"})).await;
    let fingerprint = plan["confirmation"].clone();
    assert_eq!(
        plan["versions"],
        json!([{
            "version": {"name": "job", "version": "v1"}, "processes": JOBS, "in_flight": JOBS,
            "held": 0, "undone": 0, "due": JOBS, "status": "outdated", "route": "job@v1 -> v2", "reason": null,
        }])
    );
    let mut first = Client::new(&path).await;
    first
        .ask(json!({
            "request": "run", "actor": "ann", "reason": "release 7", "plan": fingerprint,
            "per_second": 200
        }))
        .await;
    let run = until("the run has an id", async || {
        let progress = first.answer().await;
        assert_eq!(progress["answer"], "progress", "{progress}");
        progress["progress"]["run"].as_str().map(ToOwned::to_owned)
    })
    .await;
    until_migrated(&service, 4).await;

    // There is one at a time.
    let second = ask(&path, json!({"request": "run"})).await;
    assert_eq!(second["kind"], "in_progress");
    assert_eq!(second["run"], json!(run));
    assert!(
        second["message"]
            .as_str()
            .unwrap()
            .starts_with(&format!("run {run} is in progress"))
    );

    // While the run is paused, no process is migrated.
    let paused = ask(&path, json!({"request": "pause"})).await;
    assert_eq!(
        (&paused["pausing"], &paused["per_second"]),
        (&json!(true), &json!(200))
    );
    until("it is paused", async || {
        let status = ask(&path, json!({"request": "status"})).await;
        (status["progress"]["state"] == "paused").then_some(())
    })
    .await;
    sleep(Duration::from_millis(500)).await;
    let before = service.store.all_rows().await.unwrap();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(service.store.all_rows().await.unwrap(), before);
    let unthrottled = ask(&path, json!({"request": "throttle", "per_second": null})).await;
    assert_eq!(unthrottled["per_second"], Value::Null);
    ask(&path, json!({"request": "unpause"})).await;
    until_migrated(&service, 20).await;

    // Cancelled: who began it hears of the end, and what there was.
    ask(&path, json!({"request": "cancel"})).await;
    let ended = first.end().await;
    assert_eq!(ended["answer"], "ended");
    assert_eq!(ended["report"]["state"], "cancelled");
    assert_eq!(ended["report"]["run"], json!(run));
    let so_far = ended["report"]["migrated"].as_u64().unwrap();
    assert!((20..JOBS).contains(&so_far), "{so_far}");
    assert_eq!(
        at_v2(&service.store, 0..JOBS).await.unwrap().len() as u64,
        so_far
    );

    // The same connection takes the next request.
    first.ask(json!({"request": "resume", "run": run})).await;
    let ended = first.end().await;
    assert_eq!(ended["report"]["state"], "done");
    assert_eq!(ended["report"]["migrated"], JOBS);
    assert_eq!(
        at_v2(&service.store, 0..JOBS).await.unwrap().len() as u64,
        JOBS
    );

    first.ask(json!({"request": "runs"})).await;
    let record = first.answer().await;
    assert_eq!(record["record"]["actor"], "ann");
    assert_eq!(record["record"]["reason"], "release 7");
    assert_eq!(record["record"]["executions"], 2);
    assert_eq!(record["counts"]["migrated"], JOBS);
    assert_eq!(
        first.answer().await,
        json!({"version": 2, "answer": "end", "claimed_by": null, "interrupted": null})
    );
    let runs = Runs::of(&service.store).unwrap().list().await.unwrap();
    assert_eq!(runs.len(), 1, "who was refused began nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_driven_from_outside_in_memory() {
    a_run_is_driven_from_outside(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_driven_from_outside_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    a_run_is_driven_from_outside((*disk).clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_would_do_is_counted_and_tried_in_the_service() {
    const JOBS: u64 = 120;
    let upgrade = Upgrade::refusing(|n| n >= 90);
    let seen = upgrade.seen();
    let service = service(MemoryStore::new(), JOBS, upgrade).await;
    let plan = async |fields: Value| {
        let mut request = json!({"request": "plan"});
        let fields = fields.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(fields);
        ask(&service.path, request).await
    };
    let counted = plan(json!({})).await;
    assert_eq!(
        (&counted["due"], &counted["sample"]),
        (&json!(JOBS), &Value::Null)
    );
    assert_eq!(seen.total(), 0, "no sample was asked for");
    let tried = plan(json!({"sample": 1_000, "per_second": 2})).await;
    assert_eq!(seen.total(), JOBS);
    let sample = &tried["sample"];
    assert_eq!(
        (&sample["processes"], &sample["failed"]),
        (&json!(JOBS), &json!(30))
    );
    assert_eq!(sample["failures"][0]["class"], "refused");
    let first = sample["failures"][0]["subject"]["id"].as_str().unwrap();
    assert!(first.ends_with("/0000090"), "{first}");
    assert_eq!(tried["estimate"]["low_ms"], 60_000);
    let selection = json!({
        "workflows": null, "tenants": null, "prefix": "process/yard/00000", "streams": null,
        "first": null, "share": null, "in_flight": false,
    });
    let some = plan(json!({"selection": selection})).await;
    assert_eq!(
        (&some["due"], &some["versions"][0]["processes"]),
        (&json!(100), &json!(100))
    );
    let none = json!({
        "workflows": null, "tenants": null, "prefix": "absent", "streams": null,
        "first": null, "share": null, "in_flight": false,
    });
    let none = plan(json!({"selection": none})).await;
    assert_eq!(none["due"], 0);
    assert!(
        none["unknown_names"][0]
            .as_str()
            .unwrap()
            .contains("absent")
    );
    // The limit of the service holds for its plans too.
    ask(
        &service.path,
        json!({"request": "throttle", "per_second": 4}),
    )
    .await;
    assert_eq!(plan(json!({})).await["estimate"]["low_ms"], 30_000);
    let free = plan(json!({"per_second": null})).await;
    assert_eq!(free["estimate"]["low_ms"], Value::Null);
    // Nothing of this is a run.
    let runs = Runs::of(&service.store).unwrap().list().await.unwrap();
    assert_eq!(runs.len(), 0);
    let status = ask(&service.path, json!({"request": "status"})).await;
    assert_eq!(status["progress"]["run"], Value::Null);

    let versions = ask(&service.path, json!({"request": "versions"})).await;
    assert_eq!(versions["answer"], "versions");
    assert_eq!(versions["versions"][0]["processes"], JOBS);
    let linked = ask(&service.path, json!({"request": "migrations"})).await;
    let migration = &linked["migrations"][0];
    assert_eq!(
        (&migration["from"], &migration["to"]),
        (&json!("job@v1"), &json!("job@v2"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_tries_no_more_processes_for_a_client_that_is_gone() {
    let upgrade = Upgrade::with(|_| {
        std::thread::sleep(Duration::from_millis(50));
        Ok(())
    });
    let seen = upgrade.seen();
    let service = service(MemoryStore::new(), 200, upgrade).await;
    let mut client = Client::new(&service.path).await;
    client
        .ask(json!({"request": "plan", "sample": 1_000}))
        .await;
    until("some are tried", async || (seen.total() > 4).then_some(())).await;
    drop(client);
    // The processes that are in user code are the last.
    sleep(Duration::from_millis(500)).await;
    let then = seen.total();
    assert!(then < 200, "{then}");
    sleep(Duration::from_millis(500)).await;
    assert_eq!(seen.total(), then);
}

/// The tool shows the migrations of the service, and not its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_tool_lists_the_migrations_of_the_service() {
    let service = service(MemoryStore::new(), 1, Upgrade::new()).await;
    let mut tool = std::process::Command::new(env!("CARGO_BIN_EXE_loans-2014"));
    tool.args(["migrations", "--json", "--socket"])
        .arg(&service.path);
    let said = tool.output().unwrap();
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["migrations"].as_array().unwrap().len(), 1);
    assert_eq!(said["migrations"][0]["to"], "job@v2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_shown_and_tried_again() {
    let service = service(MemoryStore::new(), 20, Upgrade::refusing(|n| n % 4 == 0)).await;
    let mut client = Client::new(&service.path).await;
    client.ask(json!({"request": "run"})).await;
    let ended = client.end().await;
    assert_eq!(ended["report"]["state"], "done_with_errors");
    assert_eq!(ended["report"]["error_count"], 5);
    let run = ended["report"]["run"].clone();
    client
        .ask(json!({"request": "show", "run": run, "classes": ["refused", "panic"], "limit": 2}))
        .await;
    let shown = client.answer().await;
    assert_eq!(shown["counts"]["failed"], 5);
    let user = shown["record"]["actor"].as_str().unwrap();
    assert!(user.ends_with(" through the control socket"), "{user}");
    let failures = shown["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 2);
    assert_eq!(failures[0]["error"]["class"], json!(FailureClass::Refused));
    let after = failures[1]["error"]["subject"]["id"].clone();
    client
        .ask(json!({"request": "show", "run": run, "after": after, "limit": 1000}))
        .await;
    let rest = client.answer().await;
    assert_eq!(rest["failures"].as_array().unwrap().len(), 3);

    client
        .ask(json!({"request": "retry", "run": run, "classes": ["panic"]}))
        .await;
    let none = client.end().await;
    assert_eq!(none["report"]["error_count"], 0);
    // It would be a real one.
    client
        .ask(json!({"request": "retry", "run": run, "dry_run": true}))
        .await;
    let dry = client.answer().await;
    assert_eq!(dry["kind"], "invalid", "{dry}");
    assert_eq!(
        Runs::of(&service.store)
            .unwrap()
            .list()
            .await
            .unwrap()
            .len(),
        2
    );
    client.ask(json!({"request": "retry", "run": run})).await;
    let again = client.end().await;
    assert_eq!(again["report"]["error_count"], 5);
    for request in ["show", "resume", "retry"] {
        let unknown = "00000000-0000-4000-8000-000000000000";
        client
            .ask(match request {
                "show" => json!({"request": request, "run": unknown, "limit": 1}),
                _ => json!({"request": request, "run": unknown}),
            })
            .await;
        let answer = client.end().await.to_string();
        assert!(answer.contains("is not in the store"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_plan_than_the_one_that_was_looked_at_is_refused() {
    let service = service(MemoryStore::new(), 5, Upgrade::new()).await;
    let plan = ask(&service.path, json!({"request": "plan", "deadline_ms": 5})).await;
    let fingerprint = &plan["confirmation"];
    let refused = ask(
        &service.path,
        json!({"request": "run", "plan": fingerprint}),
    )
    .await;
    assert_eq!(refused["kind"], "another_plan");
    assert!(
        Runs::of(&service.store)
            .unwrap()
            .list()
            .await
            .unwrap()
            .is_empty()
    );
    let dry = json!({"request": "run", "plan": fingerprint, "deadline_ms": 5, "dry_run": true});
    let mut client = Client::new(&service.path).await;
    client.ask(dry).await;
    let ended = client.end().await;
    assert_eq!(ended["report"]["migrated"], 5);
    assert_eq!(ended["report"]["dry_run"], true);
    assert!(at_v2(&service.store, 0..5).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_a_run_are_refused_when_no_run_is_in_progress() {
    let service = service(MemoryStore::new(), 5, Upgrade::new()).await;
    for request in ["pause", "unpause", "cancel", "watch"] {
        let answer = ask(&service.path, json!({"request": request})).await;
        assert_eq!(answer["kind"], "no_run", "{request}");
    }
    let mut client = Client::new(&service.path).await;
    client.ask(json!({"request": "run"})).await;
    assert_eq!(client.end().await["report"]["state"], "done");
}

/// Garbage, unsupported versions and endless lines: each client gets an error, and the
/// run continues.
#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_request_is_refused_and_the_run_continues() {
    const JOBS: u64 = 60;
    let service = service(MemoryStore::new(), JOBS, slow()).await;
    let mut driver = Client::new(&service.path).await;
    driver.ask(json!({"request": "run"})).await;
    driver.answer().await;

    let mut client = Client::new(&service.path).await;
    for (line, kind) in [
        (&b"\n"[..], "invalid"),
        (b"GET / HTTP/1.1\n", "invalid"),
        (b"\xff\xfe\0\n", "invalid"),
        (b"[[[[\n", "invalid"),
        (b"{\"version\":9,\"request\":\"status\"}\n", "version"),
        (
            b"{\"version\":2,\"request\":\"throttle\",\"per_second\":-1}\n",
            "invalid",
        ),
    ] {
        client.send(line).await;
        let answer = client.answer().await;
        assert_eq!(
            (&answer["answer"], &answer["kind"]),
            (&json!("error"), &json!(kind))
        );
    }
    // After all this it is still listened to.
    client.ask(json!({"request": "status"})).await;
    assert_eq!(client.answer().await["answer"], "status");

    let mut endless = Client::new(&service.path).await;
    let junk = vec![b'x'; 1 << 16];
    for _ in 0..64 {
        // The service stops reading, and lets go, before all of it is written.
        if endless.0.get_mut().write_all(&junk).await.is_err() {
            break;
        }
    }
    let told = endless.hear().await;
    if let Some(told) = told {
        assert_eq!(told["kind"], "line");
    }
    assert_eq!(endless.hear().await, None);
    let ended = driver.end().await;
    assert_eq!(ended["report"]["migrated"], JOBS);
}

/// Clients that send no request or read no answer do not stop the run, and leave room
/// for a client that cancels it.
#[tokio::test(flavor = "multi_thread")]
async fn slow_and_disconnected_clients_do_not_block_others() {
    const JOBS: u64 = 150;
    let service = service(MemoryStore::new(), JOBS, slow()).await;
    let mut driver = Client::new(&service.path).await;
    // The run must not end before all clients have connected.
    driver.ask(json!({"request": "run", "per_second": 1})).await;
    // The first answer comes before the run begins, the second after.
    driver.answer().await;
    driver.answer().await;
    // The maximum number of clients watches and never reads.
    let mut watchers = Vec::new();
    loop {
        let mut watcher = Client::new(&service.path).await;
        watcher.ask(json!({"request": "watch"})).await;
        let first = watcher.answer().await;
        if first["answer"] == "error" {
            assert_eq!(first["kind"], "too_many");
            break;
        }
        watchers.push(watcher);
    }
    assert_eq!(watchers.len(), 15, "the driver is the sixteenth");
    // Disconnected clients make room for other watchers.
    drop(watchers);
    let status = ask(&service.path, json!({"request": "status"})).await;
    assert_eq!(status["in_progress"], true);

    // The client that started the run disconnects, and the run continues to its end.
    let run = status["progress"]["run"].clone();
    drop(driver);
    ask(
        &service.path,
        json!({"request": "throttle", "per_second": null}),
    )
    .await;
    until("it is done", async || {
        let status = ask(&service.path, json!({"request": "status"})).await;
        (status["in_progress"] == false).then_some(())
    })
    .await;
    let shown = ask(
        &service.path,
        json!({"request": "show", "run": run, "limit": 1}),
    )
    .await;
    assert_eq!(shown["record"]["state"], "done");
    assert_eq!(shown["counts"]["migrated"], JOBS);
}

/// A run of the service's own is watched and cancelled in the same way, and
/// keeps others out.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_the_service_began_is_driven_too() {
    const JOBS: u64 = 100;
    let store = MemoryStore::new();
    for n in 0..JOBS {
        put(&store, n).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let runner = Arc::new(slow().runner(&store).chunk_processes(2));
    let serving = ControlSocket::bind(&path).unwrap();
    let serving = serving.serve(runner.clone()).unwrap();
    let run = tokio::spawn(async move { runner.run().await });
    let mut watcher = Client::new(&path).await;
    until("the run is in progress", async || {
        watcher.ask(json!({"request": "watch"})).await;
        (watcher.answer().await["answer"] == "progress").then_some(())
    })
    .await;
    assert_eq!(
        ask(&path, json!({"request": "run"})).await["kind"],
        "in_progress"
    );
    // Its end is not the end of a run of the socket.
    let cancelled = ask(&path, json!({"request": "cancel"})).await;
    assert_eq!(cancelled["in_progress"], true);
    let ended = watcher.end().await;
    assert_eq!(ended["report"], Value::Null);
    assert_eq!(ended["progress"]["state"], "cancelled");
    assert_eq!(run.await.unwrap().state, Some(RunState::Cancelled));
    serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_closes_leaves_a_run_that_can_be_resumed() {
    const JOBS: u64 = 200;
    let service = service(MemoryStore::new(), JOBS, slow()).await;
    let mut driver = Client::new(&service.path).await;
    driver.ask(json!({"request": "run"})).await;
    until_migrated(&service, 4).await;
    let begun = Instant::now();
    service.serving.close().await;
    assert!(begun.elapsed() < PATIENCE / 4);
    assert!(!service.path.exists());
    // The client hears how the run ended, and then that the service is gone.
    let ended = driver.end().await;
    assert_eq!(ended["report"]["state"], "cancelled");
    assert!(driver.hear().await.is_none());
    let runs = Runs::of(&service.store).unwrap().list().await.unwrap();
    assert_eq!(runs[0].state, RunState::Cancelled);
    let report = Upgrade::new()
        .runner(&service.store)
        .force(true)
        .resume(runs[0].id)
        .await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!(report.migrated, JOBS as usize);
}

/// To see it fail: do not look whether the client is there before a request is carried out.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_requested_that_has_left_is_not_carried_out() {
    let service = service(MemoryStore::new(), 4, slow()).await;
    let path = &service.path;
    for per_second in [7, 8] {
        let mut client = Client::new(path).await;
        let throttle = json!({"request": "throttle", "per_second": per_second});
        client.ask(throttle).await;
        drop(client);
    }
    sleep(Duration::from_millis(300)).await;
    let status = ask(path, json!({"request": "status"})).await;
    assert_eq!(status["per_second"], Value::Null, "{status}");
    let throttle = json!({"request": "throttle", "per_second": 9});
    let status = ask(path, throttle).await;
    assert_eq!(status["per_second"], 9, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_there_before_the_service_is_answered_then() {
    let folder = tempfile::tempdir().unwrap();
    let socket = ControlSocket::bind(folder.path().join("control")).unwrap();
    let mut early = UnixStream::connect(socket.path()).await.unwrap();
    early
        .write_all(b"{\"version\":2,\"request\":\"status\"}\n")
        .await
        .unwrap();
    let store = MemoryStore::new();
    let _serving = socket
        .serve(Arc::new(Upgrade::new().runner(&store)))
        .unwrap();
    let mut answer = [0; 32];
    timeout(PATIENCE, early.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with(br#"{"version":2,"answer":"status""#));
}

#[test]
fn a_socket_is_not_served_outside_of_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let socket = ControlSocket::bind(folder.path().join("control")).unwrap();
    let store = MemoryStore::new();
    let error = socket
        .serve(Arc::new(Upgrade::new().runner(&store)))
        .unwrap_err();
    assert!(error.to_string().contains("needs a tokio runtime"));
}
