//! A run whose program is killed, at instants of the clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use state_migration::{RunState, Runs, SlateDbStore, Workflow, WorkflowId};
use state_migration_tests::orders::OrderV2;
use state_migration_tests::size::size;
use state_migration_tests::stores::{copy, streams_at};

use crate::crash::child::Program;
use crate::crash::digest::{self, Digest};
use crate::crash::{only_run, prepare, runner};

/// How many orders a run is of: what a kill can meet is a chunk, and there are as
/// many chunks whatever this is.
fn orders() -> u64 {
    size(2_000, 20_000)
}

/// How many chunks a run has.
const CHUNKS: u64 = 200;

/// The number of concurrent rounds.
const LANES: u64 = 2;

/// How many rounds there are.
fn rounds() -> u64 {
    size(12, 100)
}

/// What all rounds share.
struct Rounds {
    number: u64,
    orders: u64,
    /// The folder of a store that was not migrated yet.
    template: PathBuf,
    /// What is in a store that was migrated without a stop.
    expected: Digest,
    next: AtomicU64,
    /// How many kills were seen to fall into the middle of a run.
    seen: AtomicU64,
    took: Took,
}

/// Where the time goes, in milliseconds.
#[derive(Debug, Default)]
struct Took {
    copy: AtomicU64,
    child: AtomicU64,
    look: AtomicU64,
    resume: AtomicU64,
    compare: AtomicU64,
}

fn add(to: &AtomicU64, since: &mut Instant) {
    let now = Instant::now();
    let took = u64::try_from((now - *since).as_millis()).unwrap();
    to.fetch_add(took, Ordering::SeqCst);
    *since = now;
}

impl Rounds {
    /// How many orders a chunk has.
    fn chunk(&self) -> u32 {
        u32::try_from(self.orders / CHUNKS).unwrap().max(1)
    }
}

/// The number of orders at v2.
async fn moved(store: &SlateDbStore) -> u64 {
    let v2 = WorkflowId::new(OrderV2::NAME, OrderV2::VERSION);
    streams_at(store, &v2).await.unwrap().len() as u64
}

/// Kills a run after a number of migrated orders, and resumes the run. Returns
/// whether the run was in progress when it was killed.
async fn round(rounds: &Rounds, kill: Kill) -> bool {
    let (folder, took) = (tempfile::tempdir().unwrap(), &rounds.took);
    let (orders, chunk) = (rounds.orders, rounds.chunk());
    let mut since = Instant::now();
    copy(&rounds.template, folder.path()).unwrap();
    add(&took.copy, &mut since);
    let mut program = Program::start(folder.path(), "open", chunk, None);
    let killed = tokio::task::spawn_blocking(move || {
        let killed = program.durable(kill.after);
        std::thread::sleep(kill.later);
        program.kill();
        killed
    });
    let killed = killed.await.unwrap();
    add(&took.child, &mut since);

    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    let run = only_run(&store).await;
    let runs = Runs::of(&store).unwrap();
    let record = runs.get(run).await.unwrap().unwrap();
    let moved = moved(&store).await;
    let counts = runs.counts(run).await.unwrap();
    // What is counted and what was done became durable together.
    assert_eq!((counts.migrated, counts.failed), (moved, 0), "{kill:?}");
    assert!(!killed || moved >= kill.after, "{kill:?}: {moved}");
    add(&took.look, &mut since);

    if record.state.is_done() {
        assert_eq!(moved, orders, "{kill:?}");
    } else {
        assert_eq!(record.state, RunState::Running);
        assert_eq!(runs.claimed_by().await.unwrap(), Some(run));
        let runner = runner(&store).chunk_processes(chunk as usize);
        let report = runner.resume(run).await;
        assert!(report.is_ok(), "{kill:?}: {report}");
        assert_eq!(report.migrated as u64, orders, "{kill:?}: {report}");
        // Nothing is left behind a cursor for the last sweep to find.
        assert_eq!(report.swept, 0, "{kill:?}: {report}");
        let record = runs.get(run).await.unwrap().unwrap();
        assert_eq!((record.state, record.executions), (RunState::Done, 2));
    }
    let counts = runs.counts(run).await.unwrap();
    assert_eq!((counts.migrated, counts.failed), (orders, 0), "{kill:?}");
    assert_eq!(runs.claimed_by().await.unwrap(), None);
    assert_eq!(only_run(&store).await, run);
    add(&took.resume, &mut since);

    assert_eq!(digest::of(&store, run).await, rounds.expected, "{kill:?}");
    add(&took.compare, &mut since);
    killed && 0 < moved && moved < orders && !record.state.is_done()
}

/// Takes one round after another.
async fn lane(rounds: Arc<Rounds>) {
    loop {
        let n = rounds.next.fetch_add(1, Ordering::SeqCst);
        if n >= rounds.number {
            return;
        }
        let kill = Kill {
            // So far from its end that it is not there before the kill.
            after: 1 + n * (rounds.orders * 3 / 4) / rounds.number,
            later: Duration::from_micros(n * 7_919 % 30_000),
        };
        if round(&rounds, kill).await {
            rounds.seen.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Kill {
    /// How many orders are to be migrated.
    after: u64,
    /// And how long after that is known: any instant of a chunk.
    later: Duration,
}

/// To see it fail: write the row of a range after its chunk instead of with it
/// (what is counted and what was done come apart), or before it (orders behind
/// a cursor are left to the last sweep, or counted and not done).
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_resumes_and_no_process_is_migrated_twice() {
    let (number, orders) = (rounds(), orders());
    let began = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("template");
    prepare(&template, orders).await;
    let prepared = began.elapsed();

    let mut rounds = Rounds {
        number,
        orders,
        template,
        expected: Digest::default(),
        next: AtomicU64::new(0),
        seen: AtomicU64::new(0),
        took: Took::default(),
    };
    let whole = folder.path().join("whole");
    copy(&rounds.template, &whole).unwrap();
    let store = SlateDbStore::open_local(&whole).await.unwrap();
    let runner = runner(&store).chunk_processes(rounds.chunk() as usize);
    let report = runner.run().await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.migrated as u64, orders);
    let expected = digest::of(&store, only_run(&store).await).await;
    drop(store);
    for (table, of_each) in [('e', 2), ('h', 1), ('r', 1), ('k', 1)] {
        assert!(expected[&table].0 >= of_each * orders, "{expected:?}");
    }
    rounds.expected = expected;

    let rounds = Arc::new(rounds);
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..LANES {
        lanes.spawn(lane(rounds.clone()));
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
    let seen = rounds.seen.load(Ordering::SeqCst);
    let took = began.elapsed();
    println!("{seen} of {number} kills fell into a run; {took:?}, of it {prepared:?} to prepare");
    println!("milliseconds of all rounds: {:?}", rounds.took);
    assert!(
        seen * 100 >= number * 80,
        "only {seen} of {number} kills fell into a run"
    );
}
