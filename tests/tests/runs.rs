//! A run is an object of its store: what it was to do, who began it, how far
//! it is, what failed, and what became of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use state_migration::{
    Decision, ErrorKind, EventStore, Failure, FailureClass, MemoryStore, MigrationReport,
    MigrationRunner, NewEvent, RunControl, RunKind, RunRecord, RunState, Runs, Selection, Stage,
    WorkflowId,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::jobs::{
    JobEvent, Store, Upgrade, WATCHED, append, applied, at_v2, event, put, put_at, put_fated,
    stream, version,
};
use state_migration_tests::stores::OnDisk;

macro_rules! over_both_stores {
    ($($scenario:ident),+ $(,)?) => {
        mod in_memory {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $scenario() {
                    super::$scenario(state_migration::MemoryStore::new()).await;
                }
            )+
        }
        mod on_disk {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $scenario() {
                    let disk = state_migration_tests::stores::OnDisk::new().await.unwrap();
                    super::$scenario((*disk).clone()).await;
                }
            )+
        }
    };
}

over_both_stores![
    a_run_is_recorded_with_who_why_plan_and_end,
    counts_by_reason_are_those_of_the_report,
    a_cancelled_run_lets_the_store_go_and_is_finished_by_another_execution,
    a_run_goes_on_with_other_code_only_when_forced,
    what_cannot_be_resumed_or_retried_is_refused,
    a_resumed_run_keeps_its_selection_and_options,
    a_retry_is_for_what_failed_and_for_nothing_else,
    a_retry_says_of_a_process_without_a_route_that_it_has_none,
    a_process_that_is_skipped_is_left_alone_until_it_is_put_back,
    skipping_a_process_that_no_route_is_for_silences_its_error,
    skipping_lasts_over_an_append_and_needs_a_process,
    a_limit_holds_over_all_executions_of_a_run,
    what_is_over_is_decided_once,
];

fn runs(store: &impl Store) -> Runs {
    Runs::of(store).unwrap()
}

async fn record(store: &impl Store, report: &MigrationReport) -> RunRecord {
    let record = runs(store).get(report.run.unwrap()).await.unwrap();
    record.unwrap()
}

async fn failures(store: &impl Store, report: &MigrationReport) -> Vec<Failure> {
    let runs = runs(store);
    runs.failures(report.run.unwrap(), None, None, usize::MAX)
        .await
        .unwrap()
}

/// How many conversions there are before the run is told something.
type Told = Arc<OnceLock<RunControl>>;

/// A migration that refuses some jobs, and cancels its run after a while.
fn cancelling_after(
    count: u64,
    refused: impl Fn(u64) -> bool + Send + Sync + 'static,
) -> (Upgrade, Told) {
    let told = Told::default();
    let (control, so_far) = (told.clone(), std::sync::atomic::AtomicU64::new(0));
    let upgrade = Upgrade::with(move |job| {
        let done = so_far.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        if let (true, Some(control)) = (done == count, control.get()) {
            control.cancel();
        }
        match refused(job.n) {
            true => Err("not this one".into()),
            false => Ok(()),
        }
    });
    (upgrade, told)
}

