//! The settings of a runner, and the methods that start a run.

use std::sync::Arc;
use std::time::Duration;

use state_migration_core::{
    EventStore, FailureClass, Predicates, ProcessRegistry, RegistryError, RunId, Selection,
    SnapshotStore,
};

use crate::control::RunControl;
use crate::migration_runner::MigrationRunner;
use crate::options::{RunOptions, RunRequest};
use crate::report::MigrationReport;
use crate::run::{Plan, SnapshotUse};

impl<M, ES, SS> MigrationRunner<M, ES, SS> {
    /// Sets whether the run visits every stream and also counts processes that are up
    /// to date.
    ///
    /// Off by default over one store. A run then reads nothing if no process is at an
    /// old version, and `skipped` counts only streams that the run visited. Over
    /// separate stores every stream is always visited.
    #[must_use]
    pub fn count_up_to_date(mut self, count_up_to_date: bool) -> Self {
        self.run_options.count_up_to_date = count_up_to_date;
        self
    }

    /// Sets whether a run that finds no outdated version reads the heads of all processes
    /// before it is done.
    ///
    /// Off by default, so that such a run reads a constant number of rows: it relies on
    /// the list of versions in the store. If the store was damaged or rolled back,
    /// processes may be outdated nevertheless. The check costs one read of a row for each
    /// process. A run that finds an outdated version reads all heads in any case, and
    /// checks them. The setting is not part of the [plan](Self::plan).
    #[must_use]
    pub fn check_heads(mut self, check: bool) -> Self {
        self.run_options.check_heads = check;
        self
    }

    /// Sets the processes that the run is for. Default: all processes.
    #[must_use]
    pub fn select(mut self, selection: Selection) -> Self {
        self.run_options.selection = Arc::new(selection);
        self
    }

    /// Sets the predicates on states that a [selection](Selection::matching) may name.
    #[must_use]
    pub fn predicates(mut self, predicates: Predicates) -> Self {
        self.run_options.predicates = predicates;
        self
    }

    /// Sets who starts the run, for its record.
    #[must_use]
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.run_options.actor = actor.into();
        self
    }

    /// Sets the reason for the run, for its record.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.run_options.reason = reason.into();
        self
    }

    /// Sets whether user code runs twice on every process, to check that it is
    /// deterministic.
    ///
    /// A process with two different results fails. By default only a dry run performs
    /// this check, since it doubles the time in user code. A dry run without this check
    /// is the fastest way to find out which processes fail.
    #[must_use]
    pub fn check_determinism(mut self, check: bool) -> Self {
        self.run_options.check_determinism = Some(check);
        self
    }

    /// Sets what is done with the snapshots of processes. By default a run starts from
    /// them, and a dry run [compares](SnapshotUse::Compare) them with the events.
    ///
    /// A snapshot is the state that the code of its time folded. After `apply` was
    /// corrected without a new version, run with [`SnapshotUse::Ignore`], and delete the
    /// snapshots: [`Process::open`](state_migration_core::Process::open) starts from them.
    #[must_use]
    pub fn snapshots(mut self, used: SnapshotUse) -> Self {
        self.run_options.snapshots = Some(used);
        self
    }

    /// Sets the timeout of user code for one process. Default: 10 seconds.
    ///
    /// A process that takes longer fails. If user code does not return within twice the
    /// timeout, the process fails too, and its thread is abandoned; after 16 abandoned
    /// threads the run ends and can be resumed by another program. Time in which the
    /// program was stopped does not count. For a process that is too large for a chunk,
    /// the timeout applies to each 512 of its events.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.run_options.deadline = Some(deadline.max(Duration::from_millis(1)));
        self
    }

    /// Sets the maximum number of processes per transaction; 512 is the default and the
    /// upper limit.
    ///
    /// Smaller transactions yield to other writers more often, and make the run slower.
    #[must_use]
    pub fn chunk_processes(mut self, processes: usize) -> Self {
        self.options.chunk_processes = processes.max(1);
        self
    }

    /// Sets whether the run yields to other writers of the store in this program.
    /// Default: yes.
    ///
    /// While this program writes to the store through any handle, pages are small and
    /// one worker at a time reads or commits. On Linux, user code runs on threads of
    /// lower priority, even without other writes. A run beside such writes takes about
    /// twice as long, and is back at full speed a second after the last write; the
    /// writes take about twice as long to become durable (`docs/performance.md`). A run
    /// that does not yield uses all resources of the machine.
    ///
    /// This applies to one store that [observes its
    /// writes](state_migration_core::TransactionalStore::write_activity); it has no effect
    /// over separate stores. The setting is not part of the [plan](Self::plan).
    #[must_use]
    pub fn yield_to_writers(mut self, yields: bool) -> Self {
        self.options.yields = yields;
        self
    }

    /// Cancels a run after more than this many failures of processes in one execution. Such a
    /// run can be resumed. By default, a run continues whatever fails.
    #[must_use]
    pub fn max_failures(mut self, most: u64) -> Self {
        self.run_options.max_failures = Some(most);
        self
    }

    /// Sets whether a run takes routes that were [undone](Self::undo), although their code
    /// is the same.
    #[must_use]
    pub fn again(mut self, again: bool) -> Self {
        self.run_options.again = again;
        self
    }

    /// Sets whether the run takes over the store from another run that has claimed it
    /// and that is not known to be dead. The other run is fenced: it cannot write any
    /// more.
    #[must_use]
    pub fn take_over(mut self, take_over: bool) -> Self {
        self.run_options.take_over = take_over;
        self
    }

    /// Sets whether [`resume`](Self::resume) continues a run although the migrations of
    /// this program differ from those that the run was started with.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.run_options.force = force;
        self
    }

    /// A handle that pauses, unpauses, cancels and throttles the runs of this runner,
    /// and reports their progress. It can also be used before and after a run.
    #[must_use]
    pub fn control(&self) -> RunControl {
        self.control.clone()
    }

    /// The plan of a run, with its fingerprint.
    ///
    /// # Errors
    /// The migrations are inconsistent.
    pub fn plan(&self) -> Result<Plan, RegistryError> {
        self.plan_for(&self.run_options)
    }

    pub(crate) fn plan_for(&self, run_options: &RunOptions) -> Result<Plan, RegistryError> {
        let migrations = self.registry.as_ref().map_err(Clone::clone)?;
        Ok(run_options.plan(migrations))
    }

    /// The options of every run of this runner.
    #[doc(hidden)]
    pub fn run_options(&self) -> &RunOptions {
        &self.run_options
    }
}

