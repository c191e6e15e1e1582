//! Selections that need more than the heads: a predicate on the state, and the failures
//! of earlier runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use state_migration::{
    ErrorKind, EventStore, FailureClass, MemoryStore, MigrationReport, MigrationRunner, Predicate,
    Predicates, ProcessIdentity, RunId, RunState, Selection, WorkflowId, predicate,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::orders::id;
use state_migration_tests::scripted_workflow::{
    JobEvent, JobV1, JobV2, Store, Upgrade, append, event, put, put_fated, stream,
};

use crate::runs::{cancelling_after, refused_as_run, runs};

over_both_stores![
    a_predicate_selects_by_the_state_before_the_migration,
    a_limit_counts_what_matches,
    a_sweep_leaves_what_does_not_match,
    a_large_process_is_selected_by_its_state_too,
    a_predicate_that_fails_fails_its_process_and_a_retry_keeps_the_predicate,
    a_resumed_run_keeps_its_predicate,
    what_a_resumed_run_has_left_out_is_no_damage_of_the_store,
    a_predicate_with_different_answers_is_non_deterministic,
    an_opened_process_must_match,
    the_failures_of_a_run_are_left_out_until_the_code_is_other,
    what_earlier_runs_left_out_stays_left_out,
    an_opened_process_that_failed_is_left_out,
];

/// Jobs that are due soon.
fn predicates() -> Predicates {
    Predicates::new().with(predicate!("soon", JobV1, |job| job
        .fate
        .starts_with("soon")))
}

fn soon() -> Selection {
    Selection::all().matching("soon")
}

/// Ten jobs, of which every second is due soon.
async fn fill(store: &(impl EventStore + ?Sized)) {
    for n in 0..10 {
        let fate = if n % 2 == 0 { "soon" } else { "later" };
        put_fated(store, n, fate).await.unwrap();
    }
}

async fn version(store: &(impl EventStore + ?Sized), n: u64) -> String {
    let head = store.head(&stream(n)).await.unwrap().unwrap();
    head.workflow_id.version().to_owned()
}

#[track_caller]
fn counts(report: &MigrationReport) -> (usize, usize, usize) {
    let skipped = report.skipped_by;
    (report.migrated, report.error_count, skipped.not_selected)
}

async fn a_predicate_selects_by_the_state_before_the_migration(store: impl Store) {
    fill(&store).await;
    let runner = |selection| {
        let runner = Upgrade::new().runner(&store).predicates(predicates());
        runner.select(selection)
    };
    let dry = runner(soon()).dry_run().await;
    assert_eq!(counts(&dry), (5, 0, 5), "{dry}");
    let report = runner(soon()).run().await;
    assert_eq!(counts(&report), (5, 0, 5), "{report}");
    assert_eq!(report.state, Some(RunState::Done));
    for n in 0..10 {
        let expected = if n % 2 == 0 { "v2" } else { "v1" };
        assert_eq!(version(&store, n).await, expected, "{n}");
    }
    let again = runner(soon()).run().await;
    assert_eq!(counts(&again), (0, 0, 5), "{again}");
    let rest = runner(Selection::all()).run().await;
    assert_eq!(counts(&rest), (5, 0, 0), "{rest}");
}

#[tokio::test]
async fn over_separate_stores_a_predicate_selects_too() {
    let store = Faulty::over(MemoryStore::new());
    fill(&store).await;
    let runner = MigrationRunner::new(Upgrade::new(), store.clone(), store.clone())
        .predicates(predicates())
        .select(soon());
    let dry = runner.dry_run().await;
    assert_eq!(counts(&dry), (5, 0, 5), "{dry}");
    let opened = runner.open::<JobV2>(identity(1)).await.unwrap_err();
    assert!(matches!(opened.kind(), ErrorKind::WrongVersion { .. }));
    runner.open::<JobV2>(identity(0)).await.unwrap();
    let report = runner.run().await;
    assert_eq!(counts(&report), (4, 0, 5), "{report}");
    assert_eq!(version(&store, 1).await, "v1");
    // Without a record of runs, no failures can be left out.
    let runner = runner.select(Selection::all().except_failed_in(RunId::random()));
    let message = refused_as_run(&runner.run().await);
    assert!(message.contains("keep no record of runs"), "{message}");
    assert!(runner.open::<JobV2>(identity(1)).await.is_err());
}

