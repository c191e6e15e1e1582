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
    Batch, Commit, Error, ErrorKind, EventStore, Head, MigrationError, Program, ReadPoint,
    RowWrite, RunId, StreamId, TransactionalStore, WorkflowId,
};
use tokio::sync::OnceCell;

use crate::retry::ATTEMPTS;
use crate::run::rows::{self, FailureRow};
use crate::run::run_log::{self, Committed};
use crate::run::undone;
use crate::run::{Execution, Plan, RunCounts, RunKind, RunRecord, RunState, Runs};

/// Bookkeeping of processes that are migrated when they are opened.
pub(crate) struct OnOpenLog {
    store: Arc<dyn TransactionalStore>,
    run: RunId,
    /// The claim as read. It determines the run that the processes are counted in, and
    /// guards each commit.
    claim: Option<Bytes>,
    /// Further guards of each commit.
    guards: Vec<(Vec<u8>, Option<Bytes>)>,
    /// Whether the processes are counted in a run of their own, since no run has
    /// claimed the store for them.
    is_own: bool,
}

/// The run of opened processes, once its record is written.
pub(crate) type RecordWritten = OnceCell<RunId>;

impl OnOpenLog {
    /// Opens the bookkeeping of the run that has claimed the store, with its plan, if the
    /// run is for processes at the version of this head.
    ///
    /// Without such a run, opens that of the run that `own` describes, whose record is
    /// written once.
    pub(crate) async fn open(
        store: Arc<dyn TransactionalStore>,
        head: &Head,
        own: RunRecord,
        recorded: &RecordWritten,
    ) -> Result<(Self, Plan), Error> {
        let Some(runs) = Runs::of(&store as &dyn EventStore) else {
            return Err(Error::invalid(
                "the store reports that it is transactional but provides no transactional handle; correct the store",
            ));
        };
        let version = &head.workflow_id;
        let (claim, active) = run_in_progress(&store, &runs, version).await?;
        let (run, is_own, plan) = match active {
            Some((run, plan)) => (run, false, plan),
            None => {
                let plan = own.plan.clone();
                undone::check_one(&store, plan.route_from(version), head).await?;
                let id = recorded
                    .get_or_try_init(|| record(&store, &runs, own))
                    .await?;
                (*id, true, plan)
            }
        };
        let undone = undone::check_one(&store, plan.route_from(version), head).await?;
        let log = Self {
            store,
            run,
            claim,
            guards: vec![undone],
            is_own,
        };
        Ok((log, plan))
    }

    /// The bookkeeping of a run that this program executes.
    pub(crate) async fn of_run(
        store: Arc<dyn TransactionalStore>,
        run: RunId,
    ) -> Result<Self, Error> {
        let claim = run_log::row(&store, claim::CLAIM).await?;
        Ok(Self {
            store,
            run,
            claim,
            guards: Vec::new(),
            is_own: false,
        })
    }

    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    /// Whether the processes are counted in the run that has claimed the store.
    pub(crate) fn is_of_a_run(&self) -> bool {
        !self.is_own
    }

