//! Ids that look like paths, prefixes, separators or nothing at all.

use std::collections::BTreeSet;

use state_migration::{
    ConversationId, CorrelationId, EventStore, MAX_ID_LEN, MAX_STREAM_ID_LEN, MemoryStore,
    MigrationRunner, Process, ProcessId, ProcessIdentity, ProcessRegistry, RegistryKey, Selection,
    SlateDbStore, SnapshotStore, StreamId, TenantId,
};
use state_migration_tests::orders::{OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, StateV1};

/// Ids that are allowed, and that would do harm where they were used as they are.
fn awkward() -> Vec<String> {
    let mut ids: Vec<String> = [
        ".",
        "..",
        "...",
        "~",
        "*",
        "%",
        "%2F",
        "%2e%2e",
        "%00",
        "\\",
        "..\\..",
        "a",
        "aa",
        "ab",
        "a ",
        " a",
        "A",
        "a\u{301}",
        "á",
        "process",
        "$migrated",
        "wal",
        "manifest",
        "con",
        "-",
        "--help",
        "-x",
        "'",
        "\"",
        "{}",
        "null",
        "0",
        "00",
        "\u{200b}",
        "\u{202e}",
        "\u{feff}",
        "\u{ffff}",
        "\u{10ffff}",
        "ÿ",
        "😀",
        ":",
        "c:",
        "h",
        "e",
        "?",
        "#",
        "a?b",
        "file:",
    ]
    .map(str::to_owned)
    .to_vec();
    ids.push("x".repeat(MAX_ID_LEN));
    ids.push("ü".repeat(MAX_ID_LEN / 2));
    ids.push("x".repeat(MAX_ID_LEN - 1));
    ids
}

const REFUSED: [&str; 14] = [
    "",
    "\0",
    "a\0",
    "\0a",
    "a\0b",
    "\u{1}",
    "a\nb",
    "\r",
    "\t",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{80}",
    "\u{9f}",
    "a\u{85}b",
];

#[test]
fn what_cannot_be_an_id_is_refused_wherever_one_is_made() {
    let long = "x".repeat(MAX_ID_LEN + 1);
    let wide = "ü".repeat(MAX_ID_LEN / 2 + 1);
    for id in REFUSED.into_iter().chain([&*long, &*wide]) {
        assert!(TenantId::new(id).is_err(), "{id:?}");
        assert!(ProcessId::new(id).is_err(), "{id:?}");
        assert!(ConversationId::new(id).is_err(), "{id:?}");
        assert!(CorrelationId::new(id).is_err(), "{id:?}");
        // What is read is checked like what is made.
        let json = serde_json::to_string(id).unwrap();
        assert!(serde_json::from_str::<TenantId>(&json).is_err(), "{id:?}");
        assert!(serde_json::from_str::<ProcessId>(&json).is_err(), "{id:?}");
    }
    for id in REFUSED {
        assert!(StreamId::new(id).is_err(), "{id:?}");
        let json = serde_json::to_string(id).unwrap();
        assert!(serde_json::from_str::<StreamId>(&json).is_err(), "{id:?}");
    }
    assert!(StreamId::new("x".repeat(MAX_STREAM_ID_LEN)).is_ok());
    assert!(StreamId::new("x".repeat(MAX_STREAM_ID_LEN + 1)).is_err());
    for id in ["/", "a/b", "../..", "a/", "/a"] {
        assert!(TenantId::new(id).is_err(), "{id:?}");
        assert!(ProcessId::new(id).is_err(), "{id:?}");
    }
    // The longest of both fit into a stream.
    let longest = "x".repeat(MAX_ID_LEN);
    let stream = StreamId::for_process(
        &TenantId::new(&longest).unwrap(),
        &ProcessId::new(&longest).unwrap(),
    );
    assert!(StreamId::new(stream.as_str()).is_ok());
    // An error about an id does not carry all of one that is too long.
    let error = TenantId::new("y".repeat(1 << 20)).unwrap_err();
    assert!(error.to_string().len() < 200, "{error}");
}

#[test]
fn a_stream_is_the_process_of_no_more_than_one_tenant() {
    for tenant in awkward() {
        for process in [".", "..", "a", "%2F", "\u{10ffff}"] {
            let (tenant, process) = (TenantId::new(&tenant), ProcessId::new(process));
            let both = (tenant.unwrap(), process.unwrap());
            let stream = StreamId::for_process(&both.0, &both.1);
            assert_eq!(stream.process(), Some(both));
        }
    }
    for stream in [
        "process/a/b/c",
        "process//b",
        "process/a/",
        "process/a",
        "Process/a/b",
        "/process/a/b",
    ] {
        assert_eq!(StreamId::new(stream).unwrap().process(), None, "{stream}");
    }
}

fn identity(tenant: &str, process: &str) -> ProcessIdentity {
    let (tenant, process) = (TenantId::new(tenant), ProcessId::new(process));
    ProcessIdentity::of::<OrderV1>(tenant.unwrap(), process.unwrap())
}

/// Each id as a process of one tenant, and as a tenant with one process.
fn processes() -> Vec<ProcessIdentity> {
    let ids = awkward();
    let of_one = ids.iter().map(|id| identity("one", id));
    let of_each = ids.iter().map(|id| identity(id, "a"));
    of_one.chain(of_each).collect()
}

