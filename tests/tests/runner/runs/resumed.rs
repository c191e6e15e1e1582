//! Runs that are resumed: one run with several executions.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use state_migration::{Action, FailureClass, RunState, Selection};
use state_migration_tests::scripted_workflow::{Store, Upgrade, at_v2, put, put_at, stream};

use crate::runs::{Told, cancelled, cancelling_after, failures, record, refused_as_run, runs};

over_both_stores![
    a_cancelled_run_releases_the_store_and_is_finished_by_another_execution,
    a_run_resumes_with_other_code_only_when_forced,
    every_execution_is_recorded,
    every_request_is_recorded,
    every_hold_is_recorded,
    what_cannot_be_resumed_or_retried_is_refused,
    a_resumed_run_keeps_its_selection_and_options,
    a_limit_holds_over_all_executions_of_a_run,
    a_resumed_run_keeps_its_throttle,
    a_retry_keeps_the_checks_of_its_run,
    a_run_that_another_one_came_between_passes_all_heads_again_and_counts_once,
];

/// The test fails without `failed_before` (failed processes are converted again), and
/// without the released claim in `RunLog::end` (the store stays claimed).
async fn a_cancelled_run_releases_the_store_and_is_finished_by_another_execution(
    store: impl Store,
) {
    const JOBS: u64 = 120;
    for n in 0..JOBS {
        put(&store, n).await.unwrap();
    }
    // Otherwise each of the first chunks records that v2 has processes, and they conflict.
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
        "chunks in progress are finished"
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

/// Takes out: the comparison of fingerprints in `MigrationRunner::resumed`.
async fn a_run_resumes_with_other_code_only_when_forced(store: impl Store) {
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
    assert_eq!(
        record.plan.fingerprint, planned,
        "the plan that it began with"
    );
    let executions = runs(&store).executions(id).await.unwrap();
    let plans = executions
        .iter()
        .map(|it| it.plan.as_ref().map(|plan| plan.fingerprint));
    assert_eq!(plans.collect::<Vec<_>>(), [None, Some(now)]);
}

/// An execution is added to those before it, and overwrites nothing.
async fn every_execution_is_recorded(store: impl Store) {
    for n in 0..30 {
        put(&store, n).await.unwrap();
    }
    let (upgrade, told) = cancelling_after(3, |_| false);
    let runner = upgrade
        .runner(&store)
        .chunk_processes(1)
        .actor("ann")
        .reason("release 7");
    told.set(runner.control()).ok().unwrap();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    let first = runs(&store).executions(report.run.unwrap()).await.unwrap();
    let resumed = Upgrade::new()
        .runner(&store)
        .actor("bob")
        .reason("the night shift");
    let report = resumed.resume(report.run.unwrap()).await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");

    let record = record(&store, &report).await;
    assert_eq!((&*record.actor, &*record.reason), ("ann", "release 7"));
    let executions = runs(&store).executions(record.id).await.unwrap();
    assert_eq!(
        executions[..1],
        first[..],
        "nothing overwrites an execution"
    );
    let of: Vec<_> = executions
        .iter()
        .map(|it| {
            (
                it.number,
                &*it.actor,
                &*it.reason,
                it.program.pid,
                it.plan.is_some(),
            )
        })
        .collect();
    let pid = std::process::id();
    assert_eq!(
        of,
        [
            (1, "ann", "release 7", pid, false),
            (2, "bob", "the night shift", pid, false)
        ]
    );
    for execution in &executions {
        assert!(execution.ended >= Some(execution.started), "{execution:?}");
        assert!(
            execution.program.name.starts_with("runner"),
            "{execution:?}"
        );
        assert!(!execution.program.host.is_empty(), "{execution:?}");
    }
}

/// The test fails without `record_requests` after `execute` (the cancellation is lost), and
/// without `RunControl::take_actions` (nothing is recorded).
async fn every_request_is_recorded(store: impl Store) {
    for n in 0..30 {
        put(&store, n).await.unwrap();
    }
    let runner = Upgrade::new().runner(&store).chunk_processes(1);
    let control = runner.control();
    let (ann, bob) = (
        control.on_behalf_of("ann", "peak hour"),
        control.on_behalf_of("bob", ""),
    );
    // Before the run begins.
    ann.pause();
    let running = tokio::spawn(async move { runner.run().await });
    let mut progress = control.watch();
    while let Some(now) = progress.next().await {
        if now.state == RunState::Paused {
            break;
        }
    }
    ann.throttle(NonZeroU32::new(1));
    bob.unpause();
    control.throttle(None);
    bob.cancel();
    let report = running.await.unwrap();
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    let actions = runs(&store).actions(report.run.unwrap()).await.unwrap();
    let all: Vec<_> = actions
        .iter()
        .map(|it| (it.action, &*it.actor, &*it.reason))
        .collect();
    let limit = NonZeroU32::new(1);
    assert_eq!(
        all,
        [
            (Action::Pause, "ann", "peak hour"),
            (Action::Throttle(limit), "ann", "peak hour"),
            (Action::Unpause, "bob", ""),
            (Action::Throttle(None), "", ""),
            (Action::Cancel, "bob", ""),
        ]
    );
    // What was requested of one run is not recorded with the next one.
    let next = Upgrade::new().runner(&store).run().await;
    let actions = runs(&store).actions(next.run.unwrap()).await.unwrap();
    assert_eq!(actions, []);
}

/// The test fails if `TransactionalStore::hold` does not write the record.
async fn every_hold_is_recorded(store: impl Store) {
    for n in [1, 10] {
        put(&store, n).await.unwrap();
    }
    let runs = runs(&store);
    runs.hold(&stream(1), "ann", "in court").await.unwrap();
    runs.hold(&stream(1), "bob", "still in court")
        .await
        .unwrap();
    runs.hold(&stream(10), "carl", "on paper").await.unwrap();
    runs.release(&stream(1), "bob", "paid").await.unwrap();
    let missing = runs.hold(&stream(99), "ann", "").await;
    assert!(missing.is_err());
    let of = async |n| {
        let holds = runs.holds(&stream(n)).await.unwrap();
        let here = holds.iter().all(|it| it.program.is_this());
        assert!(here, "{holds:?}");
        holds
            .into_iter()
            .map(|it| (it.held, it.actor, it.reason))
            .collect::<Vec<_>>()
    };
    let entry = |held, actor: &str, reason: &str| (held, actor.to_owned(), reason.to_owned());
    assert_eq!(
        of(1).await,
        [
            entry(true, "ann", "in court"),
            entry(true, "bob", "still in court"),
            entry(false, "bob", "paid")
        ]
    );
    assert_eq!(of(10).await, [entry(true, "carl", "on paper")]);
    assert_eq!(of(99).await, []);
}

/// Takes out: the checks of `resumable`, and of `RunRequest::Retry`.
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
        format!("run {unknown} is not in the store; check the id in the list of runs")
    );
    let message = refused_as_run(&runner.retry(unknown, &[]).await);
    assert!(message.contains(&format!("run {unknown} is not in the store")));
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
        .check_determinism(true)
        .deadline(std::time::Duration::from_secs(33))
        .chunk_processes(1);
    told.set(runner.control()).ok().unwrap();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    let begun = record(&store, &report).await;
    assert_eq!(begun.plan.selection, selection);
    assert!(begun.plan.options.check_determinism);
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

