//! Runs over a fixed number of processes that are all due: against the floor, with many
//! migrations, and over long routes.

use std::time::Instant;

use state_migration::MigrationRunner;

use super::{Bench, against_floor};
use crate::data::{self, Shape};
use crate::family;
use crate::floor::Floor;
use crate::location::Place;
use crate::measure::{How, median, run, run_over};

/// Line 1: all processes are migrated. Nothing else is measured here, so that two
/// commits can be compared alternately.
pub(super) async fn all_migrate(bench: &mut Bench) {
    let (place, shape) = bench.base().await;
    let (mut times, mut written) = (Vec::new(), None);
    for _ in 0..bench.sizes.rounds {
        let (took, rows) = run_over(&place, family::one(), shape.processes).await;
        times.push(took.as_secs_f64());
        written = Some(rows);
    }
    let Some(written) = written else { return };
    let (processes, run_s) = (shape.processes as f64, median(times));
    let state = data::state_bytes(shape.events);
    let bytes = written.bytes() as f64 / processes;
    let stream = data::processes(&Shape::new(1))[0].stream.len() as f64;
    let at = family::id(0, 0);
    let figures = &mut bench.figures;
    figures.set("all_migrate.processes_per_s", processes / run_s);
    figures.set("all_migrate.run_s", run_s);
    let keys = written.keys_of_processes() as f64;
    figures.set("all_migrate.keys_per_process", keys / processes);
    let other = written.keys() as f64 - keys;
    figures.set("all_migrate.other_keys", other);
    figures.set("all_migrate.bytes_per_process", bytes);
    figures.set("all_migrate.bytes_of_state", state);
    figures.set("all_migrate.bytes_beside_state", bytes - state);
    figures.set("all_migrate.bytes_of_stream_id", stream);
    figures.set("all_migrate.bytes_of_name", at.name().len() as f64);
    figures.set("all_migrate.bytes_of_version", at.version().len() as f64);
}

/// Line 2: the same against the floor, and against bare transactions.
pub(super) async fn floor(bench: &mut Bench) {
    let (place, shape) = bench.base().await;
    let (processes, rounds) = (shape.processes, bench.sizes.rounds);
    let (_, written) = run_over(&place, family::one(), processes).await;
    let floor = Floor::new(&shape, bench.tasks);
    let (floor_s, run_s, efficiency) = against_floor(&place, &floor, processes, rounds).await;
    let (mut of_floor, mut of_run, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let least = floor.migrate(&place, &written, processes).await;
        let bare = floor.migrate_in_transactions(&place, &written, processes);
        let bare = bare.await.as_secs_f64();
        let (run, _) = run_over(&place, family::one(), processes).await;
        of_floor.push(least.as_secs_f64() / bare);
        of_run.push(bare / run.as_secs_f64());
        times.push(bare);
    }
    let figures = &mut bench.figures;
    figures.set("floor.efficiency", efficiency);
    figures.set("floor.floor_s", floor_s);
    figures.set("floor.run_s", run_s);
    figures.set("floor.bare_transactions_s", median(times));
    figures.set("floor.efficiency_of_bare_transactions", median(of_floor));
    figures.set("floor.efficiency_against_bare_transactions", median(of_run));
}

/// Line 2: nothing is written.
pub(super) async fn fold_only(bench: &mut Bench) {
    let (place, shape) = bench.base().await;
    let floor = Floor::new(&shape, bench.tasks);
    let copy = place.copy();
    let store = copy.place.open().await;
    let (mut floors, mut runs, mut bares) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ratios, mut checked, mut rows) = (Vec::new(), Vec::new(), 0);
    floor.fold_only(store.db()).await;
    for _ in 0..bench.sizes.rounds {
        let (bare, read) = floor.bare_scan(store.db(), b'e').await;
        rows = read;
        bares.push(bare.as_secs_f64());
        let least = floor.fold_only(store.db()).await.as_secs_f64();
        let (took, report) = run(&store, family::one(), How::FoldOnly).await;
        assert_eq!(report.migrated, shape.processes);
        floors.push(least);
        runs.push(took.as_secs_f64());
        ratios.push(least / took.as_secs_f64());
        let runner = MigrationRunner::new(family::one(), store.clone(), store.clone());
        let began = Instant::now();
        let report = runner.dry_run().await;
        assert!(report.is_ok() && report.migrated == shape.processes);
        checked.push(began.elapsed().as_secs_f64());
    }
    store.close().await.expect("a close");
    let (bare, least) = (median(bares), median(floors));
    let figures = &mut bench.figures;
    figures.set("fold_only.efficiency", median(ratios));
    figures.set("fold_only.run_s", median(runs));
    figures.set("fold_only.floor_s", least);
    figures.set("fold_only.bare_scan_s", bare);
    figures.set("fold_only.bare_scan_rows_per_s", rows as f64 / bare);
    figures.set("fold_only.decoding_share", 1.0 - bare / least);
    figures.set("fold_only.dry_run_s", median(checked));
}

/// Line 3: many migrations, each with its share of the processes.
pub(super) async fn fifty_migrations(bench: &mut Bench) {
    let shape = Shape {
        is_at: |number| (number % family::FAMILIES, 0),
        ..Shape::new(bench.sizes.processes)
    };
    let (base, _) = bench.base().await;
    let spread = bench.store("spread", &shape).await;
    let time = async |place: &Place, migrations| {
        let (took, _) = run_over(place, migrations, shape.processes).await;
        took.as_secs_f64()
    };
    let mut cost = Vec::new();
    for _ in 0..bench.sizes.rounds {
        let one = time(&base, family::one()).await;
        cost.push(time(&spread, family::fifty()).await / one);
    }
    bench.forget(&spread);
    bench.figures.set("fifty_migrations.cost", median(cost));
}

/// A route of three hops.
pub(super) async fn three_hops(bench: &mut Bench) {
    let (place, shape) = bench.base().await;
    let mut cost = Vec::new();
    for _ in 0..bench.sizes.rounds {
        let (one, _) = run_over(&place, family::one(), shape.processes).await;
        let (three, _) = run_over(&place, family::three_hops(), shape.processes).await;
        cost.push(three.as_secs_f64() / one.as_secs_f64());
    }
    bench.figures.set("three_hops.cost", median(cost));
}