/// Takes out: `chunk.put_row(rows::run(record.id), …)` in `Ledger::end`, and
/// the state stays at running; `claim.runs += 1`, and the second run has no
/// number of its own.
async fn a_run_is_recorded_with_who_why_plan_and_end(store: impl Store) {
    for n in 0..6 {
        put(&store, n).await.unwrap();
    }
    let runner = Upgrade::refusing(|n| n == 3)
        .fingerprint(7)
        .runner(&store)
        .who("Ada")
        .why("the new tariffs");
    let plan = runner.plan().unwrap();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::DoneWithErrors), "{report}");
    let first = record(&store, &report).await;
    assert_eq!(Some(first.id), report.run);
    assert_eq!((first.number, first.executions), (1, 1));
    assert_eq!(first.kind, RunKind::Migrate);
    assert_eq!(
        (first.who.as_str(), first.why.as_str()),
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
        let report = upgrade.runner(&store).who(format!("{round}")).run().await;
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
        assert_eq!(after[round].who, format!("{round}"));
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
    // Two that are over.
    for n in [11, 12] {
        let over = event("v1", &JobEvent::Over).unwrap();
        append(&store, &stream(n), vec![over]).await.unwrap();
    }
    // Three that an operator holds, one of which is nobody's.
    put_at(&store, 41, "v0", "").await.unwrap();
    put_at(&store, 42, "v0", "").await.unwrap();
    for n in [20, 21, 41] {
        runs(&store).skip(&stream(n), "Ada", "later").await.unwrap();
    }
    // Another workflow, and a stream that is no process.
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
        .full_count(true)
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

/// Each stream is counted once, whatever it is left alone for.
///
/// Takes out: that `Due` leaves to a full count what is not selected.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_count_counts_what_is_not_selected_once() {
    let store = MemoryStore::new();
    for n in 0..200 {
        put(&store, n).await.unwrap();
    }
    let share = Selection::all().percent(30.0);
    let selected = (0..200).filter(|n| share.selects(&stream(*n))).count();
    assert!((20..100).contains(&selected));
    for full_count in [false, true] {
        let runner = Upgrade::new().runner(&store).select(share.clone());
        let report = runner.full_count(full_count).dry_run().await;
        assert_eq!(report.migrated, selected);
        assert_eq!(report.skipped_by.not_selected, 200 - selected, "{report}");
    }
}

/// Takes out: `ledger.put_failure` in `commit::chunk`.
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
            let after = all.last().map(|failure| failure.error.stream_id.clone());
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
            .all(|pair| pair[0].error.stream_id < pair[1].error.stream_id)
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

/// Takes out: `failed_before`, and what failed is converted again;
/// `claim.holder = None` in `Ledger::end`, and the store stays claimed.
async fn a_cancelled_run_lets_the_store_go_and_is_finished_by_another_execution(store: impl Store) {
    const JOBS: u64 = 120;
    for n in 0..JOBS {
        put(&store, n).await.unwrap();
    }
    // Else the first chunks all note that jobs stand at v2 now, and conflict.
    put_at(&store, JOBS, "v2", "").await.unwrap();
    let refused = |n| n % 10 == 7;
    let (upgrade, told) = cancelling_after(40, refused);
    let seen = upgrade.seen();
    let runner = upgrade.runner(&store).chunk_processes(5);
    told.set(runner.control()).ok().unwrap();
    let cancelled = runner.run().await;
    assert_eq!(cancelled.state, Some(RunState::Cancelled), "{cancelled}");
    assert!(
        cancelled.migrated > 0 && cancelled.migrated < 90,
        "{cancelled}"
    );
    let looked_at = seen.all();
    assert_eq!(
        looked_at.len(),
        cancelled.migrated + cancelled.error_count,
        "what was in hand was finished"
    );
    let first = record(&store, &cancelled).await;
    assert_eq!(first.state, RunState::Cancelled);
    assert!(first.ended.is_some());
    assert_eq!(runs(&store).claimed_by().await.unwrap(), None);

    let upgrade = Upgrade::refusing(refused);
    let seen_again = upgrade.seen();
    let report = upgrade.runner(&store).resume(first.id).await;
    assert_eq!(report.state, Some(RunState::DoneWithErrors), "{report}");
    assert_eq!(report.run, Some(first.id));
    // Of the run as a whole.
    let failed = (JOBS / 10) as usize;
    assert_eq!(
        (report.migrated, report.error_count),
        (JOBS as usize - failed, failed),
        "{report}"
    );
    assert_eq!(report.errors.len(), failed);
    for n in 0..JOBS {
        assert_eq!(
            (seen.of(n) + seen_again.of(n), n),
            (1, n),
            "each is converted once"
        );
    }
    let record = record(&store, &report).await;
    assert_eq!((record.executions, record.number), (2, 1));
    assert_eq!(record.started, first.started);
    assert!(record.ended >= first.ended);
    assert_eq!(runs(&store).list().await.unwrap().len(), 1);
    let counts = runs(&store).counts(record.id).await.unwrap();
    assert_eq!(
        (counts.migrated, counts.failed),
        (JOBS - JOBS / 10, JOBS / 10)
    );
    assert_eq!(failures(&store, &report).await.len(), failed);
    assert_eq!(at_v2(&store, 0..JOBS).await.unwrap().len(), report.migrated);
}

