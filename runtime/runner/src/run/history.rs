//! The history of runs, readable at any time, even by a program without migrations.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use state_migration_core::store_api::claim::{self, Holder};
use state_migration_core::store_api::row;
use state_migration_core::{
    Error, EventStore, FailureClass, Hold, MigrationError, Program, RowWrite, RunId, StreamId,
    Timestamp, TransactionalStore, WorkflowId,
};

use crate::retry::ATTEMPTS;
use crate::run::actions::HeldProcess;
use crate::run::plan::last_of_each;
use crate::run::rows::{self, FailureRow, RangeRow};
use crate::run::run_log::{self, has_ended, is_dead};
use crate::run::totals::RunTotals;
use crate::run::{
    ChangedStep, Execution, HoldAction, Plan, RunAction, RunCounts, RunKind, RunRecord, RunState,
};

const PAGE: usize = 512;

/// A process that failed in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// The stream, the stage and the reason.
    pub error: MigrationError,
    /// The version that the process was at, if known.
    pub at: Option<WorkflowId>,
    /// Attempt number, over a run and its retries, starting at 1.
    pub attempt: u32,
}

impl Failure {
    /// The stream of the process.
    #[must_use]
    pub fn stream(&self) -> Option<&StreamId> {
        self.error.subject.stream()
    }
}

impl From<FailureRow> for Failure {
    fn from(row: FailureRow) -> Self {
        Self {
            error: row.error.into(),
            at: row.at,
            attempt: row.attempt,
        }
    }
}

/// The run that has claimed the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub run: RunId,
    /// Whether the execution that made the claim is known to have ended.
    pub is_dead: bool,
}

/// The history of runs of a store, and the holds of operators.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use state_migration::{MemoryStore, Runs};
///
/// let store = MemoryStore::new();
/// let runs = Runs::of(&store).ok_or("the store keeps no history of runs")?;
/// for run in runs.list().await? {
///     println!("{} {} by {}: {}", run.id, run.state, run.actor, run.reason);
/// }
/// assert!(runs.claimed_by().await?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Runs {
    store: Arc<dyn TransactionalStore>,
}

impl std::fmt::Debug for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runs")
            .field("store_id", &self.store.store_id())
            .finish()
    }
}

impl Runs {
    /// The store.
    pub(crate) fn transactional(&self) -> &Arc<dyn TransactionalStore> {
        &self.store
    }

    /// The history of a store; `None` if the store cannot keep runs, because it is not
    /// [transactional](TransactionalStore).
    pub fn of(store: &(impl EventStore + ?Sized)) -> Option<Self> {
        store.transactional().map(|store| Self { store })
    }

