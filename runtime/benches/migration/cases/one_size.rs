//! Runs over one number of processes: all of them, few of them, many
//! migrations, long routes.

use std::time::Instant;

use state_migration::{MigrationRegistry, MigrationRunner};

use super::{Bench, READ_TO_FOLD, READ_TO_MIGRATE, against_floor, over};
use crate::data::{Place, Shape};
use crate::family;
use crate::floor::Floor;
use crate::measure::{How, median, run, run_over};

/// Case 1: all migrate.
pub(super) async fn all_migrate(bench: &mut Bench) {
    let (place, shape) = bench.base().await;
    let (_, written) = run_over(&place, family::one(), shape.processes).await;
    let floor = Floor::new(&shape, bench.tasks);
    let rounds = bench.sizes.rounds;
    let all = floor.beside(READ_TO_MIGRATE);
    let (floor_s, run_s, efficiency) = against_floor(&place, &all, shape.processes, rounds).await;
    let events_only = floor.migrate(&place, &written, shape.processes).await;
    let events_only = events_only.as_secs_f64() / run_s;
    let (mut transactions, mut of_transactions) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let least = all.migrate(&place, &written, shape.processes).await;
        let safe = all.migrate_in_transactions(&place, &written, shape.processes);
        let safe = safe.await.as_secs_f64();
        let (run, _) = run_over(&place, family::one(), shape.processes).await;
        transactions.push(least.as_secs_f64() / safe);
        of_transactions.push(safe / run.as_secs_f64());
    }
    let processes = shape.processes as f64;
    let figures = &mut bench.figures;
    figures.set("all_migrate.efficiency", efficiency);
    figures.set("all_migrate.processes_per_s", processes / run_s);
    figures.set("all_migrate.run_s", run_s);
    figures.set("all_migrate.floor_s", floor_s);
    figures.set("all_migrate.efficiency_events_only", events_only);
    figures.set(
        "all_migrate.efficiency_of_bare_transactions",
        median(transactions),
    );
    figures.set(
        "all_migrate.efficiency_against_bare_transactions",
        median(of_transactions),
    );
    figures.set(
        "all_migrate.bytes_per_process",
        written.bytes() as f64 / processes,
    );
    figures.set(
        "all_migrate.keys_per_process",
        written.keys() as f64 / processes,
    );
    bench.all_migrate = Some(run_s);
}

/// Case 1: nothing is written.
pub(super) async fn fold_only(bench: &mut Bench) {
    let (place, shape) = bench.base().await;
    let floor = Floor::new(&shape, bench.tasks);
    let copy = place.copy();
    let store = copy.place.open().await;
    let (mut floors, mut runs, mut bares) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ratios, mut checked, mut rows) = (Vec::new(), Vec::new(), 0);
    let mut events_only = Vec::new();
    let all = floor.beside(READ_TO_FOLD);
    all.fold_only(store.db()).await;
    for _ in 0..bench.sizes.rounds {
        let (bare, read) = floor.bare_scan(store.db()).await;
        rows = read;
        bares.push(bare.as_secs_f64());
        let only = floor.fold_only(store.db()).await.as_secs_f64();
        let least = all.fold_only(store.db()).await.as_secs_f64();
        let (took, report) = run(&store, family::one(), How::FoldOnly).await;
        assert_eq!(report.migrated, shape.processes);
        floors.push(least);
        runs.push(took.as_secs_f64());
        ratios.push(least / took.as_secs_f64());
        events_only.push(only);
        let runner = MigrationRunner::new(family::one(), store.clone(), store.clone());
        let began = Instant::now();
        let report = runner.dry_run().await;
        assert!(report.is_ok() && report.migrated == shape.processes);
        checked.push(began.elapsed().as_secs_f64());
    }
    store.close().await.expect("a close");
    let (bare, least, only) = (median(bares), median(floors), median(events_only));
    let run_s = median(runs);
    let figures = &mut bench.figures;
    figures.set("fold_only.efficiency", median(ratios));
    figures.set("fold_only.efficiency_events_only", only / run_s);
    figures.set("fold_only.run_s", run_s);
    figures.set("fold_only.floor_s", least);
    figures.set("fold_only.bare_scan_s", bare);
    figures.set("fold_only.bare_scan_rows_per_s", rows as f64 / bare);
    figures.set("fold_only.decoding_share", 1.0 - bare / only);
    figures.set("fold_only.dry_run_s", median(checked));
}

/// How long case 1 takes, if it was not measured yet.
async fn base_run(bench: &mut Bench) -> f64 {
    if let Some(took) = bench.all_migrate {
        return took;
    }
    let took = several(bench, family::one).await;
    bench.all_migrate = Some(took);
    took
}

/// The median time of runs over the store of case 1.
async fn several(bench: &Bench, migrations: impl Fn() -> MigrationRegistry) -> f64 {
    let (place, shape) = bench.base().await;
    over(&place, migrations, shape.processes, bench.sizes.rounds).await
}

/// Case 2: few match.
pub(super) async fn one_percent(bench: &mut Bench) {
    let all = base_run(bench).await;
    let shape = Shape {
        stands_at: |number| (usize::from(number % 100 != 37), 0),
        ..Shape::new(bench.sizes.processes)
    };
    let place = bench.store("sparse", &shape).await;
    let matching = (0..shape.processes).filter(|n| n % 100 == 37).count();
    let took = over(&place, family::one, matching, bench.sizes.rounds.max(5)).await;
    bench.forget("sparse");
    bench.figures.set("one_percent.cost", took / all);
    bench.figures.set("one_percent.run_s", took);
    bench.figures.set("one_percent.processes", matching as f64);
}

/// Case 3: many migrations are linked, each with its share of the processes, or
/// all but one with none.
pub(super) async fn fifty_migrations(bench: &mut Bench) {
    let shape = Shape {
        stands_at: |number| (number % family::FAMILIES, 0),
        ..Shape::new(bench.sizes.processes)
    };
    let (base, _) = bench.base().await;
    let spread = bench.store("spread", &shape).await;
    let (mut cost, mut idle) = (Vec::new(), Vec::new());
    let all = shape.processes;
    for _ in 0..bench.sizes.rounds {
        let time = async |place: &Place, migrations| {
            let (took, _) = run_over(place, migrations, all).await;
            took.as_secs_f64()
        };
        let one = time(&base, family::one()).await;
        cost.push(time(&spread, family::fifty()).await / one);
        idle.push(time(&base, family::fifty()).await / one);
    }
    bench.forget("spread");
    bench.figures.set("fifty_migrations.cost", median(cost));
    bench
        .figures
        .set("fifty_migrations.cost_of_idle", median(idle));
}

/// Case 3: a route of three hops.
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