/// The keys of a process: the ids of two processes differ by one letter at most.
fn keys(identity: &ProcessIdentity) -> [RegistryKey; 3] {
    let id = identity.process_id().as_str();
    [
        RegistryKey::from_process(identity.process_id().clone()),
        RegistryKey::from_conversation(ConversationId::new(id).unwrap()),
        RegistryKey::from_correlation(CorrelationId::new(id).unwrap()),
    ]
}

async fn no_tenant_reads_the_rows_of_another<S>(store: S)
where
    S: EventStore + SnapshotStore + ProcessRegistry + Clone + 'static,
{
    let all = processes();
    for (n, identity) in (1..).zip(&all) {
        let order = Process::<OrderV1>::open(identity.clone(), store.clone(), store.clone());
        let mut order = order.await.unwrap();
        assert_eq!(order.sequence(), 0, "{identity:?} has rows of another one");
        order
            .append(&[OrderEvent::Placed { euro: n }])
            .await
            .unwrap();
        order.take_snapshot().await.unwrap();
        for key in keys(identity) {
            let taken = store.lookup(identity.tenant_id(), &key).await.unwrap();
            assert_eq!(taken, None, "{identity:?} has an entry of another one");
            store
                .register(identity.tenant_id(), &key, identity)
                .await
                .unwrap();
        }
    }
    for (n, identity) in (1..).zip(&all) {
        let order = Process::<OrderV1>::open(identity.clone(), store.clone(), store.clone());
        let expected = StateV1 {
            euro: n,
            ..StateV1::default()
        };
        assert_eq!(*order.await.unwrap().state(), expected, "{identity:?}");
        for key in keys(identity) {
            let found = store.lookup(identity.tenant_id(), &key).await.unwrap();
            assert_eq!(found.as_ref(), Some(identity), "{key}");
        }
    }
    let streams: BTreeSet<_> = all.iter().map(|it| it.stream_id().clone()).collect();
    let listed = store.list_streams(None, None, 10_000).await.unwrap();
    assert!(listed.iter().eq(&streams));

    // One tenant's run, then another's whose id the first one's starts with.
    for (tenant, expected) in [("aa", 1), ("a", 1), ("..", 1), ("one", awkward().len())] {
        let before: BTreeSet<_> = at_v2(&store, &all).await;
        let selection = Selection::all().tenant(TenantId::new(tenant).unwrap());
        let runner = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
        let report = runner.select(selection).run().await;
        assert!(report.is_ok(), "{report}");
        assert_eq!(report.migrated, expected, "{tenant}");
        let after = at_v2(&store, &all).await;
        let moved = after
            .difference(&before)
            .map(|stream| stream.process().unwrap().0);
        assert!(moved.clone().all(|of| of.as_str() == tenant));
        assert_eq!(moved.count(), expected, "{tenant}");
    }
    let runner = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
    let report = runner.run().await;
    assert!(report.is_ok(), "{report}");
    for (n, identity) in (1..).zip(&all) {
        let moved = ProcessIdentity::of::<OrderV2>(
            identity.tenant_id().clone(),
            identity.process_id().clone(),
        );
        for key in keys(identity) {
            let found = store.lookup(identity.tenant_id(), &key).await.unwrap();
            assert_eq!(found.as_ref(), Some(&moved), "{key}");
        }
        let order = Process::<OrderV2>::open(moved, store.clone(), store.clone());
        assert_eq!(order.await.unwrap().state().cents, n * 100);
    }
}

async fn at_v2<S: EventStore>(store: &S, all: &[ProcessIdentity]) -> BTreeSet<StreamId> {
    let mut found = BTreeSet::new();
    for identity in all {
        let head = store.head(identity.stream_id()).await.unwrap().unwrap();
        if head.workflow_id.version() == "v2" {
            found.insert(identity.stream_id().clone());
        }
    }
    found
}

#[tokio::test]
async fn no_tenant_reads_the_rows_of_another_in_memory() {
    no_tenant_reads_the_rows_of_another(MemoryStore::new()).await;
}

/// The folder around the store and the names in it stay what they are: no id
/// ever becomes the name of a file.
#[tokio::test(flavor = "multi_thread")]
async fn no_tenant_reads_the_rows_of_another_on_disk_and_no_id_becomes_a_file() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path().join("store");
    let store = SlateDbStore::open_local(&folder).await.unwrap();
    no_tenant_reads_the_rows_of_another(store.clone()).await;
    store.close().await.unwrap();
    let names = |folder: &std::path::Path| -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert_eq!(names(around.path()), ["store".to_owned()].into());
    let known: BTreeSet<String> = [
        "compacted",
        "compactions",
        "gc",
        "manifest",
        "openings",
        "wal",
    ]
    .map(str::to_owned)
    .into();
    assert!(names(&folder).is_subset(&known), "{:?}", names(&folder));
    let numbered = |name: &String| {
        let name = name.split('.').next().unwrap();
        // Numbers in WAL and manifest, ULIDs in compacted files.
        name.chars().all(|c| c.is_ascii_alphanumeric())
    };
    for part in names(&folder) {
        let files = names(&folder.join(&part));
        assert!(files.iter().all(numbered), "{part}: {files:?}");
    }
}
