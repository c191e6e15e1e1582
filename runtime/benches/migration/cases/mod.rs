//! The cases, one function each.

mod growth;
mod live;
pub mod memory;
mod one_size;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use state_migration::MigrationRegistry;

use self::growth::{long_processes, scale, slow_store};
use self::live::live;
use self::memory::memory;
use self::one_size::{all_migrate, fifty_migrations, fold_only, one_percent, three_hops};
use crate::Args;
use crate::data::{self, Place, Shape};
use crate::family;
use crate::floor::Floor;
use crate::measure::{Figures, median, run_over};

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
