//! The totals of a run, for its summary and for `show`.

use serde::Serialize;
use state_migration_core::Decimal;
use state_migration_runner::RunTotals;

use crate::view::output::{BAD, GOOD, plain};

/// A total of the processes that a run has migrated.
#[derive(Debug, Serialize)]
pub(crate) struct Total {
    name: String,
    /// Exact, as decimal text. `None`: no state has it.
    before: Option<Decimal>,
    after: Option<Decimal>,
}

impl Total {
    pub(crate) fn all(totals: &RunTotals) -> Vec<Self> {
        let all = totals.by_name().map(|(name, before, after)| Self {
            name: name.to_owned(),
            before,
            after,
        });
        all.collect()
    }

    pub(crate) fn text(&self) -> String {
        let name = plain(&self.name);
        match (self.before, self.after) {
            (Some(before), Some(after)) if before.is(after) => {
                format!("{name}: {after}, {GOOD}as before{GOOD:#}")
            }
            (Some(before), Some(after)) => {
                format!("{name}: {BAD}{before} before, {after} after{BAD:#}")
            }
            (Some(before), None) => format!("{name}: {BAD}{before} before, missing after{BAD:#}"),
            (None, after) => format!("{name}: {}, new", after.unwrap_or_default()),
        }
    }
}
