//! Routes to the newest version.

use std::fmt;

use crate::baseline::Hop;
use crate::id::WorkflowId;
use crate::registry::registered::Migration;

/// One or more consecutive migrations. The states between hops exist only in
/// memory; a process is written once.
#[derive(Debug, Clone)]
pub struct Route {
    hops: Vec<Migration>,
}

impl Route {
    /// A route of these hops; `None` if there are none.
    pub(crate) fn new(hops: Vec<Migration>) -> Option<Self> {
        (!hops.is_empty()).then_some(Self { hops })
    }

    /// The migrations, in order; never empty.
    #[must_use]
    pub fn hops(&self) -> &[Migration] {
        &self.hops
    }

    /// The hops in the form in which a baseline and a plan record them.
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

    /// The version where the route starts.
    #[must_use]
    pub fn source(&self) -> &WorkflowId {
        self.hops[0].source()
    }

    /// The version where the route ends.
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

/// The status of the processes at a version.
#[derive(Debug, Clone)]
pub enum VersionStatus {
    /// The process is outdated and is migrated along this route.
    Behind(Route),
    /// The process is at the newest version.
    Newest,
    /// Processes at this version are declared to stay there.
    Stays,
    /// An error: the workflow has migrations, but none from this version, and the
    /// version is not the newest.
    NoRoute,
    /// The workflow has no migrations.
    OtherWorkflow,
}
