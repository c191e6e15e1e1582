//! Runs beside a program that continues to write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use state_migration::{
    ErrorKind, EventPayload, EventStore, ExpectedSequence, MigrationReport, MigrationRunner,
    NewEvent, Process, ProcessId, ProcessIdentity, RunState, SlateDbStore, StreamId, TenantId,
};
use tokio::task::JoinSet;

use super::Bench;
use crate::conflicts;
use crate::data::{self, Shape};
use crate::family::{self, Family};
use crate::measure::{How, median, permille, run, run_over};

/// Line 5: appends while all processes are migrated, to the processes of the run and to
/// others.
pub(super) async fn live(bench: &mut Bench) {
    let flush_interval = slatedb::config::Settings::default().flush_interval;
    let flush_interval = flush_interval.unwrap_or_default().as_secs_f64();
    bench
        .figures
        .set("live.flush_interval_ms", flush_interval * 1_000.0);
    beside(bench, "300", 300, Where::HalfInTheRun).await;
    beside(bench, "1000", 1_000, Where::HalfInTheRun).await;
    beside(bench, "elsewhere", 1_000, Where::Elsewhere).await;
}

/// The processes that are appended to.
#[derive(Clone, Copy, PartialEq)]
enum Where {
    HalfInTheRun,
    Elsewhere,
}

async fn beside(bench: &mut Bench, name: &str, per_s: u32, to: Where) {
    let (place, shape) = bench.base().await;
    let traffic = Traffic::new(&shape, per_s, to);
    let (mut idle, mut busy) = (Seen::default(), Seen::default());
    let (mut alone, mut ratios, mut runs) = (vec![], vec![], vec![]);
    let cores = std::thread::available_parallelism()
        .expect("a number")
        .get() as f64;
    let mut shares = Vec::new();
    let (mut failed, mut chunks) = (0, 0);
    for _ in 0..bench.sizes.rounds {
        let (without, _) = run_over(&place, family::one(), shape.processes).await;
        let copy = place.copy();
        let store = copy.place.open().await;
        let keep_running = Arc::new(AtomicBool::new(true));
        let cpu = cpu_time();
        let seen = traffic.go(&store, bench.sizes.idle, &keep_running).await;
        shares.push((cpu_time() - cpu).as_secs_f64() / seen.took.as_secs_f64() / cores);
        idle.add(seen);
        let before = conflicts::so_far();
        let appends = tokio::spawn({
            let (traffic, store, keep_running) =
                (traffic.clone(), store.clone(), keep_running.clone());
            async move { traffic.go(&store, Duration::MAX, &keep_running).await }
        });
        let (took, report) = run_beside(&store, without, &keep_running).await;
        keep_running.store(false, Ordering::SeqCst);
        let appends = appends.await.expect("a task");
        failed += shape.processes - report.migrated;
        chunks += conflicts::so_far() - before;
        busy.add(appends);
        alone.push(without.as_secs_f64());
        runs.push(took.as_secs_f64());
        ratios.push(took.as_secs_f64() / without.as_secs_f64());
        store.close().await.expect("a close");
    }
    let mut set = |what: &str, value| bench.figures.set(&format!("live.{name}.{what}"), value);
    set("run_s", median(runs));
    set("run_without_s", median(alone));
    set("run_ratio", median(ratios));
    // The CPU time left beside the appends limits any run.
    let share = median(shares);
    set("idle_cpu_share", share);
    set("least_run_ratio", 1.0 / (1.0 - share));
    set("failed", failed as f64);
    set("appends_refused", busy.refused as f64);
    set("conflicts", chunks as f64);
    for (what, state) in [("idle", &mut idle), ("busy", &mut busy)] {
        let reached = state.durable.len() as f64 / state.took.as_secs_f64();
        set(&format!("{what}_appends_per_s"), reached);
        for (which, times) in [
            ("durable", &mut state.durable),
            ("visible", &mut state.visible),
        ] {
            set(&format!("{what}_{which}_p50_ms"), permille(times, 500));
            set(&format!("{what}_{which}_p99_ms"), permille(times, 990));
        }
    }
    let ratio = |busy: &mut [f64], idle: &mut [f64]| permille(busy, 990) / permille(idle, 990);
    let durable = ratio(&mut busy.durable, &mut idle.durable);
    set("durable_p99_ratio", durable);
    let visible = ratio(&mut busy.visible, &mut idle.visible);
    set("visible_p99_ratio", visible);
}

