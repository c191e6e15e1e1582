//! The cases, one function each.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use slatedb::object_store::memory::InMemory;
use state_migration::{
    EventPayload, EventStore, ExpectedSequence, MemoryStore, MigrationRegistry, MigrationRunner,
    NewEvent, SlateDbStore, StreamId,
};

use crate::Args;
use crate::data::{self, Place, Shape};
use crate::family;
use crate::floor::Floor;
use crate::measure::{Figures, How, median, permille, run, run_over};

/// The tables that a run has to read besides events: heads, and for what it
/// writes the keys that a process is registered under.
const READ_TO_FOLD: &[u8] = b"h";
const READ_TO_MIGRATE: &[u8] = b"hk";

/// The cases, as they are named on the command line.
pub const NAMES: [&str; 10] = [
    "all_migrate",
    "fold_only",
    "one_percent",
    "fifty_migrations",
    "three_hops",
    "live",
    "scale",
    "long_processes",
    "slow_store",
    "memory",
];

/// How large the cases are.
struct Sizes {
    processes: usize,
    rounds: usize,
    scale: [usize; 3],
    long: usize,
    idle: Duration,
    slow: usize,
    instructions: usize,
}

impl Sizes {
    fn of(args: &Args) -> Self {
        let processes = args
            .processes
            .unwrap_or(if args.quick { 10_000 } else { 100_000 });
        let part = |of: usize| (processes / of).max(1);
        let rounds = args.rounds.unwrap_or(if args.quick { 2 } else { 3 });
        if args.quick {
            Self {
                processes,
                rounds,
                scale: [part(10), part(2), processes * 2],
                long: part(1_000),
                idle: Duration::from_secs(1),
                slow: part(4),
                instructions: part(20),
            }
        } else {
            Self {
                processes,
                rounds,
                scale: [part(10), processes, processes * 10],
                long: part(500),
                idle: Duration::from_secs(5),
                slow: processes,
                instructions: part(50),
            }
        }
    }
}

/// What all cases share.
struct Bench {
    folder: PathBuf,
    sizes: Sizes,
    tasks: usize,
    figures: Figures,
    /// How long case 1 takes.
    all_migrate: Option<f64>,
}

impl Bench {
    async fn store(&self, name: &str, shape: &Shape) -> Place {
        let place = Place::Folder(self.folder.join(name));
        if !self.folder.join(name).exists() {
            data::make(&place, shape).await;
        }
        place
    }

    fn forget(&self, name: &str) {
        let _ = std::fs::remove_dir_all(self.folder.join(name));
    }

    /// The store of case 1.
    async fn base(&self) -> (Place, Shape) {
        let shape = Shape::new(self.sizes.processes);
        (self.store("base", &shape).await, shape)
    }
}

pub async fn all(args: &Args) {
    let folder = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    }
    .expect("a folder");
    data::check().await;
    let mut bench = Bench {
        folder: folder.path().to_owned(),
        sizes: Sizes::of(args),
        tasks: std::thread::available_parallelism().map_or(2, |cores| cores.get() * 2),
        figures: Figures::default(),
        all_migrate: None,
    };
    let wanted = |case: &str| args.only.is_empty() || args.only.iter().any(|only| only == case);
    macro_rules! cases {
        ($($case:ident)*) => {$(
            if wanted(stringify!($case)) {
                println!("-- {}", stringify!($case));
                let began = Instant::now();
                $case(&mut bench).await;
                eprintln!("  {:.0} s", began.elapsed().as_secs_f64());
            }
        )*};
    }
    cases!(all_migrate fold_only one_percent fifty_migrations three_hops live);
    bench.forget("base");
    cases!(scale long_processes slow_store memory);
    if let Some(file) = &args.json {
        bench.figures.write(file);
    }
}

/// A run against its floor, in turns.
async fn against_floor(
    place: &Place,
    floor: &Floor,
    processes: usize,
    rounds: usize,
) -> (f64, f64, f64) {
    // Also to know what is written, and to warm up.
    let (_, written) = run_over(place, family::one(), processes).await;
    let (mut floors, mut runs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let floor = floor.migrate(place, &written, processes).await;
        let (run, _) = run_over(place, family::one(), processes).await;
        floors.push(floor.as_secs_f64());
        runs.push(run.as_secs_f64());
        ratios.push(floor.as_secs_f64() / run.as_secs_f64());
    }
    (median(floors), median(runs), median(ratios))
}

