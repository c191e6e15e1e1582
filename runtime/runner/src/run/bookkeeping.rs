//! The record that a driver writes to.

use std::sync::Arc;

use crate::run::on_open_log::LazyBook;
use crate::run::run_log::Ledger;

/// Where results are recorded.
#[derive(Clone)]
pub(crate) enum Bookkeeping {
    /// Nowhere: a dry run writes nothing.
    DryRun,
    /// In the record of a run.
    Run(Arc<Ledger>),
    /// Process by process, beside a run or without one.
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
