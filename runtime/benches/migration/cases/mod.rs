//! The cases, one function each.

mod few;
mod growth;
mod live;
pub mod memory;
mod one_size;
mod opened;
pub mod peak;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use state_migration::MigrationRegistry;

use self::few::{nothing, one_percent, retry};
use self::growth::{long_processes, scale, slow_store};
use self::live::{births, live};
use self::memory::memory;
use self::one_size::{all_migrate, fifty_migrations, floor, fold_only, three_hops};
use self::opened::opened;
use self::peak::peak;
use crate::Args;
use crate::check::check;
use crate::data::{self, Shape};
use crate::family;
use crate::floor::Floor;
use crate::location::Place;
use crate::measure::{Figures, median, run_over};

/// The names of the cases on the command line.
pub const NAMES: [&str; 16] = [
    "all_migrate",
    "floor",
    "fold_only",
    "one_percent",
    "fifty_migrations",
    "three_hops",
    "live",
    "births",
    "nothing",
    "retry",
    "scale",
    "peak",
    "long_processes",
    "slow_store",
    "opened",
    "memory",
];

/// Sizes of the cases.
struct Sizes {
    processes: usize,
    rounds: usize,
    /// Number of rounds of cases that take minutes.
    few_rounds: usize,
    scale: [usize; 3],
    one_percent: Vec<usize>,
    nothing: [usize; 3],
    peak: [usize; 2],
    large_states: usize,
    long: usize,
    idle: Duration,
    slow: usize,
    opened: usize,
    /// Durations of user code for opened processes, in milliseconds.
    opened_ms: Vec<u64>,
    instructions: usize,
}

impl Sizes {
    fn of(args: &Args) -> Self {
        let processes = args
            .processes
            .unwrap_or(if args.quick { 10_000 } else { 100_000 });
        let part = |of: usize| (processes / of).max(1);
        let rounds = args.rounds.unwrap_or(if args.quick { 2 } else { 5 });
        if args.quick {
            Self {
                processes,
                rounds,
                few_rounds: 1,
                scale: [part(10), part(2), processes * 2],
                one_percent: vec![processes],
                nothing: [part(100), part(10), part(2)],
                peak: [processes, processes * 3],
                large_states: part(50),
                long: part(1_000),
                idle: Duration::from_secs(1),
                slow: part(4),
                opened: part(50),
                opened_ms: vec![0, 5],
                instructions: part(20),
            }
        } else {
            Self {
                processes,
                rounds,
                few_rounds: rounds,
                scale: [part(10), processes, processes * 10],
                one_percent: vec![processes, processes * 10],
                nothing: [part(50), part(5), processes * 2],
                peak: [processes * 10, processes * 30],
                large_states: part(50),
                long: part(500),
                idle: Duration::from_secs(5),
                slow: processes,
                opened: part(50),
                opened_ms: vec![0, 5, 300],
                instructions: part(50),
            }
        }
    }
}

/// State shared by all cases.
struct Bench {
    folder: PathBuf,
    /// Whether stores are kept for the next execution.
    keeps: bool,
    sizes: Sizes,
    tasks: usize,
    figures: Figures,
}

impl Bench {
    /// A store, which is created unless it exists.
    async fn store(&self, name: &str, shape: &Shape) -> Place {
        self.made(name, shape, |place| place).await
    }

    /// A store, created unless it exists, that is opened as `how` configures.
    async fn made(&self, name: &str, shape: &Shape, how: fn(Place) -> Place) -> Place {
        let name = format!("{name}-{}", shape.processes);
        let folder = self.folder.join(&name);
        if !folder.exists() {
            let unfinished = self.folder.join(format!("{name}.unfinished"));
            let _ = std::fs::remove_dir_all(&unfinished);
            data::make(&how(Place::folder(&unfinished)), shape).await;
            std::fs::rename(&unfinished, &folder).expect("a new name");
        }
        how(Place::folder(folder))
    }

    fn forget(&self, place: &Place) {
        if let Some(folder) = place.folder_path().filter(|_| !self.keeps) {
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// A store in which all processes are due.
    async fn all_due(&self, processes: usize) -> (Place, Shape) {
        let shape = Shape::new(processes);
        (self.store("base", &shape).await, shape)
    }

    /// A store of the default size in which all processes are due.
    async fn base(&self) -> (Place, Shape) {
        self.all_due(self.sizes.processes).await
    }
}

pub async fn all(args: &Args) {
    let temporary = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    }
    .expect("a folder");
    let folder = match &args.stores {
        Some(folder) => {
            std::fs::create_dir_all(folder).expect("a folder for the stores");
            folder.clone()
        }
        None => temporary.path().to_owned(),
    };
    check().await;
    let mut bench = Bench {
        folder,
        keeps: args.stores.is_some(),
        sizes: Sizes::of(args),
        tasks: std::thread::available_parallelism().map_or(2, |cores| cores.get() * 2),
        figures: Figures::default(),
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
    cases!(all_migrate floor fold_only fifty_migrations three_hops live births);
    cases!(one_percent nothing retry scale peak long_processes slow_store opened memory);
    bench.figures.print_bounds();
    if let Some(file) = &args.json {
        bench.figures.write(file);
    }
}

/// Measures runs and their floor alternately.
async fn against_floor(
    place: &Place,
    floor: &Floor,
    processes: usize,
    rounds: usize,
) -> (f64, f64, f64) {
    // A warm-up, which also determines what is written.
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

/// Median time of runs over copies of a store, after one run as a warm-up.
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
    median(runs.split_off(1))
}
