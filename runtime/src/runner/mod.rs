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

#[cfg(feature = "control-socket")]
mod absent;
mod ahead;
mod at_work;
mod code;
mod commit;
mod control;
mod convert;
mod decode_back;
mod event_first;
mod fold;
mod lanes;
mod large;
mod lazy;
mod meter;
#[cfg(feature = "telemetry")]
mod observe;
#[cfg(not(feature = "telemetry"))]
#[path = "unobserved.rs"]
mod observe;
mod one_transaction;
mod pace;
mod plan;
#[cfg(feature = "cli")]
pub(crate) mod preview;
mod registry_update;
mod report;
mod scan;
mod work;
mod worker;

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use control::{Progress, RunControl, WorkflowProgress};
pub use report::{
    CommitForm, FailureClass, MigrationError, MigrationReport, MigrationWarning, SkippedBy, Stage,
    UnknownClass, Visited,
};

use crate::error::{Error, ErrorKind};
use crate::id::{RunId, StreamId, WorkflowId};
use crate::migration::StateMigration;
use crate::process_registry::ProcessRegistry;
use crate::registry::{Migration, MigrationRegistry, RegistryError};
use crate::run::ledger::{Ledger, Start};
use crate::run::{Plan, PlanOptions, RunKind, Runs};
use crate::runner::observe::Observer;
use crate::selection::Selection;
use crate::snapshot::SnapshotStore;
use crate::store::{EventStore, TransactionalStore};
use crate::workflow::Workflow;

/// How long user code may take for one process, unless the runner is told otherwise.
const DEADLINE: Duration = Duration::from_secs(10);

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
/// #     const STATE_SCHEMA_VERSION: u32 = 2; type State = StateV2; type Event = OrderEvent;
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
    asked: Asked,
    options: Options,
    control: RunControl,
    /// The run and the threads of processes that are migrated as they are opened.
    lazy: (RunId, OnceLock<code::Code>),
    migrations: PhantomData<fn() -> M>,
}

/// What is asked of one run; of every run of a runner, unless somebody asks
/// for another one.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) selection: Arc<Selection>,
    pub(crate) full_count: bool,
    /// In a dry run, unless this says otherwise, and in no other.
    pub(crate) twice: Option<bool>,
    pub(crate) deadline: Duration,
    pub(crate) who: String,
    pub(crate) why: String,
    /// Whether to resume although the plan is another one.
    pub(crate) force: bool,
    /// Whether to take the store over from a run that is not known to be dead.
    pub(crate) take_over: bool,
}

/// What the builder methods set.
#[derive(Debug, Clone)]
struct Options {
    chunk_processes: usize,
    yields: bool,
}

