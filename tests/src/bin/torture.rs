//! Simulated worlds in which everything goes wrong, and real programs that are
//! killed, for as long as it is told to:
//! `cargo run --release -p state-migration-tests --bin torture -- --seconds 600 --seed 1`.
//!
//! It ends with a table, and with exit code 1 when a store was not as it must be;
//! then it prints the seed, the shortest list of steps that it found to fail, and
//! the command that does just these.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use state_migration_tests::torture::counts::Counts;
use state_migration_tests::torture::kills::{self, Folder};
use state_migration_tests::torture::shrink::shrink;
use state_migration_tests::torture::steps::{self, Step};
use state_migration_tests::torture::workflows;
use state_migration_tests::torture::{Violation, World};

#[derive(Debug, Parser)]
struct Args {
    /// For how long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// From which all worlds are drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many worlds at a time; one for each core by default.
    #[arg(long)]
    threads: Option<usize>,
    /// How many steps a world has.
    #[arg(long, default_value_t = 120)]
    steps: usize,
    /// Only the world of this seed, once.
    #[arg(long)]
    world: Option<u64>,
    /// Of that world, only the steps with these numbers.
    #[arg(long, value_delimiter = ',', requires = "world")]
    only: Option<Vec<usize>>,
    /// Prints the steps of that world.
    #[arg(long, requires = "world")]
    print: bool,
    /// In how many folders real programs are killed at a time.
    #[arg(long, default_value_t = 3)]
    kill_lanes: usize,
    /// Kills no real programs.
    #[arg(long)]
    no_kills: bool,
    /// Simulates no worlds.
    #[arg(long)]
    no_worlds: bool,
    /// Writes the figures here too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Run as the program that is killed.
    #[arg(long, hide = true)]
    child: Option<PathBuf>,
    /// The number of this program among the programs of its folder.
    #[arg(long, hide = true, default_value_t = 0)]
    life: u64,
}

/// How often a list of steps is tried that may be shorter.
const TRIES: usize = 300;

fn main() -> ExitCode {
    workflows::silence();
    let args = Args::parse();
    if let Some(folder) = &args.child {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let Ok(runtime) = runtime else {
            return ExitCode::from(2);
        };
        runtime.block_on(kills::live(folder, args.seed, args.life));
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let torture = Torture {
        args: &args,
        until: began + Duration::from_secs(args.seconds),
        stop: AtomicBool::new(false),
        next: AtomicU64::new(0),
        folders: AtomicU64::new(0),
        counts: Mutex::default(),
        failed: Mutex::default(),
    };
    match args.world {
        Some(world) => torture.one(world),
        None => torture.all(),
    }
    torture.report(began.elapsed())
}

struct Torture<'a> {
    args: &'a Args,
    until: Instant,
    stop: AtomicBool,
    next: AtomicU64,
    folders: AtomicU64,
    counts: Mutex<Counts>,
    failed: Mutex<Vec<String>>,
}

