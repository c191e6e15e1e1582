//! An import continues after its program was killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use state_migration::{
    CorrelationId, EventStore, ProcessRegistry, RegistryKey, SlateDbStore, StreamId, TenantId,
    WorkflowId,
};
use state_migration_examples::import::{APPLICATION_STREAMS, TENANT};

use crate::program::{as_second, command, good, invented, packed, run, write};

/// Of a thousand and some more, so that the import is killed in its middle.
const APPLICATIONS: u32 = 1_300;

#[tokio::test]
async fn a_killed_import_continues_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let log = packed(invented(APPLICATIONS).as_bytes());
    let log = write(folder.path(), "loans.xes.gz", log);
    let whole = good(&run(&log, &folder.path().join("whole")));
    assert_eq!(whole["imported"], APPLICATIONS);

    let store = folder.path().join("store");
    kill_after_a_thousand(&log, &store);
    let left = streams(&store, APPLICATION_STREAMS).await;
    assert!(
        (1_000..APPLICATIONS as usize).contains(&left.len()),
        "{} applications were there when the import was killed",
        left.len()
    );
    assert_eq!(events(&store, "import/log").await, ["ImportStarted"]);

    let resumed = good(&run(&log, &store));
    assert_eq!(resumed["imported"], APPLICATIONS as usize - left.len());
    let mut expected = whole;
    expected["imported"] = resumed["imported"].clone();
    expected["store"] = store.display().to_string().into();
    assert_eq!(resumed, expected);
    assert_eq!(
        events(&store, "import/log").await,
        ["ImportStarted", "ImportCompleted"]
    );
    every_application_is_registered_twice(&store).await;
    assert_eq!(good(&run(&log, &store)), as_second(&resumed));
}

/// Starts an import and kills it, as `kill -9` does, once it has said that a
/// thousand applications are durable.
fn kill_after_a_thousand(log: &Path, store: &Path) {
    let mut child = command()
        .arg("--log")
        .arg(log)
        .arg("--store")
        .arg(store)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(
        said.next().unwrap().unwrap(),
        format!("imported 1000 of {APPLICATIONS} applications")
    );
    child.kill().unwrap();
    // None: ended by a signal, not by itself.
    assert_eq!(child.wait().unwrap().code(), None);
}

async fn streams(store: &Path, prefix: &str) -> Vec<StreamId> {
    let store = SlateDbStore::open_local(store).await.unwrap();
    let streams = store.list_streams(Some(prefix), None, usize::MAX).await;
    store.close().await.unwrap();
    streams.unwrap()
}

async fn events(store: &Path, stream: &str) -> Vec<String> {
    let store = SlateDbStore::open_local(store).await.unwrap();
    let stream = StreamId::new(stream).unwrap();
    let events = store.read(&stream, 0, 10).await.unwrap();
    store.close().await.unwrap();
    events
        .into_iter()
        .map(|event| event.event_type.to_string())
        .collect()
}

async fn every_application_is_registered_twice(store: &Path) {
    let streams = streams(store, APPLICATION_STREAMS).await;
    assert_eq!(streams.len(), APPLICATIONS as usize);
    let store = SlateDbStore::open_local(store).await.unwrap();
    let tenant = TenantId::new(TENANT).unwrap();
    for stream in streams {
        let (_, process) = stream.process().unwrap();
        let correlation = CorrelationId::new(process.as_str()).unwrap();
        for key in [
            RegistryKey::Process(process),
            RegistryKey::Correlation(correlation),
        ] {
            let identity = store.lookup(&tenant, &key).await.unwrap().unwrap();
            assert_eq!(identity.stream_id(), &stream);
            assert_eq!(identity.workflow_id, WorkflowId::new("loan", "2013"));
        }
    }
    store.close().await.unwrap();
}