/// A run that was cancelled after a few of so many jobs.
async fn cancelled(store: &impl Store, jobs: u64) -> MigrationReport {
    for n in 0..jobs {
        put(store, n).await.unwrap();
    }
    let (upgrade, told) = cancelling_after(3, |_| false);
    let runner = upgrade.runner(store).chunk_processes(1);
    told.set(runner.control()).ok().unwrap();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    assert!(report.migrated < jobs as usize);
    report
}

fn refused_as_run(report: &MigrationReport) -> String {
    assert_eq!((report.migrated, report.error_count), (0, 1), "{report}");
    assert_eq!((report.run, report.state), (None, None), "{report}");
    let error = &report.errors[0];
    assert_eq!(error.stream_id.as_str(), "(run)");
    assert_eq!(
        (error.stage, error.class),
        (Stage::Planning, FailureClass::Run)
    );
    error.message.clone()
}

/// Takes out: the comparison of fingerprints in `MigrationRunner::resumed`.
async fn a_run_goes_on_with_other_code_only_when_forced(store: impl Store) {
    let begun = cancelled(&store, 30).await;
    let id = begun.run.unwrap();
    let before = store.all_rows().await.unwrap();
    let planned = record(&store, &begun).await.plan.fingerprint;
    let other = Upgrade::new().fingerprint(2).runner(&store);
    let now = other.plan().unwrap().fingerprint;
    assert_ne!(planned, now);
    let message = refused_as_run(&other.resume(id).await);
    assert!(message.contains(&planned.to_string()), "{message}");
    assert!(message.contains(&now.to_string()), "{message}");
    assert_eq!(store.all_rows().await.unwrap(), before);

    let report = other.force(true).resume(id).await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!(report.migrated, 30);
    let record = record(&store, &report).await;
    assert_eq!(record.plan.fingerprint, now, "what it went on with");
}

/// Takes out: the checks of `resumable`, and of `Wanted::Retry`.
async fn what_cannot_be_resumed_or_retried_is_refused(store: impl Store) {
    put(&store, 1).await.unwrap();
    let report = Upgrade::refusing(|_| true).runner(&store).run().await;
    let done = report.run.unwrap();
    let before = store.all_rows().await.unwrap();
    let unknown = state_migration::RunId::random();
    let runner = Upgrade::refusing(|_| true).runner(&store).force(true);
    let message = refused_as_run(&runner.resume(unknown).await);
    assert_eq!(
        message,
        format!("the store has not seen run {unknown}; look up the id in its history of runs")
    );
    let message = refused_as_run(&runner.retry(unknown, &[]).await);
    assert!(message.contains(&format!("has not seen run {unknown}")));
    let message = refused_as_run(&runner.resume(done).await);
    assert_eq!(
        message,
        format!(
            "run {done} is done with errors, so there is nothing to resume; start a new run, or retry its failures"
        )
    );
    assert_eq!(store.all_rows().await.unwrap(), before);
}

/// Takes out: the lines of `MigrationRunner::resumed` that set the run from the record.
async fn a_resumed_run_keeps_its_selection_and_options(store: impl Store) {
    for n in 0..40 {
        put(&store, n).await.unwrap();
    }
    put_at(&store, 40, "v2", "").await.unwrap();
    // The first twenty, of which each is converted twice.
    let selection = Selection::all().streams((0..20).map(stream));
    let (upgrade, told) = cancelling_after(9, |_| false);
    let seen = upgrade.seen();
    let runner = upgrade
        .runner(&store)
        .select(selection.clone())
        .run_code_twice(true)
        .deadline(std::time::Duration::from_secs(33))
        .chunk_processes(1);
    told.set(runner.control()).ok().unwrap();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    let begun = record(&store, &report).await;
    assert_eq!(begun.plan.selection, selection);
    assert!(begun.plan.options.twice);
    assert_eq!(begun.plan.options.deadline_ms, 33_000);

    let upgrade = Upgrade::new();
    let seen_again = upgrade.seen();
    let runner = upgrade
        .runner(&store)
        .select(Selection::all().streams((20..40).map(stream)));
    let report = runner.resume(begun.id).await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!(report.migrated, 20);
    assert_eq!(
        at_v2(&store, 0..40).await.unwrap(),
        (0..20).collect::<Vec<_>>()
    );
    for n in 0..20 {
        assert_eq!((seen.of(n) + seen_again.of(n), n), (2, n));
    }
    let record = record(&store, &report).await;
    assert_eq!(record.plan, begun.plan);
}