    /// All runs, oldest first.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn list(&self) -> Result<Vec<RunRecord>, Error> {
        let rows = self.all_rows(rows::RUNS).await?.into_iter();
        let mut runs: Vec<RunRecord> = rows
            .map(|(_, row)| row::read(row, "the record of a run"))
            .collect::<Result<_, _>>()?;
        for run in &mut runs {
            self.end_if_over(run);
        }
        runs.sort_by_key(|run| run.number);
        Ok(runs)
    }

    /// Ends the record of a run of opened processes whose program has ended.
    fn end_if_over(&self, run: &mut RunRecord) {
        let is_of_opened = run.kind == RunKind::Lazy && run.state == RunState::Running;
        let is_over = |program: &Program| has_ended(program, &self.store);
        if is_of_opened && run.program.as_ref().is_some_and(is_over) {
            run.state = RunState::Done;
        }
    }

    /// One run; `None` if the store does not know it.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn get(&self, run: RunId) -> Result<Option<RunRecord>, Error> {
        let key = rows::run(run);
        let found = self.store.rows(&key, None, 1).await?;
        let Some((_, row)) = found.into_iter().next() else {
            return Ok(None);
        };
        let mut record = row::read(row, format_args!("the record of run {run}"))?;
        self.end_if_over(&mut record);
        Ok(Some(record))
    }

    /// The last undo of a run that took processes back.
    ///
    /// # Errors
    /// The store could not be read.
    pub(crate) async fn undo_of(&self, run: RunId) -> Result<Option<RunId>, Error> {
        for undo in self.list().await?.into_iter().rev() {
            let is_undo = undo.kind == RunKind::Undo { of: run };
            if is_undo && self.counts(undo.id).await?.migrated > 0 {
                return Ok(Some(undo.id));
            }
        }
        Ok(None)
    }

    /// The executions of a run, oldest first: who started and resumed it, where, with
    /// which code. A run of an earlier release has none.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn executions(&self, run: RunId) -> Result<Vec<Execution>, Error> {
        let rows = self.all_rows(&rows::executions(run)).await?.into_iter();
        rows.map(|(_, row)| row::read(row, format_args!("an execution of run {run}")))
            .collect()
    }

    /// The requests to a run while it was in progress, oldest first.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn actions(&self, run: RunId) -> Result<Vec<RunAction>, Error> {
        let rows = self.all_rows(&rows::actions(run)).await?.into_iter();
        rows.map(|(_, row)| row::read(row, format_args!("a request to run {run}")))
            .collect()
    }

    /// What a run has done so far, durably.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn counts(&self, run: RunId) -> Result<RunCounts, Error> {
        let mut counts = RunCounts::default();
        for (_, row) in self.ranges(run).await? {
            counts.add(&row.counts);
        }
        counts.add(&self.lazy_counts(run).await?);
        Ok(counts)
    }

    /// The totals of the processes that a run has migrated so far.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn totals(&self, run: RunId) -> Result<RunTotals, Error> {
        let mut totals = RunTotals::default();
        for (_, row) in self.ranges(run).await? {
            totals.add(&row.totals);
        }
        Ok(totals)
    }

    /// The steps of a plan that were edited after a run had migrated with them.
    ///
    /// Edits are found by fingerprint. For each step and each fingerprint that it had,
    /// the result names the last run that migrated any process under a plan with that
    /// step. The `$migrated` event of a process says which steps it took.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn changed_steps(&self, plan: &Plan) -> Result<Vec<ChangedStep>, Error> {
        let mut changed = Vec::new();
        for run in self.list().await? {
            let mut edited = plan.changed_since(run.id, &run.plan);
            if run.executions > 1 {
                let executions = self.executions(run.id).await?;
                let plans = executions.iter().filter_map(|it| it.plan.as_ref());
                edited.extend(plans.flat_map(|earlier| plan.changed_since(run.id, earlier)));
            }
            if edited.is_empty() {
                continue;
            }
            let migrated = self.migrated_workflows(run.id).await?;
            let is_used = |step: &ChangedStep| match &migrated {
                Some(names) => names.contains(step.from.name()),
                None => true,
            };
            changed.extend(edited.into_iter().filter(is_used));
        }
        Ok(last_of_each(changed))
    }

    /// The workflows of which a run migrated processes; `None` if that is not known, since
    /// processes were migrated when they were opened.
    async fn migrated_workflows(&self, run: RunId) -> Result<Option<BTreeSet<String>>, Error> {
        if self.lazy_counts(run).await?.migrated > 0 {
            return Ok(None);
        }
        let mut names = BTreeSet::new();
        for (_, row) in self.ranges(run).await? {
            let counts = row.by_workflow.iter();
            let migrated = counts.filter(|count| count.migrated > 0);
            names.extend(migrated.map(|count| count.workflow.clone()));
        }
        Ok(Some(names))
    }

    /// Counts of processes that were migrated when they were opened.
    pub(crate) async fn lazy_counts(&self, run: RunId) -> Result<RunCounts, Error> {
        let mut counts = RunCounts::default();
        let (key, mut after) = (rows::lazies(run), None::<Bytes>);
        loop {
            let page = self.store.rows(&key, after.as_deref(), PAGE).await?;
            for (_, row) in &page {
                let more: RunCounts = row::read(row.clone(), format_args!("a count of run {run}"))?;
                counts.add(&more);
            }
            if page.len() < PAGE {
                return Ok(counts);
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
        }
    }

    pub(crate) async fn ranges(&self, run: RunId) -> Result<Vec<(u32, RangeRow)>, Error> {
        let ranges = self.range_rows(run).await?.into_iter();
        Ok(ranges.map(|(number, row, _)| (number, row)).collect())
    }

    /// The ranges of a run, each with its row as stored.
    pub(crate) async fn range_rows(
        &self,
        run: RunId,
    ) -> Result<Vec<(u32, RangeRow, Bytes)>, Error> {
        let rows = self.all_rows(&rows::ranges(run)).await?.into_iter();
        rows.map(|(key, held)| {
            let number = rows::range_number(&key)?;
            let what = format_args!("range {number} of run {run}");
            let row = row::read(held.clone(), what)?;
            Ok((number, row, held))
        })
        .collect()
    }

    /// All rows with this key prefix; used where they are few.
    pub(crate) async fn all_rows(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut rows = Vec::new();
        loop {
            let after = rows.last().map(|(key, _): &(Bytes, Bytes)| key.clone());
            let page = self.store.rows(prefix, after.as_deref(), PAGE).await?;
            let at_end = page.len() < PAGE;
            rows.extend(page);
            if at_end {
                return Ok(rows);
            }
        }
    }

    /// At most `limit` failures of a run, in the order of their streams, after `after`.
    ///
    /// `classes` restricts the result to failures of these classes, unless it is empty;
    /// `None` means all. Fewer than `limit` failures mean the end.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn failures(
        &self,
        run: RunId,
        classes: impl IntoIterator<Item = FailureClass>,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<Failure>, Error> {
        let classes: Vec<FailureClass> = classes.into_iter().collect();
        failures(&self.store, run, &classes, after, None, limit).await
    }

    /// The failure of a process in a run; `None` if the process did not fail there.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn failure(&self, run: RunId, stream: &StreamId) -> Result<Option<Failure>, Error> {
        let row = run_log::row(&self.store, &rows::failure(run, stream)).await?;
        let what = format_args!("a failure of run {run}");
        let row: Option<FailureRow> = row.map(|row| row::read(row, what)).transpose()?;
        Ok(row.map(Failure::from))
    }

    /// The run that has claimed the store, if there is one. A killed run keeps its
    /// claim until another run takes over the store.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn claimed_by(&self) -> Result<Option<RunId>, Error> {
        Ok(claim::holder(&*self.store).await?.map(|holder| holder.run))
    }

    /// The run that has claimed the store but is known to be dead.
    ///
    /// Only a program that may write to the store can tell: the program of the run was
    /// killed, or it dropped the run before its end.
    #[doc(hidden)]
    pub async fn interrupted(&self) -> Result<Option<RunId>, Error> {
        let claim = self.claim(claim::holder(&*self.store).await?);
        Ok(claim.filter(|claim| claim.is_dead).map(|claim| claim.run))
    }

    /// All runs, oldest first, with the claim at the time of reading.
    #[doc(hidden)]
    pub async fn list_claimed(&self) -> Result<(Vec<RunRecord>, Option<Claim>), Error> {
        let mut before = claim::holder(&*self.store).await?;
        for _ in 0..ATTEMPTS {
            let runs = self.list().await?;
            let after = claim::holder(&*self.store).await?;
            if before == after {
                return Ok((runs, self.claim(after)));
            }
            before = after;
        }
        Ok((self.list().await?, self.claim(before)))
    }

    fn claim(&self, holder: Option<Holder>) -> Option<Claim> {
        holder.map(|holder| Claim {
            run: holder.run,
            is_dead: is_dead(&holder, &self.store),
        })
    }

    /// Holds a process: excludes it from all runs until it is [released](Runs::release).
    ///
    /// Every run counts the process as held and skips it. This includes a run in
    /// progress, unless it has migrated the process before this returns.
    ///
    /// # Errors
    /// The stream has no events, `actor` or `reason` is longer than 65,535 bytes, or the
    /// store could not be written.
    pub async fn hold(&self, stream: &StreamId, actor: &str, reason: &str) -> Result<(), Error> {
        self.set_hold(stream, true, actor, reason).await
    }

    /// Releases a held process, so that later runs include it.
    ///
    /// # Errors
    /// As for [`hold`](Runs::hold).
    pub async fn release(&self, stream: &StreamId, actor: &str, reason: &str) -> Result<(), Error> {
        self.set_hold(stream, false, actor, reason).await
    }

    /// Every hold and release of a process, oldest first.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn holds(&self, stream: &StreamId) -> Result<Vec<HoldAction>, Error> {
        let rows = self.all_rows(&rows::holds(stream)).await?.into_iter();
        rows.map(|(_, row)| row::read(row, format_args!("a hold of {stream}")))
            .collect()
    }

    /// The hold on a process; `None` if the process is not held, or if the stream has
    /// no events.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn held(&self, stream: &StreamId) -> Result<Option<Hold>, Error> {
        self.store.held(stream).await
    }

    /// Holds or releases several processes. If one of them does not exist, none is changed.
    #[doc(hidden)]
    pub async fn set_holds(
        &self,
        streams: &[StreamId],
        held: bool,
        actor: &str,
        reason: &str,
    ) -> Result<Vec<HeldProcess>, Error> {
        let mut processes = Vec::with_capacity(streams.len());
        for stream in streams {
            let Some(head) = self.store.head(stream).await? else {
                return Err(Error::invalid(format!(
                    "stream {stream} does not exist, so no process was changed; check its id"
                )));
            };
            processes.push(HeldProcess {
                stream: stream.clone(),
                version: head.workflow_id,
                was_held: head.held,
            });
        }
        for process in &processes {
            if held || process.was_held {
                self.set_hold(&process.stream, held, actor, reason).await?;
            }
        }
        Ok(processes)
    }

    async fn set_hold(
        &self,
        stream: &StreamId,
        held: bool,
        actor: &str,
        reason: &str,
    ) -> Result<(), Error> {
        let time = Timestamp::now();
        let hold = held.then(|| Hold {
            actor: actor.into(),
            reason: reason.into(),
            time,
        });
        let action = HoldAction {
            held,
            actor: actor.into(),
            reason: reason.into(),
            program: Program::this().clone(),
            time,
        };
        let record = RowWrite::put(rows::hold(stream, time), row::write(&action)?);
        match self.store.hold(stream, hold, record).await? {
            Some(_) => Ok(()),
            None => Err(Error::invalid(format!(
                "stream {stream} does not exist; check its id"
            ))),
        }
    }
}

/// The failures of a run within a range of streams.
pub(crate) async fn failures(
    store: &Arc<dyn TransactionalStore>,
    run: RunId,
    classes: &[FailureClass],
    after: Option<&StreamId>,
    through: Option<&StreamId>,
    limit: usize,
) -> Result<Vec<Failure>, Error> {
    let mut found = Vec::new();
    let mut after = after.map(|stream| rows::failure(run, stream));
    while found.len() < limit {
        let size = match classes.is_empty() {
            true => PAGE.min(limit - found.len()),
            false => PAGE,
        };
        let page = store
            .rows(&rows::failures(run), after.as_deref(), size)
            .await?;
        let at_end = page.len() < size;
        after = page.last().map(|(key, _)| key.to_vec());
        for (_, row) in page {
            let row: FailureRow = row::read(row, format_args!("a failure of run {run}"))?;
            if through.is_some_and(|through| row.error.stream_id > *through) {
                return Ok(found);
            }
            if found.len() < limit && (classes.is_empty() || classes.contains(&row.error.class)) {
                found.push(row.into());
            }
        }
        if at_end {
            break;
        }
    }
    Ok(found)
}
