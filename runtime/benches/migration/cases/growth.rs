//! What grows with the number of processes, with their length, and with the time
//! that the store takes to answer.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use slatedb::object_store::memory::InMemory;
use state_migration::{MigrationRegistry, SlateDbStore};

use super::{Bench, READ_TO_MIGRATE, against_floor, over};
use crate::data::{self, Place, Shape};
use crate::family;
use crate::floor::Floor;
use crate::measure::{How, median, run, run_over};

/// Case 4: ten times as many, and ten times again; and what it costs to look
/// when there is nothing to do.
pub(super) async fn scale(bench: &mut Bench) {
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
        let peak = peak_mib("migrate", folder, processes);
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
fn peak_mib(task: &str, folder: &Path, processes: usize) -> f64 {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--child", task, "--processes", &processes.to_string()])
        .arg("--folder")
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
pub(super) async fn slow_store(bench: &mut Bench) {
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
    let best = Floor::new(&shape, bench.tasks);
    let default = best.clone().with_default_options();
    for (name, floor) in [("default", default), ("best", best)] {
        // Each in a store that has read nothing yet.
        let copy = fast.with_latency(LATENCY).copy();
        let store = copy.place.open().await;
        let (took, rows) = floor.bare_scan(store.db()).await;
        store.close().await.expect("a close");
        let figure = format!("slow_store.{name}_scan_rows_per_s");
        bench.figures.set(&figure, rows as f64 / took.as_secs_f64());
    }
}
