//! The runner behind a trait without type parameters, for the control socket.

use std::num::NonZeroU32;

use async_trait::async_trait;
use state_migration_core::{
    DurableStoreId, Error, EventStore, Migrations, RegistryError, SnapshotStore,
};

use crate::control::RunControl;
use crate::forecast::linked::Linked;
use crate::forecast::{Forecast, Versions};
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
    /// The id that the store of the events keeps.
    async fn store(&self) -> Result<Option<DurableStoreId>, Error>;
    /// The migrations and versions of the runner.
    fn linked(&self) -> Result<Linked, RegistryError>;
    /// The processes at each version, and of each tenant if that is asked for.
    async fn versions(&self, by_tenant: bool) -> Result<Versions, Error>;
    /// The versions in the store that are newer than all versions of the program, as text.
    async fn newer_than_program(&self) -> Result<Option<String>, Error>;
    /// What a run with this plan would do, from a sample of at most `sample` processes.
    async fn forecast(
        &self,
        run_options: &RunOptions,
        plan: &Plan,
        throttle: Option<NonZeroU32>,
        sample: usize,
    ) -> Result<Forecast, Error>;
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

    async fn store(&self) -> Result<Option<DurableStoreId>, Error> {
        self.events.durable_id().await
    }

    fn linked(&self) -> Result<Linked, RegistryError> {
        let registry = self.registry.as_ref();
        registry.map(Linked::of).map_err(Clone::clone)
    }

    async fn versions(&self, by_tenant: bool) -> Result<Versions, Error> {
        self.versions(by_tenant).await
    }

    async fn newer_than_program(&self) -> Result<Option<String>, Error> {
        self.newer_than_program().await
    }

    async fn forecast(
        &self,
        run_options: &RunOptions,
        plan: &Plan,
        throttle: Option<NonZeroU32>,
        sample: usize,
    ) -> Result<Forecast, Error> {
        self.forecast(run_options, plan, throttle, sample).await
    }

    async fn start(&self, run_options: RunOptions, request: RunRequest) -> MigrationReport {
        self.start(&run_options, None, request).await
    }
}
