//! The runner: moves every process that a migration matches.
//!
//! Data flows one way, through five stages: [`scan`] finds processes and reads
//! their events, [`fold`] adds the events up to a state, [`convert`] takes the
//! state along its route and writes the `$migrated` event, [`commit`] appends
//! it, and [`report`] counts what is durable.
//!
//! There are two forms. Where one store holds events, snapshots and process
//! registry, a chunk of processes is read and committed in [one
//! transaction](one_transaction). Over separate handles the [event comes
//! first](event_first) and everything else follows from it.

mod commit;
mod convert;
mod event_first;
mod fold;
mod large;
mod one_transaction;
mod plan;
mod registry_update;
mod report;
mod scan;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use report::{
    CommitForm, MigrationError, MigrationReport, MigrationWarning, SkippedBy, Stage, Visited,
};

use crate::id::{RunId, StreamId};
use crate::migration::StateMigration;
use crate::process_registry::ProcessRegistry;
use crate::registry::{Migration, MigrationRegistry, RegistryError};
use crate::selection::Selection;
use crate::snapshot::SnapshotStore;
use crate::store::{EventStore, TransactionalStore};
use crate::workflow::Workflow;

mod sealed {
    pub trait Sealed {}
}

/// What a runner migrates along: one [`StateMigration`], or a whole [`MigrationRegistry`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a migration nor a registry of migrations",
    label = "expected a `StateMigration` or a `MigrationRegistry`"
)]
pub trait Migrations: sealed::Sealed {
    #[doc(hidden)]
    fn into_registry(self) -> Result<MigrationRegistry, RegistryError>;
}

impl sealed::Sealed for MigrationRegistry {}

impl Migrations for MigrationRegistry {
    fn into_registry(self) -> Result<MigrationRegistry, RegistryError> {
        Ok(self)
    }
}

impl<M: StateMigration> sealed::Sealed for M {}

impl<M: StateMigration> Migrations for M
where
    <M::FromWorkflow as Workflow>::State: DeserializeOwned,
    <M::ToWorkflow as Workflow>::State: Serialize,
{
    fn into_registry(self) -> Result<MigrationRegistry, RegistryError> {
        MigrationRegistry::of(Migration::of(self))
    }
}

/// Moves processes in flight along a migration, or along all that are linked.
///
/// Event store and snapshot store are separate handles and may be of any kind.
/// When both are the same store, and it can, every process is moved all or
/// nothing, registry entries included; the report says which form ran.
///
/// A process that fails stays as it is and is named in the report; the others
/// go on. Running again changes nothing that is done.
///
/// ```standalone_crate
/// # use serde::{Deserialize, Serialize};
/// # use state_migration::{EventPayload, Workflow};
/// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed { euro: u64 } }
/// # impl EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct StateV1 { euro: u64 }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct StateV2 { cents: u64 }
/// # struct OrderV1; struct OrderV2;
/// # impl Workflow for OrderV1 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v1";
/// #     type State = StateV1; type Event = OrderEvent;
/// #     fn apply(mut s: StateV1, OrderEvent::Placed { euro }: &OrderEvent) -> StateV1 { s.euro += euro; s }
/// # }
/// # impl Workflow for OrderV2 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v2";
/// #     type State = StateV2; type Event = OrderEvent;
/// #     fn apply(mut s: StateV2, OrderEvent::Placed { euro }: &OrderEvent) -> StateV2 { s.cents += euro * 100; s }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use state_migration::{
///     MemoryStore, MigrationRegistry, MigrationRunner, Process, ProcessId, ProcessIdentity,
///     TenantId, state_migration,
/// };
///
/// #[state_migration(from = OrderV1, to = OrderV2)]
/// fn euro_to_cents(old: StateV1) -> StateV2 {
///     StateV2 { cents: old.euro * 100 }
/// }
///
/// let store = MemoryStore::new();
/// let identity = ProcessIdentity::of::<OrderV1>(TenantId::new("shop")?, ProcessId::new("17")?);
/// let mut order = Process::<OrderV1>::open(identity.clone(), store.clone(), store.clone()).await?;
/// order.append(&[OrderEvent::Placed { euro: 5 }]).await?;
///
/// let runner = MigrationRunner::new(MigrationRegistry::linked()?, store.clone(), store.clone());
/// let report = runner.run().await;
/// assert!(report.is_ok(), "{report}");
/// assert_eq!(report.migrated, 1);
///
/// let mut order = Process::<OrderV2>::open(identity, store.clone(), store).await?;
/// order.append(&[OrderEvent::Placed { euro: 1 }]).await?;
/// assert_eq!(order.state().cents, 600);
/// # Ok(())
/// # }
/// ```
pub struct MigrationRunner<M, ES, SS> {
    registry: Result<MigrationRegistry, RegistryError>,
    events: ES,
    snapshots: SS,
    full_count: bool,
    selection: Arc<Selection>,
    migrations: PhantomData<fn() -> M>,
}

