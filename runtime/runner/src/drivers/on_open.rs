//! The driver for one process that is migrated when it is opened.
//!
//! It uses the same code, transaction and bookkeeping as a run.

use std::sync::Arc;
use std::time::Duration;

use state_migration_core::{
    DueOf, Error, ErrorKind, EventStore, FailureClass, MigrationError, StreamId, VersionStatus,
    WorkflowId,
};

use crate::chunk::context::ChunkContext;
use crate::chunk::page::Page;
use crate::retry::{ATTEMPTS, back_off};
use crate::run::bookkeeping::Bookkeeping;
use crate::run::on_open_log::{OnOpenLog, RecordWritten};
use crate::run::run_log::Range;
use crate::run::suspects::{self, Decided};
use crate::run::{Plan, RunRecord, Runs, Store};
use crate::run_context::RunContext;
use crate::stages::{commit, scan};
use crate::user_code::threads::UserCode;

/// Outcome of an outdated process.
pub(crate) enum OpenOutcome {
    /// The process was migrated, here or by a run: load it.
    Moved,
    /// The process is held, or neither the run in progress nor this runner selects it.
    Unchanged,
}

pub(crate) async fn process(
    run: &RunContext,
    store: &Store,
    code: &UserCode,
    (own, recorded): (RunRecord, &RecordWritten),
    stream: &StreamId,
) -> Result<OpenOutcome, Error> {
    let Some(head) = store.head(stream).await? else {
        return Ok(OpenOutcome::Unchanged);
    };
    let opened = OnOpenLog::open(store.clone(), &head, own, recorded);
    let (
        log,
        Plan {
            selection, options, ..
        },
    ) = opened.await?;
    // Only a run can tell which are the first N processes.
    let selected = selection.selects(stream)
        && selection.selects_workflow(head.workflow_id.name())
        && selection.limit().is_none();
    if !run.migrations_lead_from(&head.workflow_id) {
        // A run has migrated the process since it was found to be outdated.
        return Ok(OpenOutcome::Moved);
    }
    if !selected || head.held {
        return Ok(OpenOutcome::Unchanged);
    }
    let runs = Runs::of(store);
    let restrictions = run.restricted_by(&selection, runs.as_ref()).await?;
    let mut context = ChunkContext::new(run, log.run(), store.clone());
    context.selection = Arc::new(selection);
    context.restrictions = restrictions;
    // The process is counted in the run, so the checks of the run apply to it, too.
    context.check_determinism |= options.check_determinism;
    context.snapshots = context.snapshots.clone().used(options.snapshots);
    context.code = code.within(Duration::from_millis(options.deadline_ms));
    let suspect = suspects::one(store, stream).await?;
    context.decided = Decided::of(suspect.map(|row| (stream.clone(), row)));
    let log = Arc::new(log);
    context.committer.bookkeeping = Bookkeeping::OnOpen(log.clone());
    migrate(&context, &log, stream).await
}

async fn migrate(
    context: &ChunkContext,
    log: &OnOpenLog,
    stream: &StreamId,
) -> Result<OpenOutcome, Error> {
    let mut range = Range::unstored();
    for attempt in 0..ATTEMPTS {
        let filter = Arc::new(scan::FoundBefore(context.filter.clone()));
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
                if log.is_outdated().await? {
                    // Each further attempt would fail in the same way.
                    return Ok(OpenOutcome::Moved);
                }
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
        let left = skipped.finished + skipped.held + skipped.not_selected + skipped.undone > 0;
        return Ok(if left {
            OpenOutcome::Unchanged
        } else {
            OpenOutcome::Moved
        });
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
