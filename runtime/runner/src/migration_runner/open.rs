//! Opening of processes, which migrates an outdated process first.

use serde::de::DeserializeOwned;
use state_migration_core::{
    Error, ErrorKind, EventStore, MigrationRegistry, Process, ProcessIdentity, SnapshotStore,
    StreamId, VersionStatus, Workflow, WorkflowId,
};

use crate::drivers::event_first;
use crate::drivers::on_open::{OpenOutcome, process, refused};
use crate::migration_runner::{MigrationRunner, refusal};
use crate::retry::ATTEMPTS;
use crate::run::run_log::NewRun;
use crate::run::{RunKind, RunRecord};
use crate::user_code::threads::{UserCode, never_returned};

/// Maximum number of threads for the code of processes that are opened; other callers
/// wait in order.
const OPENED_AT_A_TIME: usize = 32;

impl<M, ES: EventStore, SS: SnapshotStore> MigrationRunner<M, ES, SS> {
    /// Opens a process under version `W`. An outdated process is migrated first, with
    /// the same code and the same transaction as in a run.
    ///
    /// While a run has claimed the store, processes that the run selects are migrated
    /// as part of that run, with its [checks](Self::check_determinism) and its
    /// [deadline](Self::deadline) unless those of this runner are stricter. Otherwise the processes that this runner
    /// [selects](Self::select) are migrated, in a run of their own of kind
    /// [`RunKind::Lazy`]. Processes that neither selects, processes that are
    /// [held](crate::Runs::hold), and processes at versions without a route to `W` are
    /// not migrated. Entries of a process registry in the same store are updated with
    /// the process; a registry in another store is not updated.
    ///
    /// # Errors
    /// As for [`Process::open`]; [`ErrorKind::WrongVersion`] for an outdated process
    /// that is not migrated. If the migration fails, the process keeps its version and
    /// remains usable by code of that version.
    pub async fn open<W>(&self, identity: ProcessIdentity) -> Result<Process<W>, Error>
    where
        W: Workflow,
        W::State: DeserializeOwned,
        ES: Clone + 'static,
        SS: Clone + 'static,
    {
        let stream = identity.stream_id().clone();
        let mut tries = 0;
        loop {
            let (events, snapshots) = (self.events.clone(), self.snapshots.clone());
            let error = match Process::open(identity.clone(), events, snapshots).await {
                Err(error) if matches!(error.kind(), ErrorKind::WrongVersion { .. }) => error,
                opened => return opened,
            };
            tries += 1;
            if tries > ATTEMPTS || !self.leads_to::<W>(&error)? {
                return Err(error);
            }
            match self.migrate_now::<W>(&stream).await? {
                OpenOutcome::Moved => {}
                OpenOutcome::Unchanged => return Err(error),
            }
        }
    }

    /// Whether a route leads to `W` from the version that the process is at.
    fn leads_to<W: Workflow>(&self, error: &Error) -> Result<bool, Error> {
        let migrations = self.migrations()?;
        let ErrorKind::WrongVersion { stands_at } = error.kind() else {
            return Ok(false);
        };
        Ok(match migrations.version_status(stands_at) {
            VersionStatus::Behind(route) => *route.target() == WorkflowId::of::<W>(),
            _ => false,
        })
    }

    pub(crate) fn migrations(&self) -> Result<&MigrationRegistry, Error> {
        self.registry
            .as_ref()
            .map_err(|error| Error::invalid(error.to_string()))
    }

    async fn migrate_now<W>(&self, stream: &StreamId) -> Result<OpenOutcome, Error>
    where
        W: Workflow,
        W::State: DeserializeOwned,
    {
        if let Some(refusal) = refusal(cfg!(panic = "abort")) {
            return Err(Error::invalid(refusal.message));
        }
        let migrations = self.migrations()?;
        let reading = migrations.clone().reading::<W>();
        let mut run = self.execution(&self.run_options, reading, false);
        // The caller waits for the process.
        run.yields = false;
        (run.id, run.kind) = (self.lazy.0, RunKind::Lazy);
        let code = self.lazy.1.get_or_init(|| {
            UserCode::new(self.run_options.deadline(), false)
                .counting(&self.abandoned)
                .at_most(OPENED_AT_A_TIME)
        });
        let _turn = self.opening.turn(stream).await;
        if self.abandoned.has(stream) {
            return Err(refused(&never_returned(stream.clone())));
        }
        match self.one_store() {
            Some(store) => {
                let own = RunRecord::new(NewRun {
                    rehearses: false,
                    id: run.id,
                    kind: RunKind::Lazy,
                    actor: self.run_options.actor.clone(),
                    reason: self.run_options.reason.clone(),
                    plan: self.run_options.plan(migrations),
                    throttle: None,
                    again: false,
                });
                process(&run, &store, code, (own, &self.recorded), stream).await
            }
            None => {
                self.restrict(&mut run).await?;
                event_first::on_open(&run, &self.events, &self.snapshots, code, stream).await
            }
        }
    }
}
