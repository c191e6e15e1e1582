//! The tasks of child processes of the benchmark. A child can also be started
//! directly, to profile a run:
//!
//! ```text
//! cargo bench -p state-migration --bench migration --no-run       # prints BENCH
//! BENCH --child make --folder STORE --processes 100000
//! perf record -g BENCH --child run --folder STORE --processes 100000
//! valgrind --tool=callgrind BENCH --child memory-run --processes 2000
//! valgrind --tool=callgrind BENCH --child memory-fill --processes 2000
//! ```
//!
//! The difference of the last two, divided by the number of processes, is the number
//! of instructions per process without a disk.

use std::path::Path;
use std::process::Command;

use crate::Args;
use crate::cases::memory::{in_memory, migrate_in_memory};
use crate::cases::peak::STORE_OF_LARGE_STATES;
use crate::data::{self, Shape};
use crate::family;
use crate::floor::Floor;
use crate::location::Place;
use crate::measure::{How, run};

/// Executes a task in a child process.
pub async fn act(task: &str, args: &Args) {
    let processes = args.processes.unwrap_or(1);
    let place = || Place::folder(args.folder.clone().expect("a folder"));
    match task {
        "migrate" => migrate(&place(), processes).await,
        "migrate-large-states" => {
            migrate(&place().with_memory(STORE_OF_LARGE_STATES), processes).await;
        }
        // Created once, for any number of runs.
        "make" => data::make(&place(), &Shape::new(processes)).await,
        "fold" | "floor" | "run" => {
            let copy = place().copy();
            let store = copy.place.open().await;
            let floor = Floor::new(&Shape::new(processes), 4);
            let took = match task {
                "fold" => run(&store, family::one(), How::FoldOnly).await.0,
                "floor" => floor.fold_only(store.db()).await,
                _ => run(&store, family::one(), How::Run).await.0,
            };
            println!("{took:?}");
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

/// Migrates, and prints the peak memory in KiB.
async fn migrate(place: &Place, processes: usize) {
    let store = place.open().await;
    let (_, report) = run(&store, family::one(), How::Run).await;
    assert_eq!(report.migrated, processes, "{report}");
    store.close().await.expect("a close");
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak = peak.and_then(|line| line.split_whitespace().nth(1));
    println!("{}", peak.expect("a peak"));
}

/// The output of a child that executes `task`, if it can be started. Under another
/// program, the output of that program.
pub fn in_child(
    task: &str,
    processes: usize,
    folder: &Path,
    under: Option<&[&str]>,
) -> Option<String> {
    let this = std::env::current_exe().expect("this program");
    let mut command = match under {
        Some([program, arguments @ ..]) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(this);
            command
        }
        _ => Command::new(this),
    };
    command
        .args(["--child", task, "--processes", &processes.to_string()])
        .arg("--folder")
        .arg(folder);
    let output = command.output().ok()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(match under {
        Some(_) => errors.into_owned(),
        None => String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}
