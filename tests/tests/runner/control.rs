//! Pausing, throttling, cancelling and watching a run while it is in progress.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use state_migration::{
    Error, EventStore, MemoryStore, MigrationReport, MigrationRunner, ProcessIdentity,
    ProcessRegistry, Progress, RegistryKey, RunControl, RunState, Runs, Selection, TenantId,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::scripted_workflow::{
    Store, Upgrade, at_v2, put, put_at, stream, version,
};
use state_migration_tests::stores::OnDisk;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Longer than anything here takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The store with `jobs` jobs at v1.
async fn filled<S: Store>(store: S, jobs: u64) -> S {
    for n in 0..jobs {
        put(&store, n).await.unwrap();
    }
    store
}

type Runner<S> = MigrationRunner<Upgrade, S, S>;

fn start<S: Store>(runner: Runner<S>) -> JoinHandle<MigrationReport> {
    tokio::spawn(async move { runner.run().await })
}

async fn ended(run: JoinHandle<MigrationReport>) -> MigrationReport {
    timeout(PATIENCE, run).await.expect("it ends").unwrap()
}

/// Waits until something holds of the progress.
async fn until(control: &RunControl, what: impl Fn(&Progress) -> bool) -> Progress {
    let wait = async {
        loop {
            let progress = control.progress();
            if what(&progress) {
                return progress;
            }
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it comes to that")
}

/// Waits until the store says so of the only run.
async fn until_recorded(store: &impl Store, state: RunState) {
    let runs = Runs::of(store).unwrap();
    let wait = async {
        while runs.list().await.unwrap().last().map(|run| run.state) != Some(state) {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it is recorded");
}

/// How many of the jobs are at v2.
async fn moved(store: &impl Store, jobs: u64) -> usize {
    at_v2(store, 0..jobs).await.unwrap().len()
}

/// A migration that takes its time for each job.
fn slow(each: Duration) -> Upgrade {
    Upgrade::with(move |_| {
        std::thread::sleep(each);
        Ok(())
    })
}

async fn pausing_stops_it_until_it_is_resumed(store: impl Store) {
    const JOBS: u64 = 200;
    let store = filled(store, JOBS).await;
    let runner = slow(Duration::from_millis(2))
        .runner(&store)
        .chunk_processes(2);
    let control = runner.control();
    let run = start(runner);
    until(&control, |progress| progress.counts.migrated >= 10).await;
    control.pause();
    let paused = until(&control, |progress| progress.state == RunState::Paused).await;
    assert!(paused.run.is_some());
    until_recorded(&store, RunState::Paused).await;
    // Chunks in progress are committed by then; no process is migrated after that.
    sleep(Duration::from_millis(500)).await;
    let before = store.all_rows().await.unwrap();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(store.all_rows().await.unwrap(), before);
    let so_far = moved(&store, JOBS).await;
    assert!((10..JOBS as usize).contains(&so_far), "{so_far} moved");
    assert_eq!(control.progress().counts.migrated, so_far as u64);
    assert!(
        Runs::of(&store)
            .unwrap()
            .claimed_by()
            .await
            .unwrap()
            .is_some()
    );
    assert!(!run.is_finished());

    control.unpause();
    until(&control, |progress| progress.state != RunState::Paused).await;
    let report = ended(run).await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!(report.migrated, JOBS as usize);
    until_recorded(&store, RunState::Done).await;
}

/// Takes out: the wait for `paused` in `RunControl::permit_chunk`.
#[tokio::test(flavor = "multi_thread")]
async fn pausing_stops_it_until_it_is_resumed_in_memory() {
    pausing_stops_it_until_it_is_resumed(MemoryStore::new()).await;
}

/// Takes out: the same, and `publish` of the state in `Execution::listen`.
#[tokio::test(flavor = "multi_thread")]
async fn pausing_stops_it_until_it_is_resumed_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    pausing_stops_it_until_it_is_resumed((*disk).clone()).await;
}

/// Takes out: the look at the handle before the first change of it in `Execution::listen`.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_paused_before_it_starts_waits_and_says_so() {
    let store = filled(MemoryStore::new(), 20).await;
    let runner = Upgrade::new().runner(&store);
    let control = runner.control();
    control.pause();
    let run = start(runner);
    until(&control, |progress| progress.state == RunState::Paused).await;
    until_recorded(&store, RunState::Paused).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(moved(&store, 20).await, 0);
    control.unpause();
    assert_eq!(ended(run).await.migrated, 20);
}

/// Takes out: that a chunk asks the index again about what waited for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_held_while_the_run_is_paused_is_skipped() {
    let store = filled(MemoryStore::new(), 40).await;
    let runner = Upgrade::new().runner(&store).chunk_processes(1);
    let control = runner.control();
    control.throttle(NonZeroU32::new(50));
    let run = start(runner);
    until(&control, |progress| progress.counts.migrated >= 3).await;
    control.pause();
    until(&control, |progress| progress.state == RunState::Paused).await;
    sleep(Duration::from_millis(300)).await;
    let left: Vec<u64> = {
        let moved = at_v2(&store, 0..40).await.unwrap();
        (0..40).filter(|n| !moved.contains(n)).collect()
    };
    assert!(left.len() > 20);
    let runs = Runs::of(&store).unwrap();
    for n in &left {
        runs.hold(&stream(*n), "Ada", "not now").await.unwrap();
    }
    control.throttle(None);
    control.unpause();
    let report = ended(run).await;
    assert_eq!(report.migrated, 40 - left.len(), "{report}");
    assert_eq!(report.skipped_by.held, left.len(), "{report}");
    assert_eq!(moved(&store, 40).await, 40 - left.len());
}

/// Takes out: `requested.cancelled` in `RunControl::permit_chunk`.
#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_it_also_while_it_is_paused() {
    const JOBS: u64 = 200;
    for paused in [false, true] {
        let store = filled(MemoryStore::new(), JOBS).await;
        let runner = slow(Duration::from_millis(2))
            .runner(&store)
            .chunk_processes(2);
        let control = runner.control();
        let run = start(runner);
        until(&control, |progress| progress.counts.migrated >= 5).await;
        if paused {
            control.pause();
            until(&control, |progress| progress.state == RunState::Paused).await;
        }
        control.cancel();
        let report = ended(run).await;
        assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
        assert_eq!(report.error_count, 0);
        assert!(report.migrated < JOBS as usize);
        assert_eq!(moved(&store, JOBS).await, report.migrated);
        assert_eq!(control.progress().state, RunState::Cancelled);
        let record = Runs::of(&store).unwrap().list().await.unwrap().remove(0);
        assert_eq!(record.state, RunState::Cancelled);
        assert!(record.ended.is_some());
        assert_eq!(Runs::of(&store).unwrap().claimed_by().await.unwrap(), None);
    }
}

