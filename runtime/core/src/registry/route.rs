//! The way of a process to the newest version.

use std::fmt;

use crate::baseline::Hop;
use crate::id::WorkflowId;
use crate::registry::registered::Migration;

/// One or more migrations in a row. The states between hops exist in memory
/// only; a process is written once.
#[derive(Debug, Clone)]
pub struct Route {
    hops: Vec<Migration>,
}

impl Route {
    /// A route from its hops, unless there are none.
    pub(crate) fn new(hops: Vec<Migration>) -> Option<Self> {
        (!hops.is_empty()).then_some(Self { hops })
    }

    /// The migrations, in order; never empty.
    #[must_use]
    pub fn hops(&self) -> &[Migration] {
        &self.hops
    }

    /// The hops, as a baseline and a plan name them.
    #[doc(hidden)]
    pub fn baseline_hops(&self) -> Vec<Hop> {
        self.hops
            .iter()
            .map(|hop| Hop {
                to: hop.target().version().to_owned(),
                code: hop.fingerprint(),
            })
            .collect()
    }

    /// The version that the route starts from.
    #[must_use]
    pub fn source(&self) -> &WorkflowId {
        self.hops[0].source()
    }

    /// The version that the route leads to.
    #[must_use]
    pub fn target(&self) -> &WorkflowId {
        self.hops[self.hops.len() - 1].target()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source())?;
        for hop in &self.hops {
            write!(f, " -> {}", hop.target().version())?;
        }
        Ok(())
    }
}

/// What is to be done about a process that stands at a version.
#[derive(Debug, Clone)]
pub enum Standing {
    /// It is to be migrated along this route.
    Behind(Route),
    /// It stands at the newest version.
    Newest,
    /// It is decided that processes at this version stay there.
    Stays,
    /// Its workflow has migrations, but none leads from this version, and it
    /// is not the newest: an error.
    NoRoute,
    /// Its workflow has no migrations at all.
    OtherWorkflow,
}
