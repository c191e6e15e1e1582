//! The migration runner: the entry point of every run.

mod open;
mod rehearsal;
mod settings;

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use state_migration_core::store_api::claim;
use state_migration_core::{
    Error, ErrorKind, EventStore, FailureClass, MigrationError, MigrationRegistry, Migrations,
    ProcessRegistry, RegistryError, RunId, SnapshotStore, Stage, Subject, TransactionalStore,
};
use tokio::runtime::Handle;

use crate::control::RunControl;
use crate::drivers::{event_first, transactional};
use crate::limits::one_at_a_time::OneAtATime;
use crate::observe::Observer;
use crate::options::Options;
use crate::options::{RunOptions, RunRequest};
use crate::report::MigrationReport;
use crate::restrictions::Restrictions;
use crate::run::on_open_log::RecordWritten;
use crate::run::run_log::{self, NewRun, ResumedRun, RunLog};
use crate::run::undone;
use crate::run::{Plan, RunKind, Runs, SnapshotUse, Store};
use crate::run_context::RunContext;
use crate::stages::{due, scan};
use crate::user_code::abandoned::Abandoned;
use crate::user_code::panics::catch;
use crate::user_code::threads;

/// Migrates processes in flight along one migration, or along all linked migrations.
///
/// Event store and snapshot store are separate handles and may be of any kind. If both
/// handles are of the same store and it is transactional, every process is migrated
/// atomically, including its registry entries. The report says which form was used.
///
/// A process that fails keeps its version and is listed in the report; the other
/// processes are migrated. Running again does not change processes that are up to date.
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
    pub(crate) registry: Result<MigrationRegistry, RegistryError>,
    pub(crate) events: ES,
    pub(crate) snapshots: SS,
    pub(crate) run_options: RunOptions,
    pub(crate) options: Options,
    pub(crate) control: RunControl,
    /// The run id and the threads for processes that are migrated when they are opened.
    pub(crate) lazy: (RunId, OnceLock<threads::UserCode>),
    /// Whether the record of that run is written.
    pub(crate) recorded: RecordWritten,
    /// The processes that are being migrated because they are opened.
    pub(crate) opening: OneAtATime,
    /// The threads that were abandoned, in runs and by opening processes.
    pub(crate) abandoned: Abandoned,
    pub(crate) migrations: PhantomData<fn() -> M>,
}

impl<M, ES, SS> fmt::Debug for MigrationRunner<M, ES, SS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationRunner")
            .field("registry", &self.registry)
            .field("selection", &self.run_options.selection)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<M: Migrations, ES, SS> MigrationRunner<M, ES, SS> {
    /// A runner for one migration, or for a registry of migrations.
    #[must_use]
    pub fn new(migrations: M, event_store: ES, snapshot_store: SS) -> Self {
        Self {
            registry: migrations.into_registry(),
            events: event_store,
            snapshots: snapshot_store,
            run_options: RunOptions::default(),
            options: Options::default(),
            control: RunControl::new(),
            lazy: (RunId::random(), OnceLock::new()),
            recorded: RecordWritten::new(),
            opening: OneAtATime::default(),
            abandoned: Abandoned::default(),
            migrations: PhantomData,
        }
    }
}

impl<M, ES: EventStore, SS: SnapshotStore> MigrationRunner<M, ES, SS> {
    pub(crate) fn execution(
        &self,
        run_options: &RunOptions,
        migrations: MigrationRegistry,
        dry: bool,
    ) -> RunContext {
        RunContext {
            id: RunId::random(),
            kind: RunKind::Migrate,
            selection: run_options.selection.clone(),
            restrictions: Restrictions::default(),
            undone: Arc::default(),
            history_of: None,
            predicates: run_options.predicates.clone(),
            dry,
            rehearses: self.options.rehearses,
            count_up_to_date: run_options.count_up_to_date,
            check_heads: run_options.check_heads,
            check_determinism: run_options.check_determinism.unwrap_or(dry),
            deadline: run_options.deadline(),
            snapshots: run_options.snapshots.unwrap_or(match dry {
                true => SnapshotUse::Compare,
                false => SnapshotUse::Start,
            }),
            max_failures: run_options.max_failures,
            chunk_processes: self.options.chunk_processes,
            yields: self.options.yields,
            control: self.control.clone(),
            observer: Observer::without_run(),
            migrations: Arc::new(migrations),
            abandoned: self.abandoned.clone(),
        }
    }