/// CPU time of all threads of this program.
fn cpu_time() -> Duration {
    const TICKS_PER_S: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a file");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.map(|it| it.parse::<f64>().expect("a number")).sum();
    Duration::from_secs_f64(ticks / TICKS_PER_S)
}

/// Executes one run, in which processes may fail as busy. A run that takes twenty times
/// as long as alone will not end; it is cancelled, and the appends are stopped.
async fn run_beside(
    store: &SlateDbStore,
    alone: Duration,
    keep_running: &AtomicBool,
) -> (Duration, MigrationReport) {
    let limit = alone * 20 + Duration::from_secs(30);
    let runner = MigrationRunner::new(family::one(), store.clone(), store.clone());
    let control = runner.control();
    let began = Instant::now();
    let run = runner.run();
    tokio::pin!(run);
    let report = match tokio::time::timeout(limit, &mut run).await {
        Ok(report) => report,
        Err(_) => {
            control.cancel();
            keep_running.store(false, Ordering::SeqCst);
            run.await
        }
    };
    let took = began.elapsed();
    if !report.is_ok() || report.state != Some(RunState::Done) {
        println!("{report}");
    }
    (took, report)
}

/// Latencies of appends, in milliseconds.
#[derive(Default)]
struct Seen {
    visible: Vec<f64>,
    durable: Vec<f64>,
    /// Number of appends that were refused and repeated.
    refused: u64,
    took: Duration,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.visible.extend(other.visible);
        self.durable.extend(other.durable);
        self.refused += other.refused;
        self.took += other.took;
    }
}

/// Maximum number of concurrent appends, like the concurrency of a service.
const AT_ONCE: usize = 256;

/// A generator of appends.
#[derive(Clone)]
struct Traffic {
    in_the_run: Arc<Vec<StreamId>>,
    elsewhere: Arc<Vec<StreamId>>,
    per_s: u32,
    to: Where,
}

impl Traffic {
    fn new(shape: &Shape, per_s: u32, to: Where) -> Self {
        let made = data::processes(shape).into_iter().map(|made| made.stream);
        let other = (0..1_000).map(|number| format!("process/live/{number:04}"));
        let stream = |id: String| StreamId::new(id).expect("an id");
        Self {
            in_the_run: Arc::new(made.map(stream).collect()),
            elsewhere: Arc::new(other.map(stream).collect()),
            per_s,
            to,
        }
    }

    /// Appends for a given time, or until it is stopped.
    async fn go(&self, store: &SlateDbStore, time: Duration, keep_running: &AtomicBool) -> Seen {
        let mut rng = Rng::with_seed(7);
        let (mut tasks, mut seen) = (JoinSet::new(), Seen::default());
        let mut pace = tokio::time::interval(Duration::from_secs(1) / self.per_s);
        let began = Instant::now();
        for number in 0u64.. {
            pace.tick().await;
            if began.elapsed() >= time || !keep_running.load(Ordering::SeqCst) {
                break;
            }
            let streams = match self.to {
                Where::HalfInTheRun if number % 2 == 0 => &self.in_the_run,
                _ => &self.elsewhere,
            };
            let stream = streams[rng.usize(..streams.len())].clone();
            tasks.spawn(append(store.clone(), stream, rng.fork()));
            while let Some(done) = tasks.try_join_next() {
                seen.add(done.expect("a task"));
            }
            if tasks.len() >= AT_ONCE {
                seen.add(tasks.join_next().await.expect("a task").expect("a task"));
            }
        }
        while let Some(done) = tasks.join_next().await {
            seen.add(done.expect("a task"));
        }
        seen.took = began.elapsed();
        seen
    }
}

