//! The process registry during a run: at every instant, the entries of a process have
//! the version of the process.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use state_migration::{
    ConversationId, CorrelationId, ErrorKind, EventStore, MigrationRunner, Process, ProcessId,
    ProcessIdentity, ProcessRegistry, RegistryKey, RunState, SlateDbStore, Workflow, WorkflowId,
};
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, id, identity, tenant,
};
use state_migration_tests::stores::OnDisk;

const ORDERS: u64 = 420;

/// How many instants must be seen, and how many in which some orders had moved
/// and others had not.
const AT_LEAST: usize = 300;
const MIXED_AT_LEAST: usize = 100;

/// How many orders are looked at in one instant.
const AT_ONCE: u64 = 4;

/// The keys under which an order is registered from the start: two of each kind.
fn keys(n: u64) -> Vec<RegistryKey> {
    (0..2)
        .flat_map(|which| {
            [
                RegistryKey::Process(id::<ProcessId>(&format!("process {n} {which}"))),
                RegistryKey::Conversation(id::<ConversationId>(&format!("talk {n} {which}"))),
                RegistryKey::Correlation(id::<CorrelationId>(&format!("reply {n} {which}"))),
            ]
        })
        .collect()
}

/// The keys that a writer adds while the run is in progress.
fn late_key(n: u64, times: usize) -> RegistryKey {
    let late = format!("late {n} {times}");
    match times % 3 {
        0 => RegistryKey::Process(id::<ProcessId>(&late)),
        1 => RegistryKey::Conversation(id::<ConversationId>(&late)),
        _ => RegistryKey::Correlation(id::<CorrelationId>(&late)),
    }
}

async fn place(store: &SlateDbStore, n: u64) {
    let identity = identity::<OrderV1>(n);
    let mut order = Process::<OrderV1>::open(identity.clone(), store.clone(), store.clone())
        .await
        .unwrap();
    let placed = OrderEvent::Placed { euro: n + 1 };
    order.append(&[placed]).await.unwrap();
    let tenant = tenant();
    for key in keys(n) {
        let registered = store.register_unflushed(&tenant, &key, &identity);
        let _ = registered.await.unwrap();
    }
}

/// What one order looks like: its version, and of each of its entries the key and
/// the version. `None` where it moved while it was looked at.
async fn look(store: &SlateDbStore, n: u64) -> Option<(String, Vec<(RegistryKey, String)>)> {
    let identity = identity::<OrderV1>(n);
    let version = async || {
        let head = store.head(identity.stream_id()).await.unwrap().unwrap();
        head.workflow_id.version().to_owned()
    };
    let before = version().await;
    let tenant = tenant();
    let keys = store.keys_of(&tenant, identity.process_id()).await;
    let mut entries = Vec::new();
    for key in keys.unwrap() {
        let entry = store.lookup(&tenant, &key).await.unwrap().unwrap();
        assert_eq!(entry.stream_id(), identity.stream_id());
        entries.push((key, entry.workflow_id.version().to_owned()));
    }
    (version().await == before).then_some((before, entries))
}

/// What the readers saw.
#[derive(Default)]
struct Seen {
    instants: usize,
    /// Instants in which some orders had moved and others had not.
    mixed: usize,
    versions: BTreeSet<String>,
    /// Entries that were added meanwhile, by the version they were seen at.
    late: BTreeSet<String>,
}

/// Looks at the store again and again, until the run is over.
async fn read(store: SlateDbStore, over: Arc<AtomicBool>, reader: u64) -> Seen {
    let mut seen = Seen::default();
    let mut n = reader * 31;
    while !over.load(Ordering::SeqCst) {
        let mut versions = BTreeSet::new();
        for _ in 0..AT_ONCE {
            // Comes by all orders, far from each other.
            n = (n + 101) % ORDERS;
            let Some((stands_at, entries)) = look(&store, n).await else {
                continue;
            };
            assert!(
                entries.len() >= 6,
                "order {n} has {} entries",
                entries.len()
            );
            for (key, version) in entries {
                assert_eq!(
                    version, stands_at,
                    "order {n} is at {stands_at}, but its entry {key} has another version"
                );
                if key.to_string().contains("late") {
                    seen.late.insert(version);
                }
            }
            versions.insert(stands_at);
        }
        seen.instants += 1;
        seen.mixed += usize::from(versions.len() == 2);
        seen.versions.extend(versions);
    }
    seen
}