fn identity(n: u64) -> ProcessIdentity {
    ProcessIdentity::of::<JobV2>(id("yard"), id(&format!("{n:07}")))
}

async fn a_limit_counts_what_matches(store: impl Store) {
    fill(&store).await;
    let runner = Upgrade::new().runner(&store).predicates(predicates());
    let report = runner.select(soon().first(3)).run().await;
    assert_eq!((report.migrated, report.error_count), (3, 0), "{report}");
    let (at, left) = (version(&store, 4).await, version(&store, 6).await);
    assert_eq!((at.as_str(), left.as_str()), ("v2", "v1"));
}

/// Jobs that are born behind the run.
async fn a_sweep_leaves_what_does_not_match(store: impl Store) {
    fill(&store).await;
    let (births, told) = (store.clone(), AtomicBool::new(false));
    let handle = tokio::runtime::Handle::current();
    let upgrade = Upgrade::with(move |_| {
        if !told.swap(true, Ordering::SeqCst) {
            let births = births.clone();
            handle.block_on(async move {
                // Before all others, where the run has been.
                for (n, fate) in [("a", "soon"), ("b", "later")] {
                    let begun = JobEvent::Begun {
                        n: 99,
                        fate: fate.to_owned(),
                    };
                    let stream = id(&format!("process/aa/{n}"));
                    let begun = vec![event("v1", &begun).unwrap()];
                    append(&births, &stream, begun).await.unwrap();
                }
            });
        }
        Ok(())
    });
    let runner = upgrade.runner(&store).predicates(predicates());
    let report = runner.select(soon()).run().await;
    assert_eq!((report.migrated, report.error_count), (6, 0), "{report}");
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    for (n, expected) in [("a", "v2"), ("b", "v1")] {
        let head = store.head(&id(&format!("process/aa/{n}"))).await.unwrap();
        assert_eq!(head.unwrap().workflow_id, WorkflowId::new("job", expected));
    }
    // The version is still there: the rest is migrated by a later run.
    let rest = Upgrade::new().runner(&store).run().await;
    assert_eq!(counts(&rest), (6, 0, 0), "{rest}");
}

async fn a_large_process_is_selected_by_its_state_too(store: impl Store) {
    for (n, fate) in [(0, "soon"), (1, "later")] {
        let fate = format!("{fate}{}", "x".repeat(700_000));
        put_fated(&store, n, &fate).await.unwrap();
    }
    let runner = Upgrade::new().runner(&store).predicates(predicates());
    let report = runner.select(soon()).check_determinism(true).run().await;
    assert_eq!(counts(&report), (1, 0, 1), "{report}");
    assert_eq!(version(&store, 0).await, "v2");
    assert_eq!(version(&store, 1).await, "v1");
}

async fn a_predicate_that_fails_fails_its_process_and_a_retry_keeps_the_predicate(
    store: impl Store,
) {
    fill(&store).await;
    let panics = Predicates::new().with(predicate!("soon", JobV1, |job| {
        assert_ne!(job.n, 3, "the predicate panics at 3");
        job.n < 2
    }));
    let runner = Upgrade::new().runner(&store).predicates(panics);
    let report = runner.select(soon()).run().await;
    assert_eq!(counts(&report), (2, 1, 7), "{report}");
    let error = &report.errors[0];
    assert_eq!(error.class, FailureClass::Panic);
    assert_eq!(error.subject, stream(3));
    assert!(error.message.starts_with("the predicate soon: "), "{error}");
    let run = report.run.unwrap();
    // Job 3 is not due soon.
    let runner = Upgrade::new().runner(&store).predicates(predicates());
    let retried = runner.retry(run, &[]).await;
    assert_eq!(counts(&retried), (0, 0, 1), "{retried}");
    assert_eq!(version(&store, 3).await, "v1");
    let unknown = Upgrade::new().runner(&store).retry(run, &[]).await;
    let message = refused_as_run(&unknown);
    assert!(
        message.starts_with("the predicate \"soon\" is not registered"),
        "{message}"
    );
}

