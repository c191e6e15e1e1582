//! The forecast of a run: how many processes it would migrate, how long it would take, and
//! what would fail.
//!
//! It writes nothing, and needs no claim on the store.

pub mod census;
pub mod estimate;
pub mod linked;
pub mod program_fit;
pub mod removal;
pub mod sample;
pub mod version_status;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use state_migration_core::{
    Error, ErrorKind, EventStore, Head, SnapshotStore, TenantId, WorkflowId,
};

use crate::forecast::census::{Census, ProcessCounts, Unreadable};
use crate::forecast::estimate::Estimate;
use crate::forecast::program_fit::refused_run;
use crate::forecast::sample::Sample;
use crate::forecast::version_status::{VersionDecision, VersionDecisions};
use crate::migration_runner::{MigrationRunner, refusal};
use crate::options::RunOptions;
use crate::run::suspects::Decided;
use crate::run::{ChangedStep, Plan, undone};
use crate::stages::due;

/// The processes at a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtVersion {
    pub version: WorkflowId,
    #[serde(flatten)]
    pub counts: ProcessCounts,
    #[serde(flatten)]
    pub decision: VersionDecision,
}

/// The processes of a tenant at a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfTenant {
    pub version: WorkflowId,
    /// `None`: streams whose ids name no tenant.
    pub tenant: Option<TenantId>,
    #[serde(flatten)]
    pub counts: ProcessCounts,
}

/// The selected processes by version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub versions: Vec<AtVersion>,
    /// The processes of each tenant, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<OfTenant>>,
    pub unreadable: Option<Unreadable>,
}

impl Versions {
    pub fn new(census: &Census, decisions: &VersionDecisions) -> Self {
        let versions = census.versions.iter().map(|(version, counts)| AtVersion {
            version: version.clone(),
            counts: *counts,
            decision: decisions.about(version),
        });
        Self {
            versions: versions.collect(),
            tenants: census.tenants.as_ref().map(|tenants| {
                let lines = tenants.iter();
                let lines = lines.map(|((version, tenant), counts)| OfTenant {
                    version: version.clone(),
                    tenant: tenant.clone(),
                    counts: *counts,
                });
                lines.collect()
            }),
            unreadable: census.unreadable.clone(),
        }
    }
}

/// What a run would do, as far as that is known before the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    #[serde(flatten)]
    pub versions: Versions,
    /// Number of processes that the run would migrate. It includes those that a predicate
    /// or an earlier failure leaves out, which only a run finds out.
    pub due: u64,
    pub estimate: Estimate,
    /// `None` if no sample was requested, or none is possible.
    pub sample: Option<Sample>,
    /// The migrations that were edited after a run had used them.
    pub edited: Vec<ChangedStep>,
    /// A message for each kind of selected names that do not exist.
    pub unknown_names: Vec<String>,
    /// Why the program would refuse the run.
    pub refused: Option<String>,
}

impl<M, ES: EventStore, SS: SnapshotStore> MigrationRunner<M, ES, SS> {
    /// Counts the processes by version, and by tenant if that is asked for.
    #[doc(hidden)]
    pub async fn versions(&self, by_tenant: bool) -> Result<Versions, Error> {
        let migrations = self.migrations()?;
        let census = Census::of_all(&self.events, by_tenant).await?;
        Ok(Versions::new(&census, &VersionDecisions::of(migrations)))
    }

    /// Forecasts a run with this plan and a limit in processes per second, from a sample of
    /// at most `most` processes; 0 takes no sample.
    #[doc(hidden)]
    pub async fn forecast(
        &self,
        run_options: &RunOptions,
        plan: &Plan,
        throttle: Option<NonZeroU32>,
        most: usize,
    ) -> Result<Forecast, Error> {
        let migrations = self.migrations()?;
        let is_behind = |version: &WorkflowId| plan.routes.iter().any(|it| it.from == *version);
        let (undone, refused_as_undone) = match self.undone(run_options, plan).await {
            Err(error) if matches!(error.kind(), ErrorKind::Undone { .. }) => {
                (Arc::default(), Some(error.to_string()))
            }
            undone => (undone?, None),
        };
        let is_due = |head: &Head| {
            let is_undone = head.undone && undone.contains(&head.workflow_id);
            !is_undone && is_behind(&head.workflow_id)
        };
        let census = Census::of(&self.events, &plan.selection, is_due).await?;
        let edited = match self.runs() {
            Some(runs) => runs.changed_steps(plan).await?,
            None => Vec::new(),
        };
        let unknown_names = self.unknown_names(&plan.selection).await?;
        let versions = Versions::new(&census, &VersionDecisions::of(migrations));
        let mut run = self.execution(run_options, migrations.clone(), true);
        // A run with these options checks no more.
        run.check_determinism = plan.options.check_determinism;
        run.snapshots = plan.options.snapshots;
        run.undone = undone;
        self.restrict(&mut run).await?;
        let refused = refusal(cfg!(panic = "abort"))
            .or_else(|| due::unreadable_route(migrations, &plan.selection));
        let taken = match self.one_store() {
            Some(store) if refused.is_none() => {
                let decided = Decided::for_reading(&store, migrations).await?;
                sample::take(run, store, decided, &census, most).await?
            }
            _ => None,
        };
        let refused = match refused {
            Some(refused) => Some(refused.message),
            None => match self.newer_than_program().await?.as_deref().map(refused_run) {
                Some(refused) => Some(refused),
                None => refused_as_undone,
            },
        };
        let (sample, measured) = taken.unzip();
        let likely = sample.as_ref().map(|sample| sample.share_of(census.due()));
        let likely = likely.unwrap_or(census.due());
        Ok(Forecast {
            due: census.due(),
            estimate: Estimate::new(likely, throttle, measured.as_ref()),
            versions,
            sample,
            edited,
            unknown_names,
            refused,
        })
    }

    /// The versions whose undone processes stay there.
    async fn undone(
        &self,
        run_options: &RunOptions,
        plan: &Plan,
    ) -> Result<Arc<BTreeSet<WorkflowId>>, Error> {
        match self.one_store().filter(|_| !run_options.again) {
            Some(store) => Ok(undone::check(&store, plan).await?.versions),
            None => Ok(Arc::default()),
        }
    }
}
