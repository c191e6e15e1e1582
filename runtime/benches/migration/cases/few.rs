//! Runs with few due processes, or none, and retries.

use std::time::Instant;

use state_migration::{MigrationRunner, SlateDbStore};

use super::{Bench, over};
use crate::data::Shape;
use crate::family;
use crate::floor::Floor;
use crate::location::Place;
use crate::measure::{How, median, run, run_over};

/// The remainder modulo 100 of the processes in the first family.
const DUE: usize = 37;

/// Line 3: 1 % of the processes are due, compared with a bare scan of the heads plus a
/// run over those processes alone.
pub(super) async fn one_percent(bench: &mut Bench) {
    for processes in bench.sizes.one_percent.clone() {
        let (base, _) = bench.all_due(processes).await;
        let all = over(&base, family::one, processes, bench.sizes.few_rounds).await;
        let took = one_percent_of(bench, processes, &processes.to_string(), |place| place).await;
        let figure = format!("one_percent.of_all_{processes}");
        bench.figures.set(&figure, took / all);
    }
    // Every head was rewritten in ten rounds, and without compactions its versions
    // remain in as many files.
    let processes = bench.sizes.processes;
    one_percent_of(bench, processes, "rewritten", Place::without_compactions).await;
}

async fn one_percent_of(
    bench: &mut Bench,
    processes: usize,
    figure: &str,
    how: fn(Place) -> Place,
) -> f64 {
    let shape = Shape {
        is_at: |number| (usize::from(number % 100 != DUE), 0),
        ..Shape::new(processes)
    };
    let due = (0..processes).filter(|n| n % 100 == DUE).count();
    let name = match figure {
        "rewritten" => "rewritten",
        _ => "sparse",
    };
    let sparse = bench.made(name, &shape, how).await;
    let alone = bench.store("base", &Shape::new(due)).await;
    let floor = Floor::new(&shape, bench.tasks);
    let (mut heads, mut alones, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    let mut ratios = Vec::new();
    // The first round is a warm-up.
    for round in 0..=bench.sizes.rounds.max(5) {
        let copy = sparse.copy();
        let store = copy.place.open().await;
        let (bare, _) = floor.bare_scan(store.db(), b'h').await;
        store.close().await.expect("a close");
        let (those, _) = run_over(&alone, family::one(), due).await;
        let (took, _) = run_over(&sparse, family::one(), due).await;
        if round > 0 {
            heads.push(bare.as_secs_f64());
            alones.push(those.as_secs_f64());
            runs.push(took.as_secs_f64());
            ratios.push(took.as_secs_f64() / (bare + those).as_secs_f64());
        }
    }
    bench.forget(&sparse);
    bench.forget(&alone);
    let took = median(runs);
    let figures = &mut bench.figures;
    for (what, value) in [
        ("to_reference", median(ratios)),
        ("run_s", took),
        ("heads_s", median(heads)),
        ("alone_s", median(alones)),
    ] {
        figures.set(&format!("one_percent.{what}_{figure}"), value);
    }
    took
}

/// Line 3: nothing is due, in a store where nothing ever was, and in a store whose
/// processes were all migrated before.
pub(super) async fn nothing(bench: &mut Bench) {
    let (mut fresh, mut after) = (Vec::new(), Vec::new());
    for processes in bench.sizes.nothing {
        let (place, _) = bench.all_due(processes).await;
        let copy = place.copy();
        let store = copy.place.open().await;
        let never = Looks::into(&store, family::another).await;
        let (_, report) = run(&store, family::one(), How::Run).await;
        assert_eq!(report.migrated, processes);
        let moved = Looks::into(&store, family::one).await;
        store.close().await.expect("a close");
        bench.forget(&place);
        let figures = &mut bench.figures;
        let mut set = |what: &str, value| {
            figures.set(&format!("nothing.{what}_{processes}"), value);
        };
        set("rows", never.rows);
        set("rows_after_all", moved.rows);
        set("run_s", never.median_s);
        set("run_after_all_s", moved.median_s);
        set("first_run_after_all_s", moved.first_s);
        fresh.push(never.rows);
        after.push(moved.rows);
    }
    let growth = |rows: &[f64]| rows[rows.len() - 1] / rows[0];
    let figures = &mut bench.figures;
    figures.set("nothing.rows_growth", growth(&fresh));
    figures.set("nothing.rows_growth_after_all", growth(&after));
}

/// Cost of runs that find nothing to do: rows read by the first one, and times.
struct Looks {
    rows: f64,
    first_s: f64,
    median_s: f64,
}

impl Looks {
    async fn into(
        store: &SlateDbStore,
        migrations: fn() -> state_migration::MigrationRegistry,
    ) -> Self {
        let (mut rows, mut times) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            let before = store.rows_read();
            let (took, report) = run(store, migrations(), How::Run).await;
            assert_eq!(report.migrated, 0);
            rows.push((store.rows_read() - before) as f64);
            times.push(took.as_secs_f64());
        }
        Self {
            rows: rows[0],
            first_s: times[0],
            median_s: median(times),
        }
    }
}

/// All processes were refused, and a retry with corrected code migrates them: compared
/// with a run over the same processes.
pub(super) async fn retry(bench: &mut Bench) {
    let (place, shape) = bench.base().await;
    let processes = shape.processes;
    let failed = place.copy();
    let store = failed.place.open().await;
    let runner = MigrationRunner::new(family::refusing(), store.clone(), store.clone());
    let report = runner.run().await;
    assert_eq!(report.error_count, processes);
    let refused = report.run.expect("a recorded run");
    store.close().await.expect("a close");
    let (mut retries, mut runs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first round is a warm-up.
    for round in 0..=bench.sizes.rounds {
        let (run, _) = run_over(&place, family::one(), processes).await;
        let copy = failed.place.copy();
        let store = copy.place.open().await;
        let runner = MigrationRunner::new(family::one(), store.clone(), store.clone());
        let began = Instant::now();
        let report = runner.retry(refused, &[]).await;
        let retry = began.elapsed();
        assert!(report.is_ok() && report.migrated == processes, "{report}");
        store.close().await.expect("a close");
        if round > 0 {
            retries.push(retry.as_secs_f64());
            runs.push(run.as_secs_f64());
            ratios.push(retry.as_secs_f64() / run.as_secs_f64());
        }
    }
    let figures = &mut bench.figures;
    figures.set("retry.retry_s", median(retries));
    figures.set("retry.run_s", median(runs));
    figures.set("retry.to_run", median(ratios));
}
