//! The parameters of one execution of a run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use state_migration_core::{Error, MigrationRegistry, Predicates, RunId, Selection, WorkflowId};

use crate::control::RunControl;
use crate::observe::Observer;
use crate::restrictions::Restrictions;
use crate::run::{Plan, RunKind, Runs, SnapshotUse};
use crate::user_code::abandoned::Abandoned;
use crate::user_code::threads::UserCode;

/// Parameters of one execution of a run.
#[derive(Debug, Clone)]
pub(crate) struct RunContext {
    pub(crate) id: RunId,
    pub(crate) kind: RunKind,
    pub(crate) migrations: Arc<MigrationRegistry>,
    pub(crate) selection: Arc<Selection>,
    /// What the selection asks for beyond the heads.
    pub(crate) restrictions: Restrictions,
    /// The versions whose undone processes stay there.
    pub(crate) undone: Arc<BTreeSet<WorkflowId>>,
    /// The predicates that a selection may name.
    pub(crate) predicates: Predicates,
    /// The plan of the run whose history this run is about.
    pub(crate) history_of: Option<Arc<Plan>>,
    /// Whether this is a dry run.
    pub(crate) dry: bool,
    /// Whether the store is a copy, on which this run is rehearsed.
    pub(crate) rehearses: bool,
    pub(crate) count_up_to_date: bool,
    /// Whether a run that finds no outdated version reads all heads.
    pub(crate) check_heads: bool,
    pub(crate) check_determinism: bool,
    pub(crate) deadline: Duration,
    pub(crate) snapshots: SnapshotUse,
    /// The number of failures after which the run is cancelled.
    pub(crate) max_failures: Option<u64>,
    pub(crate) chunk_processes: usize,
    /// Whether the run yields to other writers.
    pub(crate) yields: bool,
    pub(crate) control: RunControl,
    pub(crate) observer: Observer,
    /// The threads of the runner that were abandoned.
    pub(crate) abandoned: Abandoned,
}

impl RunContext {
    /// The executor of the user code of this run.
    pub(crate) fn code(&self) -> UserCode {
        let control = self.control.clone();
        UserCode::new(self.deadline, self.yields)
            .counting(&self.abandoned)
            .until(Arc::new(move || control.is_cancelled()))
    }

    /// Looks up what a selection asks for beyond the heads.
    pub(crate) async fn restricted_by(
        &self,
        selection: &Selection,
        runs: Option<&Runs>,
    ) -> Result<Restrictions, Error> {
        Restrictions::of(selection, &self.predicates, &self.migrations, runs).await
    }

    /// The observer of this run, which is about to begin.
    pub(crate) fn observe(&self) -> Observer {
        Observer::of(self.id, &self.kind, &self.selection, self.dry)
    }
}
