//! The options of a run.

use std::sync::Arc;
use std::time::Duration;

use crate::run::{Plan, PlanOptions};
use crate::stages::scan;
use state_migration_core::{FailureClass, MigrationRegistry, RunId, Selection};

/// How long user code may take for one process, unless the runner is told otherwise.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is asked of one run; of every run of a runner, unless somebody asks
/// for another one.
#[derive(Debug, Clone)]
pub struct Asked {
    pub selection: Arc<Selection>,
    pub full_count: bool,
    /// In a dry run, unless this says otherwise, and in no other.
    pub twice: Option<bool>,
    pub deadline: Duration,
    pub who: String,
    pub why: String,
    /// Whether to resume although the plan is another one.
    pub force: bool,
    /// Whether to take the store over from a run that is not known to be dead.
    pub take_over: bool,
}

/// What the builder methods set.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) chunk_processes: usize,
    pub(crate) yields: bool,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            selection: Arc::default(),
            full_count: false,
            twice: None,
            deadline: DEADLINE,
            who: String::new(),
            why: String::new(),
            force: false,
            take_over: false,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chunk_processes: scan::CHUNK_PROCESSES,
            yields: true,
        }
    }
}

impl Asked {
    pub(crate) fn plan(&self, migrations: &MigrationRegistry) -> Plan {
        let options = PlanOptions {
            full_count: self.full_count,
            twice: self.twice.unwrap_or(false),
            deadline_ms: u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX),
        };
        Plan::new(migrations, &self.selection, options)
    }
}

/// What a runner is asked for.
pub enum Wanted {
    Run,
    DryRun,
    Resume(RunId),
    Retry(RunId, Vec<FailureClass>),
}
