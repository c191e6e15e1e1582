//! Runs without a disk.

use std::time::Instant;

use state_migration::{
    EventPayload, EventStore, ExpectedSequence, MemoryStore, MigrationRunner, NewEvent, StreamId,
};

use super::Bench;
use crate::child::in_child;
use crate::data::{self, Shape};
use crate::family;
use crate::measure::median;

/// Line 7: no disk, to measure the cost of this crate alone.
pub(super) async fn memory(bench: &mut Bench) {
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
    match instructions(bench, "memory-run").zip(instructions(bench, "memory-fill")) {
        Some((run, fill)) => {
            let each = (run - fill) / processes as f64;
            bench.figures.set("memory.instructions_per_process", each);
        }
        None => println!("memory.instructions_per_process: skipped, valgrind is not installed"),
    }
}

pub async fn in_memory(processes: usize) -> MemoryStore {
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

pub async fn migrate_in_memory(store: &MemoryStore, processes: usize) {
    let runner = MigrationRunner::new(family::one(), store.clone(), store.clone());
    let report = runner.run().await;
    let as_it_should = report.migrated == processes && report.warning_count == 0;
    assert!(as_it_should, "{report}");
}

/// Number of instructions that a child executes, if valgrind is installed.
fn instructions(bench: &Bench, task: &str) -> Option<f64> {
    let callgrind = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
    ];
    let processes = bench.sizes.instructions;
    let said = in_child(task, processes, &bench.folder, Some(&callgrind))?;
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    Some(collected?.1.trim().parse().expect("a number"))
}
