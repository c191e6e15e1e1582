//! Events that no replay reads are removed on purpose.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use state_migration::{
    EventStore, FailureClass, MIGRATED, MemoryStore, MigrationRegistry, MigrationReport,
    MigrationRunner, Process, RunKind, RunState, Runs, Selection, SlateDbStore, SnapshotStore,
    WorkflowId,
};
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, OrderV2ToV3Migration, folded, history,
    identity, load, order_v1_to_v2, place,
};
use state_migration_tests::stores::OnDisk;

const ORDERS: u64 = 60;

trait Store: EventStore + SnapshotStore + Clone + 'static {}
impl Store for MemoryStore {}
impl Store for SlateDbStore {}

fn runner<S: Store>(store: &S) -> MigrationRunner<OrderV1ToV2Migration, S, S> {
    MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone())
        .actor("ann")
        .reason("request 17")
}

async fn open<S: Store>(store: &S, n: u64) -> Process<OrderV2> {
    let order = Process::open(identity::<OrderV2>(n), store.clone(), store.clone());
    order.await.unwrap()
}

/// The numbers of the first events of all orders that are left.
async fn first_events(store: &impl Store) -> BTreeMap<u64, u64> {
    let mut first = BTreeMap::new();
    for n in 0..ORDERS {
        let stream = identity::<OrderV1>(n).stream_id().clone();
        let events = store.read_all(&stream, 0, 1).await.unwrap();
        first.insert(n, events[0].sequence);
    }
    first
}

fn old_events(of: impl Iterator<Item = u64>) -> usize {
    of.map(|n| history(n).len()).sum()
}

#[track_caller]
fn is_done(report: &MigrationReport, processes: u64, events: usize) {
    assert_eq!(
        (report.migrated, report.erased, report.error_count),
        (usize::try_from(processes).unwrap(), events, 0),
        "{report}"
    );
    assert_eq!(report.state, Some(RunState::Done), "{report}");
}