    /// The history of runs of the event store; `None` if it keeps none.
    pub fn runs(&self) -> Option<Runs> {
        Runs::of(&self.events)
    }

    pub(crate) async fn start(
        &self,
        run_options: &RunOptions,
        registry: Option<&dyn ProcessRegistry>,
        request: RunRequest,
    ) -> MigrationReport {
        // A guard, since the future may be dropped before the end.
        let _in_progress = self.control.begin();
        self.started(run_options, registry, request).await
    }

    async fn started(
        &self,
        run_options: &RunOptions,
        registry: Option<&dyn ProcessRegistry>,
        request: RunRequest,
    ) -> MigrationReport {
        if let Some(refusal) = refusal(cfg!(panic = "abort")) {
            return MigrationReport::refused(refusal);
        }
        let migrations = match &self.registry {
            Ok(migrations) => migrations.clone(),
            Err(error) => {
                return MigrationReport::refused(MigrationError::new(
                    Stage::Planning,
                    FailureClass::Run,
                    Subject::Migrations,
                    error.to_string(),
                ));
            }
        };
        if let RunRequest::Rehearse { keep } = request {
            return self.rehearsed(run_options, &migrations, keep).await;
        }
        let mut run = self.execution(run_options, migrations, request.is_dry());
        let history = request.history();
        if let Some(kind) = &history {
            run.check_determinism = run_options.check_determinism.unwrap_or(false);
            run.kind = kind.clone();
        }
        // The selection of a resumed run is that of its record.
        let is_resumed = matches!(request, RunRequest::Resume(_));
        let unreadable = due::unreadable_route(&run.migrations, &run.selection);
        if let Some(refusal) = unreadable.filter(|_| !is_resumed && history.is_none()) {
            return MigrationReport::refused(refusal);
        }
        let mut report = match self.one_store() {
            Some(store) => {
                let separate_registry = registry.filter(|r| r.store_id() != Some(store.store_id()));
                let first = matches!(request, RunRequest::Run);
                let begun = match first && separate_registry.is_none() {
                    true => self.is_idle(&mut run, &store).await,
                    false => Ok(false),
                };
                let begun = match begun {
                    Ok(true) => Ok(None),
                    Ok(false) => {
                        let run_log = self.run_log(run_options, &mut run, &store, request);
                        run_log.await.map(Some)
                    }
                    Err(error) => Err(error),
                };
                match begun {
                    Ok(begun) => {
                        if let Some(Some(run_log)) = &begun {
                            run.undone = run_log.undone.clone();
                        }
                        run.observer = run.observe();
                        let go = async {
                            match begun {
                                None => transactional::idle(&run),
                                Some(run_log) => {
                                    transactional::run(&run, store, separate_registry, run_log)
                                        .await
                                }
                            }
                        };
                        run.observer.during(go).await
                    }
                    // A run reads the claim first, so that a failure here is a failure
                    // to read, or the selection is invalid.
                    Err(error)
                        if first
                            && !matches!(
                                error.kind(),
                                ErrorKind::Claimed { .. } | ErrorKind::Invalid
                            ) =>
                    {
                        MigrationReport::refused(due::listing_failed(&error))
                    }
                    Err(error) => MigrationReport::refused(due::planning(Subject::Run, &error)),
                }
            }
            None => match request {
                RunRequest::Run | RunRequest::DryRun => {
                    match self.prepared(run_options, &mut run).await {
                        Err(error) => MigrationReport::refused(due::planning(Subject::Run, &error)),
                        Ok(warning) => {
                            run.observer = run.observe();
                            let go =
                                event_first::run(&run, &self.events, &self.snapshots, registry);
                            let mut report = run.observer.during(go).await;
                            if let Some(warning) = warning {
                                report.warn(Subject::Run, warning);
                            }
                            report
                        }
                    }
                }
                _ if history.is_some() => {
                    let error = Error::invalid(
                        "separate stores for events and snapshots keep no record of a run; use one store for both",
                    );
                    MigrationReport::refused(due::planning(Subject::Run, &error))
                }
                _ => {
                    let error = Error::invalid(
                        "separate stores for events and snapshots keep no record of a run to resume or retry; start a new run, which migrates the remaining processes",
                    );
                    MigrationReport::refused(due::planning(Subject::Run, &error))
                }
            },
        };
        if run.dry && history.is_none() {
            self.warn_of_changed_steps(run_options, &run, &mut report)
                .await;
        }
        run.observer.ended(&report);
        report
    }

