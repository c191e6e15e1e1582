//! One process, migrated as it is opened: with the same code, the same
//! transaction and the same bookkeeping as in a run.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::id::StreamId;
use crate::run::RunRecord;
use crate::run::lazy::LazyBook;
use crate::run::ledger::Range;
use crate::runner::code::Code;
use crate::runner::one_transaction::{ATTEMPTS, Book, Chunked, Store, Work};
use crate::runner::report::{FailureClass, MigrationError};
use crate::runner::scan::{Candidate, Due};
use crate::runner::{Run, code, commit, scan};
use crate::store::Decision;

/// What became of a process that stands behind.
pub(super) enum Lazy {
    /// It was migrated, here or elsewhere: load it.
    Moved,
    /// It is not for the run that is under way, or was taken out of all runs.
    LeftAlone,
}

pub(super) async fn process(
    run: &Run,
    store: &Store,
    code: &Code,
    own: RunRecord,
    stream: &StreamId,
) -> Result<Lazy, Error> {
    let (book, selection) = LazyBook::open(store.clone(), own).await?;
    let Some(head) = store.head(stream).await? else {
        return Ok(Lazy::LeftAlone);
    };
    // Which the first so many are, only a run can tell.
    let selected = selection.selects(stream)
        && selection.selects_workflow(head.workflow_id.name())
        && selection.limit().is_none();
    if !selected || !run.migrations_lead_from(&head.workflow_id) {
        return Ok(Lazy::LeftAlone);
    }
    let runs = crate::run::Runs::of(store);
    if let Some(runs) = runs
        && matches!(runs.decision(stream).await?, Decision::Skipped { .. })
    {
        return Ok(Lazy::LeftAlone);
    }
    let candidate = Candidate {
        stream: stream.clone(),
        at: Some(head.workflow_id),
    };
    let mut work = Work::new(run, store.clone());
    work.run = book.run();
    work.selection = Arc::new(selection);
    work.code = code.clone();
    work.book = Book::Lazy(Arc::new(book));
    migrate(&work, candidate).await
}

async fn migrate(work: &Work, candidate: Candidate) -> Result<Lazy, Error> {
    let due = Due::only(work.store.clone(), candidate.clone());
    let mut range = Range::nowhere();
    let stream = &candidate.stream;
    for attempt in 0..ATTEMPTS {
        let done = match work
            .migrate_chunk(&due, vec![candidate.clone()], &mut range)
            .await
        {
            Ok(Chunked::Committed { done, .. }) => done,
            Ok(Chunked::Stuck(stream)) => {
                let error = code::never_returned(stream);
                let at = candidate.at.clone();
                commit::failure(work, error, at, &mut range).await?
            }
            Err(error) if error.is_conflict() => {
                // A run may have been faster; it is looked at again.
                tokio::time::sleep(Duration::from_millis(1 << attempt.min(6))).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(error) = done.failed.into_iter().next() {
            return Err(refused(&error));
        }
        let over = done.counts.skipped_by.finished > 0;
        return Ok(if over { Lazy::LeftAlone } else { Lazy::Moved });
    }
    Err(refused(&commit::busy(stream, ATTEMPTS)))
}

/// The error of a process that could not be opened for it.
pub(super) fn refused(error: &MigrationError) -> Error {
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
    fn migrations_lead_from(&self, version: &crate::id::WorkflowId) -> bool {
        matches!(
            self.migrations.standing(version),
            crate::registry::Standing::Behind(_)
        )
    }
}

/// What a scan would have found.
impl Due {
    fn only(store: Store, candidate: Candidate) -> Self {
        let mut due = Self::new(
            store,
            &scan::Source::Index(Arc::new([])),
            crate::store::StreamRange::default(),
            Arc::default(),
            None,
        );
        due.push(candidate);
        due
    }
}
