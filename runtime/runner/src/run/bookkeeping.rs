//! Where a driver records what it did.

use std::sync::Arc;

use crate::run::on_open_log::LazyBook;
use crate::run::run_log::Ledger;

/// Where it is recorded what was done.
#[derive(Clone)]
pub(crate) enum Bookkeeping {
    /// Nowhere: nothing is to be written at all.
    DryRun,
    /// In a run.
    Run(Arc<Ledger>),
    /// Beside or without a run, process by process.
    Lazy(Arc<LazyBook>),
}

impl Bookkeeping {
    pub(crate) fn is_dry(&self) -> bool {
        matches!(self, Self::DryRun)
    }

    pub(crate) fn ledger(&self) -> Option<&Arc<Ledger>> {
        match self {
            Self::Run(ledger) => Some(ledger),
            Self::DryRun | Self::Lazy(_) => None,
        }
    }
}
