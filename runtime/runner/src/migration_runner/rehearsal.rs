//! The rehearsal of a run: the run itself, on a copy of the store.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use state_migration_core::store_api::{claim, transactional};
use state_migration_core::{
    DueFilter, DueOf, Error, EventStore, Head, MigrationRegistry, RehearsalNeeds, Selection,
    SkippedBy, SnapshotStore, StreamId, Subject, Verdict, WorkflowId,
};

use crate::control::Progress;
use crate::forecast::census::Census;
use crate::migration_runner::MigrationRunner;
use crate::options::{RunOptions, RunRequest};
use crate::report::{MigrationReport, Rehearsed};
use crate::run::{RunState, Store, run_log};
use crate::stages::due;
use crate::stages::scan::{self, Snapshots};

/// Number of processes that are read to find out how much a rehearsal writes.
const SAMPLE: usize = 64;

/// Bytes that a run writes for a process, beside its state: an event and a head.
const ROWS: u64 = 512;

/// How often each byte is written: to the log, and to a file.
const TIMES: u64 = 2;

impl<M, ES: EventStore, SS: SnapshotStore> MigrationRunner<M, ES, SS> {
    /// Rehearses the run: executes it on a copy of the store, verifies on the copy what it
    /// has done, and removes the copy. The store stays as it is, and programs that write to
    /// it continue.
    ///
    /// The copy shares the data of the store, so that it is made at once; the run writes as
    /// much as the real one. The report is that of the run, with the processes
    /// [verified](MigrationReport::verified); a process whose recorded state differs fails
    /// with [`VerifiesDifferently`](state_migration_core::FailureClass::VerifiesDifferently). A separate
    /// process registry is not touched.
    ///
    /// A rehearsal is refused while a run is in progress in the store, if a store cannot be
    /// copied, if a local disk has too little space, and over a
    /// reader of a store that a program has open: rehearse in that program. If a rehearsal
    /// is killed, a later one, or a later writer of the store, removes its copy.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use state_migration::{MemoryStore, MigrationRegistry, MigrationRunner};
    /// # let registry = MigrationRegistry::builder().build()?;
    /// let store = MemoryStore::new();
    /// let runner = MigrationRunner::new(registry, store.clone(), store.clone());
    /// let report = runner.rehearse().await;
    /// assert!(report.is_ok() && report.rehearsed.is_some(), "{report}");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rehearse(&self) -> MigrationReport {
        let request = RunRequest::Rehearse { keep: false };
        self.start(&self.run_options, None, request).await
    }

    /// Like [`rehearse`](Self::rehearse), but keeps the copy, so that programs can be tried
    /// on it: the report [says](MigrationReport::rehearsed) where it is.
    ///
    /// As long as the copy exists, the store keeps the files that it had.
    pub async fn rehearse_and_keep(&self) -> MigrationReport {
        let request = RunRequest::Rehearse { keep: true };
        self.start(&self.run_options, None, request).await
    }

    /// Boxed, since the run on the copy is started in the same way.
    pub(crate) fn rehearsed<'a>(
        &'a self,
        run_options: &'a RunOptions,
        migrations: &'a MigrationRegistry,
        keep: bool,
    ) -> BoxFuture<'a, MigrationReport> {
        let rehearsed = async move {
            let rehearsed = self.try_to_rehearse(run_options, migrations, keep).await;
            rehearsed.unwrap_or_else(|error| {
                MigrationReport::refused(due::planning(Subject::Run, &error))
            })
        };
        rehearsed.boxed()
    }

    async fn try_to_rehearse(
        &self,
        run_options: &RunOptions,
        migrations: &MigrationRegistry,
        keep: bool,
    ) -> Result<MigrationReport, Error> {
        let Some(store) = self.one_store() else {
            return Err(transactional::cannot_rehearse());
        };
        let holder = claim::holder(&*store).await?;
        if let Some(holder) = holder.filter(|holder| !run_log::is_dead(holder, &store)) {
            return Err(run_log::claimed(holder.run));
        }
        let bytes = self.bytes_written(&store, run_options, migrations).await?;
        let copy = store.rehearsal(RehearsalNeeds::bytes(Some(bytes))).await?;
        if keep && copy.location().is_none() {
            copy.end("null", false).await?;
            return Err(Error::invalid(
                "a copy of this store cannot be kept; rehearse without keeping it",
            ));
        }
        let rehearsal = self.on_copy(migrations, copy.events(), copy.snapshots());
        let options = RunOptions {
            check_heads: true,
            ..run_options.clone()
        };
        let mut report = rehearsal.started(&options, None, RunRequest::Run).await;
        let is_done = report.state.is_some_and(RunState::is_done);
        let migrated = self.control.progress();
        if let Some(run) = report.run.filter(|_| is_done) {
            let options = RunOptions {
                selection: Arc::new(Selection::all()),
                ..options
            };
            let verified = rehearsal.started(&options, None, RunRequest::Verify(Some(run)));
            report.verify(verified.await);
            // What was migrated is shown, not what was verified.
            let state = report.state.unwrap_or(migrated.state);
            self.control.publish(Progress { state, ..migrated });
        }
        // Its record is in the copy alone.
        report.run = None;
        report.dry_run = true;
        report.rehearsed = Some(Rehearsed {
            name: copy.name().to_owned(),
            kept: copy.location().filter(|_| keep),
        });
        let text = serde_json::to_string(&report).unwrap_or_default();
        if let Err(error) = copy.end(&text, keep).await {
            report.warn(
                Subject::Run,
                format!("the copy of the rehearsal could not be removed: {error}"),
            );
        }
        Ok(report)
    }

    /// A runner like this one over a copy of the store.
    fn on_copy(
        &self,
        migrations: &MigrationRegistry,
        events: Arc<dyn EventStore>,
        snapshots: Arc<dyn SnapshotStore>,
    ) -> MigrationRunner<MigrationRegistry, Arc<dyn EventStore>, Arc<dyn SnapshotStore>> {
        let mut runner = MigrationRunner::new(migrations.clone(), events, snapshots);
        runner.run_options = self.run_options.clone();
        runner.options = self.options.clone();
        runner.options.rehearses = true;
        runner.control = self.control.clone();
        runner.abandoned = self.abandoned.clone();
        runner
    }

    /// About how many bytes a run writes. Events are read, and no user code runs.
    async fn bytes_written(
        &self,
        store: &Store,
        run_options: &RunOptions,
        migrations: &MigrationRegistry,
    ) -> Result<u64, Error> {
        let plan = run_options.plan(migrations);
        let froms: BTreeSet<_> = plan.routes.iter().map(|it| it.from.clone()).collect();
        let is_due = |head: &Head| froms.contains(&head.workflow_id);
        let census = Census::of(&self.events, &plan.selection, is_due).await?;
        let filter = Arc::new(AtVersions(froms.clone(), plan.selection.clone()));
        let (mut read, mut processes) = (0, 0);
        for range in census.sample(SAMPLE).0 {
            let of = DueOf::Range(range);
            let page = scan::page(store, of, filter.clone(), SAMPLE, Snapshots::default());
            for process in page.await?.processes {
                processes += 1;
                let bytes = process
                    .events
                    .iter()
                    .map(|event| event.payload.len() as u64);
                read += bytes.sum::<u64>();
            }
        }
        let of_process = read / processes.max(1) + ROWS;
        Ok(TIMES * census.due() * of_process)
    }
}

/// A filter for the selected processes at some versions.
struct AtVersions(BTreeSet<WorkflowId>, Selection);

impl DueFilter for AtVersions {
    fn versions(&self) -> Option<&BTreeSet<WorkflowId>> {
        Some(&self.0)
    }

    fn verdict(&self, stream: &StreamId, _: &Head) -> Verdict {
        match self.1.selects(stream) {
            true => Verdict::Due,
            false => Verdict::Pass(SkippedBy::default()),
        }
    }

    fn wants_unreadable(&self, _: &StreamId) -> bool {
        false
    }
}