    /// Warns in a dry run of migrations that were edited after they were applied.
    async fn warn_of_changed_steps(
        &self,
        run_options: &RunOptions,
        run: &RunContext,
        report: &mut MigrationReport,
    ) {
        let Some(runs) = self.runs() else { return };
        match runs.changed_steps(&run_options.plan(&run.migrations)).await {
            Ok(changed) => {
                for step in changed {
                    report.warn(Subject::Migrations, step.to_string());
                }
            }
            Err(error) => report.warn(
                Subject::Migrations,
                format!(
                    "cannot check whether a migration was edited after it was applied: {error}"
                ),
            ),
        }
    }

    /// Whether no process is due, so that the run neither claims the store nor leaves a
    /// record.
    async fn is_idle(&self, run: &mut RunContext, store: &Store) -> Result<bool, Error> {
        self.restrict(run).await?;
        Ok(!run.count_up_to_date
            && claim::holder(&**store).await?.is_none()
            && due::present(run, store).await?.is_empty()
            && (!run.check_heads || !any_outdated(run, store).await?))
    }

    /// Whether a run would find that no process is due, and write nothing.
    ///
    /// # Errors
    /// The store could not be read.
    #[doc(hidden)]
    pub async fn would_be_idle(&self) -> Result<bool, Error> {
        let (Some(store), Ok(migrations)) = (self.one_store(), &self.registry) else {
            return Ok(false);
        };
        let mut run = self.execution(&self.run_options, migrations.clone(), false);
        self.is_idle(&mut run, &store).await
    }

    /// Claims the store for the requested run. A dry run makes no claim.
    async fn run_log(
        &self,
        run_options: &RunOptions,
        run: &mut RunContext,
        store: &Arc<dyn TransactionalStore>,
        request: RunRequest,
    ) -> Result<Option<Arc<RunLog>>, Error> {
        let mut run_options = run_options.clone();
        let kind = match request {
            RunRequest::DryRun => {
                self.restrict(run).await?;
                if !run_options.again {
                    let plan = run_options.plan(&run.migrations);
                    run.undone = undone::check(store, &plan).await?.versions;
                }
                return Ok(None);
            }
            RunRequest::Verify(of) => {
                self.check_history(run, of).await?;
                return Ok(None);
            }
            RunRequest::Undo { of, dry } | RunRequest::Redo { of, dry } => {
                self.check_history(run, Some(of)).await?;
                if dry {
                    return Ok(None);
                }
                run.kind.clone()
            }
            RunRequest::Erase { dry } => {
                self.check_history(run, None).await?;
                if dry {
                    return Ok(None);
                }
                run.kind.clone()
            }
            RunRequest::Resume(id) => {
                return self.resumed(&run_options, run, store, id).await.map(Some);
            }
            RunRequest::Run | RunRequest::Rehearse { .. } => RunKind::Migrate,
            RunRequest::Retry(of, classes) => {
                let runs = self.runs();
                let earlier = match &runs {
                    Some(runs) => runs.get(of).await?,
                    None => None,
                };
                let Some(earlier) = earlier else {
                    return Err(not_in_the_store(of));
                };
                if earlier.kind == RunKind::Erase {
                    return Err(Error::invalid(format!(
                        "run {of} is of kind erase, whose failures are not retried; erase again, which takes the processes that are left"
                    )));
                }
                if let RunKind::Undo { of: run } | RunKind::Redo { of: run } = earlier.kind {
                    let kind = earlier.kind.name();
                    return Err(Error::invalid(format!(
                        "run {of} is of kind {kind}, whose failures are not retried; {kind} run {run} again, which takes the processes that are left"
                    )));
                }
                self.control.throttle_again(earlier.throttle);
                run_options = run_options.following(&earlier.plan);
                run.check_determinism = run_options.check_determinism.unwrap_or(false);
                run.deadline = run_options.deadline();
                run.snapshots = run_options.snapshots.unwrap_or_default();
                run.selection = run_options.selection.clone();
                RunKind::Retry { of, classes }
            }
        };
        run.kind = kind.clone();
        self.restrict(run).await?;
        let start = NewRun {
            id: run.id,
            kind,
            actor: run_options.actor.clone(),
            reason: run_options.reason.clone(),
            plan: run_options.plan(&run.migrations),
            throttle: self.control.throttled(),
            again: run_options.again,
            rehearses: run.rehearses,
        };
        let run_log = RunLog::begin(store.clone(), start, run_options.take_over).await?;
        Ok(Some(Arc::new(run_log)))
    }