/// Takes out: `RunControl::reset` (then each run after it is cancelled too).
#[tokio::test(flavor = "multi_thread")]
async fn cancelling_before_the_start_is_for_the_next_run_only() {
    let store = filled(MemoryStore::new(), 20).await;
    let runner = Upgrade::new().runner(&store);
    runner.control().cancel();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    assert_eq!(report.migrated, 0);
    assert_eq!(moved(&store, 20).await, 0);
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!(report.migrated, 20);
}

/// Takes out: `record.ended = None` when a run is resumed.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_resumed_has_not_ended() {
    let store = filled(MemoryStore::new(), 20).await;
    let runner = Upgrade::new().runner(&store);
    let control = runner.control();
    control.cancel();
    let id = runner.run().await.run.unwrap();
    let runs = Runs::of(&store).unwrap();
    assert!(runs.get(id).await.unwrap().unwrap().ended.is_some());
    control.pause();
    let run = tokio::spawn(async move { runner.resume(id).await });
    until_recorded(&store, RunState::Paused).await;
    let record = runs.get(id).await.unwrap().unwrap();
    assert_eq!((record.ended, record.executions), (None, 2));
    // What it is for is known again.
    let progress = control.progress();
    assert_eq!((progress.run, progress.expected), (Some(id), Some(20)));
    control.unpause();
    let report = ended(run).await;
    assert_eq!((report.state, report.migrated), (Some(RunState::Done), 20));
}

