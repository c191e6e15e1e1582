//! The stores that format 2, the first one that is released, wrote stay readable,
//! whatever comes later.

use std::path::Path;

use state_migration::{
    Error, ErrorKind, EventStore, FailureClass, Head, MigrationRegistry, MigrationRunner,
    ProcessRegistry, RunKind, RunState, Runs, SlateDbReader, SlateDbStore, SnapshotStore,
    TransactionalStore, WorkflowId,
};
use state_migration_tests::orders::{
    OrderV1, OrderV2, OrderV3, StateV2, UNTAXABLE, folded, history, identity, keys, load,
    order_v1_to_v2, order_v2_to_v3, tenant,
};
use state_migration_tests::stores::{contents, copy, dump};

/// A copy of a frozen store, since opening a database writes to it.
fn thawed(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(
        &Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).join(name),
        folder.path(),
    )
    .unwrap();
    folder
}

/// The state of order `n` under v2: order 0 went on.
fn state_v2(n: u64) -> StateV2 {
    let mut state = order_v1_to_v2(folded::<OrderV1>(n));
    state.open_cents -= if n == 0 { 100 } else { 0 };
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_format_2_is_read_and_migrated() {
    let folder = thawed("format-2");
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    let (v1, v2, v3) = (
        WorkflowId::of::<OrderV1>(),
        WorkflowId::of::<OrderV2>(),
        WorkflowId::of::<OrderV3>(),
    );

    // Every table has rows, so each kind of record is read below.
    let rows = dump(&store).await.unwrap();
    let mut tables: Vec<u8> = rows.iter().map(|(key, _)| key[0]).collect();
    tables.dedup();
    assert_eq!(tables, b"behkmoprsw");
    assert!(
        rows.iter().all(|(_, value)| value[0] == 2),
        "every record starts with its format"
    );

    for n in 0..12 {
        let stream = identity::<OrderV1>(n).stream_id().clone();
        let written = history(n).len() as u64;
        let migrated = n < 6;
        let head = store.head(&stream).await.unwrap().unwrap();
        let sequence = written + u64::from(migrated) + u64::from(n == 0 || n == 7);
        let version = if migrated { &v2 } else { &v1 };
        let expected = Head {
            revision: head.revision,
            baseline: migrated.then_some(written + 1),
            finished: n % 5 == 4,
            held: n == 11,
            ..Head::of(sequence, version.clone())
        };
        assert_eq!(head, expected, "order {n}");
        // A change of the head for each append, the migration, and the hold.
        let appends = head.revision - u64::from(migrated) - u64::from(n == 11);
        assert!((1..=written + 1).contains(&appends), "order {n}: {head:?}");
        if migrated {
            assert_eq!(load::<OrderV2, _>(&store, n).await.unwrap(), state_v2(n));
        } else if n != 7 {
            assert_eq!(
                load::<OrderV1, _>(&store, n).await.unwrap(),
                folded::<OrderV1>(n)
            );
        }
        for key in keys(n) {
            let entry = store.lookup(&tenant(), &key).await.unwrap().unwrap();
            assert_eq!(
                (entry.stream_id(), &entry.workflow_id),
                (&stream, &head.workflow_id)
            );
        }
    }
    for (n, version) in [(0, &v2), (6, &v1)] {
        let snapshot = store
            .load(identity::<OrderV1>(n).stream_id())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(snapshot.workflow_id, *version);
    }
    let of_7 = store
        .read_all(identity::<OrderV1>(7).stream_id(), 0, 100)
        .await
        .unwrap();
    let metadata = &of_7.last().unwrap().metadata;
    let read: Vec<_> = metadata
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(read, [("actor", "ann"), ("correlation", "17")]);
    let hold = store
        .held(identity::<OrderV1>(11).stream_id())
        .await
        .unwrap();
    assert_eq!(&*hold.unwrap().reason, "in court");
    let born = store.births(&v1, 10).await.unwrap();
    assert_eq!(born, [identity::<OrderV1>(12).stream_id().clone()]);
    let present = store.versions("order").await.unwrap();
    let closing: Vec<_> = present.iter().map(|at| at.closing.is_some()).collect();
    assert_eq!(closing, [true, false]);
    let notes = store.pending_registry_updates(None, 10).await.unwrap();
    assert_eq!(notes, [identity::<OrderV1>(5).stream_id().clone()]);

    let linked = MigrationRegistry::linked().unwrap();
    let report = MigrationRunner::new(linked, store.clone(), store.clone())
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (12, 0), "{report}");
    assert_eq!(report.skipped_by.held, 1, "{report}");
    for n in (0..11).chain([12]) {
        if n != 7 {
            assert_eq!(
                load::<OrderV3, _>(&store, n).await.unwrap(),
                order_v2_to_v3(state_v2(n)).unwrap()
            );
        }
        if n == 12 {
            continue;
        }
        for key in keys(n) {
            let entry = store.lookup(&tenant(), &key).await.unwrap().unwrap();
            assert_eq!(entry.workflow_id, v3);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runs_of_a_store_of_format_2_are_read_and_resumed() {
    let folder = thawed("format-2-runs");
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    let rows = store.rows(b"", None, 1_000).await.unwrap();
    let mut tables: Vec<u8> = rows.iter().map(|(key, _)| key[0]).collect();
    tables.dedup();
    assert_eq!(tables, b"acefghlnrx", "every kind of row of a run is there");

    let runs = Runs::of(&store).unwrap();
    let history = runs.list().await.unwrap();
    let [lazy, canary, again, all] = &history[..] else {
        panic!("{history:#?}")
    };
    let told = |run: &state_migration::RunRecord| {
        (run.number, run.actor.clone(), run.reason.clone(), run.state)
    };
    let expected =
        |number, who: &str, why: &str, state| (number, who.to_owned(), why.to_owned(), state);
    let failed = RunState::DoneWithErrors;
    assert_eq!(
        told(lazy),
        expected(1, "the service", "as they come", RunState::Done)
    );
    assert_eq!(told(canary), expected(2, "bob", "canary", failed));
    assert_eq!(told(again), expected(3, "bob", "again", failed));
    assert_eq!(told(all), expected(4, "carl", "all", RunState::Cancelled));
    assert_eq!(lazy.kind, RunKind::Lazy);
    assert_eq!(canary.kind, RunKind::Migrate);
    let classes = vec![FailureClass::Refused];
    let of = canary.id;
    assert_eq!(again.kind, RunKind::Retry { of, classes });
    assert!(canary.plan.selection.to_string().contains("in flight"));
    assert!(all.plan.options.check_determinism && !canary.plan.options.check_determinism);
    assert_eq!(runs.claimed_by().await.unwrap(), None);

    let counts = runs.counts(canary.id).await.unwrap();
    assert_eq!((counts.migrated, counts.failed), (2, 1));
    assert_eq!((counts.skipped_by.finished, counts.lazy), (2, 0));
    let counts = runs.counts(lazy.id).await.unwrap();
    assert_eq!((counts.migrated, counts.lazy), (1, 1));
    for (run, attempt) in [(canary, 1), (again, 2)] {
        let failures = runs.failures(run.id, None, None, 10).await.unwrap();
        let [failure] = &failures[..] else {
            panic!("{failures:#?}")
        };
        assert_eq!(failure.error.class, FailureClass::Refused);
        assert_eq!(
            failure.error.subject,
            *identity::<OrderV1>(UNTAXABLE - 1).stream_id()
        );
        assert_eq!(failure.attempt, attempt);
    }
    let hold = runs.held(identity::<OrderV1>(3).stream_id()).await.unwrap();
    let hold = hold.unwrap();
    assert_eq!((&*hold.actor, &*hold.reason), ("ann", "in court"));
    for (n, finished_by) in [(4, true), (5, false), (9, true)] {
        let head = store.head(identity::<OrderV1>(n).stream_id()).await;
        let head = head.unwrap().unwrap();
        assert_eq!(head.finished_by.is_some(), finished_by, "order {n}");
    }

    let linked = MigrationRegistry::linked().unwrap();
    let runner = MigrationRunner::new(linked, store.clone(), store.clone());
    // The code need not be that of then.
    let runner = runner.force(true);
    let report = runner.resume(all.id).await;
    // All but the two of the canary, the one that was opened, the one in court
    // and the one that fails.
    assert_eq!((report.migrated, report.error_count), (8, 1), "{report}");
    assert_eq!(report.skipped_by.held, 1);
    let record = runs.get(all.id).await.unwrap().unwrap();
    assert_eq!((record.state, record.executions), (failed, 2));
}

/// Of each word one: what `every_word_that_bookkeeping_can_say_is_frozen` counts.
#[tokio::test(flavor = "multi_thread")]
async fn all_that_the_runs_of_a_store_of_format_2_can_say_is_read() {
    let folder = thawed("format-2-words");
    let refused = SlateDbStore::open_local_unless_claimed(folder.path()).await;
    let refused = refused.map(drop).unwrap_err();
    assert!(
        matches!(refused.kind(), ErrorKind::Claimed { .. }),
        "{refused}"
    );
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    let runs = Runs::of(&store).unwrap();
    let history = runs.list().await.unwrap();
    let (real, others) = history.split_first().unwrap();
    assert_eq!((real.number, real.state), (1, RunState::DoneWithErrors));
    let classes = FailureClass::ALL.to_vec();
    let of = real.id;
    let kinds = [
        RunKind::Migrate,
        RunKind::Lazy,
        RunKind::Retry { of, classes },
        RunKind::Undo { of },
        RunKind::Redo { of },
        RunKind::Erase,
    ];
    let states = [
        RunState::Planned,
        RunState::Running,
        RunState::Paused,
        RunState::Cancelled,
        RunState::Done,
        RunState::DoneWithErrors,
    ];
    let expected = kinds
        .iter()
        .flat_map(|kind| states.map(|state| (kind, state)));
    let read: Vec<_> = others.iter().map(|run| (&run.kind, run.state)).collect();
    assert_eq!(read, expected.collect::<Vec<_>>());
    assert!(
        others[1..]
            .iter()
            .zip(others)
            .all(|(run, before)| run.took_over == Some(before.id))
    );

    let last = others.last().unwrap();
    let failures = runs.failures(last.id, None, None, 100).await.unwrap();
    let read = failures.iter().map(|failure| failure.error.class);
    assert!(read.eq(FailureClass::ALL));
    assert_eq!(runs.claimed_by().await.unwrap(), Some(last.id));
    // Two ranges, each a copy of what the real run counted in its first.
    let counts = runs.counts(last.id).await.unwrap();
    assert!(counts.processes() > 0 && counts.processes() % 2 == 0);
}

/// Opens a store in each way, and returns what each says against it. Not a byte
/// of it changes.
async fn refused(name: &str) -> Vec<Error> {
    let folder = thawed(name);
    let folder = folder.path();
    let before = contents(folder).unwrap();
    let refused = [
        SlateDbStore::open_local(folder).await.map(drop),
        SlateDbStore::open_local_unless_claimed(folder)
            .await
            .map(drop),
        SlateDbStore::local_builder(folder)
            .unwrap()
            .open_unless_in_use()
            .await
            .map(drop),
        SlateDbReader::open_local(folder).await.map(drop),
    ];
    assert_eq!(contents(folder).unwrap(), before);
    let folder = folder.display().to_string();
    let errors = refused.map(Result::unwrap_err);
    for error in &errors {
        assert!(error.to_string().contains(&folder), "{error}");
    }
    errors.into()
}

/// A release that came back after a newer one had been there.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_format_3_is_refused_and_not_a_byte_of_it_changes() {
    for error in refused("format-3").await {
        assert_eq!(*error.kind(), ErrorKind::NewerFormat, "{error}");
        let why = "the store has format 3, but this release reads formats up to 2; upgrade \
                   state-migration";
        assert!(error.to_string().ends_with(why), "{error}");
    }
}

/// The format before the first release.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_format_1_is_refused_and_not_a_byte_of_it_changes() {
    for error in refused("format-1").await {
        assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
        let why = "the store has format 1, which no release of this crate wrote; import its \
                   events into a new store";
        assert!(error.to_string().ends_with(why), "{error}");
    }
}