/// The throttle protects the other writers, in every execution. The test fails without
/// `throttle_again`, and without the last `record_throttle`.
async fn a_resumed_run_keeps_its_throttle(store: impl Store) {
    for n in 0..30 {
        put(&store, n).await.unwrap();
    }
    let rate = NonZeroU32::new(400);
    let (told, so_far) = (Told::default(), AtomicU64::new(0));
    let control = told.clone();
    let upgrade = Upgrade::with(move |_| {
        if so_far.fetch_add(1, Ordering::SeqCst) == 3 {
            let control = control.get().unwrap();
            control.throttle(NonZeroU32::new(400));
            control.cancel();
        }
        Ok(())
    });
    let runner = upgrade.runner(&store).chunk_processes(1);
    told.set(runner.control()).ok().unwrap();
    runner.control().throttle(NonZeroU32::new(9_000));
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    assert_eq!(
        record(&store, &report).await.throttle,
        rate,
        "the one requested last"
    );

    let limits = |told: &Told| {
        let (control, seen) = (told.clone(), Arc::new(Mutex::new(BTreeSet::new())));
        let limits = seen.clone();
        let upgrade = Upgrade::with(move |_| {
            limits
                .lock()
                .unwrap()
                .insert(control.get().unwrap().throttled());
            Ok(())
        });
        (upgrade, seen)
    };
    let told = Told::default();
    let (upgrade, seen) = limits(&told);
    let runner = upgrade.runner(&store).chunk_processes(1);
    let control = runner.control();
    told.set(control.clone()).ok().unwrap();
    let cancelled = {
        let (control, seen) = (control.clone(), seen.clone());
        let mut watched = control.watch();
        async move {
            while let Some(progress) = watched.next().await {
                // The first run may have migrated that many before it was over.
                if progress.counts.migrated > 8 && !seen.lock().unwrap().is_empty() {
                    control.cancel();
                }
            }
        }
    };
    let (report, ()) = futures_util::join!(runner.resume(report.run.unwrap()), cancelled);
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([rate]));
    assert_eq!(control.throttled(), None, "the limit is that of the run");

    // An explicit request replaces it.
    let told = Told::default();
    let (upgrade, seen) = limits(&told);
    let runner = upgrade.runner(&store);
    told.set(runner.control()).ok().unwrap();
    runner.control().throttle(None);
    let report = runner.resume(report.run.unwrap()).await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([None]));
    assert_eq!(record(&store, &report).await.throttle, None);
}

