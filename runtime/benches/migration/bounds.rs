//! The bounds that figures must meet, by line of the table in `docs/performance.md`.

/// The side of a bound that a figure must be on.
#[derive(Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

use Bound::{AtLeast, AtMost};

/// Figures with a bound, each with its line in the table.
///
/// Ratios between two commits are not included: `compare` checks them. If appends do
/// not reach their rate, the latencies of that case are not meaningful.
const BOUNDS: &[(u8, &str, Bound)] = &[
    (1, "all_migrate.keys_per_process", AtMost(2.0)),
    (1, "all_migrate.bytes_beside_state", AtMost(450.0)),
    (2, "floor.efficiency", AtLeast(0.85)),
    (2, "fold_only.efficiency", AtLeast(0.9)),
    (3, "fifty_migrations.cost", AtMost(1.05)),
    (3, "one_percent.to_reference_100000", AtMost(1.5)),
    (3, "one_percent.to_reference_1000000", AtMost(1.5)),
    (3, "one_percent.of_all_1000000", AtMost(0.08)),
    (3, "one_percent.to_reference_rewritten", AtMost(1.5)),
    (3, "nothing.rows_growth", AtMost(1.0)),
    (3, "nothing.rows_growth_after_all", AtMost(1.0)),
    (4, "peak.mib_1000000", AtMost(384.0)),
    (4, "peak.growth_to_3000000", AtMost(1.1)),
    (4, "peak.mib_large_states", AtMost(256.0)),
    (5, "live.300.idle_appends_per_s", AtLeast(285.0)),
    (5, "live.300.busy_appends_per_s", AtLeast(285.0)),
    (5, "live.300.durable_p99_ratio", AtMost(1.3)),
    (5, "live.300.run_ratio", AtMost(2.0)),
    (5, "live.300.failed", AtMost(0.0)),
    (5, "live.1000.idle_appends_per_s", AtLeast(950.0)),
    (5, "live.1000.busy_appends_per_s", AtLeast(950.0)),
    (5, "live.1000.durable_p99_ratio", AtMost(1.3)),
    (5, "live.1000.run_ratio", AtMost(2.0)),
    (5, "live.1000.failed", AtMost(0.0)),
    (5, "live.elsewhere.conflicts", AtMost(0.0)),
    (5, "births.runs_ended", AtLeast(1.0)),
    (6, "opened.failed", AtMost(0.0)),
    (6, "opened.miscounted", AtMost(0.0)),
    (7, "memory.instructions_per_process", AtMost(93_750.0)),
];

/// The line and the bound of a figure, if it has one.
pub fn of(figure: &str) -> Option<(u8, Bound)> {
    let row = BOUNDS.iter().find(|(_, name, _)| *name == figure);
    row.map(|(line, _, bound)| (*line, *bound))
}

impl Bound {
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    pub fn number(self) -> f64 {
        match self {
            Self::AtLeast(number) | Self::AtMost(number) => number,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
        }
    }
}