/// Takes out: `Source::Failures` (a retry goes through the index then), or the
/// classes in `history::failures`, or the attempt in `Ledger::put_failure`.
async fn a_retry_is_for_what_failed_and_for_nothing_else(store: impl Store) {
    for n in 0..30 {
        let fate = if n % 10 == 1 { "panics in apply" } else { "" };
        put_fated(&store, n, fate).await.unwrap();
    }
    let refusing = || Upgrade::refusing(|n| n % 10 == 2);
    let first = refusing().runner(&store).run().await;
    assert_eq!((first.migrated, first.error_count), (24, 6), "{first}");
    let first_id = first.run.unwrap();
    // Some more are due by now.
    for n in 30..35 {
        put(&store, n).await.unwrap();
    }
    // Still the same code, of one class: these fail again.
    let again = refusing()
        .runner(&store)
        .retry(first_id, &[FailureClass::Refused])
        .await;
    assert_eq!((again.migrated, again.error_count), (0, 3), "{again}");
    assert_eq!(again.state, Some(RunState::DoneWithErrors));
    let kept = record(&store, &again).await;
    assert_eq!(
        kept.kind,
        RunKind::Retry {
            of: first_id,
            classes: vec![FailureClass::Refused]
        }
    );
    assert_eq!(kept.number, 2);
    let attempts = |failures: Vec<Failure>| -> Vec<(String, u32)> {
        let of = |f: Failure| (f.error.stream_id.to_string(), f.attempt);
        failures.into_iter().map(of).collect()
    };
    let expected = |attempt| -> Vec<(String, u32)> {
        [2, 12, 22]
            .into_iter()
            .map(|n| (stream(n).to_string(), attempt))
            .collect()
    };
    assert_eq!(attempts(failures(&store, &again).await), expected(2));
    // A retry of the retry.
    let third = refusing().runner(&store).retry(kept.id, &[]).await;
    assert_eq!((third.migrated, third.error_count), (0, 3), "{third}");
    assert_eq!(attempts(failures(&store, &third).await), expected(3));
    // What the first run says does not change.
    assert_eq!(failures(&store, &first).await.len(), 6);
    // Code that is right, for one class.
    let upgrade = Upgrade::new();
    let seen = upgrade.seen();
    let runner = upgrade.runner(&store);
    let right = runner.retry(first_id, &[FailureClass::Refused]).await;
    assert_eq!((right.migrated, right.error_count), (3, 0), "{right}");
    assert_eq!(right.state, Some(RunState::Done));
    assert_eq!(seen.all(), BTreeMap::from([(2, 1), (12, 1), (22, 1)]));
    // All classes: those that are done by now are counted, and left alone.
    let rest = runner.retry(first_id, &[]).await;
    assert_eq!((rest.migrated, rest.error_count), (0, 3), "{rest}");
    assert_eq!(rest.skipped_by.already_there, 3, "{rest}");
    assert_eq!(seen.total(), 3);
    for n in 30..35 {
        assert_eq!(
            version(&store, n).await.unwrap(),
            "v1",
            "{n} is due, not a failure"
        );
    }
    // An operator's word counts here too.
    runs(&store)
        .skip(&stream(1), "Ada", "by hand")
        .await
        .unwrap();
    let held = runner.retry(first_id, &[FailureClass::Panic]).await;
    assert_eq!((held.skipped_by.held, held.error_count), (1, 2), "{held}");
}

/// Takes out: the failure of a process at a version without a route in
/// `fold_and_convert_all`; the run is done then, and has decided nothing.
async fn a_retry_says_of_a_process_without_a_route_that_it_has_none(store: impl Store) {
    put(&store, 1).await.unwrap();
    put_at(&store, 2, "v0", "").await.unwrap();
    let first = Upgrade::new().runner(&store).run().await;
    assert_eq!((first.migrated, first.error_count), (1, 1), "{first}");
    let again = Upgrade::new()
        .runner(&store)
        .retry(first.run.unwrap(), &[])
        .await;
    assert_eq!((again.migrated, again.error_count), (0, 1), "{again}");
    assert_eq!(again.errors, first.errors);
    assert_eq!(again.state, Some(RunState::DoneWithErrors));
    assert_eq!(failures(&store, &again).await[0].attempt, 2);
}

