//! What child processes of the benchmark do.

use crate::Args;
use crate::cases::memory::{in_memory, migrate_in_memory};
use crate::data::{self, Place, Shape};
use crate::family;
use crate::floor::Floor;
use crate::measure::{How, run};

/// What a child process does.
pub async fn act(task: &str, args: &Args) {
    let processes = args.processes.unwrap_or(1);
    match task {
        "migrate" => {
            let folder = args.folder.clone().expect("a folder");
            let store = Place::Folder(folder).open().await;
            let (_, report) = run(&store, family::one(), How::Run).await;
            assert_eq!(report.migrated, processes, "{report}");
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