/// Appends to a process under its current version.
async fn append(store: SlateDbStore, stream: StreamId, mut rng: Rng) -> Seen {
    let (mut seen, since) = (Seen::default(), Instant::now());
    let event = data::event(&mut rng, 2, 10);
    let payload = serde_json::to_vec(&event).expect("an event");
    let milliseconds = || since.elapsed().as_secs_f64() * 1_000.0;
    loop {
        let head = store.head(&stream).await.expect("a head");
        let (at, expected) = match head {
            Some(head) => (head.workflow_id, ExpectedSequence::Exact(head.sequence)),
            None => (family::id(49, 0), ExpectedSequence::NoStream),
        };
        let event = NewEvent::new(at, event.event_type(), 1, payload.clone());
        let event = vec![event.expect("an event")];
        match store.append_unflushed(&stream, expected, event).await {
            Ok(appended) => {
                seen.visible.push(milliseconds());
                appended.durable().await.expect("durable");
                seen.durable.push(milliseconds());
                return seen;
            }
            Err(error) => match error.kind() {
                // Another append, or the run, came first.
                ErrorKind::Conflict
                | ErrorKind::Migrated { .. }
                | ErrorKind::WrongVersion { .. } => seen.refused += 1,
                _ => panic!("{error}"),
            },
        }
    }
}

/// Line 5: while all processes are migrated, a service creates 100 processes per second
/// at the old version.
pub(super) async fn births(bench: &mut Bench) {
    const PAUSE: Duration = Duration::from_millis(10);
    let (place, shape) = bench.base().await;
    let (mut ended, mut ratios, mut swept, mut born) = (0, Vec::new(), 0, 0);
    for _ in 0..bench.sizes.rounds {
        let (without, _) = run_over(&place, family::one(), shape.processes).await;
        let copy = place.copy();
        let store = copy.place.open().await;
        let keep_running = Arc::new(AtomicBool::new(true));
        let service = tokio::spawn({
            let (store, keep_running) = (store.clone(), keep_running.clone());
            async move {
                let (mut tasks, mut pace) = (JoinSet::new(), tokio::time::interval(PAUSE));
                for number in 0..u64::MAX {
                    pace.tick().await;
                    if !keep_running.load(Ordering::SeqCst) {
                        break;
                    }
                    tasks.spawn(create(store.clone(), number));
                }
                tasks.join_all().await.len() as u64
            }
        });
        let (took, report) = run_beside(&store, without, &keep_running).await;
        keep_running.store(false, Ordering::SeqCst);
        let created = service.await.expect("a task");
        born += created;
        ended += usize::from(report.state == Some(RunState::Done));
        swept += report.swept;
        ratios.push(took.as_secs_f64() / without.as_secs_f64());
        // Processes born after the last sweep are left to the next run.
        let (_, next) = run(&store, family::one(), How::Run).await;
        let moved = report.migrated + next.migrated;
        assert_eq!(moved as u64, shape.processes as u64 + created);
        store.close().await.expect("a close");
    }
    let figures = &mut bench.figures;
    let rounds = bench.sizes.rounds as f64;
    figures.set("births.runs_ended", ended as f64 / rounds);
    figures.set("births.run_ratio", median(ratios));
    figures.set("births.born", born as f64 / rounds);
    figures.set("births.swept", swept as f64 / rounds);
}

async fn create(store: SlateDbStore, number: u64) {
    let tenant = TenantId::new("born").expect("an id");
    let process = ProcessId::new(format!("{number}")).expect("an id");
    let identity = ProcessIdentity::of::<Family<0, 0>>(tenant, process);
    let order = Process::<Family<0, 0>>::open(identity, store.clone(), store).await;
    let placed = data::event(&mut Rng::with_seed(number), 1, 10);
    let appended = order.expect("a process").append(&[placed]).await;
    appended.expect("an append");
}