/// Takes out: the turns of `RunControl::turn`.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_run_takes_its_time() {
    const RATE: u32 = 100;
    let store = filled(MemoryStore::new(), u64::from(3 * RATE)).await;
    let runner = Upgrade::new().runner(&store);
    let control = runner.control();
    control.throttle(NonZeroU32::new(RATE));
    let began = Instant::now();
    let run = start(runner);
    // How many were done at which time.
    let mut seen: Vec<(Instant, u64)> = Vec::new();
    while !run.is_finished() {
        seen.push((Instant::now(), control.progress().counts.migrated));
        sleep(Duration::from_millis(10)).await;
    }
    let took = began.elapsed();
    let report = ended(run).await;
    assert_eq!(report.migrated, 3 * RATE as usize, "{report}");
    // The last chunk has its turn after all others, and the first at once.
    assert!(took >= Duration::from_secs(2), "{took:?}");
    let second = Duration::from_secs(1);
    for (from, before) in &seen {
        let within = seen.iter().rev().find(|(at, _)| *at <= *from + second);
        let done = within.unwrap().1 - before;
        assert!(done <= u64::from(RATE) * 3 / 2, "{done} in a second");
    }
}

/// Takes out: the wait for `changes` in `RunControl::permit_chunk`.
#[tokio::test(flavor = "multi_thread")]
async fn the_throttle_can_be_changed_while_it_runs() {
    let store = filled(MemoryStore::new(), 600).await;
    let runner = Upgrade::new().runner(&store);
    let control = runner.control();
    control.throttle(NonZeroU32::new(1));
    let run = start(runner);
    until(&control, |progress| progress.counts.migrated >= 1).await;
    sleep(Duration::from_millis(300)).await;
    assert!(control.progress().counts.migrated <= 5);
    assert_eq!(control.progress().state, RunState::Running);
    control.throttle(None);
    let began = Instant::now();
    // Ten minutes at the old rate.
    let report = ended(run).await;
    assert_eq!(report.migrated, 600);
    assert!(began.elapsed() < Duration::from_secs(30));
    // Back to slow, for the next run.
    for n in 600..610 {
        put(&store, n).await.unwrap();
    }
    let runner = Upgrade::new().runner(&store);
    runner.control().throttle(NonZeroU32::new(10));
    let began = Instant::now();
    assert_eq!(runner.run().await.migrated, 10);
    assert!(began.elapsed() > Duration::from_millis(700));
}

/// Takes out: `Meter::add` in `Execution::add`, or the last `publish`.
#[tokio::test(flavor = "multi_thread")]
async fn progress_rises_to_what_the_report_says_and_ends() {
    const JOBS: u64 = 400;
    let store = filled(MemoryStore::new(), JOBS).await;
    put_at(&store, JOBS, "v2", "").await.unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let counted = done.clone();
    let upgrade = Upgrade::with(move |job| {
        counted.fetch_add(1, Ordering::SeqCst);
        match job.n % 40 {
            0 => Err("not this one".into()),
            _ => Ok(()),
        }
    });
    let runner = upgrade.runner(&store).chunk_processes(10);
    let control = runner.control();
    let before = control.progress();
    assert_eq!((before.run, before.state), (None, RunState::Planned));
    assert_eq!((before.counts.migrated, before.expected), (0, None));
    control.throttle(NonZeroU32::new(400));
    let mut watching = control.watch();
    let mut all = vec![watching.next().await.unwrap()];
    let watched = tokio::spawn(watching.collect::<Vec<Progress>>());
    let report = ended(start(runner)).await;
    let later = timeout(PATIENCE, watched).await.expect("it ends").unwrap();
    all.extend(later);
    assert_eq!((report.migrated, report.error_count), (390, 10), "{report}");
    assert!(all.len() > 5, "{} changes", all.len());
    assert_eq!(all[0].state, RunState::Planned);
    let mut last = &all[0];
    for progress in &all {
        assert!(progress.counts.migrated >= last.counts.migrated);
        assert!(progress.counts.failed >= last.counts.failed);
        assert!(progress.counts.bytes >= last.counts.bytes);
        assert!(progress.counts.processes() <= done.load(Ordering::SeqCst));
        if progress.run.is_some() {
            assert_eq!(progress.run, report.run);
        }
        if progress.counts.processes() > 0 {
            assert_eq!(progress.expected, Some(JOBS));
            assert!(progress.per_second > 0.0 && progress.per_second.is_finite());
            let left = progress.time_left.unwrap().as_secs_f64();
            let at_that_rate = (JOBS - progress.counts.processes()) as f64 / progress.per_second;
            assert!((left - at_that_rate).abs() < 0.01);
        }
        last = progress;
    }
    assert_eq!(last.state, RunState::DoneWithErrors);
    assert_eq!(*last, control.progress());
    assert_eq!(last.counts.migrated, 390);
    assert_eq!(last.counts.failed, 10);
    assert!(last.counts.bytes > JOBS * 10);
    assert_eq!(last.time_left, Some(Duration::ZERO));
    // About as fast as it was let.
    assert!((50.0..1_000.0).contains(&last.per_second), "{last:?}");
    let counts = Runs::of(&store)
        .unwrap()
        .counts(report.run.unwrap())
        .await
        .unwrap();
    assert_eq!(counts, last.counts);
}

