//! The store that the first format wrote stays readable, whatever comes later.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;

use state_migration::{
    Decision, ErrorKind, EventStore, FailureClass, Head, MigrationRegistry, MigrationRunner,
    ProcessRegistry, RunKind, RunState, Runs, SlateDbReader, SlateDbStore, SnapshotStore,
    StreamRange, TransactionalStore, WorkflowId,
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
async fn a_store_of_format_1_is_read_and_migrated() {
    let folder = thawed("format-1");
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
    assert_eq!(tables, b"ehkmprsvw");
    assert!(
        rows.iter().all(|(_, value)| value[0] == 1),
        "every record starts with its format"
    );

    for n in 0..12 {
        let stream = identity::<OrderV1>(n).stream_id().clone();
        let written = history(n).len() as u64;
        let migrated = n < 6;
        let head = store.head(&stream).await.unwrap().unwrap();
        let expected = Head {
            sequence: written + u64::from(migrated) + u64::from(n == 0),
            workflow_id: if migrated { v2.clone() } else { v1.clone() },
            baseline: migrated.then_some(written + 1),
            finished: n % 5 == 4,
            held: false,
        };
        assert_eq!(head, expected, "order {n}");
        if migrated {
            assert_eq!(load::<OrderV2, _>(&store, n).await.unwrap(), state_v2(n));
        } else {
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
    let notes = store.remembered(None, 10).await.unwrap();
    assert_eq!(notes, [identity::<OrderV1>(5).stream_id().clone()]);

    let linked = MigrationRegistry::linked().unwrap();
    let report = MigrationRunner::new(linked, store.clone(), store.clone())
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (12, 0), "{report}");
    for n in 0..12 {
        assert_eq!(
            load::<OrderV3, _>(&store, n).await.unwrap(),
            order_v2_to_v3(state_v2(n)).unwrap()
        );
        for key in keys(n) {
            let entry = store.lookup(&tenant(), &key).await.unwrap().unwrap();
            assert_eq!(entry.workflow_id, v3);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runs_of_a_store_of_format_1_are_read_and_resumed() {
    let folder = thawed("format-1-runs");
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    let rows = store.rows(b"", None, 1_000).await.unwrap();
    let mut tables: Vec<u8> = rows.iter().map(|(key, _)| key[0]).collect();
    tables.dedup();
    assert_eq!(tables, b"cfglr", "every kind of row of a run is there");

    let runs = Runs::of(&store).unwrap();
    let history = runs.list().await.unwrap();
    let [lazy, canary, again, all] = &history[..] else {
        panic!("{history:#?}")
    };
    let told = |run: &state_migration::RunRecord| {
        (run.number, run.who.clone(), run.why.clone(), run.state)
    };
    let expected =
        |number, who: &str, why: &str, state| (number, who.to_owned(), why.to_owned(), state);
    let failed = RunState::DoneWithErrors;
    assert_eq!(
        told(lazy),
        expected(1, "the service", "as they come", RunState::Running)
    );
    assert_eq!(told(canary), expected(2, "bob", "canary", failed));
    assert_eq!(told(again), expected(3, "bob", "again", failed));
    assert_eq!(told(all), expected(4, "carl", "all", RunState::Cancelled));
    assert_eq!(lazy.kind, RunKind::Lazy);
    assert_eq!(canary.kind, RunKind::Migrate);
    let classes = vec![FailureClass::Refused];
    let of = canary.id;
    assert_eq!(again.kind, RunKind::Retry { of, classes });
    assert!(canary.plan.selection.to_string().contains("in flight only"));
    assert!(all.plan.options.twice && !canary.plan.options.twice);
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
            failure.error.stream_id,
            *identity::<OrderV1>(UNTAXABLE - 1).stream_id()
        );
        assert_eq!(failure.attempt, attempt);
    }
    let at_v1 = store
        .streams_at(&WorkflowId::of::<OrderV1>(), &StreamRange::default(), 100)
        .await
        .unwrap();
    for (n, decision) in [
        (
            3,
            Decision::Skipped {
                who: "ann".into(),
                why: "in court".into(),
            },
        ),
        (4, Decision::Finished),
        (5, Decision::None),
        (9, Decision::Finished),
    ] {
        let stream = identity::<OrderV1>(n).stream_id().clone();
        let found = at_v1.iter().find(|process| process.stream == stream);
        assert_eq!(found.unwrap().decision, decision, "order {n}");
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
async fn all_that_the_runs_of_a_store_of_format_1_can_say_is_read() {
    let folder = thawed("format-1-words");
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
    // Four ranges, each a copy of what the real run counted in its first.
    let counts = runs.counts(last.id).await.unwrap();
    assert!(counts.processes() > 0 && counts.processes() % 4 == 0);
}

/// A release that came back after a newer one had been there.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_format_2_is_refused_and_not_a_byte_of_it_changes() {
    let folder = thawed("format-2");
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
    for refused in refused {
        let error = refused.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::NewerFormat, "{error}");
        let why = "the store has format 2, and this version of the crate reads up to 1; upgrade \
                   state-migration";
        assert!(error.to_string().ends_with(why), "{error}");
        assert!(
            error.to_string().contains(&folder.display().to_string()),
            "{error}"
        );
    }
    assert_eq!(contents(folder).unwrap(), before);
}
