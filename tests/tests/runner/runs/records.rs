//! The record of a run in the store, compared with what the run did.

use state_migration::{
    Failure, FailureClass, MemoryStore, NewEvent, RunKind, RunState, Runs, Selection, Stage,
    WorkflowId,
};
use state_migration_tests::scripted_workflow::{
    JobEvent, Store, Upgrade, append, event, put, put_at, put_fated, stream,
};
use state_migration_tests::stores::OnDisk;

use crate::runs::{record, runs};

over_both_stores![
    a_run_is_recorded_with_who_why_plan_and_end,
    counts_by_reason_are_those_of_the_report,
];

/// Takes out: `chunk.put_row(rows::run(record.id), …)` in `RunLog::end`, and
/// the state stays at running; `claim.runs += 1`, and the second run has no
/// number of its own.
async fn a_run_is_recorded_with_who_why_plan_and_end(store: impl Store) {
    for n in 0..6 {
        put(&store, n).await.unwrap();
    }
    let runner = Upgrade::refusing(|n| n == 3)
        .fingerprint(7)
        .runner(&store)
        .actor("Ada")
        .reason("the new tariffs");
    let plan = runner.plan().unwrap();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::DoneWithErrors), "{report}");
    let first = record(&store, &report).await;
    assert_eq!(Some(first.id), report.run);
    assert_eq!((first.number, first.executions), (1, 1));
    assert_eq!(first.kind, RunKind::Migrate);
    assert_eq!(
        (first.actor.as_str(), first.reason.as_str()),
        ("Ada", "the new tariffs")
    );
    assert_eq!(first.plan, plan);
    assert_ne!(first.plan.fingerprint.get(), 0);
    assert_eq!(first.plan.routes.len(), 1);
    assert_eq!(first.plan.routes[0].hops[0].code.get(), 7);
    assert_eq!(first.state, RunState::DoneWithErrors);
    assert_eq!(first.took_over, None);
    assert!(first.ended.unwrap() >= first.started);
    // Another one, and both stay.
    let report = Upgrade::new().runner(&store).run().await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    let second = record(&store, &report).await;
    assert_eq!((second.number, second.state), (2, RunState::Done));
    assert_eq!(runs(&store).list().await.unwrap(), [first, second]);
    assert_eq!(runs(&store).claimed_by().await.unwrap(), None);
    assert_eq!(
        runs(&store)
            .get(state_migration::RunId::random())
            .await
            .unwrap(),
        None
    );
}

/// Takes out: `claim.runs += 1`, and the runs are in no order.
#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_there_when_the_store_is_opened_again() {
    let disk = OnDisk::new().await.unwrap();
    let store = (*disk).clone();
    for n in 0..6 {
        put(&store, n).await.unwrap();
    }
    let mut ids = Vec::new();
    for round in 0..5_u64 {
        let upgrade = Upgrade::refusing(move |n| n > round);
        let report = upgrade.runner(&store).actor(format!("{round}")).run().await;
        let failed = 5 - usize::try_from(round).unwrap();
        assert_eq!((report.migrated, report.error_count), (1, failed));
        ids.push(report.run.unwrap());
    }
    let before = runs(&store).list().await.unwrap();
    drop(store);
    let disk = disk.reopen().await.unwrap();
    let runs = Runs::of(&*disk).unwrap();
    let after = runs.list().await.unwrap();
    assert_eq!(after, before);
    let numbers: Vec<u64> = after.iter().map(|run| run.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert_eq!(after.iter().map(|run| run.id).collect::<Vec<_>>(), ids);
    for (round, id) in ids.into_iter().enumerate() {
        assert_eq!(after[round].actor, format!("{round}"));
        let counts = runs.counts(id).await.unwrap();
        assert_eq!((counts.migrated, counts.failed), (1, 5 - round as u64));
        let failures = runs.failures(id, None, None, 100).await.unwrap();
        assert_eq!(failures.len(), 5 - round);
    }
}

