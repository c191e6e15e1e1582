//! Measured runs, and their figures.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use state_migration::{MigrationRegistry, MigrationReport, MigrationRunner, SlateDbStore};

use crate::bounds;
use crate::location::Place;
use crate::wal_rows::{Written, log_position, written_after};

/// The kind of a measured run.
#[derive(Clone, Copy, PartialEq)]
pub enum How {
    Run,
    /// A dry run that executes user code once.
    FoldOnly,
}

/// Executes a run over an open store, and measures its time.
pub async fn run(
    store: &SlateDbStore,
    migrations: MigrationRegistry,
    how: How,
) -> (Duration, MigrationReport) {
    let runner = MigrationRunner::new(migrations, store.clone(), store.clone());
    let began = Instant::now();
    let report = match how {
        How::Run => runner.run().await,
        How::FoldOnly => runner.check_determinism(false).dry_run().await,
    };
    let took = began.elapsed();
    // A warning would mean that new states were not read back.
    assert!(report.is_ok() && report.warning_count == 0, "{report}");
    (took, report)
}

/// Executes a run over a copy of a store; it must migrate `migrated` processes.
pub async fn run_over(
    place: &Place,
    migrations: MigrationRegistry,
    migrated: usize,
) -> (Duration, Written) {
    let copy = place.copy();
    let store = copy.place.open().await;
    let position = log_position(&copy.place).await;
    let (took, report) = run(&store, migrations, How::Run).await;
    assert_eq!(report.migrated, migrated, "{report}");
    // Read before the close, which writes a row of its own.
    let written = written_after(&copy.place, position).await;
    // The log must contain one event per migrated process.
    assert_eq!(written.table(b'e').keys, migrated as u64);
    store.close().await.expect("a close");
    (took, written)
}

/// The median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// The value that `permille` of a thousand values do not exceed.
pub fn permille(values: &mut [f64], permille: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * permille).div_ceil(1_000).max(1) - 1;
    values.get(at).copied().unwrap_or(f64::NAN)
}

/// The figures of all cases, by name.
#[derive(Default)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub fn set(&mut self, name: &str, value: f64) {
        if !value.is_finite() {
            println!("{name:<44} {:>14}", "nothing to see");
            return;
        }
        println!("{name:<44} {value:>14.4}{}", against_bound(name, value));
        self.0.insert(name.to_owned(), value);
    }

    /// Prints all figures with a bound again, by line.
    pub fn print_bounds(&self) {
        let mut rows = Vec::new();
        for (name, value) in &self.0 {
            rows.extend(bounds::of(name).map(|(line, _)| (line, name, value)));
        }
        if rows.is_empty() {
            return;
        }
        rows.sort_by_key(|(line, name, _)| (*line, *name));
        println!("-- what must hold, at the default sizes");
        for (line, name, value) in rows {
            let against = against_bound(name, *value);
            println!("{line}  {name:<41} {value:>14.4}{against}");
        }
    }

    /// Writes a flat object of numbers. A figure with a bound also has `bound.…`, and
    /// `met.…` with the value 1 or 0.
    pub fn write(&self, file: &Path) {
        let mut all = self.0.clone();
        for (name, value) in &self.0 {
            if let Some((_, bound)) = bounds::of(name) {
                all.insert(format!("bound.{name}"), bound.number());
                all.insert(format!("met.{name}"), f64::from(bound.is_met(*value)));
            }
        }
        let json = serde_json::to_vec_pretty(&all).expect("numbers");
        std::fs::write(file, json).expect("a file for the figures");
    }
}

fn against_bound(name: &str, value: f64) -> String {
    bounds::of(name).map_or_else(String::new, |(line, bound)| {
        let met = if bound.is_met(value) {
            "met"
        } else {
            "not met"
        };
        format!("   line {line}: {bound}, {met}")
    })
}