/// To see it fail: let `Head::after_erasure` keep `first_kept`, or let the commit of an erasure
/// keep the events or the snapshot.
async fn what_no_replay_reads_is_removed(store: impl Store) {
    for n in 0..ORDERS {
        place(&store, &store, n).await.unwrap();
    }
    // A snapshot from before, one from after, a held order, and one that is not selected.
    let old = Process::<OrderV1>::open(identity::<OrderV1>(1), store.clone(), store.clone());
    old.await.unwrap().take_snapshot().await.unwrap();
    let run = runner(&store).run().await.run.unwrap();
    let mut newer = open(&store, 2).await;
    newer.append(&[OrderEvent::Paid { euro: 1 }]).await.unwrap();
    newer.take_snapshot().await.unwrap();
    let stream = |n: u64| identity::<OrderV1>(n).stream_id().clone();
    let runs = Runs::of(&store).unwrap();
    runs.hold(&stream(3), "bob", "in court").await.unwrap();
    place(&store, &store, ORDERS).await.unwrap();
    let mut states = Vec::new();
    for n in 0..ORDERS {
        states.push(load::<OrderV2, _>(&store, n).await.unwrap());
    }

    let erased = (0..ORDERS).filter(|n| *n != 3);
    let events = old_events(erased.clone());
    is_done(&runner(&store).dry_erase().await, ORDERS - 1, events);
    let before = first_events(&store).await;
    assert!(before.values().all(|first| *first == 1));
    let one = Selection::all().streams([stream(5)]);
    let part = runner(&store).select(one).erase().await;
    is_done(&part, 1, history(5).len());
    let report = runner(&store).erase().await;
    is_done(&report, ORDERS - 2, events - history(5).len());
    let skipped = report.skipped_by;
    let counts = (skipped.held, skipped.already_there, skipped.never_migrated);
    assert_eq!(counts, (1, 1, 1), "{report}");

    for (n, first) in first_events(&store).await {
        let baseline = history(n).len() as u64 + 1;
        let kept = if n == 3 { 1 } else { baseline };
        assert_eq!(first, kept, "order {n}");
        let events = store.read_all(&stream(n), 0, 1_000).await.unwrap();
        assert_eq!(
            events.iter().filter(|it| it.event_type == MIGRATED).count(),
            1
        );
        let head = store.head(&stream(n)).await.unwrap().unwrap();
        assert_eq!((head.first_kept, head.baseline), (kept, Some(baseline)));
    }
    assert_eq!(SnapshotStore::load(&store, &stream(1)).await.unwrap(), None);
    assert!(
        SnapshotStore::load(&store, &stream(2))
            .await
            .unwrap()
            .is_some()
    );
    // The processes are what they were, and continue.
    for n in 0..ORDERS {
        let state = load::<OrderV2, _>(&store, n).await.unwrap();
        assert_eq!(state, states[usize::try_from(n).unwrap()], "order {n}");
        if n != 2 {
            assert_eq!(state, order_v1_to_v2(folded::<OrderV1>(n)), "order {n}");
        }
    }
    let mut order = open(&store, 7).await;
    order.append(&[OrderEvent::Paid { euro: 1 }]).await.unwrap();

    // It is recorded, and what needs the events says that they are gone.
    let erasure = report.run.unwrap();
    let record = runs.get(erasure).await.unwrap().unwrap();
    assert_eq!(record.kind, RunKind::Erase);
    assert_eq!((&*record.actor, &*record.reason), ("ann", "request 17"));
    let counts = runs.counts(record.id).await.unwrap();
    assert_eq!(counts.erased as usize, events - history(5).len());
    is_done(&runner(&store).erase().await, 0, 0);
    let gone = usize::try_from(ORDERS).unwrap() - 1;
    for (what, report) in [
        ("verify", runner(&store).verify(Some(run)).await),
        ("redo", runner(&store).redo(run).await),
        ("undo", runner(&store).undo(run).await),
    ] {
        let failed = report.failed_by_class.get(&FailureClass::Erased).copied();
        assert_eq!(failed, Some(gone), "{what}: {report}");
    }
    let removal = runs.removal(&WorkflowId::of::<OrderV1>()).await.unwrap();
    assert_eq!(removal.history, 1, "only the held order has its old events");
}

/// To see it fail: let `outcome` end a page after a process of which events are left, or count
/// what was passed before it.
async fn a_long_history_is_removed_in_parts(store: impl Store) {
    const EVENTS: usize = 40_000;
    for n in 0..4 {
        place(&store, &store, n).await.unwrap();
    }
    let order = Process::<OrderV1>::open(identity::<OrderV1>(2), store.clone(), store.clone());
    let mut order = order.await.unwrap();
    for _ in 0..EVENTS / 1_000 {
        order
            .append(&vec![OrderEvent::Placed { euro: 3 }; 1_000])
            .await
            .unwrap();
    }
    let v1 = order.state().clone();
    assert_eq!(runner(&store).run().await.migrated, 4);
    // One before it that is skipped.
    let runs = Runs::of(&store).unwrap();
    let held = identity::<OrderV1>(1).stream_id().clone();
    runs.hold(&held, "bob", "in court").await.unwrap();
    let events = old_events([0, 2, 3].into_iter()) + EVENTS;
    is_done(&runner(&store).dry_erase().await, 3, events);
    // A run that ends in the middle continues there.
    let stopped = runner(&store);
    stopped.control().throttle_next(NonZeroU32::new(2));
    let control = stopped.control();
    let stop = async {
        while control.progress().counts.erased == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        control.cancel();
    };
    let (stopped, ()) = tokio::join!(stopped.erase(), stop);
    assert_eq!(stopped.state, Some(RunState::Cancelled), "{stopped}");
    let resumed = runner(&store).resume(stopped.run.unwrap()).await;
    is_done(&resumed, 3, events);
    assert_eq!(
        (resumed.skipped_by.held, resumed.skipped),
        (1, 1),
        "{resumed}"
    );
    let first = store
        .read_all(identity::<OrderV1>(2).stream_id(), 0, 1)
        .await;
    assert_eq!(first.unwrap()[0].event_type, MIGRATED);
    let state = load::<OrderV2, _>(&store, 2).await.unwrap();
    assert_eq!(state, order_v1_to_v2(v1));
}