    /// Whether a run has claimed or released the store since this was opened, so that the
    /// process may count in another run.
    pub(crate) async fn is_outdated(&self) -> Result<bool, Error> {
        for (key, held) in &self.guards {
            if run_log::row(&self.store, key).await? != *held {
                return Ok(true);
            }
        }
        Ok(run_log::row(&self.store, claim::CLAIM).await? != self.claim)
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
        let key = rows::lazy(self.run, stream, counts.failed > 0);
        if counts.migrated_further > 0 {
            // The row may say that the process was migrated before.
            let held = run_log::row(&self.store, &key).await?;
            if let Some(before) = &held {
                counts.add(&row::read(before.clone(), "the counts of a process")?);
            }
            let row = RowWrite::put(key, row::write(&counts)?);
            batch.rows.push(row.expecting(held));
        } else if counts.migrated + counts.failed > 0 {
            batch.rows.push(RowWrite::put(key, row::write(&counts)?));
        }
        batch.guards.extend(self.guards.iter().cloned());
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

/// The claim, and the run that has claimed the store with its plan, if its program is not
/// dead and the run is for processes at this version.
pub(crate) async fn run_in_progress(
    store: &Arc<dyn TransactionalStore>,
    runs: &Runs,
    version: &WorkflowId,
) -> Result<(Option<Bytes>, Option<(RunId, Plan)>), Error> {
    let claim = run_log::row(store, claim::CLAIM).await?;
    // The selection of an interrupted run is of no concern to other programs.
    let holder = claim::read(claim.clone())?.holder;
    let active = match holder.filter(|holder| !run_log::is_dead(holder, store)) {
        Some(holder) => runs.get(holder.run).await?,
        None => None,
    };
    // A retry is only for the processes that failed in an earlier run.
    let Some(active) = active.filter(|run| run.kind == RunKind::Migrate) else {
        return Ok((claim, None));
    };
    let executions = match active.executions > 1 {
        true => runs.executions(active.id).await?,
        false => Vec::new(),
    };
    let plan = active.last_plan(&executions);
    let is_planned = plan.selection.selects_workflow(version.name())
        && plan.routes.iter().any(|route| route.from == *version);
    Ok((claim, is_planned.then(|| (active.id, plan.clone()))))
}

/// Writes the record of a run of opened processes, and returns its id.
///
/// Every start of a service would leave a run of its own otherwise. An earlier run is
/// continued if it has the same plan, actor and reason, and its program has ended.
async fn record(
    store: &Arc<dyn TransactionalStore>,
    runs: &Runs,
    own: RunRecord,
) -> Result<RunId, Error> {
    debug_assert_eq!(own.kind, RunKind::Lazy);
    for _ in 0..ATTEMPTS {
        let mut batch = Batch::default();
        let (mut record, held) = match earlier(store, runs, &own).await? {
            Some((record, _)) if record.program.as_ref().is_some_and(Program::is_this) => {
                return Ok(record.id);
            }
            Some((mut record, row)) => {
                record.executions += 1;
                (record, Some(row))
            }
            None => {
                let mut record = own.clone();
                run_log::number(store, &mut record, &mut batch).await?;
                (record, None)
            }
        };
        let here = Execution::here(record.executions, own.actor.clone(), own.reason.clone());
        record.state = RunState::Running;
        record.program = Some(here.program.clone());
        let row = RowWrite::put(rows::run(record.id), row::write(&record)?);
        batch.rows.push(row.expecting(held));
        let row = RowWrite::put(rows::execution(record.id, here.number), row::write(&here)?);
        batch.rows.push(row);
        match store.commit(&batch).await {
            Ok(Commit::Written) => return Ok(record.id),
            Ok(Commit::Stale(_)) => {}
            Err(error) if error.is_conflict() || *error.kind() == ErrorKind::OutcomeUnknown => {}
            Err(error) => return Err(error),
        }
    }
    Err(state_migration_core::store_api::transactional::stale(
        "the record of a run",
    ))
}

/// The last run of opened processes that this program may continue, with its row.
async fn earlier(
    store: &Arc<dyn TransactionalStore>,
    runs: &Runs,
    own: &RunRecord,
) -> Result<Option<(RunRecord, Bytes)>, Error> {
    let is_same = |run: &RunRecord| {
        let program = run.program.as_ref();
        run.kind == RunKind::Lazy
            && run.plan.fingerprint == own.plan.fingerprint
            && (&run.actor, &run.reason) == (&own.actor, &own.reason)
            && program.is_some_and(|it| it.is_this() || run_log::has_ended(it, store))
    };
    let mut last: Option<(RunRecord, Bytes)> = None;
    for (_, row) in runs.all_rows(rows::RUNS).await? {
        let run: RunRecord = row::read(row.clone(), "the record of a run")?;
        if is_same(&run)
            && last
                .as_ref()
                .is_none_or(|(last, _)| last.number < run.number)
        {
            last = Some((run, row));
        }
    }
    Ok(last)
}