impl<M, ES, SS> fmt::Debug for MigrationRunner<M, ES, SS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationRunner")
            .field("registry", &self.registry)
            .field("selection", &self.asked.selection)
            .field("options", &self.options)
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
            asked: Asked {
                selection: Arc::default(),
                full_count: false,
                twice: None,
                deadline: DEADLINE,
                who: String::new(),
                why: String::new(),
                force: false,
                take_over: false,
            },
            options: Options {
                chunk_processes: scan::CHUNK_PROCESSES,
                yields: true,
            },
            control: RunControl::new(),
            lazy: (RunId::random(), OnceLock::new()),
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
        self.asked.full_count = full_count;
        self
    }

    /// Which processes the run is for. All of them, unless this is called.
    #[must_use]
    pub fn select(mut self, selection: Selection) -> Self {
        self.asked.selection = Arc::new(selection);
        self
    }

    /// Who starts the run: kept in its record.
    #[must_use]
    pub fn who(mut self, who: impl Into<String>) -> Self {
        self.asked.who = who.into();
        self
    }

    /// Why the run is started: kept in its record.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.asked.why = why.into();
        self
    }

    /// Whether user code runs twice on every process, to see that it does the
    /// same: a process for which it does not fails. Unless this is called, a
    /// dry run does it, and no other, since it takes twice the time. A dry run
    /// that is told not to do it does not read new states back either, and is
    /// the quickest way to see what fails.
    #[must_use]
    pub fn run_code_twice(mut self, twice: bool) -> Self {
        self.asked.twice = Some(twice);
        self
    }

    /// How long user code may take for one process: 10 seconds, unless this is
    /// called. One that takes longer fails; one whose code does not return
    /// within twice that time fails too, and its thread is given up.
    /// The events of a process too large for a chunk have that time for each 512.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.asked.deadline = deadline.max(Duration::from_millis(1));
        self
    }

    /// How many processes one transaction moves at most: 512, unless this is
    /// called, and never more. A smaller number gives way to other writers in
    /// smaller steps, and costs time.
    #[must_use]
    pub fn chunk_processes(mut self, processes: usize) -> Self {
        self.options.chunk_processes = processes.max(1);
        self
    }

    /// Whether the run gives way to the service that it goes on in: yes, unless
    /// this is called.
    ///
    /// While that one writes to the store, through any handle in this program,
    /// one small chunk is worked on at a time, with a rest after each, so that
    /// writes become durable about as soon as without a run. The run always
    /// goes on, a good deal slower, and at full speed when nothing was written
    /// for a second. Told not to, it takes all the machine has, and writes take
    /// several times as long.
    ///
    /// This is about one store that [knows of its
    /// writes](crate::TransactionalStore::traffic); over separate handles
    /// nothing changes. It is no part of the [plan](Self::plan).
    #[must_use]
    pub fn yield_to_traffic(mut self, yields: bool) -> Self {
        self.options.yields = yields;
        self
    }

    /// Whether to take the store over from another run that holds it, and that
    /// is not known to be dead. That run writes nothing from then on.
    #[must_use]
    pub fn take_over(mut self, take_over: bool) -> Self {
        self.asked.take_over = take_over;
        self
    }

    /// Whether [`resume`](Self::resume) goes on although this program would
    /// migrate otherwise than the one that began the run.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.asked.force = force;
        self
    }

    /// A handle that pauses, resumes, cancels and throttles the runs of this
    /// runner, and tells how far they are. It also works before a run and
    /// after it.
    #[must_use]
    pub fn control(&self) -> RunControl {
        self.control.clone()
    }

    /// What a run would do, with its fingerprint.
    ///
    /// # Errors
    /// The migrations do not fit together.
    pub fn plan(&self) -> Result<Plan, RegistryError> {
        self.plan_for(&self.asked)
    }

    pub(crate) fn plan_for(&self, asked: &Asked) -> Result<Plan, RegistryError> {
        let migrations = self.registry.as_ref().map_err(Clone::clone)?;
        Ok(asked.plan(migrations))
    }

    /// What is asked of every run of this runner.
    #[cfg_attr(not(feature = "control-socket"), allow(dead_code))]
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }
}

impl Asked {
    fn plan(&self, migrations: &MigrationRegistry) -> Plan {
        let options = PlanOptions {
            full_count: self.full_count,
            twice: self.twice.unwrap_or(false),
            deadline_ms: u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX),
        };
        Plan::new(migrations, &self.selection, options)
    }
}

/// What a runner is asked for.
pub(crate) enum Wanted {
    Run,
    DryRun,
    Resume(RunId),
    Retry(RunId, Vec<FailureClass>),
}

impl<M, ES: EventStore, SS: SnapshotStore> MigrationRunner<M, ES, SS> {
    /// Migrates every process that stands at a version with a route.
    ///
    /// Refuses to start in a program that is built with `panic = "abort"`, and
    /// while another run holds the store.
    ///
    /// Over separate handles this leaves process registries alone. Where one
    /// store holds the registry too, its entries move with their processes.
    pub async fn run(&self) -> MigrationReport {
        self.start(&self.asked, None, Wanted::Run).await
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
        self.start(&self.asked, Some(registry), Wanted::Run).await
    }

    /// Does everything that [`run`](Self::run) does, but writes nothing: reads,
    /// folds and converts every process that is selected, each
    /// [twice](Self::run_code_twice), and reports what a run would do. Code that gives two different states for
    /// one process is a failure, and so is a new state that is not the same
    /// when it is deserialized and serialized again: the process would go on
    /// with another one. A migration of which that cannot be checked, because
    /// its new state is known to be `Serialize` only, is named in a warning.
    ///
    /// It opens nothing and shuts no writer out.
    pub async fn dry_run(&self) -> MigrationReport {
        self.start(&self.asked, None, Wanted::DryRun).await
    }

    /// Goes on with a run that was cancelled, or killed, with the selection and
    /// the options that it was begun with; what it has done is not done again.
    ///
    /// Refused when this program would migrate otherwise than the one that
    /// began the run, unless it is [forced](Self::force), and over stores that
    /// keep no runs. The report is of the run as a whole.
    pub async fn resume(&self, run: RunId) -> MigrationReport {
        self.start(&self.asked, None, Wanted::Resume(run)).await
    }

    /// Resumes like [`resume`](Self::resume), and rewrites the entries of the
    /// processes in `registry` like
    /// [`run_and_update_registry`](Self::run_and_update_registry).
    pub async fn resume_and_update_registry<R>(&self, run: RunId, registry: &R) -> MigrationReport
    where
        R: ProcessRegistry,
    {
        self.start(&self.asked, Some(registry), Wanted::Resume(run))
            .await
    }