    /// Checks that the runner can undo, redo or verify what a run has migrated.
    async fn check_history(&self, run: &mut RunContext, of: Option<RunId>) -> Result<(), Error> {
        self.restrict(run).await?;
        let selection = &run.selection;
        if selection.is_in_flight()
            || selection.reads_more_than_heads()
            || selection.limit().is_some()
        {
            return Err(Error::invalid(format!(
                "a selection by state, of processes in flight or of the first ones is not supported by {}; select workflows, tenants, streams or a share",
                run.kind.name()
            )));
        }
        let (Some(of), Some(runs)) = (of, self.runs()) else {
            return Ok(());
        };
        let Some(record) = runs.get(of).await? else {
            return Err(not_in_the_store(of));
        };
        run.history_of = Some(Arc::new(record.plan.clone()));
        match (&run.kind, &record.kind) {
            (RunKind::Verify { .. }, _)
            | (_, RunKind::Migrate | RunKind::Retry { .. } | RunKind::Lazy) => Ok(()),
            (_, kind) => Err(Error::invalid(format!(
                "run {of} is of kind {}; give the run that migrated the processes",
                kind.name()
            ))),
        }
    }

    /// Looks up what the selection of a run asks for beyond the heads.
    pub(crate) async fn restrict(&self, run: &mut RunContext) -> Result<(), Error> {
        let selection = run.selection.clone();
        run.restrictions = run.restricted_by(&selection, self.runs().as_ref()).await?;
        Ok(())
    }

    /// Looks up what the selection asks for, and checks that no run has claimed the events,
    /// if their store is transactional. Returns why the run does not use transactions.
    async fn prepared(
        &self,
        run_options: &RunOptions,
        run: &mut RunContext,
    ) -> Result<Option<String>, Error> {
        self.restrict(run).await?;
        let Some(store) = self.events.transactional() else {
            return Ok(None);
        };
        if !run.dry
            && let Some(holder) = claim::holder(&*store).await?
            && !run_log::is_dead(&holder, &store)
        {
            return Err(run_log::claimed(holder.run));
        }
        if !run_options.again {
            let plan = run_options.plan(&run.migrations);
            run.undone = undone::check(&store, &plan).await?.versions;
        }
        Ok(Some(
            "the store of the events has transactions, but the snapshots are in another store, so the run appended the events first and is not recorded; use one store for both"
                .to_owned(),
        ))
    }

