//! One process, migrated as it is opened: with the same code, the same
//! transaction and the same bookkeeping as in a run.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::chunk::{ATTEMPTS, Book, Page, Store, Work};
use crate::drivers::event_first;
use crate::migration_runner::{MigrationRunner, Run, refusal};
use crate::run::on_open_log::{LazyBook, Recorded};
use crate::run::run_log::{Range, Start};
use crate::run::{RunKind, RunRecord};
use crate::stages::{commit, scan};
use crate::user_code::threads::Code;
use state_migration_core::{
    DueOf, Error, ErrorKind, EventStore, FailureClass, MigrationError, MigrationRegistry, Process,
    ProcessIdentity, SnapshotStore, Standing, StreamId, Workflow, WorkflowId,
};

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

/// What became of a process that stands behind.
pub(crate) enum Lazy {
    /// It was migrated, here or elsewhere: load it.
    Moved,
    /// It is not for the run that is under way, or was taken out of all runs.
    LeftAlone,
}

pub(crate) async fn process(
    run: &Run,
    store: &Store,
    code: &Code,
    (own, recorded): (RunRecord, &Recorded),
    stream: &StreamId,
) -> Result<Lazy, Error> {
    let (book, selection) = LazyBook::open(store.clone(), own, recorded).await?;
    let Some(head) = store.head(stream).await? else {
        return Ok(Lazy::LeftAlone);
    };
    // Which the first so many are, only a run can tell.
    let selected = selection.selects(stream)
        && selection.selects_workflow(head.workflow_id.name())
        && selection.limit().is_none();
    if !run.migrations_lead_from(&head.workflow_id) {
        // A run was faster, since it was found to stand behind.
        return Ok(Lazy::Moved);
    }
    if !selected || head.held {
        return Ok(Lazy::LeftAlone);
    }
    let mut work = Work::new(run, book.run(), store.clone());
    work.selection = Arc::new(selection);
    work.code = code.clone();
    work.book = Book::Lazy(Arc::new(book));
    migrate(&work, stream).await
}

async fn migrate(work: &Work, stream: &StreamId) -> Result<Lazy, Error> {
    let mut range = Range::nowhere();
    for attempt in 0..ATTEMPTS {
        let filter = Arc::new(scan::Again(work.filter.clone()));
        let of = DueOf::Streams(vec![stream.clone()]);
        let read = scan::page(&work.store, of, filter, 1, work.snapshots()).await?;
        let page = Page {
            read,
            births: Vec::new(),
        };
        let done = match work.migrate_page(page, &mut range).await {
            Ok(worked) => worked.done,
            Err(error) if error.is_conflict() => {
                work.observer.conflict(stream, 1);
                // A run may have been faster; it is looked at again.
                tokio::time::sleep(Duration::from_millis(1 << attempt.min(6))).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        work.observer.opened(&done);
        if let Some(failed) = done.failed.into_iter().next() {
            return Err(refused(&failed.error));
        }
        let skipped = done.counts.skipped_by;
        let left = skipped.finished + skipped.held > 0;
        return Ok(if left { Lazy::LeftAlone } else { Lazy::Moved });
    }
    Err(refused(&commit::busy(stream, ATTEMPTS)))
}

/// The error of a process that could not be opened for it.
pub(crate) fn refused(error: &MigrationError) -> Error {
    let kind = match error.class {
        FailureClass::Busy => ErrorKind::Conflict,
        FailureClass::Corrupt => ErrorKind::Corrupt,
        FailureClass::NewerFormat => ErrorKind::NewerFormat,
        FailureClass::Unavailable => ErrorKind::Unavailable,
        FailureClass::Run => ErrorKind::Invalid,
        _ => ErrorKind::Workflow,
    };
    Error::new(
        kind,
        format!(
            "{} could not be migrated as it was opened, and stays as it was, usable by code of its version: {error}",
            error.stream_id
        ),
    )
}

impl Run {
    fn migrations_lead_from(&self, version: &WorkflowId) -> bool {
        matches!(self.migrations.standing(version), Standing::Behind(_))
    }
}