/// A retry without the check would migrate what the run refused, with random states. The test fails without `following`.
async fn a_retry_keeps_the_checks_of_its_run(store: impl Store) {
    for n in 0..4 {
        put(&store, n).await.unwrap();
    }
    let changing = || {
        let calls = Mutex::new(BTreeSet::new());
        Upgrade::with(move |job| match calls.lock().unwrap().insert(job.n) {
            true => Ok(()),
            false => Err("not this time".into()),
        })
    };
    let runner = changing()
        .runner(&store)
        .chunk_processes(1)
        .check_determinism(true)
        .deadline(Duration::from_secs(33));
    let report = runner.run().await;
    assert_eq!((report.migrated, report.error_count), (0, 4), "{report}");
    let first = record(&store, &report).await;

    let report = changing().runner(&store).retry(first.id, &[]).await;
    assert_eq!((report.migrated, report.error_count), (0, 4), "{report}");
    assert_eq!(report.errors[0].class, FailureClass::NonDeterministic);
    let second = record(&store, &report).await;
    assert_eq!(second.plan.options, first.plan.options);

    // A retry of the retry, and one that is told otherwise.
    let runner = Upgrade::new()
        .runner(&store)
        .deadline(Duration::from_secs(5));
    let report = runner.check_determinism(false).retry(second.id, &[]).await;
    assert_eq!((report.migrated, report.error_count), (4, 0), "{report}");
    let options = record(&store, &report).await.plan.options;
    assert_eq!(
        (options.check_determinism, options.deadline_ms),
        (false, 5_000)
    );
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
        .hold(&stream(10), "Ada", "later")
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
    assert_eq!(report.error_count, 1 + 4, "{report}");
    // The last of the three is in a page alone or with another one.
    assert!((2..=3).contains(&report.migrated), "{report}");
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

/// The test fails without `begin_again` (skipped processes are counted twice), and
/// without the check of the versions that this run closes (a process that was born
/// behind the run is never found).
async fn a_run_that_another_one_came_between_passes_all_heads_again_and_counts_once(
    store: impl Store,
) {
    for n in 10..40 {
        put(&store, n).await.unwrap();
    }
    runs(&store)
        .hold(&stream(10), "Ada", "later")
        .await
        .unwrap();
    let (upgrade, told) = cancelling_after(3, |_| false);
    let runner = upgrade.runner(&store).chunk_processes(2);
    told.set(runner.control()).ok().unwrap();
    let first = runner.run().await;
    assert_eq!(first.state, Some(RunState::Cancelled), "{first}");
    // The other run records births for itself, and its end stops that for all runs.
    let only = Selection::all().streams([stream(39)]);
    let other = Upgrade::new().runner(&store).select(only).run().await;
    assert_eq!((other.migrated, other.state), (1, Some(RunState::Done)));
    put(&store, 5).await.unwrap();
    let report = Upgrade::new()
        .runner(&store)
        .resume(first.run.unwrap())
        .await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!(report.skipped_by.held, 1, "{report}");
    assert_eq!(report.migrated, 29, "{report}");
    let at_v2 = at_v2(&store, [5].into_iter().chain(10..40)).await.unwrap();
    assert_eq!(at_v2, [5].into_iter().chain(11..40).collect::<Vec<_>>());
}