/// Conflicts are only with writers of the same process, and no event is lost.
async fn writers_continue_meanwhile(store: impl Store) {
    for n in 0..ORDERS {
        place(&store, &store, n).await.unwrap();
    }
    runner(&store).run().await;
    let mut order = open(&store, 30).await;
    let append = async {
        for _ in 0..50 {
            order.append(&[OrderEvent::Paid { euro: 1 }]).await.unwrap();
        }
    };
    let erasing = runner(&store).chunk_processes(4);
    let (report, ()) = tokio::join!(erasing.erase(), append);
    is_done(&report, ORDERS, old_events(0..ORDERS));
    let loaded = load::<OrderV2, _>(&store, 30).await.unwrap();
    assert_eq!(loaded, *order.state());
}

/// To see it fail: let `may_be_before` or `newer` find nothing.
async fn what_was_erased_of_a_run_before_is_missed(store: impl Store) {
    for n in 0..ORDERS {
        place(&store, &store, n).await.unwrap();
    }
    let first =
        Selection::all().streams((0..10).map(|n| identity::<OrderV1>(n).stream_id().clone()));
    let some = runner(&store).select(first).run().await.run.unwrap();
    let rest = runner(&store).run().await.run.unwrap();
    let registry = MigrationRegistry::builder()
        .with(OrderV1ToV2Migration)
        .with(OrderV2ToV3Migration)
        .build()
        .unwrap();
    let newer = || MigrationRunner::new(registry.clone(), store.clone(), store.clone());
    let one = identity::<OrderV1>(5).stream_id().clone();
    let of_one = Selection::all().streams([one]);
    is_done(&newer().select(of_one).erase().await, 1, history(5).len());
    let failed = |report: &MigrationReport| {
        let erased = report.failed_by_class.get(&FailureClass::Erased).copied();
        assert_eq!(erased.unwrap_or_default(), report.error_count, "{report}");
        report.error_count
    };
    // The other run was for the version before.
    for (run, gone) in [(some, 1), (rest, 0)] {
        assert_eq!(failed(&newer().verify(Some(run)).await), gone);
    }

    let further = newer().run().await;
    assert_eq!(further.migrated, ORDERS as usize, "{further}");
    // A program that does not know a version leaves the events to one that does.
    let older = runner(&store).erase().await;
    let newer_than = FailureClass::NewerThanProgram;
    assert_eq!(
        older.failed_by_class[&newer_than], ORDERS as usize,
        "{older}"
    );
    assert_eq!((older.migrated, older.erased), (0, 0), "{older}");
    let events = old_events(0..ORDERS) - history(5).len() + ORDERS as usize;
    is_done(&newer().erase().await, ORDERS, events);
    for run in [some, rest] {
        for report in [
            newer().verify(Some(run)).await,
            newer().dry_undo(run).await,
            newer().undo(run).await,
            newer().redo(run).await,
        ] {
            assert_eq!(failed(&report), ORDERS as usize, "{report}");
        }
    }
}

macro_rules! in_memory_and_on_disk {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(MemoryStore::new()).await;
            })*
        }

        mod on_disk {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let disk = OnDisk::new().await.unwrap();
                super::$name(SlateDbStore::clone(&disk)).await;
            })*
        }
    };
}

in_memory_and_on_disk! {
    what_no_replay_reads_is_removed,
    a_long_history_is_removed_in_parts,
    writers_continue_meanwhile,
    what_was_erased_of_a_run_before_is_missed,
}