async fn a_resumed_run_keeps_its_predicate(store: impl Store) {
    fill(&store).await;
    let runner = Upgrade::new().runner(&store).predicates(predicates());
    let runner = runner.select(soon());
    runner.control().cancel();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    let run = report.run.unwrap();
    let unknown = Upgrade::new().runner(&store).resume(run).await;
    let message = refused_as_run(&unknown);
    assert!(
        message.starts_with("the predicate \"soon\" is not registered"),
        "{message}"
    );
    let other = Predicates::new().with(predicate!("soon", JobV1, |job| job.n == 1));
    let other = Upgrade::new().runner(&store).predicates(other);
    let message = refused_as_run(&other.resume(run).await);
    assert!(message.contains("was last executed with plan"), "{message}");
    let same = Upgrade::new().runner(&store).predicates(predicates());
    let report = same.resume(run).await;
    assert_eq!((report.migrated, report.error_count), (5, 0), "{report}");
    assert_eq!(version(&store, 1).await, "v1");
}

/// The test fails without `reads_more_than_heads` in `Execution::resume`.
async fn what_a_resumed_run_has_left_out_is_no_damage_of_the_store(store: impl Store) {
    for n in 0..40 {
        let fate = if n % 2 == 0 { "soon" } else { "later" };
        put_fated(&store, n, fate).await.unwrap();
    }
    let (upgrade, told) = cancelling_after(9, |_| false);
    let runner = upgrade.runner(&store).predicates(predicates());
    let runner = runner.select(soon()).chunk_processes(1);
    told.set(runner.control()).ok().unwrap();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    assert!(report.skipped_by.not_selected > 0, "{report}");
    let run = report.run.unwrap();
    let same = Upgrade::new().runner(&store).predicates(predicates());
    let report = same.resume(run).await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!(counts(&report), (20, 0, 20), "{report}");
}

async fn a_predicate_with_different_answers_is_non_deterministic(store: impl Store) {
    put(&store, 0).await.unwrap();
    put_fated(&store, 1, &"x".repeat(700_000)).await.unwrap();
    let answer = Arc::new(AtomicBool::new(false));
    let changes = move |_: &_| answer.fetch_xor(true, Ordering::SeqCst);
    let changes = Predicates::new().with(Predicate::new::<JobV1>("soon", "1", changes));
    let runner = Upgrade::new().runner(&store).predicates(changes);
    let report = runner.select(soon()).dry_run().await;
    assert_eq!(counts(&report), (0, 2, 0), "{report}");
    for error in &report.errors {
        assert_eq!(error.class, FailureClass::NonDeterministic, "{error}");
        assert!(
            error.message.contains("different answers of the predicate"),
            "{error}"
        );
    }
}

async fn an_opened_process_must_match(store: impl Store) {
    fill(&store).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let counting = Predicate::new::<JobV1>("soon", "1", move |job| {
        count.fetch_add(1, Ordering::SeqCst);
        job.fate == "soon"
    });
    let runner = Upgrade::new().runner(&store);
    let runner = runner.predicates(Predicates::new().with(counting));
    let runner = runner.select(soon());
    runner.open::<JobV2>(identity(0)).await.unwrap();
    let error = runner.open::<JobV2>(identity(1)).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WrongVersion { .. }),
        "{error}"
    );
    assert_eq!(version(&store, 1).await, "v1");
    assert_eq!(asked.load(Ordering::SeqCst), 2, "once for each process");
    let unknown = Upgrade::new().runner(&store).select(soon());
    let error = unknown.open::<JobV2>(identity(1)).await.unwrap_err();
    assert!(error.to_string().contains("is not registered"), "{error}");
}

#[tokio::test]
async fn an_unknown_predicate_is_refused_with_the_known_ones() {
    let store = MemoryStore::new();
    fill(&store).await;
    let none = Upgrade::new().runner(&store).select(soon());
    let message = refused_as_run(&none.run().await);
    assert_eq!(
        message,
        "the predicate \"soon\" is not registered with this runner (there are none); correct the name, or register the predicate"
    );
    let runner = Upgrade::new().runner(&store).predicates(predicates());
    let runner = runner.select(Selection::all().matching("son"));
    for report in [runner.run().await, runner.dry_run().await] {
        let message = refused_as_run(&report);
        assert!(message.contains("(known predicates: soon)"), "{message}");
    }
    assert_eq!(runs(&store).list().await.unwrap(), []);
}