    /// Starts a new run over the processes that failed in an earlier one, with
    /// the code that this program has now; over those of some classes only, if
    /// any are named. The [selection](Self::select) holds as well.
    pub async fn retry(&self, run: RunId, classes: &[FailureClass]) -> MigrationReport {
        self.start(&self.asked, None, Wanted::Retry(run, classes.to_vec()))
            .await
    }

    /// Retries like [`retry`](Self::retry), and rewrites the entries of the
    /// processes in `registry` like
    /// [`run_and_update_registry`](Self::run_and_update_registry).
    pub async fn retry_and_update_registry<R>(
        &self,
        run: RunId,
        classes: &[FailureClass],
        registry: &R,
    ) -> MigrationReport
    where
        R: ProcessRegistry,
    {
        self.start(
            &self.asked,
            Some(registry),
            Wanted::Retry(run, classes.to_vec()),
        )
        .await
    }

    fn execution(&self, asked: &Asked, migrations: MigrationRegistry, dry: bool) -> Run {
        Run {
            id: RunId::random(),
            kind: RunKind::Migrate,
            selection: asked.selection.clone(),
            dry,
            full_count: asked.full_count,
            twice: asked.twice.unwrap_or(dry),
            deadline: asked.deadline,
            chunk_processes: self.options.chunk_processes,
            yields: self.options.yields,
            control: self.control.clone(),
            observer: Observer::of_none(),
            migrations: Arc::new(migrations),
            unchecked: Arc::default(),
        }
    }

    /// About how many processes stand at which versions of the workflows of a
    /// plan; nothing is known of stores without an index.
    #[cfg_attr(not(feature = "control-socket"), allow(dead_code))]
    pub(crate) async fn standing_at(&self, plan: &Plan) -> Result<Vec<(WorkflowId, u64)>, Error> {
        let mut standing = Vec::new();
        let (Some(store), Ok(migrations)) = (self.one_store(), &self.registry) else {
            return Ok(standing);
        };
        let names = migrations.names();
        for name in names.filter(|name| plan.selection.selects_workflow(name)) {
            for version in store.versions(name).await? {
                let at = store.split(std::slice::from_ref(&version), 1, 1).await?;
                standing.push((version, at.processes));
            }
        }
        Ok(standing)
    }

    /// The runs that the event store has seen; `None` if it keeps none.
    pub fn runs(&self) -> Option<Runs> {
        Runs::of(&self.events)
    }

    pub(crate) async fn start(
        &self,
        asked: &Asked,
        registry: Option<&dyn ProcessRegistry>,
        wanted: Wanted,
    ) -> MigrationReport {
        // Also when the future is dropped half-way.
        let _under_way = self.control.begin();
        self.started(asked, registry, wanted).await
    }

    async fn started(
        &self,
        asked: &Asked,
        registry: Option<&dyn ProcessRegistry>,
        wanted: Wanted,
    ) -> MigrationReport {
        if let Some(refusal) = refusal(cfg!(panic = "abort")) {
            return MigrationReport::refused(refusal);
        }
        let migrations = match &self.registry {
            Ok(migrations) => migrations.clone(),
            Err(error) => {
                return MigrationReport::refused(MigrationError {
                    stream_id: StreamId::literal("(migrations)"),
                    stage: Stage::Planning,
                    class: FailureClass::Run,
                    sequence: None,
                    message: error.to_string(),
                });
            }
        };
        let mut run = self.execution(asked, migrations, matches!(wanted, Wanted::DryRun));
        let mut report = match self.one_store() {
            Some(store) => {
                let elsewhere = registry.filter(|r| r.store_id() != Some(store.store_id()));
                let first = matches!(wanted, Wanted::Run);
                match self.ledger(asked, &mut run, &store, wanted).await {
                    Ok(ledger) => {
                        run.observer = Observer::of(&run);
                        let go = one_transaction::run(&run, store, elsewhere, ledger);
                        run.observer.during(go).await
                    }
                    // The claim is the first thing that a run reads.
                    Err(error) if first && !matches!(error.kind(), ErrorKind::Claimed { .. }) => {
                        MigrationReport::refused(plan::listing_failed(&error))
                    }
                    Err(error) => MigrationReport::refused(plan::planning("(run)", &error)),
                }
            }
            None => match wanted {
                Wanted::Run | Wanted::DryRun => {
                    run.observer = Observer::of(&run);
                    let go = event_first::run(&run, &self.events, &self.snapshots, registry);
                    run.observer.during(go).await
                }
                Wanted::Resume(_) | Wanted::Retry(..) => {
                    let error = Error::invalid(
                        "events and snapshots are in separate stores, where no run is kept that could be resumed or retried; run again, which does what is left",
                    );
                    MigrationReport::refused(plan::planning("(run)", &error))
                }
            },
        };
        run.unchecked.warn(&mut report);
        if run.dry {
            self.warn_of_changed_steps(asked, &run, &mut report).await;
        }
        run.observer.ended(&report);
        report
    }