impl<M, ES: EventStore, SS: SnapshotStore> MigrationRunner<M, ES, SS> {
    /// Migrates every process that is at a version with a route.
    ///
    /// A new state is deserialized and serialized again before it is committed. A state
    /// that cannot be deserialized, or that is a different JSON value afterwards, is a
    /// failure: the process would continue with another state. The order of object
    /// members is ignored, and so is the order of list items, since a `HashSet` is
    /// serialized as a list. A migration whose new state only implements `Serialize` is
    /// listed in a warning.
    ///
    /// A store that does not answer ends the run, and no process fails because of it. How
    /// long an answer is waited for is a setting of the store, such as
    /// `object_store_max_retries` of SlateDB. Over one store the run can be
    /// [resumed](Self::resume); over separate stores, run again.
    ///
    /// The run is refused in a program built with `panic = "abort"`, and while another
    /// run has claimed the store.
    ///
    /// Over separate stores this method does not update process registries. If one
    /// store also holds the registry, its entries are updated with their processes.
    pub async fn run(&self) -> MigrationReport {
        self.start(&self.run_options, None, RunRequest::Run).await
    }

    /// Migrates like [`run`](Self::run), and updates the entries of the processes in
    /// `registry`.
    ///
    /// If an entry cannot be updated, the process remains migrated, the report contains
    /// a warning, and the next run repairs the entry.
    ///
    /// Over one store with the registry in another store, a run without that registry
    /// leaves no note about entries to update. [`count_up_to_date`](Self::count_up_to_date) then
    /// compares every process that is at its newest version with its entries.
    pub async fn run_and_update_registry<R>(&self, registry: &R) -> MigrationReport
    where
        R: ProcessRegistry,
    {
        self.start(&self.run_options, Some(registry), RunRequest::Run)
            .await
    }

    /// Does everything that [`run`](Self::run) does, except write.
    ///
    /// A dry run reads, folds and converts every selected process
    /// [twice](Self::check_determinism), and reports what a run would do. A process with
    /// two different states fails.
    ///
    /// A dry run neither claims the store nor fences its writer.
    pub async fn dry_run(&self) -> MigrationReport {
        self.start(&self.run_options, None, RunRequest::DryRun)
            .await
    }