/// Case 1: all migrate.
async fn all_migrate(bench: &mut Bench) {
    let (place, shape) = bench.base().await;
    let (_, written) = run_over(&place, family::one(), shape.processes).await;
    let floor = Floor::new(&shape, bench.tasks);
    let rounds = bench.sizes.rounds;
    let all = floor.beside(READ_TO_MIGRATE);
    let (floor_s, run_s, efficiency) = against_floor(&place, &all, shape.processes, rounds).await;
    let events_only = floor.migrate(&place, &written, shape.processes).await;
    let events_only = events_only.as_secs_f64() / run_s;
    let (mut transactions, mut of_transactions) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let least = all.migrate(&place, &written, shape.processes).await;
        let safe = all.migrate_in_transactions(&place, &written, shape.processes);
        let safe = safe.await.as_secs_f64();
        let (run, _) = run_over(&place, family::one(), shape.processes).await;
        transactions.push(least.as_secs_f64() / safe);
        of_transactions.push(safe / run.as_secs_f64());
    }
    let processes = shape.processes as f64;
    let figures = &mut bench.figures;
    figures.set("all_migrate.efficiency", efficiency);
    figures.set("all_migrate.processes_per_s", processes / run_s);
    figures.set("all_migrate.run_s", run_s);
    figures.set("all_migrate.floor_s", floor_s);
    figures.set("all_migrate.efficiency_events_only", events_only);
    figures.set(
        "all_migrate.efficiency_of_bare_transactions",
        median(transactions),
    );
    figures.set(
        "all_migrate.efficiency_against_bare_transactions",
        median(of_transactions),
    );
    figures.set(
        "all_migrate.bytes_per_process",
        written.bytes() as f64 / processes,
    );
    figures.set(
        "all_migrate.keys_per_process",
        written.keys() as f64 / processes,
    );
    bench.all_migrate = Some(run_s);
}

/// Case 1: nothing is written.
async fn fold_only(bench: &mut Bench) {
    let (place, shape) = bench.base().await;
    let floor = Floor::new(&shape, bench.tasks);
    let copy = place.copy();
    let store = copy.place.open().await;
    let (mut floors, mut runs, mut bares) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ratios, mut checked, mut rows) = (Vec::new(), Vec::new(), 0);
    let mut events_only = Vec::new();
    let all = floor.beside(READ_TO_FOLD);
    all.fold_only(store.db()).await;
    for _ in 0..bench.sizes.rounds {
        let (bare, read) = floor.bare_scan(store.db()).await;
        rows = read;
        bares.push(bare.as_secs_f64());
        let only = floor.fold_only(store.db()).await.as_secs_f64();
        let least = all.fold_only(store.db()).await.as_secs_f64();
        let (took, report) = run(&store, family::one(), How::FoldOnly).await;
        assert_eq!(report.migrated, shape.processes);
        floors.push(least);
        runs.push(took.as_secs_f64());
        ratios.push(least / took.as_secs_f64());
        events_only.push(only);
        let runner = MigrationRunner::new(family::one(), store.clone(), store.clone());
        let began = Instant::now();
        assert!(runner.dry_run().await.is_ok());
        checked.push(began.elapsed().as_secs_f64());
    }
    store.close().await.expect("a close");
    let (bare, least, only) = (median(bares), median(floors), median(events_only));
    let run_s = median(runs);
    let figures = &mut bench.figures;
    figures.set("fold_only.efficiency", median(ratios));
    figures.set("fold_only.efficiency_events_only", only / run_s);
    figures.set("fold_only.run_s", run_s);
    figures.set("fold_only.floor_s", least);
    figures.set("fold_only.bare_scan_s", bare);
    figures.set("fold_only.bare_scan_rows_per_s", rows as f64 / bare);
    figures.set("fold_only.decoding_share", 1.0 - bare / only);
    figures.set("fold_only.dry_run_s", median(checked));
}

/// How long case 1 takes, if it was not measured yet.
async fn base_run(bench: &mut Bench) -> f64 {
    if let Some(took) = bench.all_migrate {
        return took;
    }
    let took = several(bench, family::one).await;
    bench.all_migrate = Some(took);
    took
}