/// Takes out: `Decision::Skipped` in `Due::left_alone`.
async fn a_process_that_is_skipped_is_left_alone_until_it_is_put_back(store: impl Store) {
    for n in 0..10 {
        put(&store, n).await.unwrap();
    }
    let runs = runs(&store);
    runs.skip(&stream(4), "Ada", "its customer is moving")
        .await
        .unwrap();
    let Decision::Skipped { who, why } = runs.decision(&stream(4)).await.unwrap() else {
        panic!("it is skipped");
    };
    assert_eq!((&*who, &*why), ("Ada", "its customer is moving"));
    let of_it = async || {
        let id = b"yard/0000004";
        let mut rows = store.rows().await.unwrap();
        rows.retain(|(key, _)| key.windows(id.len()).any(|part| part == id));
        rows
    };
    let before = of_it().await;
    assert_eq!(before.len(), 4, "two events, the head and the index");
    let upgrade = Upgrade::new();
    let seen = upgrade.seen();
    let runner = upgrade.runner(&store);
    for migrated in [9, 0] {
        let report = runner.run().await;
        assert_eq!(
            (report.migrated, report.error_count),
            (migrated, 0),
            "{report}"
        );
        assert_eq!(report.skipped_by.held, 1, "{report}");
        assert_eq!(report.state, Some(RunState::Done));
    }
    assert_eq!(seen.of(4), 0);
    assert_eq!(of_it().await, before);
    runs.unskip(&stream(4)).await.unwrap();
    assert_eq!(runs.decision(&stream(4)).await.unwrap(), Decision::None);
    let report = runner.run().await;
    assert_eq!(
        (report.migrated, report.skipped_by.held),
        (1, 0),
        "{report}"
    );
    assert_eq!(version(&store, 4).await.unwrap(), "v2");
}

/// Takes out: `report_strays` going through `Due`.
async fn skipping_a_process_that_no_route_is_for_silences_its_error(store: impl Store) {
    put(&store, 1).await.unwrap();
    put_at(&store, 2, "v9", "").await.unwrap();
    let report = Upgrade::new().runner(&store).run().await;
    assert_eq!((report.migrated, report.error_count), (1, 1), "{report}");
    runs(&store)
        .skip(&stream(2), "Ada", "of a program that is gone")
        .await
        .unwrap();
    let report = Upgrade::new().runner(&store).run().await;
    assert_eq!(
        (report.error_count, report.skipped_by.held),
        (0, 1),
        "{report}"
    );
    assert_eq!(report.state, Some(RunState::Done));
}

/// Takes out: that an append leaves the index row as it is (it ends what is
/// said of a process that is over, and only that).
async fn skipping_lasts_over_an_append_and_needs_a_process(store: impl Store) {
    put(&store, 1).await.unwrap();
    let runs = runs(&store);
    runs.skip(&stream(1), "Ada", "later").await.unwrap();
    let step = || vec![event("v1", &JobEvent::Step).unwrap()];
    append(&store, &stream(1), step()).await.unwrap();
    append(&store, &stream(1), step()).await.unwrap();
    assert!(matches!(
        runs.decision(&stream(1)).await.unwrap(),
        Decision::Skipped { .. }
    ));
    let report = Upgrade::new().runner(&store).run().await;
    assert_eq!(
        (report.migrated, report.skipped_by.held),
        (0, 1),
        "{report}"
    );
    let before = store.all_rows().await.unwrap();
    for refused in [
        runs.skip(&stream(2), "Ada", "later").await,
        runs.unskip(&stream(2)).await,
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), &ErrorKind::Invalid);
        assert_eq!(
            refused.to_string(),
            format!(
                "stream {} has no events, so there is nothing to decide about; check its id",
                stream(2)
            )
        );
    }
    assert_eq!(store.all_rows().await.unwrap(), before);
    assert_eq!(runs.decision(&stream(2)).await.unwrap(), Decision::None);
}

