//! The settings of a runner, and the methods that start a run.

use std::sync::Arc;
use std::time::Duration;

use state_migration_core::{
    EventStore, FailureClass, ProcessRegistry, RegistryError, RunId, Selection, SnapshotStore,
};

use crate::control::RunControl;
use crate::migration_runner::MigrationRunner;
use crate::options::{Asked, Wanted};
use crate::report::MigrationReport;
use crate::run::Plan;

impl<M, ES, SS> MigrationRunner<M, ES, SS> {
    /// Whether to look at every stream and count those that need nothing.
    ///
    /// Off by default over one store: then a run reads nothing where no process
    /// is at an old version, and `skipped` counts only what it came across. Of
    /// separate stores every stream is read in any case.
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
    /// that is told not to do it is the quickest way to see what fails.
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
    /// pages are small, one worker at a time reads or commits, and on Linux user
    /// code runs on threads of a lower priority, whether anything is written or not.
    /// A run beside such writes takes about twice as long, and is at full speed again
    /// a second after the last write. Writes take about twice as long to become durable
    /// (`docs/performance.md`). Told not to give way, a run takes all the machine has.
    ///
    /// This is about one store that [knows of its
    /// writes](state_migration_core::TransactionalStore::traffic); over separate handles
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
    #[doc(hidden)]
    pub fn asked(&self) -> &Asked {
        &self.asked
    }
}

impl<M, ES: EventStore, SS: SnapshotStore> MigrationRunner<M, ES, SS> {
    /// Migrates every process that stands at a version with a route.
    ///
    /// A new state is deserialized and serialized again before it is committed.
    /// One that cannot be read back, or is not the same JSON value then, is a
    /// failure: the process would go on with another state. The members of an
    /// object may be in another order, and so may those of a list, since a
    /// `HashSet` is written as one. A migration whose new state is known to be
    /// `Serialize` only is named in a warning.
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
    /// [twice](Self::run_code_twice), and reports what a run would do. Code that
    /// gives two different states for one process is a failure.
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
}