/// Takes out: the bounds of what is expected in `Execution::expected`.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_expected_is_what_the_run_is_for() {
    let store = filled(MemoryStore::new(), 50).await;
    let expected = async |selection: Selection| {
        let runner = Upgrade::refusing(|n| n < 4)
            .runner(&store)
            .select(selection);
        let control = runner.control();
        runner.dry_run().await;
        control.progress().expected
    };
    assert_eq!(expected(Selection::all()).await, Some(50));
    assert_eq!(expected(Selection::all().first(7)).await, Some(7));
    // The size of a share is not known in advance; all processes are an upper bound.
    let share = expected(Selection::all().percent(10.0)).await;
    assert!(share.is_none_or(|share| share <= 50));
    // A retry is for what failed.
    let report = Upgrade::refusing(|n| n < 4)
        .runner(&store)
        .select(Selection::all().first(10))
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (6, 4));
    let runner = Upgrade::new().runner(&store);
    let control = runner.control();
    let report = runner.retry(report.run.unwrap(), &[]).await;
    assert_eq!((report.migrated, control.progress().expected), (4, Some(4)));
    assert_eq!(version(&store, 20).await.unwrap(), "v1");
}

/// Takes out: the last `publish` of a run that could not start.
/// A report without a state would pass for that of a run that came to its end.
#[tokio::test(flavor = "multi_thread")]
async fn every_report_has_a_state() {
    let memory = filled(MemoryStore::new(), 20).await;
    let elsewhere = Faulty::over(memory.clone());
    let separate = || MigrationRunner::new(Upgrade::new(), elsewhere.clone(), memory.clone());
    for is_dry in [true, false] {
        let report = async |runner: MigrationRunner<_, _, _>| match is_dry {
            true => runner.dry_run().await,
            false => runner.run().await,
        };
        let runner = separate();
        runner.control().cancel();
        let cancelled = report(runner).await;
        assert_eq!(cancelled.state, Some(RunState::Cancelled), "{cancelled}");
        elsewhere.faults.list.store(1, Ordering::SeqCst);
        let unread = report(separate()).await;
        assert_eq!(unread.state, Some(RunState::Running), "{unread}");
        assert!(!unread.is_ok());
    }
    let one_store = || Upgrade::new().runner(&memory);
    let runner = one_store();
    runner.control().cancel();
    let cancelled = runner.dry_run().await;
    assert_eq!(cancelled.state, Some(RunState::Cancelled), "{cancelled}");
    let whole = one_store().dry_run().await;
    assert_eq!((whole.state, whole.migrated), (Some(RunState::Done), 20));
    let separate = separate().run().await;
    assert_eq!(
        (separate.state, separate.migrated),
        (Some(RunState::Done), 20)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_ends_also_with_a_run_that_is_refused() {
    let store = filled(MemoryStore::new(), 20).await;
    let holder = Upgrade::new().runner(&store);
    let held = holder.control();
    held.pause();
    let run = start(holder);
    until_recorded(&store, RunState::Paused).await;
    let refused = Upgrade::new().runner(&store);
    let watched = refused.control().watch().collect::<Vec<Progress>>();
    let watched = tokio::spawn(watched);
    let report = refused.run().await;
    assert_eq!((report.state, report.error_count), (None, 1), "{report}");
    drop(refused);
    timeout(PATIENCE, watched).await.expect("it ends").unwrap();
    held.unpause();
    assert_eq!(ended(run).await.migrated, 20);
}

/// Fails if a watcher is told that the run is over because the last one is.
#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_between_two_runs_sees_the_next_one() {
    let store = filled(MemoryStore::new(), 20).await;
    let runner = Arc::new(Upgrade::new().runner(&store).chunk_processes(4));
    let first = runner.run().await;
    assert_eq!(first.migrated, 20, "{first}");
    for n in 20..40 {
        put(&store, n).await.unwrap();
    }
    let watched = tokio::spawn(runner.control().watch().collect::<Vec<Progress>>());
    // Nothing is over as long as nothing begins.
    sleep(Duration::from_millis(50)).await;
    assert!(!watched.is_finished());
    let second = runner.run().await;
    assert_eq!(second.migrated, 20, "{second}");
    let watched = timeout(PATIENCE, watched).await.expect("it ends").unwrap();
    let last = watched.last().unwrap();
    assert_eq!((last.run, last.state), (second.run, RunState::Done));
    assert_eq!(last.counts.migrated, 20);
}

// To see it fail: leave the handle out of the form over separate handles.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_over_separate_stores_is_driven_in_the_same_way() {
    const JOBS: u64 = 300;
    let store = filled(MemoryStore::new(), JOBS).await;
    let separate = || Faulty::over(store.clone());
    let runner = MigrationRunner::new(slow(Duration::from_millis(2)), separate(), separate());
    let control = runner.control();
    control.pause();
    let runner = Arc::new(runner);
    let again = runner.clone();
    let run = tokio::spawn(async move { again.run().await });
    until(&control, |progress| progress.state == RunState::Paused).await;
    assert_eq!(moved(&store, JOBS).await, 0);
    control.unpause();
    until(&control, |progress| progress.counts.migrated >= 20).await;
    control.cancel();
    let report = ended(run).await;
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    assert_eq!(control.progress().state, RunState::Cancelled);
    // The chunks in progress were committed and counted.
    assert_eq!(moved(&store, JOBS).await, report.migrated);
    assert!((20..JOBS as usize).contains(&report.migrated), "{report}");
    // The next run migrates the rest, and is watched to its end.
    let rest = JOBS as usize - report.migrated;
    let watched = control.watch();
    let again = runner.clone();
    let run = tokio::spawn(async move { again.run().await });
    let report = ended(run).await;
    assert_eq!((report.migrated, report.error_count), (rest, 0), "{report}");
    assert_eq!(control.progress().state, RunState::Done);
    drop(watched);
}