    /// Who looks first is told what was edited since it was last applied.
    async fn warn_of_changed_steps(&self, asked: &Asked, run: &Run, report: &mut MigrationReport) {
        let Some(runs) = self.runs() else { return };
        let stream = StreamId::literal("(migrations)");
        match runs.changed_steps(&asked.plan(&run.migrations)).await {
            Ok(changed) => {
                for step in changed {
                    report.warn(stream.clone(), step.to_string());
                }
            }
            Err(error) => report.warn(
                stream,
                format!(
                    "whether a migration was edited after it was applied is not known: {error}"
                ),
            ),
        }
    }

    /// Claims the store for what is wanted; nothing is claimed for a dry run.
    async fn ledger(
        &self,
        asked: &Asked,
        run: &mut Run,
        store: &Arc<dyn TransactionalStore>,
        wanted: Wanted,
    ) -> Result<Option<Arc<Ledger>>, Error> {
        let kind = match wanted {
            Wanted::DryRun => return Ok(None),
            Wanted::Resume(id) => {
                return self.resumed(asked, run, store, id).await.map(Some);
            }
            Wanted::Run => RunKind::Migrate,
            Wanted::Retry(of, classes) => {
                let runs = self.runs();
                let known = match &runs {
                    Some(runs) => runs.get(of).await?.is_some(),
                    None => false,
                };
                if !known {
                    return Err(Error::invalid(format!(
                        "the store has not seen run {of}; look up the id in its history of runs"
                    )));
                }
                RunKind::Retry { of, classes }
            }
        };
        run.kind = kind.clone();
        let start = Start {
            id: run.id,
            kind,
            who: asked.who.clone(),
            why: asked.why.clone(),
            plan: asked.plan(&run.migrations),
        };
        let ledger = Ledger::begin(store.clone(), start, asked.take_over).await?;
        Ok(Some(Arc::new(ledger)))
    }

    async fn resumed(
        &self,
        asked: &Asked,
        run: &mut Run,
        store: &Arc<dyn TransactionalStore>,
        id: RunId,
    ) -> Result<Arc<Ledger>, Error> {
        let runs = self.runs();
        let began = match &runs {
            Some(runs) => runs.get(id).await?,
            None => None,
        };
        if let Some(record) = &began {
            let plan = &record.plan;
            run.id = id;
            run.kind = record.kind.clone();
            run.selection = Arc::new(plan.selection.clone());
            run.full_count = plan.options.full_count;
            run.twice = plan.options.twice;
            run.deadline = Duration::from_millis(plan.options.deadline_ms);
        }
        let plan = began.as_ref().map(|record| {
            Plan::new(
                &run.migrations,
                &record.plan.selection,
                record.plan.options.clone(),
            )
        });
        if let (Some(plan), Some(record)) = (&plan, &began)
            && plan.fingerprint != record.plan.fingerprint
            && !asked.force
        {
            return Err(Error::invalid(format!(
                "run {id} was planned with fingerprint {}, and this program plans {}: its migrations or their code are others; resume it with the program that began it, start a new run, or force it",
                record.plan.fingerprint, plan.fingerprint
            )));
        }
        let ledger = Ledger::resume(store.clone(), id, plan, asked.take_over).await?;
        Ok(Arc::new(ledger))
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
        class: FailureClass::Run,
        sequence: None,
        message: "the program is built with `panic = \"abort\"`, so that one process whose code panics would end it in the middle of a run; build it with `panic = \"unwind\"`".to_owned(),
    })
}

/// One execution of a run.
#[derive(Debug, Clone)]
struct Run {
    id: RunId,
    kind: RunKind,
    migrations: Arc<MigrationRegistry>,
    selection: Arc<Selection>,
    /// Whether nothing is to be written.
    dry: bool,
    full_count: bool,
    twice: bool,
    deadline: Duration,
    chunk_processes: usize,
    /// Whether it gives way to others that write.
    yields: bool,
    control: RunControl,
    observer: Observer,
    /// What a dry run could not check.
    unchecked: Arc<decode_back::Unchecked>,
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
