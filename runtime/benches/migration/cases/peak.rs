//! The peak memory of a program that only migrates.

use super::Bench;
use crate::child::in_child;
use crate::data::Shape;
use crate::location::Place;

/// Memory of a store with large states: the minimum.
pub const STORE_OF_LARGE_STATES: usize = 64 << 20;

/// Bytes of a large state, spread over the notes of its events.
const LARGE_STATE: usize = 256 << 10;

/// Line 4: many processes, three times as many, and large states.
pub(super) async fn peak(bench: &mut Bench) {
    let mut peaks = Vec::new();
    for processes in bench.sizes.peak {
        let (place, _) = bench.all_due(processes).await;
        let peak = peak_mib("migrate", &place, processes);
        bench.figures.set(&format!("peak.mib_{processes}"), peak);
        peaks.push(peak);
        bench.forget(&place);
    }
    let growth = format!("peak.growth_to_{}", bench.sizes.peak[1]);
    bench.figures.set(&growth, peaks[1] / peaks[0]);

    let mut shape = Shape::new(bench.sizes.large_states);
    shape.note = Some(LARGE_STATE / (shape.events as usize - 2));
    let place = bench
        .made("large", &shape, |place| {
            place.with_memory(STORE_OF_LARGE_STATES)
        })
        .await;
    let peak = peak_mib("migrate-large-states", &place, shape.processes);
    bench.figures.set("peak.mib_large_states", peak);
    bench.forget(&place);
}

/// Peak memory of a child that executes `task` over a copy.
fn peak_mib(task: &str, place: &Place, processes: usize) -> f64 {
    let copy = place.copy();
    let folder = copy.place.folder_path().expect("it is in a folder");
    let said = in_child(task, processes, folder, None).expect("this program");
    said.trim().parse::<f64>().expect("a number") / 1024.0
}
