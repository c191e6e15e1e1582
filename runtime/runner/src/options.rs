//! The options of a run.

use std::sync::Arc;
use std::time::Duration;

use state_migration_core::{Error, FailureClass, MigrationRegistry, Predicates, RunId, Selection};

use crate::restrictions::NamedPredicate;
use crate::run::{Plan, PlanOptions, RunKind, SnapshotUse};
use crate::stages::scan;

/// Default timeout of user code for one process.
const DEADLINE: Duration = Duration::from_secs(10);

/// Options of one run; those of the runner are the default for each of its runs.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    pub selection: Arc<Selection>,
    /// The predicates that a selection may name.
    pub predicates: Predicates,
    pub count_up_to_date: bool,
    /// Whether a run that finds no outdated version reads all heads. No part of the plan.
    pub check_heads: bool,
    /// Whether user code runs twice on every process; `None`: only in a dry run.
    pub check_determinism: Option<bool>,
    /// Timeout of user code for one process; `None`: ten seconds.
    pub deadline: Option<Duration>,
    /// What is done with snapshots; `None`: a dry run compares them.
    pub snapshots: Option<SnapshotUse>,
    pub actor: String,
    pub reason: String,
    /// Whether to resume although the plan differs.
    pub force: bool,
    /// Whether to take over the store from a run that is not known to be dead.
    pub take_over: bool,
    /// Whether to take routes that were undone.
    pub again: bool,
    /// The number of failures after which a run is cancelled. No part of the plan.
    pub max_failures: Option<u64>,
}

/// Settings of the runner that are not part of a plan.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) chunk_processes: usize,
    pub(crate) yields: bool,
    /// Whether the store is a copy, on which a run is rehearsed.
    pub(crate) rehearses: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chunk_processes: scan::CHUNK_PROCESSES,
            yields: true,
            rehearses: false,
        }
    }
}

impl RunOptions {
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline.unwrap_or(DEADLINE)
    }

    /// The options of a run that follows an earlier one: what is not given is as it was
    /// there, so that no check is lost.
    pub(crate) fn following(&self, earlier: &Plan) -> Self {
        let checked = Some(earlier.options.check_determinism);
        let deadline = Some(Duration::from_millis(earlier.options.deadline_ms));
        let mut selection = Selection::clone(&self.selection);
        if earlier.selection.is_in_flight() {
            selection = selection.in_flight();
        }
        if let (None, Some(predicate)) = (selection.predicate(), earlier.selection.predicate()) {
            selection = selection.matching(predicate);
        }
        Self {
            check_determinism: self.check_determinism.or(checked),
            deadline: self.deadline.or(deadline),
            snapshots: self.snapshots.or(Some(earlier.options.snapshots)),
            selection: Arc::new(selection),
            ..self.clone()
        }
    }

    /// Checks that the predicate of the selection is registered.
    ///
    /// # Errors
    /// It is not; the text names the registered ones.
    pub fn check_predicate(&self) -> Result<(), Error> {
        NamedPredicate::of(&self.selection, &self.predicates).map(drop)
    }

    pub(crate) fn plan(&self, migrations: &MigrationRegistry) -> Plan {
        let options = PlanOptions {
            count_up_to_date: self.count_up_to_date,
            check_determinism: self.check_determinism.unwrap_or(false),
            deadline_ms: u64::try_from(self.deadline().as_millis()).unwrap_or(u64::MAX),
            snapshots: self.snapshots.unwrap_or_default(),
        };
        Plan::new(migrations, &self.selection, &self.predicates, options)
    }
}

/// The kind of run that is requested.
pub enum RunRequest {
    Run,
    DryRun,
    Resume(RunId),
    Retry(RunId, Vec<FailureClass>),
    /// Verify the migrations of a run, or of all runs.
    Verify(Option<RunId>),
    Undo {
        of: RunId,
        dry: bool,
    },
    Redo {
        of: RunId,
        dry: bool,
    },
    /// Remove the events before the baselines of processes.
    Erase {
        dry: bool,
    },
    /// A run on a copy of the store, which may be kept.
    Rehearse {
        keep: bool,
    },
}

impl RunRequest {
    /// Whether nothing is written.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        match self {
            Self::DryRun | Self::Verify(_) | Self::Rehearse { .. } => true,
            Self::Undo { dry, .. } | Self::Redo { dry, .. } | Self::Erase { dry } => *dry,
            Self::Run | Self::Resume(_) | Self::Retry(..) => false,
        }
    }

    /// The kind of a run over the history of processes.
    pub(crate) fn history(&self) -> Option<RunKind> {
        match self {
            Self::Verify(of) => Some(RunKind::Verify { of: *of }),
            Self::Undo { of, .. } => Some(RunKind::Undo { of: *of }),
            Self::Redo { of, .. } => Some(RunKind::Redo { of: *of }),
            Self::Erase { .. } => Some(RunKind::Erase),
            Self::Run
            | Self::DryRun
            | Self::Resume(_)
            | Self::Retry(..)
            | Self::Rehearse { .. } => None,
        }
    }
}