/// How a writer's registrations ended.
#[derive(Default)]
struct Registered {
    at_v1: usize,
    refused: usize,
    at_v2: usize,
}

/// Adds keys to orders, by code of v1 until that is refused, and then of v2.
async fn register(store: SlateDbStore, over: Arc<AtomicBool>, writer: usize) -> Registered {
    let mut registered = Registered::default();
    let mut n = 7;
    // No two writers add the same key.
    let mut times = writer * 1_000_000;
    while !over.load(Ordering::SeqCst) {
        n = (n + 83) % ORDERS;
        times += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let key = late_key(n, times);
        match register_as::<OrderV1>(&store, n, &key).await {
            Ok(()) => registered.at_v1 += 1,
            Err(ErrorKind::Migrated { to }) => {
                assert_eq!(to, WorkflowId::of::<OrderV2>());
                registered.refused += 1;
                register_as::<OrderV2>(&store, n, &key).await.unwrap();
                registered.at_v2 += 1;
            }
            Err(other) => panic!("order {n}: {other:?}"),
        }
    }
    registered
}

async fn register_as<W: Workflow>(
    store: &SlateDbStore,
    n: u64,
    key: &RegistryKey,
) -> Result<(), ErrorKind> {
    let identity: ProcessIdentity = identity::<W>(n);
    let registered = store.register_unflushed(&tenant(), key, &identity).await;
    registered.map(drop).map_err(|error| error.kind().clone())
}

// Seen to fail where `lookup` takes the version out of the entry, and where
// entries are registered without a look at the head.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn registry_entries_point_to_the_new_version_exactly_when_the_process_does() {
    let disk = OnDisk::new().await.unwrap();
    let placed = (0..ORDERS).map(|n| {
        let store = disk.clone();
        tokio::spawn(async move { place(&store, n).await })
    });
    for order in placed.collect::<Vec<_>>() {
        order.await.unwrap();
    }
    disk.flush().await.unwrap();

    let runner = MigrationRunner::new(OrderV1ToV2Migration, disk.clone(), disk.clone());
    let runner = runner.chunk_processes(7);
    let control = runner.control();
    // So that the readers can look a few hundred times.
    control.throttle(NonZeroU32::new(70));
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|reader| tokio::spawn(read(disk.clone(), over.clone(), reader)))
        .collect();
    let writers: Vec<_> = (0..2)
        .map(|writer| tokio::spawn(register(disk.clone(), over.clone(), writer)))
        .collect();
    let report = runner.run().await;
    over.store(true, Ordering::SeqCst);
    assert_eq!(report.migrated as u64, ORDERS, "{report}");
    assert_eq!(report.state, Some(RunState::Done), "{report}");

    let mut seen = Seen::default();
    for reader in readers {
        let more = reader.await.unwrap();
        seen.instants += more.instants;
        seen.mixed += more.mixed;
        seen.versions.extend(more.versions);
        seen.late.extend(more.late);
    }
    let mut registered = Registered::default();
    for writer in writers {
        let more = writer.await.unwrap();
        registered.at_v1 += more.at_v1;
        registered.refused += more.refused;
        registered.at_v2 += more.at_v2;
    }
    let Registered {
        at_v1,
        refused,
        at_v2,
    } = registered;
    eprintln!(
        "{} instants, {} of them mixed; {at_v1} keys at v1, {refused} refused, {at_v2} at v2",
        seen.instants, seen.mixed
    );
    let both: BTreeSet<String> = ["v1".to_owned(), "v2".to_owned()].into();
    assert_eq!(seen.versions, both);
    assert_eq!(seen.late, both);
    assert!(seen.instants >= AT_LEAST, "{} instants", seen.instants);
    assert!(seen.mixed >= MIXED_AT_LEAST, "{} mixed", seen.mixed);
    assert!(at_v1 >= 100 && at_v2 >= 100, "{at_v1} and {at_v2}");

    // Whatever the readers came by or not: every entry says v2 in the end.
    let mut entries = 0;
    for n in 0..ORDERS {
        let (version, found) = look(&disk, n).await.unwrap();
        assert_eq!(version, "v2");
        assert!(found.iter().all(|(_, version)| version == "v2"));
        entries += found.len();
    }
    assert_eq!(entries, keys(0).len() * ORDERS as usize + at_v1 + at_v2);
}
