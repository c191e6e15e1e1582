//! The bookkeeping of processes that are migrated when they are opened, beside a run or
//! without one.
//!
//! Each process has a row of its own, written without reading, so that thousands of
//! processes opened at once do not conflict. The next run that releases the claim adds
//! the rows up.

use std::sync::Arc;

use bytes::Bytes;
use state_migration_core::store_api::{claim, row};
use state_migration_core::{
    Batch, Commit, Error, ErrorKind, EventStore, MigrationError, ReadPoint, RowWrite, RunId,
    StreamId, TransactionalStore, WorkflowId,
};
use tokio::sync::OnceCell;

use crate::retry::ATTEMPTS;
use crate::run::rows::{self, FailureRow};
use crate::run::run_log::{self, Committed};
use crate::run::{Execution, Plan, RunCounts, RunKind, RunRecord, RunState, Runs};

/// Bookkeeping of processes that are migrated when they are opened.
pub(crate) struct OnOpenLog {
    store: Arc<dyn TransactionalStore>,
    run: RunId,
    /// The claim as read. It determines the run that the processes are counted in, and
    /// guards each commit.
    claim: Option<Bytes>,
    /// Whether the processes are counted in a run of their own, since no run has
    /// claimed the store for them.
    is_own: bool,
}

/// Set once the record of the run of opened processes is written.
pub(crate) type RecordWritten = OnceCell<()>;

impl OnOpenLog {
    /// Opens the bookkeeping of the run that has claimed the store, with its plan, if the
    /// run is for processes at this version.
    ///
    /// Without such a run, opens that of the run that `own` describes, whose record is
    /// written once.
    pub(crate) async fn open(
        store: Arc<dyn TransactionalStore>,
        version: &WorkflowId,
        own: RunRecord,
        recorded: &RecordWritten,
    ) -> Result<(Self, Plan), Error> {
        let Some(runs) = Runs::of(&store as &dyn EventStore) else {
            return Err(Error::invalid(
                "the store reports that it is transactional but provides no transactional handle; correct the store",
            ));
        };
        let claim = run_log::row(&store, claim::CLAIM).await?;
        // The selection of an interrupted run is of no concern to other programs.
        let holder = claim::read(claim.clone())?.holder;
        let active = match holder.filter(|holder| !run_log::is_dead(holder, &store)) {
            Some(holder) => runs.get(holder.run).await?,
            None => None,
        };
        // A retry is only for the processes that failed in an earlier run.
        let active = active.filter(|run| {
            run.kind == RunKind::Migrate
                && run.plan.selection.selects_workflow(version.name())
                && run.plan.routes.iter().any(|route| route.from == *version)
        });
        let (run, is_own, plan) = match active {
            Some(active) => (active.id, false, active.plan),
            None => {
                let (id, plan) = (own.id, own.plan.clone());
                recorded.get_or_try_init(|| record(&store, own)).await?;
                (id, true, plan)
            }
        };
        let log = Self {
            store,
            run,
            claim,
            is_own,
        };
        Ok((log, plan))
    }

    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    /// Commits the outcome of one process together with its bookkeeping. The commit is
    /// durable when this returns.
    pub(crate) async fn commit(
        &self,
        mut batch: Batch,
        read: ReadPoint,
        stream: &StreamId,
        counts: &RunCounts,
        failed: &[(MigrationError, Option<WorkflowId>)],
    ) -> Result<Committed, Error> {
        let mut counts = *counts;
        counts.lazy = counts.migrated;
        counts.failed = 0;
        for (error, at) in failed {
            // The other run visits the process too, and records its own failure.
            if !self.is_own {
                continue;
            }
            let key = rows::failure(self.run, run_log::stream_of(error)?);
            let held = run_log::row(&self.store, &key).await?;
            let before: Option<FailureRow> = held
                .clone()
                .map(|row| row::read(row, format_args!("a failure of run {}", self.run)))
                .transpose()?;
            counts.failed += u64::from(before.is_none());
            let attempt = before.map_or(0, |before| before.attempt) + 1;
            let row = run_log::failure(self.run, error, at.as_ref(), attempt)?;
            batch.rows.push(row.expecting(held));
        }
        // A row per process, so that counting causes no conflicts.
        if counts.migrated + counts.failed > 0 {
            let key = rows::lazy(self.run, stream, counts.failed > 0);
            batch.rows.push(RowWrite::put(key, row::write(&counts)?));
        }
        batch
            .guards
            .push((claim::CLAIM.to_vec(), self.claim.clone()));
        match self.store.commit_unflushed(&batch, read).await {
            Ok(Commit::Stale(stale)) if stale.streams.is_empty() => {
                Err(state_migration_core::store_api::transactional::stale(
                    "the record of a process that was opened",
                ))
            }
            Ok(Commit::Stale(stale)) => Ok(Committed::Stale(stale.streams)),
            Ok(Commit::Written) => {
                self.store.flush().await?;
                Ok(Committed::Written)
            }
            Err(lost) if *lost.kind() == ErrorKind::OutcomeUnknown => {
                // What a reader sees may not be durable yet, so flush before it counts.
                // Whether the commit was written is found out when the process is read
                // again.
                match self.store.flush().await {
                    Ok(()) => Err(state_migration_core::store_api::transactional::stale(
                        "a commit without an answer from the store",
                    )),
                    Err(_) => Err(lost),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Writes the record of a run of opened processes.
async fn record(store: &Arc<dyn TransactionalStore>, mut own: RunRecord) -> Result<(), Error> {
    debug_assert_eq!(own.kind, RunKind::Lazy);
    own.state = RunState::Running;
    let key = rows::run(own.id);
    for _ in 0..ATTEMPTS {
        if run_log::row(store, &key).await?.is_some() {
            return Ok(());
        }
        let mut batch = Batch::default();
        run_log::number(store, &mut own, &mut batch).await?;
        let row = RowWrite::put(key.clone(), row::write(&own)?);
        batch.rows.push(row.expecting(None));
        let here = Execution::here(1, own.actor.clone(), own.reason.clone());
        let row = RowWrite::put(rows::execution(own.id, here.number), row::write(&here)?);
        batch.rows.push(row);
        match store.commit(&batch).await {
            Ok(Commit::Written) => return Ok(()),
            Ok(Commit::Stale(_)) => {}
            Err(error) if error.is_conflict() || *error.kind() == ErrorKind::OutcomeUnknown => {}
            Err(error) => return Err(error),
        }
    }
    Err(state_migration_core::store_api::transactional::stale(
        "the record of a run",
    ))
}
