//! A rehearsal is the run on a copy, which leaves nothing behind.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use slatedb::admin::Admin;
use slatedb::config::CheckpointOptions;
use slatedb::object_store::local::LocalFileSystem;
use state_migration::{
    ConversionError, Decoder, EventStore, FailureClass, MemoryStore, MigrationReport,
    MigrationRunner, Process, RunState, Runs, Selection, SlateDbReader, SlateDbStore,
    SnapshotStore, StateMigration, WorkflowId,
};
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, StateV1, StateV2, folded, identity, load,
    order_v1_to_v2, place,
};
use state_migration_tests::stores::{OnDisk, dump_all};

const ORDERS: u64 = 60;

/// A conversion that refuses two orders, and whose second result for another differs.
struct Fickle(WorkflowId, WorkflowId, AtomicUsize);

impl Fickle {
    fn new() -> Self {
        let (from, to) = (WorkflowId::of::<OrderV1>(), WorkflowId::of::<OrderV2>());
        Self(from, to, AtomicUsize::new(0))
    }
}

impl StateMigration for Fickle {
    type FromWorkflow = OrderV1;
    type ToWorkflow = OrderV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.0
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.1
    }

    fn migrate(&self, old: StateV1) -> Result<StateV2, ConversionError> {
        if [folded::<OrderV1>(3), folded::<OrderV1>(4)].contains(&old) {
            return Err("not these".into());
        }
        let differs = old == folded::<OrderV1>(7);
        let mut new = order_v1_to_v2(old);
        if differs {
            new.open_cents = i64::try_from(self.2.fetch_add(1, Ordering::SeqCst)).unwrap();
        }
        Ok(new)
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<StateV2>())
    }
}

fn runner<S>(store: &S) -> MigrationRunner<OrderV1ToV2Migration, S, S>
where
    S: EventStore + SnapshotStore + Clone,
{
    MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone())
}