/// Takes out: `row.counts.add(&counts)` in `commit::chunk`.
async fn counts_by_reason_are_those_of_the_report(store: impl Store) {
    for n in 0..6 {
        put(&store, n).await.unwrap();
    }
    let first = Upgrade::new().runner(&store).run().await;
    assert_eq!(first.migrated, 6);
    for n in 10..40 {
        put(&store, n).await.unwrap();
    }
    // Two finished processes.
    for n in [11, 12] {
        let over = event("v1", &JobEvent::Over).unwrap();
        append(&store, &stream(n), vec![over]).await.unwrap();
    }
    // Three held processes, one of which is at a version without a migration.
    put_at(&store, 41, "v0", "").await.unwrap();
    put_at(&store, 42, "v0", "").await.unwrap();
    for n in [20, 21, 41] {
        runs(&store).hold(&stream(n), "Ada", "later").await.unwrap();
    }
    // A process of another workflow, and a stream that does not belong to a process.
    let parcel = NewEvent::new(WorkflowId::new("parcel", "v1"), "Sent", 1, "{}").unwrap();
    append(&store, &stream(50), vec![parcel]).await.unwrap();
    let begun = event(
        "v1",
        &JobEvent::Begun {
            n: 60,
            fate: String::new(),
        },
    );
    let odd = state_migration_tests::orders::id("odd");
    append(&store, &odd, vec![begun.unwrap()]).await.unwrap();

    let report = Upgrade::refusing(|n| n == 30)
        .runner(&store)
        .select(Selection::all().in_flight())
        .count_up_to_date(true)
        .run()
        .await;
    let skipped = report.skipped_by;
    assert_eq!((report.migrated, report.error_count), (26, 2), "{report}");
    assert_eq!((skipped.finished, skipped.held), (2, 3), "{report}");
    assert_eq!(
        (skipped.already_there, skipped.other_workflow),
        (6, 1),
        "{report}"
    );
    assert_eq!((skipped.empty, skipped.not_selected), (0, 0));
    assert_eq!(report.unregistered, 1);
    let counts = runs(&store).counts(report.run.unwrap()).await.unwrap();
    assert_eq!(counts.migrated, report.migrated as u64);
    assert_eq!(counts.failed, report.error_count as u64);
    assert_eq!(counts.skipped_by, report.skipped_by);
    assert_eq!(counts.unregistered, report.unregistered as u64);
    assert_eq!(counts.large, report.large as u64);
    assert_eq!(counts.swept, report.swept as u64);
    assert!(counts.bytes > 0);
    assert_eq!(counts.processes(), 26 + 2 + 2 + 3 + 6 + 1);
}

/// Each stream that is not migrated is counted once.
///
/// The test fails if `Due` also counts the streams that a full count counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_count_counts_what_is_not_selected_once() {
    let store = MemoryStore::new();
    for n in 0..200 {
        put(&store, n).await.unwrap();
    }
    let share = Selection::all().percent(30.0);
    let selected = (0..200).filter(|n| share.selects(&stream(*n))).count();
    assert!((20..100).contains(&selected));
    for count_up_to_date in [false, true] {
        let runner = Upgrade::new().runner(&store).select(share.clone());
        let report = runner.count_up_to_date(count_up_to_date).dry_run().await;
        assert_eq!(report.migrated, selected);
        assert_eq!(report.skipped_by.not_selected, 200 - selected, "{report}");
    }
}

/// Takes out: `run_log.failure` in `commit::chunk`.
#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_a_row_also_beyond_what_a_report_keeps() {
    let store = MemoryStore::new();
    for n in 0..1_600 {
        let fate = if n % 3 == 0 { "panics in apply" } else { "" };
        put_fated(&store, n, fate).await.unwrap();
    }
    let report = Upgrade::refusing(|n| n < 1_500).runner(&store).run().await;
    // Of the last hundred, those that panic.
    let panicking = 1_600_usize.div_ceil(3);
    let refused = 1_500 - 500;
    assert_eq!(report.error_count, panicking + refused, "{report}");
    assert_eq!(report.errors.len(), 1_000);
    assert_eq!(report.migrated, 1_600 - panicking - refused);
    let (runs, run) = (runs(&store), report.run.unwrap());
    let page_through = async |class, limit| {
        let mut all: Vec<Failure> = Vec::new();
        loop {
            let after = all.last().and_then(Failure::stream).cloned();
            let page = runs
                .failures(run, class, after.as_ref(), limit)
                .await
                .unwrap();
            let at_end = page.len() < limit;
            assert!(page.len() <= limit);
            all.extend(page);
            if at_end {
                return all;
            }
        }
    };
    let all = page_through(None, 400).await;
    assert_eq!(all.len(), report.error_count);
    assert!(
        all.windows(2)
            .all(|pair| pair[0].error.subject < pair[1].error.subject)
    );
    for failure in &all {
        assert_eq!(failure.attempt, 1);
        assert_eq!(failure.at, Some(WorkflowId::new("job", "v1")));
    }
    for error in &report.errors {
        assert!(all.iter().any(|failure| failure.error == *error));
    }
    let panics = page_through(Some(FailureClass::Panic), 7).await;
    assert_eq!(panics.len(), panicking);
    for failure in &panics {
        assert_eq!(failure.error.stage, Stage::Folding);
        assert_eq!(failure.error.sequence, Some(2));
        assert!(failure.error.message.contains("a step too far"));
    }
    let refusals = page_through(Some(FailureClass::Refused), 1_000).await;
    assert_eq!(refusals.len(), refused);
    for failure in &refusals {
        assert_eq!(failure.error.stage, Stage::Converting);
        assert_eq!(failure.error.sequence, None);
        assert!(failure.error.message.contains("not this one"));
    }
    assert!(page_through(Some(FailureClass::Busy), 10).await.is_empty());
}