    async fn resumed(
        &self,
        run_options: &RunOptions,
        run: &mut RunContext,
        store: &Arc<dyn TransactionalStore>,
        id: RunId,
    ) -> Result<Arc<RunLog>, Error> {
        let runs = self.runs();
        let began = match &runs {
            Some(runs) => runs.get(id).await?,
            None => None,
        };
        let executions = match &runs {
            Some(runs) => runs.executions(id).await?,
            None => Vec::new(),
        };
        let last = began.as_ref().map(|record| record.last_plan(&executions));
        if let Some(record) = &began {
            let plan = &record.plan;
            run.id = id;
            run.kind = record.kind.clone();
            run.selection = Arc::new(plan.selection.clone());
            run.count_up_to_date = plan.options.count_up_to_date;
            run.check_determinism = plan.options.check_determinism;
            run.deadline = Duration::from_millis(plan.options.deadline_ms);
            run.snapshots = plan.options.snapshots;
            if let RunKind::Undo { of } | RunKind::Redo { of } = run.kind {
                let of = match &runs {
                    Some(runs) => runs.get(of).await?,
                    None => None,
                };
                run.history_of = of.map(|record| Arc::new(record.plan));
            }
            self.restrict(run).await?;
        }
        let plan = began.as_ref().map(|record| {
            Plan::new(
                &run.migrations,
                &record.plan.selection,
                &run.predicates,
                record.plan.options.clone(),
            )
        });
        if let (Some(plan), Some(last)) = (&plan, &last)
            && plan.fingerprint != last.fingerprint
            && !run_options.force
            // It runs no code.
            && run.kind != RunKind::Erase
        {
            return Err(Error::invalid(format!(
                "run {id} was last executed with plan {}, but the migrations of this program give plan {}; resume the run with the original program or with `force`, or start a new run",
                last.fingerprint, plan.fingerprint
            )));
        }
        if let Some(refusal) = due::unreadable_route(&run.migrations, &run.selection) {
            return Err(Error::invalid(refusal.message));
        }
        if let Some(record) = &began {
            self.control.throttle_again(record.throttle);
        }
        let differs = |plan: &Plan| {
            let record = began.as_ref();
            record.is_none_or(|record| record.plan.fingerprint != plan.fingerprint)
        };
        let plan = plan.filter(differs);
        let again = ResumedRun {
            id,
            takes_undone: run_options.again,
            has_other_code: plan.is_some() || executions.iter().any(|it| it.plan.is_some()),
            actor: run_options.actor.clone(),
            reason: run_options.reason.clone(),
            plan,
        };
        let run_log = RunLog::resume(store.clone(), again, run_options.take_over).await?;
        Ok(Arc::new(run_log))
    }

    /// The store, if it is transactional and holds both events and snapshots.
    pub(crate) fn one_store(&self) -> Option<Arc<dyn TransactionalStore>> {
        let store = self.events.transactional()?;
        (self.snapshots.store_id() == Some(store.store_id())).then_some(store)
    }
}

fn not_in_the_store(run: RunId) -> Error {
    Error::invalid(format!(
        "run {run} is not in the store; check the id in the list of runs"
    ))
}

/// Whether a selected process is outdated, also at a version that the store does not list.
/// A run over the first N processes does not look.
async fn any_outdated(run: &RunContext, store: &Store) -> Result<bool, Error> {
    if run.selection.limit().is_some() {
        return Ok(false);
    }
    let routes = run.migrations.routes();
    let sources = routes.map(|route| route.source().clone());
    let sources = sources.filter(|at| run.selection.selects_workflow(at.name()));
    let counts = scan::count(store, sources.collect(), run.selection.clone(), 1).await?;
    Ok(counts.into_values().any(|processes| processes > 0))
}

/// Why this program, in which a panic may abort, cannot run user code.
pub(crate) fn refusal(panics_abort: bool) -> Option<MigrationError> {
    let message = if panics_abort {
        "the program is built with `panic = \"abort\"`, so a panic in user code would end it; build it with `panic = \"unwind\"`"
    } else if !has_timers() {
        "migrations need a tokio runtime with timers; build the runtime with `enable_time` or `enable_all`"
    } else {
        return None;
    };
    let (stage, class) = (Stage::Planning, FailureClass::Run);
    Some(MigrationError::new(stage, class, Subject::Program, message))
}

/// Whether the caller is in a tokio runtime with timers. tokio reports their absence by a
/// panic only.
fn has_timers() -> bool {
    Handle::try_current().is_ok() && catch(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_is_refused_where_a_panic_would_end_the_program() {
        assert_eq!(refusal(false), None);
        let refusal = refusal(true).unwrap();
        assert_eq!(refusal.subject, Subject::Program);
        assert!(
            refusal
                .message
                .ends_with("build it with `panic = \"unwind\"`")
        );
    }

    #[test]
    fn a_run_is_refused_where_there_are_no_timers() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let without = builder.build().unwrap();
        let refusals = [refusal(false), without.block_on(async { refusal(false) })];
        for refusal in refusals {
            let message = refusal.unwrap().message;
            assert!(
                message.ends_with("`enable_time` or `enable_all`"),
                "{message}"
            );
        }
    }
}
