//! Opening of processes, with a migration on the spot.

use serde::de::DeserializeOwned;
use state_migration_core::{
    Error, ErrorKind, EventStore, MigrationRegistry, Process, ProcessIdentity, SnapshotStore,
    Standing, StreamId, Workflow, WorkflowId,
};

use crate::drivers::event_first;
use crate::drivers::on_open::{Lazy, process};
use crate::migration_runner::{MigrationRunner, refusal};
use crate::retry::ATTEMPTS;
use crate::run::run_log::Start;
use crate::run::{RunKind, RunRecord};
use crate::user_code::threads::Code;

impl<M, ES: EventStore, SS: SnapshotStore> MigrationRunner<M, ES, SS> {
    /// Opens a process under version `W`, and migrates it on the spot if it
    /// stands behind: with the same code and the same transaction as a run.
    ///
    /// While a run holds the store, what that run is for is migrated, and counts
    /// as part of it; otherwise what this runner [selects](Self::select), under
    /// a run of kind [`RunKind::Lazy`] of its own. What neither is for, what an
    /// operator took [out of all runs](crate::Runs::skip), and processes at versions
    /// from which no route leads to `W` are left as they are. A process registry
    /// in the same store moves with the process; one elsewhere is not told.
    ///
    /// # Errors
    /// As of [`Process::open`]: [`ErrorKind::WrongVersion`] for a process that
    /// is left as it is. When the migration fails, the process stays as it was,
    /// and code of its version goes on using it.
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
            match self.migrate_now(&stream).await? {
                Lazy::Moved => {}
                Lazy::LeftAlone => return Err(error),
            }
        }
    }

    /// Whether a route leads to `W` from where a process stands that was not
    /// opened for it.
    fn leads_to<W: Workflow>(&self, error: &Error) -> Result<bool, Error> {
        let migrations = self.migrations()?;
        let ErrorKind::WrongVersion { stands_at } = error.kind() else {
            return Ok(false);
        };
        Ok(match migrations.standing(stands_at) {
            Standing::Behind(route) => *route.target() == WorkflowId::of::<W>(),
            _ => false,
        })
    }

    fn migrations(&self) -> Result<&MigrationRegistry, Error> {
        self.registry
            .as_ref()
            .map_err(|error| Error::invalid(error.to_string()))
    }

    async fn migrate_now(&self, stream: &StreamId) -> Result<Lazy, Error> {
        if let Some(refusal) = refusal(cfg!(panic = "abort")) {
            return Err(Error::invalid(refusal.message));
        }
        let migrations = self.migrations()?;
        let mut run = self.execution(&self.asked, migrations.clone(), false);
        // Somebody waits for it.
        run.yields = false;
        (run.id, run.kind) = (self.lazy.0, RunKind::Lazy);
        let code = self
            .lazy
            .1
            .get_or_init(|| Code::new(self.asked.deadline, false));
        match self.one_store() {
            Some(store) => {
                let own = RunRecord::new(Start {
                    id: run.id,
                    kind: RunKind::Lazy,
                    who: self.asked.who.clone(),
                    why: self.asked.why.clone(),
                    plan: self.asked.plan(migrations),
                });
                process(&run, &store, code, (own, &self.recorded), stream).await
            }
            None => event_first::lazy(&run, &self.events, &self.snapshots, code, stream).await,
        }
    }
}