/// The median time of runs over the store of case 1.
async fn several(bench: &Bench, migrations: impl Fn() -> MigrationRegistry) -> f64 {
    let (place, shape) = bench.base().await;
    over(&place, migrations, shape.processes, bench.sizes.rounds).await
}

async fn over(
    place: &Place,
    migrations: impl Fn() -> MigrationRegistry,
    migrated: usize,
    rounds: usize,
) -> f64 {
    let mut runs = Vec::new();
    for _ in 0..=rounds {
        let (took, _) = run_over(place, migrations(), migrated).await;
        runs.push(took.as_secs_f64());
    }
    // The first one warms up.
    median(runs.split_off(1))
}

/// Case 2: few match.
async fn one_percent(bench: &mut Bench) {
    let all = base_run(bench).await;
    let shape = Shape {
        stands_at: |number| (usize::from(number % 100 != 37), 0),
        ..Shape::new(bench.sizes.processes)
    };
    let place = bench.store("sparse", &shape).await;
    let matching = (0..shape.processes).filter(|n| n % 100 == 37).count();
    let took = over(&place, family::one, matching, bench.sizes.rounds.max(5)).await;
    bench.forget("sparse");
    bench.figures.set("one_percent.cost", took / all);
    bench.figures.set("one_percent.run_s", took);
    bench.figures.set("one_percent.processes", matching as f64);
}

/// Case 3: many migrations are linked, each with its share of the processes, or
/// all but one with none.
async fn fifty_migrations(bench: &mut Bench) {
    let shape = Shape {
        stands_at: |number| (number % family::FAMILIES, 0),
        ..Shape::new(bench.sizes.processes)
    };
    let (base, _) = bench.base().await;
    let spread = bench.store("spread", &shape).await;
    let (mut cost, mut idle) = (Vec::new(), Vec::new());
    let all = shape.processes;
    for _ in 0..bench.sizes.rounds {
        let time = async |place: &Place, migrations| {
            let (took, _) = run_over(place, migrations, all).await;
            took.as_secs_f64()
        };
        let one = time(&base, family::one()).await;
        cost.push(time(&spread, family::fifty()).await / one);
        idle.push(time(&base, family::fifty()).await / one);
    }
    bench.forget("spread");
    bench.figures.set("fifty_migrations.cost", median(cost));
    bench
        .figures
        .set("fifty_migrations.cost_of_idle", median(idle));
}

/// Case 3: a route of three hops.
async fn three_hops(bench: &mut Bench) {
    let (place, shape) = bench.base().await;
    let mut cost = Vec::new();
    for _ in 0..bench.sizes.rounds {
        let (one, _) = run_over(&place, family::one(), shape.processes).await;
        let (three, _) = run_over(&place, family::three_hops(), shape.processes).await;
        cost.push(three.as_secs_f64() / one.as_secs_f64());
    }
    bench.figures.set("three_hops.cost", median(cost));
}

