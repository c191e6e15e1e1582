//! Threads for user code: how many there are, and what a run does while user code is
//! slow or does not return.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use state_migration::{
    ErrorKind, MemoryStore, MigrationRunner, ProcessId, ProcessIdentity, RunState, TenantId,
};
use state_migration_tests::orders::id;
use state_migration_tests::scripted_workflow::{JobV2, Store, Upgrade, at_v2, put};
use state_migration_tests::stores::OnDisk;
use tokio::task::JoinSet;
use tokio::time::sleep;

fn identity(n: u64) -> ProcessIdentity {
    let process: ProcessId = id(&format!("{n:07}"));
    ProcessIdentity::of::<JobV2>(id::<TenantId>("yard"), process)
}

/// Counts the threads in user code.
#[derive(Clone, Default)]
struct Inside(Arc<(AtomicUsize, AtomicUsize, AtomicUsize)>);

impl Inside {
    fn enter(&self) {
        let (now, most, all) = &*self.0;
        all.fetch_add(1, Ordering::SeqCst);
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }

    fn all(&self) -> usize {
        self.0.2.load(Ordering::SeqCst)
    }
}

/// Never returns for the jobs from this number on.
fn stuck_from(n: u64, inside: &Inside) -> Upgrade {
    let inside = inside.clone();
    Upgrade::with(move |job| {
        inside.enter();
        if job.n >= n {
            loop {
                std::thread::park();
            }
        }
        inside.leave();
        Ok(())
    })
}

/// Fails without `OneAtATime`, or if `open` does not look for abandoned threads.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_code_does_not_return_takes_one_thread_however_often_it_is_opened() {
    let store = MemoryStore::new();
    put(&store, 0).await.unwrap();
    put(&store, 1).await.unwrap();
    let inside = Inside::default();
    let runner = MigrationRunner::new(stuck_from(1, &inside), store.clone(), store.clone());
    let runner = Arc::new(runner.deadline(Duration::from_millis(100)));
    let mut opened = JoinSet::new();
    for _ in 0..100 {
        let runner = runner.clone();
        opened.spawn(async move { runner.open::<JobV2>(identity(1)).await.map(drop) });
    }
    while let Some(opened) = opened.join_next().await {
        let refused = opened.unwrap().unwrap_err();
        assert_eq!(*refused.kind(), ErrorKind::Workflow);
        assert!(
            refused.to_string().contains("user code did not return"),
            "{refused}"
        );
    }
    assert_eq!(inside.all(), 1);
    // Also later, and at once.
    let began = Instant::now();
    assert!(runner.open::<JobV2>(identity(1)).await.is_err());
    assert!(began.elapsed() < Duration::from_millis(100));
    assert!(runner.open::<JobV2>(identity(0)).await.is_ok());
    // A run of the same runner knows it as well.
    let report = runner.run().await;
    assert_eq!((report.migrated, report.error_count), (0, 1), "{report}");
    assert_eq!(inside.all(), 2);
}

/// Fails without the semaphore in `Code`: each caller has a thread of its own.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_are_opened_together_share_a_few_threads() {
    const OPENED: u64 = 2_000;
    let store = MemoryStore::new();
    for n in 0..OPENED {
        put(&store, n).await.unwrap();
    }
    let inside = Inside::default();
    let slow = {
        let inside = inside.clone();
        Upgrade::with(move |_| {
            inside.enter();
            std::thread::sleep(Duration::from_millis(2));
            inside.leave();
            Ok(())
        })
    };
    let runner = Arc::new(MigrationRunner::new(slow, store.clone(), store.clone()));
    let mut opened = JoinSet::new();
    for n in 0..OPENED {
        let runner = runner.clone();
        opened.spawn(async move { runner.open::<JobV2>(identity(n)).await.map(drop) });
    }
    while let Some(opened) = opened.join_next().await {
        opened.unwrap().unwrap();
    }
    assert!((2..=32).contains(&inside.most()), "{}", inside.most());
    assert_eq!(at_v2(&store, 0..OPENED).await.unwrap().len(), 2_000);
}