/// The seed of the n-th world: neighbours have nothing in common.
fn mixed(seed: u64, n: u64) -> u64 {
    let mut x = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(n.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Torture<'_> {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || Instant::now() >= self.until
    }

    fn add(&self, counts: &Counts) {
        let mut all = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        all.merge(counts);
    }

    fn fail(&self, what: String) {
        self.stop.store(true, Ordering::SeqCst);
        let mut counts = Counts::default();
        counts.add("violations", 1);
        self.add(&counts);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.push(what);
    }

    fn all(&self) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let worlds = match self.args.no_worlds {
            true => 0,
            false => self.args.threads.unwrap_or(cores),
        };
        std::thread::scope(|scope| {
            for _ in 0..worlds {
                scope.spawn(|| {
                    while !self.is_over() {
                        self.world(mixed(
                            self.args.seed,
                            self.next.fetch_add(1, Ordering::SeqCst),
                        ));
                    }
                });
            }
            let lanes = match self.args.no_kills {
                true => 0,
                false => self.args.kill_lanes,
            };
            for _ in 0..lanes {
                scope.spawn(|| self.kill());
            }
        });
    }

    fn world(&self, seed: u64) {
        let steps = steps::draw(seed, self.args.steps);
        let (mut counts, result) = World::run(seed, &steps, None);
        counts.add("worlds", 1);
        self.add(&counts);
        if let Err(violation) = result {
            self.explain(seed, steps.into_iter().enumerate().collect(), &violation);
        }
    }

    /// One world, as often as it takes to read about it.
    fn one(&self, seed: u64) {
        let steps: Vec<(usize, Step)> = steps::draw(seed, self.args.steps)
            .into_iter()
            .enumerate()
            .filter(|(n, _)| self.args.only.as_ref().is_none_or(|only| only.contains(n)))
            .collect();
        if self.args.print {
            print(&steps);
        }
        let (mut counts, result) = World::run(seed, &bare(&steps), None);
        counts.add("worlds", 1);
        self.add(&counts);
        if let Err(violation) = result {
            self.explain(seed, steps, &violation);
        }
    }

    fn explain(&self, seed: u64, steps: Vec<(usize, Step)>, violation: &Violation) {
        let Violation { step, wrong } = violation;
        eprintln!("world {seed}, after step {step}: {}", wrong.what);
        eprintln!("looking for fewer steps …");
        let mut last = violation.clone();
        let short = shrink(steps, TRIES, |steps| {
            match World::run(seed, &bare(steps), None).1 {
                Ok(()) => false,
                Err(violation) => {
                    last = violation;
                    true
                }
            }
        });
        print(&short);
        let numbers: Vec<String> = short.iter().map(|(n, _)| n.to_string()).collect();
        let only = match numbers.is_empty() {
            true => String::new(),
            false => format!(" --only {}", numbers.join(",")),
        };
        self.fail(format!(
            "world {seed}: {} ({:?})\n  first seen after step {step}: {} ({:?})\n  \
             cargo run --release -p state-migration-tests --bin torture -- --steps {} --world {seed}{only}",
            last.wrong.what, last.wrong.kind, wrong.what, wrong.kind, self.args.steps
        ));
    }

    fn kill(&self) {
        let Ok(program) = std::env::current_exe() else {
            return self.fail("this program does not know where it is".to_owned());
        };
        while !self.is_over() {
            let folder = self.folders.fetch_add(1, Ordering::SeqCst);
            let seed = mixed(!self.args.seed, folder);
            let Ok(place) = tempfile::tempdir() else {
                return self.fail("no folder can be made".to_owned());
            };
            let mut folder = Folder::new(seed, place.path());
            let mut result = Ok(());
            for _ in 0..folder.lives() {
                if self.is_over() || result.is_err() {
                    break;
                }
                result = folder.kill_one(&program);
            }
            let result = result.and_then(|()| folder.finish());
            self.add(&folder.counts());
            if let Err(wrong) = result {
                let kept = place.keep();
                return self.fail(format!(
                    "folder {} of seed {seed}: {}",
                    kept.display(),
                    wrong.what
                ));
            }
        }
    }

    fn report(&self, took: Duration) -> ExitCode {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        table(&counts, self.args, took);
        for what in failed.iter() {
            println!("\nVIOLATION {what}");
        }
        if let Some(path) = &self.args.json {
            let figures = serde_json::json!({
                "seed": self.args.seed, "seconds": took.as_secs(), "figures": &*counts,
            });
            if let Err(error) = std::fs::write(path, format!("{figures:#}\n")) {
                eprintln!("{} cannot be written: {error}", path.display());
                return ExitCode::from(2);
            }
        }
        match failed.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

fn bare(steps: &[(usize, Step)]) -> Vec<Step> {
    steps.iter().map(|(_, step)| step.clone()).collect()
}

fn print(steps: &[(usize, Step)]) {
    for (n, step) in steps {
        println!("{n:>4} {step:?}");
    }
}

fn table(counts: &Counts, args: &Args, took: Duration) {
    let row = |name: &str, count: u64| println!("{name:<44}{count:>12}");
    println!("{:<44}{:>12}", "seed", args.world.unwrap_or(args.seed));
    row("seconds", took.as_secs());
    for name in ["worlds", "steps", "races"] {
        row(name, counts.get(name));
    }
    row("faults injected", counts.sum("fault: "));
    for (name, count) in counts.of("fault: ") {
        row(&format!("  {name}"), count);
    }
    for name in [
        "simulated crashes",
        "real kills",
        "restarts after an error",
        "reads to be tried again",
        "writers fenced",
        "resumes",
        "runs done",
        "processes migrated",
        "appends",
        "appends under migration",
        "appends refused",
        "appends whose outcome was unknown",
        "events acknowledged",
        "events found",
        "comparisons of the whole store",
        "lost",
        "doubled",
        "violations",
    ] {
        row(name, counts.get(name));
    }
    println!("of the steps:");
    for (name, count) in counts.of("step: ") {
        row(&format!("  {name}"), count);
    }
}