impl<M, ES, SS> fmt::Debug for MigrationRunner<M, ES, SS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationRunner")
            .field("registry", &self.registry)
            .field("full_count", &self.full_count)
            .field("selection", &self.selection)
            .finish_non_exhaustive()
    }
}

impl<M: Migrations, ES, SS> MigrationRunner<M, ES, SS> {
    /// A runner of one migration, or of a registry of them.
    #[must_use]
    pub fn new(migrations: M, event_store: ES, snapshot_store: SS) -> Self {
        Self {
            registry: migrations.into_registry(),
            events: event_store,
            snapshots: snapshot_store,
            full_count: false,
            selection: Arc::default(),
            migrations: PhantomData,
        }
    }
}

impl<M, ES, SS> MigrationRunner<M, ES, SS> {
    /// Whether to look at every stream and count those that need nothing.
    ///
    /// Off by default where the store has an index of versions: then a run
    /// costs what matches, and `skipped` counts only what it came across. A
    /// store without an index is read in full in any case.
    #[must_use]
    pub fn full_count(mut self, full_count: bool) -> Self {
        self.full_count = full_count;
        self
    }

    /// Which processes the run is for. All of them, unless this is called.
    #[must_use]
    pub fn select(mut self, selection: Selection) -> Self {
        self.selection = Arc::new(selection);
        self
    }
}

impl<M, ES: EventStore, SS: SnapshotStore> MigrationRunner<M, ES, SS> {
    /// Migrates every process that stands at a version with a route.
    ///
    /// Refuses to start in a program that is built with `panic = "abort"`.
    ///
    /// Over separate handles this leaves process registries alone. Where one
    /// store holds the registry too, its entries move with their processes.
    pub async fn run(&self) -> MigrationReport {
        self.start(None, false).await
    }

    /// Migrates like [`run`](Self::run), and rewrites the entries of the
    /// processes in `registry`.
    ///
    /// When an entry cannot be rewritten the process stays migrated, the
    /// report holds a warning, and the next run repairs the entry.
    ///
    /// Over one store with the registry elsewhere, a run without that registry
    /// leaves no note for it. [`full_count`](Self::full_count) then compares
    /// every process that stands at its newest version with its entries.
    pub async fn run_and_update_registry<R>(&self, registry: &R) -> MigrationReport
    where
        R: ProcessRegistry,
    {
        self.start(Some(registry), false).await
    }

    /// Does everything that [`run`](Self::run) does, but writes nothing: reads,
    /// folds and converts every process that is selected, each twice, and
    /// reports what a run would do. Code that gives two different states for
    /// one process is a failure.
    ///
    /// It opens nothing and shuts no writer out.
    pub async fn dry_run(&self) -> MigrationReport {
        self.start(None, true).await
    }

    async fn start(&self, registry: Option<&dyn ProcessRegistry>, dry: bool) -> MigrationReport {
        if let Some(refusal) = refusal(cfg!(panic = "abort")) {
            let mut report = MigrationReport::default();
            report.fail(refusal);
            return report;
        }
        let migrations = match &self.registry {
            Ok(migrations) => migrations.clone(),
            Err(error) => {
                let mut report = MigrationReport::default();
                report.fail(MigrationError {
                    stream_id: StreamId::literal("(migrations)"),
                    stage: Stage::Planning,
                    sequence: None,
                    message: error.to_string(),
                });
                return report;
            }
        };
        let run = Run {
            id: RunId::random(),
            migrations: Arc::new(migrations),
            selection: self.selection.clone(),
            dry,
        };
        match self.one_store() {
            Some(store) => {
                let elsewhere = registry.filter(|r| r.store_id() != Some(store.store_id()));
                one_transaction::run(&run, store, elsewhere, self.full_count).await
            }
            None => event_first::run(&run, &self.events, &self.snapshots, registry).await,
        }
    }

    /// The store, if events and snapshots are in the same one and it is transactional.
    fn one_store(&self) -> Option<Arc<dyn TransactionalStore>> {
        let store = self.events.transactional()?;
        (self.snapshots.store_id() == Some(store.store_id())).then_some(store)
    }
}

/// Why a run cannot start in a program whose panics abort.
fn refusal(panics_abort: bool) -> Option<MigrationError> {
    panics_abort.then(|| MigrationError {
        stream_id: StreamId::literal("(program)"),
        stage: Stage::Planning,
        sequence: None,
        message: "the program is built with `panic = \"abort\"`, so that one process whose code panics would end it in the middle of a run; build it with `panic = \"unwind\"`".to_owned(),
    })
}

/// One execution.
#[derive(Debug, Clone)]
struct Run {
    id: RunId,
    migrations: Arc<MigrationRegistry>,
    selection: Arc<Selection>,
    /// Whether nothing is to be written.
    dry: bool,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_refused_where_a_panic_would_end_the_program() {
        assert_eq!(refusal(false), None);
        let refusal = refusal(true).unwrap();
        assert_eq!(refusal.stream_id.as_str(), "(program)");
        assert!(
            refusal
                .message
                .ends_with("build it with `panic = \"unwind\"`")
        );
    }
}