/// Cancels a run whose code takes `each` for a job, and resumes it with fast code.
async fn cancelled_within(store: impl Store, each: Duration, most: Duration) {
    const JOBS: u64 = 128;
    for n in 0..JOBS {
        put(&store, n).await.unwrap();
    }
    let slow = Upgrade::with(move |_| {
        std::thread::sleep(each);
        Ok(())
    });
    let runner = MigrationRunner::new(slow, store.clone(), store.clone()).chunk_processes(64);
    let control = runner.control();
    let run = tokio::spawn(async move { runner.run().await });
    sleep(Duration::from_millis(1_200)).await;
    control.cancel();
    let began = Instant::now();
    let cancelled = run.await.unwrap();
    assert!(began.elapsed() < most, "{:?}", began.elapsed());
    assert_eq!(cancelled.state, Some(RunState::Cancelled), "{cancelled}");
    assert_eq!(cancelled.error_count, 0, "{cancelled}");
    let done = at_v2(&store, 0..JOBS).await.unwrap().len();
    assert_eq!(cancelled.migrated, done);
    assert!(done < 128);
    if each < Duration::from_secs(1) {
        assert!(done > 0, "what was converted is committed");
    }

    let rest = MigrationRunner::new(Upgrade::new(), store.clone(), store.clone());
    let report = rest.resume(cancelled.run.unwrap()).await;
    assert_eq!((report.migrated, report.error_count), (128, 0), "{report}");
    assert_eq!(at_v2(&store, 0..JOBS).await.unwrap().len(), 128);
}

/// Fails if a job looks at the cancel only at its end: a chunk takes 19 seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_waits_for_one_process_of_each_worker_and_not_for_a_chunk() {
    let (each, most) = (Duration::from_millis(300), Duration::from_secs(3));
    cancelled_within(MemoryStore::new(), each, most).await;
    let on_disk = OnDisk::new().await.unwrap();
    cancelled_within((*on_disk).clone(), each, most).await;
}

/// Fails without `AFTER_CANCEL`: the run waits for the process.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_leaves_a_process_whose_code_is_slow() {
    let (each, most) = (Duration::from_secs(7), Duration::from_secs(5));
    cancelled_within(MemoryStore::new(), each, most).await;
}

/// Fails without the bound on abandoned threads: the run takes 80 seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_and_can_be_resumed_once_16_threads_are_abandoned() {
    let store = MemoryStore::new();
    for n in 0..800 {
        put(&store, n).await.unwrap();
    }
    let inside = Inside::default();
    let runner = MigrationRunner::new(stuck_from(0, &inside), store.clone(), store.clone())
        .deadline(Duration::from_millis(50));
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Running), "{report}");
    let of_run = report
        .errors
        .iter()
        .filter(|it| it.subject.stream().is_none());
    let of_run: Vec<_> = of_run.collect();
    assert_eq!(of_run.len(), 1, "{report}");
    assert!(of_run[0].message.contains("16"), "{report}");
    // The jobs in progress when the bound was reached are abandoned, too.
    assert!((16..=31).contains(&inside.all()), "{}", inside.all());
    let failed = report.error_count - 1;
    assert!(failed > 0);
    let run = report.run.unwrap();

    // No more code is run by this runner, also not for a process that is opened.
    assert!(runner.open::<JobV2>(identity(799)).await.is_err());
    let again = runner.resume(run).await;
    assert_eq!(again.state, Some(RunState::Running), "{again}");
    assert!(inside.all() <= 31);

    // Another one continues: what has failed is for a retry.
    let other = MigrationRunner::new(Upgrade::new(), store.clone(), store.clone());
    let report = other.resume(run).await;
    assert_eq!(report.state, Some(RunState::DoneWithErrors), "{report}");
    assert_eq!(report.migrated + report.error_count, 800, "{report}");
    let retried = other.retry(run, &[]).await;
    assert_eq!(retried.error_count, 0, "{retried}");
    assert_eq!(at_v2(&store, 0..800).await.unwrap().len(), 800);
}