async fn fill(store: &(impl EventStore + SnapshotStore + Clone + 'static)) {
    for n in 0..ORDERS {
        place(store, store, n).await.unwrap();
    }
}

#[track_caller]
fn is_right(report: &MigrationReport) {
    let all = ORDERS as usize;
    assert_eq!(
        (report.migrated, report.verified, report.error_count),
        (all, all, 0),
        "{report}"
    );
    assert_eq!(report.warning_count, 0, "{report}");
    assert_eq!(report.state, Some(RunState::Done));
    assert!(report.dry_run && report.run.is_none());
}

/// What a store on disk has: its rows, how often it was opened, and its checkpoints.
type Whole = (Vec<(Bytes, Bytes)>, u64, BTreeSet<String>);

async fn whole(store: &SlateDbStore, folder: &Path) -> Whole {
    let epoch = store.db().manifest().writer_epoch();
    (
        dump_all(store).await.unwrap(),
        epoch,
        checkpoints(folder).await,
    )
}

async fn checkpoints(folder: &Path) -> BTreeSet<String> {
    let files = LocalFileSystem::new_with_prefix(folder).unwrap();
    let admin = Admin::builder("", std::sync::Arc::new(files)).build();
    let all = admin.list_checkpoints(None).await.unwrap().into_iter();
    all.map(|checkpoint| checkpoint.id.to_string()).collect()
}

/// The copies, and the files about them, which have the name of a copy and `.json`.
fn left(folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let in_folder = |name: &str| {
        let files = std::fs::read_dir(folder.join(name));
        let files = files.into_iter().flatten();
        files.map(|file| file.unwrap().path()).collect()
    };
    (in_folder("rehearsals"), in_folder("rehearsed"))
}

/// To see it fail: let `Copies::remove` do nothing, or `of_writer` keep its checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_is_the_run_and_leaves_the_store_as_it_is() {
    let disk = OnDisk::new().await.unwrap();
    let (store, folder) = (SlateDbStore::clone(&disk), disk.folder());
    fill(&store).await;
    let before = whole(&store, folder).await;
    let fickle = MigrationRunner::new(Fickle::new(), store.clone(), store.clone());
    let rehearsed = fickle.rehearse().await;
    let all = ORDERS as usize;
    assert_eq!(rehearsed.migrated, all - 2, "{rehearsed}");
    assert_eq!(rehearsed.verified, all - 3, "{rehearsed}");
    let failed = &rehearsed.failed_by_class;
    assert_eq!(failed[&FailureClass::Refused], 2, "{rehearsed}");
    assert_eq!(failed[&FailureClass::VerifiesDifferently], 1, "{rehearsed}");
    assert_eq!(rehearsed.state, Some(RunState::DoneWithErrors));
    assert!(
        whole(&store, folder).await == before,
        "the store has changed"
    );
    assert!(Runs::of(&store).unwrap().list().await.unwrap().is_empty());

    is_right(&runner(&store).rehearse().await);
    assert!(
        whole(&store, folder).await == before,
        "the store has changed"
    );
    let (copies, notes) = left(folder);
    assert_eq!((copies.len(), notes.len()), (0, 2), "{copies:?}");
    let note = std::fs::read_to_string(&notes[0]).unwrap();
    let note: serde_json::Value = serde_json::from_str(&note).unwrap();
    assert!(note["report"]["verified"].as_u64().unwrap() >= 57, "{note}");

    // The real run does what the rehearsal did.
    let run = runner(&store).run().await;
    assert_eq!((run.migrated, run.error_count), (all, 0), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_memory_is_rehearsed_too() {
    let store = MemoryStore::new();
    fill(&store).await;
    let before = store.dump();
    is_right(&runner(&store).rehearse().await);
    let kept = runner(&store).rehearse_and_keep().await;
    let message = &kept.errors[0].message;
    assert!(message.contains("cannot be kept"), "{kept}");
    assert!(store.dump() == before);
    // A rehearsal of some of them.
    let some = Selection::all().first(7);
    let rehearsed = runner(&store).select(some).rehearse().await;
    assert_eq!(
        (rehearsed.migrated, rehearsed.verified),
        (7, 7),
        "{rehearsed}"
    );
}

/// To see it fail: let `of_reader` not compare the epochs, or `of_writer` take a checkpoint of
/// what is durable only.
#[tokio::test(flavor = "multi_thread")]
async fn the_writer_or_a_reader_of_a_closed_store_rehearses() {
    let disk = OnDisk::new().await.unwrap();
    let (store, folder) = (SlateDbStore::clone(&disk), disk.folder().to_owned());
    fill(&store).await;
    let reader = SlateDbReader::open_local(&folder).await.unwrap();
    let refused = runner(&reader).rehearse().await;
    let message = &refused.errors[0].message;
    assert!(
        message.contains("a program has the store open"),
        "{refused}"
    );
    assert_eq!(left(&folder), (vec![], vec![]));
    reader.close().await.unwrap();

    // A writer continues meanwhile.
    let appends = async {
        let mut order =
            Process::<OrderV1>::open(identity::<OrderV1>(1), store.clone(), store.clone())
                .await
                .unwrap();
        for _ in 0..20 {
            order.append(&[OrderEvent::Paid { euro: 1 }]).await.unwrap();
        }
        order.state().clone()
    };
    let rehearsing = runner(&store);
    let (report, appended) = tokio::join!(rehearsing.rehearse(), appends);
    is_right(&report);
    assert_eq!(load::<OrderV1, _>(&store, 1).await.unwrap(), appended);
    store.close().await.unwrap();

    let reader = SlateDbReader::open_local(&folder).await.unwrap();
    let before = checkpoints(&folder).await;
    is_right(&runner(&reader).rehearse().await);
    assert_eq!(checkpoints(&folder).await, before);
    reader.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_copy_is_a_store_of_its_own() {
    let disk = OnDisk::new().await.unwrap();
    let store = SlateDbStore::clone(&disk);
    fill(&store).await;
    let report = runner(&store).rehearse_and_keep().await;
    is_right(&report);
    let kept = PathBuf::from(report.rehearsed.unwrap().kept.unwrap());
    assert!(kept.starts_with(disk.folder()), "{}", kept.display());
    let copy = SlateDbStore::open_local(&kept).await.unwrap();
    for n in 0..ORDERS {
        let state = load::<OrderV2, _>(&copy, n).await.unwrap();
        assert_eq!(state, order_v1_to_v2(folded::<OrderV1>(n)), "order {n}");
        let state = load::<OrderV1, _>(&store, n).await.unwrap();
        assert_eq!(state, folded::<OrderV1>(n), "order {n}");
    }
    assert_eq!(Runs::of(&copy).unwrap().list().await.unwrap().len(), 1);
    let ids = (
        copy.durable_id().await.unwrap(),
        store.durable_id().await.unwrap(),
    );
    assert!(ids.0.is_some() && ids.0 != ids.1, "{ids:?}");
    // A plan that was confirmed for the original is confirmed for the copy.
    let plan = runner(&store).plan().unwrap();
    assert_eq!(
        plan.confirmation(ids.0).to_string(),
        plan.confirmation(ids.1).to_string()
    );
    copy.close().await.unwrap();
    // It stays when others rehearse, and can be read.
    is_right(&runner(&store).rehearse().await);
    let reader = SlateDbReader::open_local(&kept).await.unwrap();
    assert!(load::<OrderV2, _>(&reader, 1).await.is_ok());
    reader.close().await.unwrap();
    // By whatever path.
    let other = tempfile::tempdir().unwrap();
    let link = other.path().join("link");
    std::os::unix::fs::symlink(&kept, &link).unwrap();
    let reader = SlateDbReader::open_local(&link).await.unwrap();
    assert!(load::<OrderV2, _>(&reader, 1).await.is_ok());
    // A copy of it would not find the files of the original.
    let refused = runner(&reader).rehearse_and_keep().await;
    let message = &refused.errors[0].message;
    assert!(message.contains("rehearse in the original"), "{refused}");
    reader.close().await.unwrap();
    // Its user removes it, and the store keeps nothing for it any more.
    assert_eq!(checkpoints(disk.folder()).await.len(), 1);
    std::fs::remove_dir_all(&kept).unwrap();
    is_right(&runner(&store).rehearse().await);
    assert_eq!(checkpoints(disk.folder()).await.len(), 0);
    // All of them, with their folder.
    is_right(&runner(&store).rehearse_and_keep().await);
    assert_eq!(checkpoints(disk.folder()).await.len(), 1);
    std::fs::remove_dir_all(kept.parent().unwrap()).unwrap();
    store.close().await.unwrap();
    assert_eq!(checkpoints(disk.folder()).await.len(), 0);
}

/// Each copy, and each program that reads the store, needs its own checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn rehearsals_at_once_leave_the_checkpoints_of_others() {
    let disk = OnDisk::new().await.unwrap();
    let (store, folder) = (SlateDbStore::clone(&disk), disk.folder().to_owned());
    fill(&store).await;
    store.close().await.unwrap();
    let files = LocalFileSystem::new_with_prefix(&folder).unwrap();
    let admin = Admin::builder("", std::sync::Arc::new(files)).build();
    let rehearse = async || {
        let reader = SlateDbReader::open_local(&folder).await.unwrap();
        let report = runner(&reader).rehearse_and_keep().await;
        reader.close().await.unwrap();
        report
    };
    let others = async {
        let mut all = BTreeSet::new();
        for _ in 0..20 {
            let options = CheckpointOptions::default();
            let made = admin.create_detached_checkpoint(&options).await.unwrap();
            all.insert(made.id.to_string());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        all
    };
    let (one, two, three, others) = tokio::join!(rehearse(), rehearse(), rehearse(), others);
    let left = checkpoints(&folder).await;
    assert!(left.is_superset(&others), "{left:?} of {others:?}");
    assert_eq!(left.len(), others.len() + 3);
    for report in [one, two, three] {
        is_right(&report);
        let kept = report.rehearsed.unwrap().kept.unwrap();
        let copy = SlateDbReader::open_local(&kept).await.unwrap();
        assert!(load::<OrderV2, _>(&copy, 1).await.is_ok());
        copy.close().await.unwrap();
    }
}

/// To see it fail: let `Note::is_dead` answer `false`.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_ended_rehearsal_has_left_is_removed() {
    let disk = OnDisk::new().await.unwrap();
    let (store, folder) = (SlateDbStore::clone(&disk), disk.folder().to_owned());
    fill(&store).await;
    let before = whole(&store, &folder).await;
    for by_the_next in [true, false] {
        let slow = runner(&store);
        slow.control().throttle_next(NonZeroU32::new(20));
        let early = tokio::time::timeout(Duration::from_millis(900), slow.rehearse());
        assert!(early.await.is_err(), "it should have been dropped");
        let (copies, _) = left(&folder);
        assert_eq!(copies.len(), 1);
        match by_the_next {
            true => is_right(&runner(&store).rehearse().await),
            false => store.close().await.unwrap(),
        }
        let (copies, notes) = left(&folder);
        assert_eq!((copies.len(), notes.len()), (0, 1), "{copies:?}");
    }
    assert_eq!(checkpoints(&folder).await, before.2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_progress_refuses_a_rehearsal() {
    let disk = OnDisk::new().await.unwrap();
    let store = SlateDbStore::clone(&disk);
    fill(&store).await;
    let slow = runner(&store);
    slow.control().throttle_next(NonZeroU32::new(100));
    let rehearse = async {
        while slow.control().progress().counts.migrated == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let refused = runner(&store).rehearse().await;
        let message = &refused.errors[0].message;
        assert!(message.contains("claims the store"), "{refused}");
    };
    let (run, ()) = tokio::join!(slow.run(), rehearse);
    assert_eq!(run.migrated, ORDERS as usize, "{run}");
}
