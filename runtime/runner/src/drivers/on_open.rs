//! The driver for one process that is migrated when it is opened.
//!
//! It uses the same code, transaction and bookkeeping as a run.

use std::sync::Arc;

use state_migration_core::{
    DueOf, Error, ErrorKind, EventStore, FailureClass, MigrationError, StreamId, VersionStatus,
    WorkflowId,
};

use crate::chunk::context::ChunkContext;
use crate::chunk::page::Page;
use crate::retry::{ATTEMPTS, back_off};
use crate::run::bookkeeping::Bookkeeping;
use crate::run::on_open_log::{LazyBook, Recorded};
use crate::run::run_log::Range;
use crate::run::suspects::{self, Decided};
use crate::run::{RunRecord, Store};
use crate::run_context::RunContext;
use crate::stages::{commit, scan};
use crate::user_code::threads::Code;

/// Outcome of an outdated process.
pub(crate) enum Lazy {
    /// The process was migrated, here or by a run: load it.
    Moved,
    /// The process is held, or neither the run in progress nor this runner selects it.
    LeftAlone,
}

pub(crate) async fn process(
    run: &RunContext,
    store: &Store,
    code: &Code,
    (own, recorded): (RunRecord, &Recorded),
    stream: &StreamId,
) -> Result<Lazy, Error> {
    let (book, selection) = LazyBook::open(store.clone(), own, recorded).await?;
    let Some(head) = store.head(stream).await? else {
        return Ok(Lazy::LeftAlone);
    };
    // Only a run can tell which are the first N processes.
    let selected = selection.selects(stream)
        && selection.selects_workflow(head.workflow_id.name())
        && selection.limit().is_none();
    if !run.migrations_lead_from(&head.workflow_id) {
        // A run has migrated the process since it was found to be outdated.
        return Ok(Lazy::Moved);
    }
    if !selected || head.held {
        return Ok(Lazy::LeftAlone);
    }
    let mut context = ChunkContext::new(run, book.run(), store.clone());
    context.selection = Arc::new(selection);
    context.code = code.clone();
    let suspect = suspects::one(store, stream).await?;
    context.decided = Decided::of(suspect.map(|row| (stream.clone(), row)));
    context.committer.bookkeeping = Bookkeeping::Lazy(Arc::new(book));
    migrate(&context, stream).await
}

async fn migrate(context: &ChunkContext, stream: &StreamId) -> Result<Lazy, Error> {
    let mut range = Range::nowhere();
    for attempt in 0..ATTEMPTS {
        let filter = Arc::new(scan::Again(context.filter.clone()));
        let of = DueOf::Streams(vec![stream.clone()]);
        let read = scan::page(&context.store, of, filter, 1, context.snapshots()).await?;
        let page = Page {
            read,
            births: Vec::new(),
        };
        let done = match context.migrate_page(page, &mut range).await {
            Ok(worked) => worked.done,
            Err(error) if error.is_conflict() => {
                context.observer.conflict(stream, 1);
                // A run may have migrated the process meanwhile: read it again.
                back_off(attempt).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        context.observer.opened(&done);
        if let Some(failed) = done.failed.into_iter().next() {
            return Err(refused(&failed.error));
        }
        let skipped = done.counts.skipped_by;
        let left = skipped.finished + skipped.held > 0;
        return Ok(if left { Lazy::LeftAlone } else { Lazy::Moved });
    }
    Err(refused(&commit::busy(stream, ATTEMPTS)))
}

/// The error of opening a process whose migration failed.
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
            "{} could not be migrated when it was opened; the process is unchanged and usable by code of its version: {error}",
            error.subject
        ),
    )
}

impl RunContext {
    fn migrations_lead_from(&self, version: &WorkflowId) -> bool {
        matches!(
            self.migrations.version_status(version),
            VersionStatus::Behind(_)
        )
    }
}
