//! The runner behind a trait without type parameters, for the control socket.

use async_trait::async_trait;
use state_migration_core::{
    Error, EventStore, Migrations, RegistryError, SnapshotStore, WorkflowId,
};

use crate::control::RunControl;
use crate::migration_runner::MigrationRunner;
use crate::options::{RunOptions, RunRequest};
use crate::report::MigrationReport;
use crate::run::{Plan, Runs};

/// A runner with any migrations and stores.
#[async_trait]
pub trait RunService: Send + Sync + 'static {
    fn control(&self) -> RunControl;
    fn run_options(&self) -> RunOptions;
    fn plan_for(&self, run_options: &RunOptions) -> Result<Plan, RegistryError>;
    fn runs(&self) -> Option<Runs>;
    /// Approximate number of processes at each version of the workflows of a plan.
    async fn versions(&self, plan: &Plan) -> Result<Vec<(WorkflowId, u64)>, Error>;
    async fn unknown_names(&self, plan: &Plan) -> Result<Vec<String>, Error>;
    async fn start(&self, run_options: RunOptions, request: RunRequest) -> MigrationReport;
}

#[async_trait]
impl<M, ES, SS> RunService for MigrationRunner<M, ES, SS>
where
    M: Migrations + 'static,
    ES: EventStore + 'static,
    SS: SnapshotStore + 'static,
{
    fn control(&self) -> RunControl {
        self.control()
    }

    fn run_options(&self) -> RunOptions {
        self.run_options().clone()
    }

    fn plan_for(&self, run_options: &RunOptions) -> Result<Plan, RegistryError> {
        self.plan_for(run_options)
    }

    fn runs(&self) -> Option<Runs> {
        self.runs()
    }

    async fn versions(&self, plan: &Plan) -> Result<Vec<(WorkflowId, u64)>, Error> {
        self.processes_at(plan).await
    }

    async fn unknown_names(&self, plan: &Plan) -> Result<Vec<String>, Error> {
        self.unknown_names(&plan.selection).await
    }

    async fn start(&self, run_options: RunOptions, request: RunRequest) -> MigrationReport {
        self.start(&run_options, None, request).await
    }
}
