//! Retries of failures, and holds of processes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use state_migration::{
    ErrorKind, EventStore, Failure, FailureClass, MemoryStore, MigrationRunner, RunKind, RunState,
    Runs, Selection,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::scripted_workflow::{
    JobEvent, Store, Upgrade, WATCHED, append, applied, event, put, put_at, put_fated, stream,
    version,
};

use crate::runs::{failures, record, refused_as_run, runs};

over_both_stores![
    a_retry_is_for_what_failed_and_for_nothing_else,
    many_failures_are_retried_by_several_workers_wherever_they_are,
    a_retry_says_of_a_process_without_a_route_that_it_has_none,
    a_held_process_is_skipped_until_it_is_released,
    skipping_a_process_that_no_route_is_for_silences_its_error,
    skipping_lasts_over_an_append_and_needs_a_process,
    what_is_over_is_decided_once,
];

/// Failures that are close to each other are read in one scan, and others one by one.
async fn many_failures_are_retried_by_several_workers_wherever_they_are(store: impl Store) {
    const JOBS: u64 = 2_000;
    let failed = |n: u64| n < 400 || n.is_multiple_of(12);
    for n in 0..JOBS {
        put(&store, n).await.unwrap();
    }
    let first = Upgrade::refusing(failed).runner(&store).run().await;
    let expected = (0..JOBS).filter(|n| failed(*n)).count();
    assert_eq!(first.error_count, expected, "{first}");
    // These are due too, and no failures.
    for n in JOBS..JOBS + 200 {
        put(&store, n).await.unwrap();
    }
    let at_once = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let seen = at_once.clone();
    let upgrade = Upgrade::with(move |_| {
        let [now, most] = &*seen;
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(1));
        now.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    });
    let converted = upgrade.seen();
    let retry = upgrade.runner(&store).retry(first.run.unwrap(), &[]).await;
    assert_eq!(
        (retry.migrated, retry.error_count),
        (expected, 0),
        "{retry}"
    );
    assert_eq!(retry.state, Some(RunState::Done));
    let all = converted.all();
    assert!(all.keys().all(|n| failed(*n)), "{all:?}");
    assert_eq!(version(&store, JOBS).await.unwrap(), "v1");
    assert!(
        at_once[1].load(Ordering::SeqCst) > 1,
        "one worker did it all"
    );
}

/// Takes out: `Source::Failures` (a retry goes through the index then), or the
/// classes in `history::failures`, or the attempt in `RunLog::failure`.
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
        let of = |f: Failure| (f.error.subject.to_string(), f.attempt);
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
    // A retry of all classes counts the migrated processes, and does not change them.
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
    // A retry also skips held processes.
    runs(&store)
        .hold(&stream(1), "Ada", "manually")
        .await
        .unwrap();
    let held = runner.retry(first_id, &[FailureClass::Panic]).await;
    assert_eq!((held.skipped_by.held, held.error_count), (1, 2), "{held}");
}

/// Takes out: the failure of a process at a version without a route in
/// `convert_one`; the run is done then, and has decided nothing.
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

/// Takes out: the look at `held` in `Filter::verdict`.
async fn a_held_process_is_skipped_until_it_is_released(store: impl Store) {
    for n in 0..10 {
        put(&store, n).await.unwrap();
    }
    let runs = runs(&store);
    runs.hold(&stream(4), "Ada", "its customer is moving")
        .await
        .unwrap();
    let hold = runs.held(&stream(4)).await.unwrap().unwrap();
    assert_eq!(
        (&*hold.actor, &*hold.reason),
        ("Ada", "its customer is moving")
    );
    let of_it = async || {
        let id = b"yard/0000004";
        let mut rows = store.rows().await.unwrap();
        rows.retain(|(key, _)| key.windows(id.len()).any(|part| part == id));
        rows
    };
    let before = of_it().await;
    assert_eq!(before.len(), 4, "two events, the head and who holds it");
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
    runs.release(&stream(4), "ann", "paid").await.unwrap();
    assert_eq!(runs.held(&stream(4)).await.unwrap(), None);
    let report = runner.run().await;
    assert_eq!(
        (report.migrated, report.skipped_by.held),
        (1, 0),
        "{report}"
    );
    assert_eq!(version(&store, 4).await.unwrap(), "v2");
}

/// Takes out: the look at `held` in `Filter::verdict` before the routes.
async fn skipping_a_process_that_no_route_is_for_silences_its_error(store: impl Store) {
    put(&store, 1).await.unwrap();
    put_at(&store, 2, "v9", "").await.unwrap();
    let report = Upgrade::new().runner(&store).run().await;
    assert_eq!((report.migrated, report.error_count), (1, 1), "{report}");
    runs(&store)
        .hold(&stream(2), "Ada", "of a program that is gone")
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

/// Takes out: that an append keeps `held` of the head.
async fn skipping_lasts_over_an_append_and_needs_a_process(store: impl Store) {
    put(&store, 1).await.unwrap();
    let runs = runs(&store);
    runs.hold(&stream(1), "Ada", "later").await.unwrap();
    let step = || vec![event("v1", &JobEvent::Step).unwrap()];
    append(&store, &stream(1), step()).await.unwrap();
    append(&store, &stream(1), step()).await.unwrap();
    assert!(runs.held(&stream(1)).await.unwrap().is_some());
    let report = Upgrade::new().runner(&store).run().await;
    assert_eq!(
        (report.migrated, report.skipped_by.held),
        (0, 1),
        "{report}"
    );
    let before = store.all_rows().await.unwrap();
    for refused in [
        runs.hold(&stream(2), "Ada", "later").await,
        runs.release(&stream(2), "ann", "paid").await,
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), &ErrorKind::Invalid);
        assert_eq!(
            refused.to_string(),
            format!("stream {} does not exist; check its id", stream(2))
        );
    }
    assert_eq!(store.all_rows().await.unwrap(), before);
    assert_eq!(runs.held(&stream(2)).await.unwrap(), None);
}

/// Takes out: `finished` of a batch, and each run folds them again; or that an
/// append clears `finished_by`, and the one that continues is never seen again.
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
        second + 110 < first,
        "{first} rows, then {second}: no event is read again"
    );
    // A finished process gets a further event.
    let step = event("v1", &JobEvent::Step).unwrap();
    append(&store, &stream(base + 7), vec![step]).await.unwrap();
    rows_of_a_run().await;
    assert_eq!(folded(), 124, "only the changed process is folded again");
    assert_eq!(applied(base + 7), 7);
    // A run that selects all processes migrates them as well.
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
    assert_eq!(report.state, Some(RunState::DoneWithErrors));
    let run = report.run.unwrap();
    for report in [runner.resume(run).await, runner.retry(run, &[]).await] {
        let message = refused_as_run(&report);
        assert!(message.contains("separate stores"), "{message}");
        assert!(message.ends_with("start a new run, which migrates the remaining processes"));
    }
    assert!(store.transactional().is_some());
    assert_eq!(Runs::of(&store).unwrap().list().await.unwrap(), []);
}