/// Case 4: ten times as many, and ten times again; and what it costs to look
/// when there is nothing to do.
async fn scale(bench: &mut Bench) {
    let (mut efficiencies, mut peaks, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
    let mut after_all = f64::NAN;
    for processes in bench.sizes.scale {
        let shape = Shape::new(processes);
        let name = format!("scale-{processes}");
        let place = bench.store(&name, &shape).await;
        let floor = Floor::new(&shape, bench.tasks).beside(READ_TO_MIGRATE);
        // A small one is over soon, and noise is more of it.
        let rounds = if processes == bench.sizes.scale[0] {
            bench.sizes.rounds * 3
        } else if processes > 500_000 {
            2
        } else {
            bench.sizes.rounds
        };
        let (floor_s, run_s, efficiency) = against_floor(&place, &floor, processes, rounds).await;
        let figures = &mut bench.figures;
        figures.set(&format!("scale.efficiency_{processes}"), efficiency);
        figures.set(&format!("scale.run_s_{processes}"), run_s);
        figures.set(&format!("scale.floor_s_{processes}"), floor_s);
        efficiencies.push(efficiency);

        let copy = place.copy();
        let Place::Folder(folder) = &copy.place else {
            unreachable!("it is in a folder");
        };
        let peak = peak_mib("migrate", folder);
        bench
            .figures
            .set(&format!("scale.peak_mib_{processes}"), peak);
        peaks.push(peak);

        let copy = place.copy();
        let store = copy.place.open().await;
        let (first_fresh, fresh) = looks(&store, family::another).await;
        nothing.push(fresh);
        let (_, report) = run(&store, family::one(), How::Run).await;
        assert_eq!(report.migrated, processes);
        let (first_after, after) = looks(&store, family::one).await;
        after_all = after / fresh;
        bench
            .figures
            .set(&format!("nothing.run_s_{processes}"), fresh);
        bench
            .figures
            .set(&format!("nothing.first_run_s_{processes}"), first_fresh);
        bench
            .figures
            .set(&format!("nothing.after_all_{processes}"), after_all);
        bench.figures.set(
            &format!("nothing.first_after_all_{processes}"),
            first_after / first_fresh,
        );
        store.close().await.expect("a close");
        bench.forget(&name);
    }
    let figures = &mut bench.figures;
    figures.set("scale.efficiency_kept", efficiencies[2] / efficiencies[0]);
    figures.set("scale.memory_growth", peaks[2] / peaks[0]);
    figures.set("scale.memory_growth_last", peaks[2] / peaks[1]);
    figures.set("scale.peak_mib", peaks.iter().copied().fold(0.0, f64::max));
    figures.set("nothing.growth", nothing[2] / nothing[0]);
    figures.set("nothing.after_all", after_all);
}

/// How long it takes to find nothing: the first time, and the median of nine.
async fn looks(store: &SlateDbStore, migrations: impl Fn() -> MigrationRegistry) -> (f64, f64) {
    let mut times = Vec::new();
    for _ in 0..9 {
        let (took, report) = run(store, migrations(), How::Run).await;
        assert_eq!(report.migrated, 0);
        times.push(took.as_secs_f64());
    }
    (times[0], median(times))
}

/// The peak memory of a child process that only does this.
fn peak_mib(task: &str, folder: &Path) -> f64 {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--child", task, "--folder"])
        .arg(folder)
        .output()
        .expect("a child");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let peak = String::from_utf8_lossy(&output.stdout);
    peak.trim().parse::<f64>().expect("a number") / 1024.0
}

/// Case 5: long processes, of which only the end is to be read.
async fn long_processes(bench: &mut Bench) {
    let shape = |events, snapshot_at| Shape {
        events,
        snapshot_at,
        ..Shape::new(bench.sizes.long)
    };
    let shapes = [
        shape(10_000, Some(9_990)),
        shape(1_000, Some(990)),
        shape(10, None),
    ];
    let mut times = Vec::new();
    for shape in &shapes {
        let name = format!("long-{}", shape.events);
        let place = bench.store(&name, shape).await;
        times.push(
            over(
                &place,
                family::one,
                shape.processes,
                bench.sizes.rounds.max(5),
            )
            .await,
        );
        bench.forget(&name);
    }
    let figures = &mut bench.figures;
    figures.set("long_processes.cost", times[0] / times[1]);
    figures.set("long_processes.to_tail_only", times[0] / times[2]);
    figures.set("long_processes.run_s", times[0]);
    figures.set("long_processes.processes", shapes[0].processes as f64);
}

/// Case 6: each request to the object store takes 20 ms.
async fn slow_store(bench: &mut Bench) {
    const LATENCY: Duration = Duration::from_millis(20);
    let shape = Shape::new(bench.sizes.slow);
    let fast = Place::Memory(InMemory::new(), Duration::ZERO);
    data::make(&fast, &shape).await;
    let place = fast.with_latency(LATENCY);
    let (_, written) = run_over(&fast, family::one(), shape.processes).await;
    let (mut least, mut took) = (Vec::new(), Vec::new());
    for _ in 0..bench.sizes.rounds {
        let mut best = Duration::MAX;
        for tasks in [bench.tasks, bench.tasks * 8] {
            let floor = Floor::new(&shape, tasks).beside(READ_TO_MIGRATE);
            best = best.min(floor.migrate(&place, &written, shape.processes).await);
        }
        least.push(best.as_secs_f64());
        let (run, _) = run_over(&place, family::one(), shape.processes).await;
        took.push(run.as_secs_f64());
    }
    let (least, took) = (median(least), median(took));
    bench.figures.set("slow_store.cost", took / least);
    bench.figures.set("slow_store.run_s", took);
    bench.figures.set("slow_store.floor_s", least);

    let shape = Shape::new((bench.sizes.slow / 100).max(10));
    let fast = Place::Memory(InMemory::new(), Duration::ZERO);
    data::make(&fast, &shape).await;
    let copy = fast.with_latency(LATENCY).copy();
    let store = copy.place.open().await;
    let floor = Floor::new(&shape, bench.tasks).with_default_options();
    let (default, rows) = floor.bare_scan(store.db()).await;
    store.close().await.expect("a close");
    let figure = "slow_store.default_scan_rows_per_s";
    bench
        .figures
        .set(figure, rows as f64 / default.as_secs_f64());
}

/// Case 7: somebody appends to other processes while all migrate.
async fn live(bench: &mut Bench) {
    let (place, shape) = bench.base().await;
    let (mut idle, mut busy) = (Latencies::default(), Latencies::default());
    let (mut runs, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..bench.sizes.rounds {
        let copy = place.copy();
        let store = copy.place.open().await;
        let appends = tokio::spawn(append_for(store.clone(), bench.sizes.idle));
        idle.add(appends.await.expect("a task"));
        let appends = tokio::spawn(append_for(store.clone(), Duration::MAX));
        let (took, report) = run(&store, family::one(), How::Run).await;
        STOP.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(report.migrated, shape.processes);
        let appends = appends.await.expect("a task");
        rates.push(appends.durable.len() as f64 / took.as_secs_f64());
        busy.add(appends);
        runs.push(took.as_secs_f64());
        store.close().await.expect("a close");
    }
    let figures = &mut bench.figures;
    let flush_interval = slatedb::config::Settings::default().flush_interval;
    let flush_interval = flush_interval.unwrap_or_default().as_secs_f64();
    figures.set("live.flush_interval_ms", flush_interval * 1_000.0);
    figures.set("live.appends_per_s_wanted", 1.0 / PACE.as_secs_f64());
    figures.set("live.appends_per_s_reached", median(rates));
    figures.set("live.run_s", median(runs));
    for (name, latencies) in [("idle", &mut idle), ("busy", &mut busy)] {
        figures.set(
            &format!("live.{name}_appends"),
            latencies.durable.len() as f64,
        );
        for (what, times) in [
            ("durable", &mut latencies.durable),
            ("visible", &mut latencies.visible),
        ] {
            figures.set(&format!("live.{name}_{what}_p50_ms"), permille(times, 500));
            figures.set(&format!("live.{name}_{what}_p99_ms"), permille(times, 990));
        }
    }
    let ratio = |what: &str| {
        let of = |state| figures.get(&format!("live.{state}_{what}_p99_ms"));
        of("busy").zip(of("idle")).map_or(f64::NAN, |(b, i)| b / i)
    };
    let (durable, visible) = (ratio("durable"), ratio("visible"));
    figures.set("live.durable_p99_ratio", durable);
    figures.set("live.visible_p99_ratio", visible);
}

/// In milliseconds.
#[derive(Default)]
struct Latencies {
    visible: Vec<f64>,
    durable: Vec<f64>,
}

impl Latencies {
    fn add(&mut self, other: Self) {
        self.visible.extend(other.visible);
        self.durable.extend(other.durable);
    }
}

static STOP: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// How often an append begins.
const PACE: Duration = Duration::from_millis(5);

/// Appends to processes of another workflow, one after the other.
async fn append_for(store: SlateDbStore, time: Duration) -> Latencies {
    STOP.store(false, std::sync::atomic::Ordering::SeqCst);
    let mut latencies = Latencies::default();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let began = Instant::now();
    while began.elapsed() < time && !STOP.load(std::sync::atomic::Ordering::SeqCst) {
        pace.tick().await;
        let stream = format!("process/live/{:04}", rng.u32(0..1_000));
        let stream = StreamId::new(stream).expect("an id");
        let event = data::event(&mut rng, 2, 10);
        let payload = serde_json::to_vec(&event).expect("an event");
        let event = NewEvent::new(family::id(49, 0), event.event_type(), 1, payload);
        let began = Instant::now();
        let head = store.head(&stream).await.expect("a head");
        let expected = head.map_or(ExpectedSequence::NoStream, |head| {
            ExpectedSequence::Exact(head.sequence)
        });
        let appended = store
            .append_unflushed(&stream, expected, vec![event.expect("an event")])
            .await
            .expect("an append");
        latencies
            .visible
            .push(began.elapsed().as_secs_f64() * 1_000.0);
        appended.durable().await.expect("durable");
        latencies
            .durable
            .push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    latencies
}

/// Case 8: no disk, to see what this crate itself costs.
async fn memory(bench: &mut Bench) {
    let processes = bench.sizes.processes / 2;
    let mut times = Vec::new();
    for _ in 0..bench.sizes.rounds {
        let store = in_memory(processes).await;
        let began = Instant::now();
        migrate_in_memory(&store, processes).await;
        times.push(began.elapsed().as_secs_f64());
    }
    let per_s = processes as f64 / median(times);
    bench.figures.set("memory.processes_per_s", per_s);
    let processes = bench.sizes.instructions;
    let count = |task: &str| instructions(&bench.folder, task, processes);
    match count("memory-run").zip(count("memory-fill")) {
        Some((run, fill)) => {
            let each = (run - fill) / processes as f64;
            bench.figures.set("memory.instructions_per_process", each);
        }
        None => println!("memory.instructions_per_process: skipped, valgrind is not installed"),
    }
}

async fn in_memory(processes: usize) -> MemoryStore {
    let store = MemoryStore::new();
    let shape = Shape::new(processes);
    let mut rng = fastrand::Rng::with_seed(7);
    for made in data::processes(&shape) {
        let stream = StreamId::new(&made.stream).expect("an id");
        let events = (1..=shape.events)
            .map(|sequence| {
                let event = data::event(&mut rng, sequence, shape.events);
                let payload = serde_json::to_vec(&event).expect("an event");
                NewEvent::new(made.at.clone(), event.event_type(), 1, payload).expect("an event")
            })
            .collect();
        let appended = store.append(&stream, ExpectedSequence::NoStream, events);
        appended.await.expect("an append");
    }
    store
}

async fn migrate_in_memory(store: &MemoryStore, processes: usize) {
    let runner = MigrationRunner::new(family::one(), store.clone(), store.clone());
    let report = runner.run().await;
    assert_eq!(report.migrated, processes, "{report}");
}

/// How many instructions a child takes, if they can be counted.
fn instructions(folder: &Path, task: &str, processes: usize) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--child", task, "--processes", &processes.to_string()])
        .arg("--folder")
        .arg(folder)
        .output()
        .ok()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    Some(collected?.1.trim().parse().expect("a number"))
}

/// What a child process does.
pub async fn child(task: &str, args: &Args) {
    let processes = args.processes.unwrap_or(1);
    match task {
        "migrate" => {
            let folder = args.folder.clone().expect("a folder");
            let store = Place::Folder(folder).open().await;
            run(&store, family::one(), How::Run).await;
            store.close().await.expect("a close");
            let status = std::fs::read_to_string("/proc/self/status").expect("a status");
            let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
            let peak = peak.and_then(|line| line.split_whitespace().nth(1));
            println!("{}", peak.expect("a peak"));
        }
        // To look at a run with a profiler: make a store once, then go over it.
        "make" => {
            let folder = args.folder.clone().expect("a folder");
            data::make(&Place::Folder(folder), &Shape::new(processes)).await;
        }
        "fold" => {
            let folder = args.folder.clone().expect("a folder");
            let copy = Place::Folder(folder).copy();
            let store = copy.place.open().await;
            for _ in 0..3 {
                println!("{:?}", run(&store, family::one(), How::FoldOnly).await.0);
            }
            store.close().await.expect("a close");
        }
        "floor" => {
            let folder = args.folder.clone().expect("a folder");
            let copy = Place::Folder(folder).copy();
            let store = copy.place.open().await;
            let floor = Floor::new(&Shape::new(processes), 4);
            for _ in 0..3 {
                println!("{:?}", floor.fold_only(store.db()).await);
            }
            store.close().await.expect("a close");
        }
        "run" => {
            let folder = args.folder.clone().expect("a folder");
            let copy = Place::Folder(folder).copy();
            let store = copy.place.open().await;
            println!("{:?}", run(&store, family::one(), How::Run).await.0);
            store.close().await.expect("a close");
        }
        "memory-fill" => drop(in_memory(processes).await),
        "memory-run" => {
            let store = in_memory(processes).await;
            migrate_in_memory(&store, processes).await;
        }
        task => panic!("no child does {task:?}"),
    }
}