/// Takes out: `so_far` in `Execution::pass`, and each execution takes as many
/// again; the cursor (`row.at` in `commit::chunk`), and the one that is held is
/// counted again.
async fn a_limit_holds_over_all_executions_of_a_run(store: impl Store) {
    for n in 10..60 {
        put(&store, n).await.unwrap();
    }
    // Of no concern to the limit: nothing is done about them.
    for n in 0..4 {
        put_at(&store, n, "v0", "").await.unwrap();
    }
    runs(&store)
        .skip(&stream(10), "Ada", "later")
        .await
        .unwrap();
    let (upgrade, told) = cancelling_after(3, |n| n == 12);
    let runner = upgrade
        .runner(&store)
        .select(Selection::all().first(20))
        .chunk_processes(2);
    told.set(runner.control()).ok().unwrap();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    assert_eq!(
        (report.migrated, report.error_count),
        (3, 1 + 4),
        "{report}"
    );
    let report = Upgrade::refusing(|n| n == 12)
        .runner(&store)
        .resume(report.run.unwrap())
        .await;
    assert_eq!(
        (report.migrated, report.error_count),
        (19, 1 + 4),
        "{report}"
    );
    assert_eq!(report.skipped_by.held, 1, "{report}");
    assert_eq!(report.state, Some(RunState::DoneWithErrors));
    assert_eq!(
        at_v2(&store, 10..60).await.unwrap(),
        (11..31).filter(|n| *n != 12).collect::<Vec<_>>()
    );
}

/// Takes out: `chunk.decide(…, Decision::Finished)` in `commit::chunk`, and
/// each run folds them again; `Decision::Finished` ended by an append, and the
/// one that went on is never seen again.
async fn what_is_over_is_decided_once(store: impl Store) {
    static BASE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(WATCHED);
    let base = BASE.fetch_add(1_000, std::sync::atomic::Ordering::SeqCst);
    let over = || vec![event("v1", &JobEvent::Over).unwrap()];
    for n in base..base + 40 {
        put(&store, n).await.unwrap();
        append(&store, &stream(n), over()).await.unwrap();
    }
    let folded = || (base..base + 40).map(applied).sum::<u64>();
    let runner = Upgrade::new()
        .runner(&store)
        .select(Selection::all().in_flight());
    let rows_of_a_run = async || {
        let before = store.count_of_rows_read();
        let report = runner.run().await;
        assert_eq!((report.migrated, report.error_count), (0, 0), "{report}");
        assert_eq!(report.skipped_by.finished, 40, "{report}");
        assert_eq!(report.state, Some(RunState::Done));
        store.count_of_rows_read() - before
    };
    assert_eq!(folded(), 0);
    let first = rows_of_a_run().await;
    assert_eq!(folded(), 120);
    let second = rows_of_a_run().await;
    assert_eq!(folded(), 120, "none is folded again");
    assert!(
        second + 120 < first,
        "{first} rows, then {second}: no event is read again"
    );
    // One goes on, however over it is.
    let step = event("v1", &JobEvent::Step).unwrap();
    append(&store, &stream(base + 7), vec![step]).await.unwrap();
    assert_eq!(
        runs(&store).decision(&stream(base + 7)).await.unwrap(),
        Decision::None
    );
    rows_of_a_run().await;
    assert_eq!(folded(), 124, "one is looked at again");
    assert_eq!(applied(base + 7), 7);
    // A run for all of them takes them as well.
    let report = Upgrade::new().runner(&store).run().await;
    assert_eq!((report.migrated, report.skipped), (40, 0), "{report}");
}

/// Takes out: the refusal in `MigrationRunner::start` for separate stores.
#[tokio::test(flavor = "multi_thread")]
async fn over_separate_handles_no_run_is_kept() {
    let store = MemoryStore::new();
    for n in 0..5 {
        put(&store, n).await.unwrap();
    }
    let apart = Faulty::over(store.clone());
    let runner = MigrationRunner::new(Upgrade::refusing(|n| n == 2), apart.clone(), apart.clone());
    assert!(runner.runs().is_none());
    assert!(Runs::of(&apart).is_none());
    let report = runner.run().await;
    assert_eq!((report.migrated, report.error_count), (4, 1), "{report}");
    assert_eq!(report.state, None);
    let run = report.run.unwrap();
    for report in [runner.resume(run).await, runner.retry(run, &[]).await] {
        let message = refused_as_run(&report);
        assert!(message.contains("separate stores"), "{message}");
        assert!(message.ends_with("run again, which does what is left"));
    }
    assert!(store.transactional().is_some());
    assert_eq!(Runs::of(&store).unwrap().list().await.unwrap(), []);
}
