//! Growth with the number of processes, their length, and the latency of the store.

use std::time::Duration;

use super::{Bench, against_floor, over};
use crate::data::{self, Shape};
use crate::family;
use crate::floor::Floor;
use crate::location::Place;
use crate::measure::{median, run_over};

/// Three sizes; by default each is ten times the previous one.
pub(super) async fn scale(bench: &mut Bench) {
    let mut efficiencies = Vec::new();
    for processes in bench.sizes.scale {
        let (place, shape) = bench.all_due(processes).await;
        let floor = Floor::new(&shape, bench.tasks);
        // A small run is short, and therefore noisier.
        let rounds = if processes == bench.sizes.scale[0] {
            bench.sizes.rounds * 3
        } else {
            bench.sizes.few_rounds
        };
        let (floor_s, run_s, efficiency) = against_floor(&place, &floor, processes, rounds).await;
        let figures = &mut bench.figures;
        figures.set(&format!("scale.efficiency_{processes}"), efficiency);
        figures.set(&format!("scale.run_s_{processes}"), run_s);
        figures.set(&format!("scale.floor_s_{processes}"), floor_s);
        efficiencies.push(efficiency);
    }
    let kept = efficiencies[2] / efficiencies[0];
    bench.figures.set("scale.efficiency_kept", kept);
}

/// Long processes, of which only the end has to be read.
pub(super) async fn long_processes(bench: &mut Bench) {
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
        let rounds = bench.sizes.rounds.max(5);
        times.push(over(&place, family::one, shape.processes, rounds).await);
        bench.forget(&place);
    }
    let figures = &mut bench.figures;
    figures.set("long_processes.cost", times[0] / times[1]);
    figures.set("long_processes.to_tail_only", times[0] / times[2]);
    figures.set("long_processes.run_s", times[0]);
    figures.set("long_processes.processes", shapes[0].processes as f64);
}

/// An object store with a latency of 20 ms per request.
pub(super) async fn slow_store(bench: &mut Bench) {
    const LATENCY: Duration = Duration::from_millis(20);
    let shape = Shape::new(bench.sizes.slow);
    let fast = Place::memory();
    data::make(&fast, &shape).await;
    let place = fast.clone().with_latency(LATENCY);
    let (_, written) = run_over(&fast, family::one(), shape.processes).await;
    let (mut least, mut took) = (Vec::new(), Vec::new());
    for _ in 0..bench.sizes.rounds {
        let mut best = Duration::MAX;
        for tasks in [bench.tasks, bench.tasks * 8] {
            let floor = Floor::new(&shape, tasks);
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
    let fast = Place::memory();
    data::make(&fast, &shape).await;
    let best = Floor::new(&shape, bench.tasks);
    let default = best.clone().with_default_options();
    for (name, floor) in [("default", default), ("best", best)] {
        // Each scan uses a store that has read nothing yet.
        let copy = fast.clone().with_latency(LATENCY).copy();
        let store = copy.place.open().await;
        let (took, rows) = floor.bare_scan(store.db(), b'e').await;
        store.close().await.expect("a close");
        let figure = format!("slow_store.{name}_scan_rows_per_s");
        bench.figures.set(&figure, rows as f64 / took.as_secs_f64());
    }
}