    /// Resumes a run that was cancelled or killed, with its original selection and
    /// options. Work that is done is not repeated.
    ///
    /// Refused if the migrations of this program differ from those that the run was
    /// started with, unless [forced](Self::force), and over stores that keep no runs.
    /// The report covers the whole run.
    pub async fn resume(&self, run: RunId) -> MigrationReport {
        self.start(&self.run_options, None, RunRequest::Resume(run))
            .await
    }

    /// Resumes like [`resume`](Self::resume), and updates the entries of the processes
    /// in `registry` like [`run_and_update_registry`](Self::run_and_update_registry).
    pub async fn resume_and_update_registry<R>(&self, run: RunId, registry: &R) -> MigrationReport
    where
        R: ProcessRegistry,
    {
        self.start(&self.run_options, Some(registry), RunRequest::Resume(run))
            .await
    }

    /// Starts a new run over the processes that failed in an earlier run, with the
    /// current code of this program.
    ///
    /// Non-empty `classes` restrict it to failures of these classes. The
    /// [selection](Self::select) applies as well.
    pub async fn retry(&self, run: RunId, classes: &[FailureClass]) -> MigrationReport {
        self.start(
            &self.run_options,
            None,
            RunRequest::Retry(run, classes.to_vec()),
        )
        .await
    }

    /// Retries like [`retry`](Self::retry), and updates the entries of the processes in
    /// `registry` like [`run_and_update_registry`](Self::run_and_update_registry).
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
            &self.run_options,
            Some(registry),
            RunRequest::Retry(run, classes.to_vec()),
        )
        .await
    }

    /// Verifies the migrations of a run, or of all runs: each recorded state is computed
    /// again from the events below it, with the code of this program, and compared as a
    /// JSON value. Nothing is written.
    ///
    /// A process whose state differs fails with
    /// [`VerifiesDifferently`](FailureClass::VerifiesDifferently) and the JSON path.
    pub async fn verify(&self, run: Option<RunId>) -> MigrationReport {
        self.start(&self.run_options, None, RunRequest::Verify(run))
            .await
    }

    /// Takes the processes that a run has migrated back to the versions that they had, in a
    /// new run.
    ///
    /// A process without events of its own since then gets exactly the state that it had.
    /// Others are converted back by the linked undo functions. A process for which neither
    /// is possible fails with [`CannotUndo`](FailureClass::CannotUndo).
    ///
    /// The routes of the run are closed: neither a run nor [`open`](Self::open) takes them
    /// until their code changes, unless [`again`](Self::again) is set.
    pub async fn undo(&self, run: RunId) -> MigrationReport {
        let request = RunRequest::Undo {
            of: run,
            dry: false,
        };
        self.start(&self.run_options, None, request).await
    }

    /// Determines what [`undo`](Self::undo) would do. Nothing is written.
    pub async fn dry_undo(&self, run: RunId) -> MigrationReport {
        let request = RunRequest::Undo { of: run, dry: true };
        self.start(&self.run_options, None, request).await
    }

    /// Computes the states of the processes that a run has migrated again, with the
    /// corrected code of this program, in a new run.
    ///
    /// The whole history of a process is folded: each migration is applied where it
    /// happened, and each event by the code of its own version. If the result differs from
    /// the current state, it becomes the new baseline of the process, which stays at its
    /// version.
    pub async fn redo(&self, run: RunId) -> MigrationReport {
        let request = RunRequest::Redo {
            of: run,
            dry: false,
        };
        self.start(&self.run_options, None, request).await
    }

    /// Removes, in a new run, the events of the selected processes that lie before their
    /// baselines: no replay reads them. Snapshots from before the baselines are removed, too.
    ///
    /// A process that was never migrated since its first event has none. Held processes are
    /// skipped. What is removed cannot be brought back: an undo, a redo or a verification of
    /// the migrations whose events are gone fails for that process with
    /// [`Erased`](FailureClass::Erased). The files of a store keep the data until they are
    /// compacted, and so do its checkpoints, copies and backups.
    pub async fn erase(&self) -> MigrationReport {
        let request = RunRequest::Erase { dry: false };
        self.start(&self.run_options, None, request).await
    }

    /// Determines what [`erase`](Self::erase) would remove. Nothing is written.
    pub async fn dry_erase(&self) -> MigrationReport {
        let request = RunRequest::Erase { dry: true };
        self.start(&self.run_options, None, request).await
    }

    /// Determines what [`redo`](Self::redo) would do. Nothing is written.
    pub async fn dry_redo(&self, run: RunId) -> MigrationReport {
        let request = RunRequest::Redo { of: run, dry: true };
        self.start(&self.run_options, None, request).await
    }
}