#[test]
fn the_predicate_is_part_of_the_plan() {
    let plan = |predicates, selection| {
        let runner = MigrationRunner::new(Upgrade::new(), (), ());
        runner
            .predicates(predicates)
            .select(selection)
            .plan()
            .unwrap()
    };
    let named = |name: &str, code: &str| {
        Predicates::new().with(Predicate::new::<JobV1>(name, code, |job| job.n == 1))
    };
    let base = plan(named("soon", "a b"), soon());
    assert_eq!(base.predicate.len(), 1);
    let same = [plan(named("soon", "a  b\n"), soon())];
    assert_eq!(same.map(|plan| plan.fingerprint), [base.fingerprint]);
    let more = named("soon", "a b").with(predicate!("other", JobV1, |job| job.over));
    assert_eq!(plan(more, soon()).fingerprint, base.fingerprint);
    for other in [
        plan(named("soon", "a c"), soon()),
        plan(named("late", "a b"), Selection::all().matching("late")),
        plan(named("soon", "a b"), Selection::all()),
        plan(Predicates::new(), soon()),
    ] {
        assert_ne!(other.fingerprint, base.fingerprint);
    }
    let text = base.to_string();
    assert!(text.contains("matching soon"), "{text}");
    assert!(
        text.contains("predicate for job@v1, fingerprint "),
        "{text}"
    );
}

async fn the_failures_of_a_run_are_left_out_until_the_code_is_other(store: impl Store) {
    for n in 0..10 {
        put(&store, n).await.unwrap();
    }
    let first = Selection::all().first(3);
    let night = async |selection: Selection| {
        let runner = Upgrade::refusing(|n| n < 3).runner(&store);
        runner.select(selection).run().await
    };
    let report = night(first.clone()).await;
    assert_eq!((report.migrated, report.error_count), (0, 3), "{report}");
    let run = report.run.unwrap();
    // The same three again, unless they are left out.
    let report = night(first.clone()).await;
    assert_eq!((report.migrated, report.error_count), (0, 3), "{report}");
    let left_out = first.except_failed_in(run);
    let runner = Upgrade::refusing(|n| n < 3).runner(&store);
    let dry = runner.select(left_out.clone()).dry_run().await;
    assert_eq!((dry.migrated, dry.error_count), (3, 0), "{dry}");
    for _ in 0..2 {
        let report = night(left_out.clone()).await;
        assert_eq!(counts(&report), (3, 0, 3), "{report}");
        assert_eq!(report.state, Some(RunState::Done));
    }
    // Other code tries them again.
    let corrected = Upgrade::new().fingerprint(2).runner(&store);
    let report = corrected
        .select(Selection::all().except_failed_in(run))
        .run()
        .await;
    assert_eq!(counts(&report), (4, 0, 0), "{report}");
    let unknown = Selection::all().except_failed_in(RunId::random());
    let runner = Upgrade::new().runner(&store).select(unknown);
    let message = refused_as_run(&runner.run().await);
    assert!(message.contains("is not in the store"), "{message}");
}

async fn what_earlier_runs_left_out_stays_left_out(store: impl Store) {
    for n in 0..9 {
        put(&store, n).await.unwrap();
    }
    // Each night, two more fail.
    let mut last = None;
    for night in 0..4 {
        let mut selection = Selection::all().first(2);
        if let Some(run) = last {
            selection = selection.except_failed_in(run);
        }
        let runner = Upgrade::refusing(|n| n < 8).runner(&store);
        let report = runner.select(selection).run().await;
        assert_eq!((report.migrated, report.error_count), (0, 2), "{report}");
        assert_eq!(report.errors[0].subject, stream(2 * night), "{report}");
        last = report.run;
    }
    let runner = Upgrade::refusing(|n| n < 8).runner(&store);
    let rest = Selection::all().except_failed_in(last.unwrap());
    let report = runner.select(rest).run().await;
    assert_eq!(counts(&report), (1, 0, 8), "{report}");
}

async fn an_opened_process_that_failed_is_left_out(store: impl Store) {
    put(&store, 0).await.unwrap();
    let report = Upgrade::refusing(|_| true).runner(&store).run().await;
    let run = report.run.unwrap();
    let upgrade = Upgrade::refusing(|_| true);
    let seen = upgrade.seen();
    let runner = upgrade.runner(&store);
    let runner = runner.select(Selection::all().except_failed_in(run));
    let error = runner.open::<JobV2>(identity(0)).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WrongVersion { .. }),
        "{error}"
    );
    assert_eq!(seen.total(), 0);
}