/// A process registry that takes its time for each request.
struct SlowRegistry(MemoryStore);

const EACH_REQUEST: Duration = Duration::from_millis(150);

#[async_trait]
impl ProcessRegistry for SlowRegistry {
    async fn register(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        self.0.register(tenant, key, identity).await
    }

    async fn lookup(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
    ) -> Result<Option<ProcessIdentity>, Error> {
        sleep(EACH_REQUEST).await;
        self.0.lookup(tenant, key).await
    }

    async fn remove(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        self.0.remove(tenant, key, identity).await
    }
}

// To see it fail: leave the cancel out of `registry_sync::tell`. The run ends after 45
// seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_does_not_wait_for_a_slow_registry_elsewhere() {
    const JOBS: u64 = 300;
    let store = filled(MemoryStore::new(), JOBS).await;
    let runner = MigrationRunner::new(Upgrade::new(), store.clone(), store.clone());
    let control = runner.control();
    let run = tokio::spawn(async move {
        let registry = SlowRegistry(MemoryStore::new());
        runner.run_and_update_registry(&registry).await
    });
    sleep(Duration::from_millis(600)).await;
    control.cancel();
    let began = Instant::now();
    let report = ended(run).await;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    let warned = |text: &str| report.warnings.iter().any(|it| it.message.contains(text));
    assert!(warned("the next run updates them"), "{report:?}");
    // The notes are there for the next run.
    let left = store.transactional().unwrap();
    let left = left.pending_registry_updates(None, 1_000).await.unwrap();
    assert!(left.len() > 200, "{}", left.len());
}
