//! The bookkeeping of one execution of a run: its claim on the store, its record, and
//! the progress of each range.
//!
//! The claim is one row, which a run writes when it begins and when it ends. It guards
//! every batch, so an execution that lost the store commits nothing more. Whether its
//! holder is dead does not depend on clocks: an execution of this program is alive while
//! it is in a set in memory. An execution of another program is dead if the operating
//! system says that the program has ended, or if this program is the only writer, as with
//! SlateDB.
//!
//! A range row changes in the transaction of its processes, and only while it is as its
//! worker wrote it last. No two workers write the same row, so bookkeeping causes no
//! conflicts. A process that failed in a run is not retried by that run's sweep or by
//! `resume`; `retry` is for it.

use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use state_migration_core::store_api::claim::{self, Claim, Holder};
use state_migration_core::store_api::row;
use state_migration_core::{
    Batch, Commit, Error, ErrorKind, EventStore, FailureClass, MigrationError, Program, ReadPoint,
    RowWrite, RunId, Stale, StreamId, StreamRange, Timestamp, WorkflowId,
};
use uuid::Uuid;

use crate::retry::ATTEMPTS;
use crate::run::history::failures;
use crate::run::in_user_code::{Folder, InUserCode, InUserCodeFile};
use crate::run::rows::{self, FailureRow, Part, RangeRow, StoredError};
use crate::run::suspects::{self, DeadDryRuns, SuspectRow, Verdict};
use crate::run::undone;
use crate::run::{
    Execution, Plan, RunAction, RunCounts, RunKind, RunRecord, RunState, Runs, Store,
};

/// Maximum number of flushes before their outcome is reported as unknown.
const FLUSHES: usize = 4;

/// The executions in progress in this program.
fn live_executions() -> &'static Mutex<HashSet<Uuid>> {
    static LIVE: OnceLock<Mutex<HashSet<Uuid>>> = OnceLock::new();
    LIVE.get_or_init(Mutex::default)
}

fn is_live(execution: Uuid) -> bool {
    live_executions()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .contains(&execution)
}

/// Registers an execution as live while it exists.
struct LiveExecution(Uuid);

impl LiveExecution {
    fn new() -> Self {
        let execution = Uuid::new_v4();
        live_executions()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(execution);
        Self(execution)
    }
}

impl Drop for LiveExecution {
    fn drop(&mut self) {
        live_executions()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.0);
    }
}

/// A range, with its row as stored.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) number: u32,
    pub(crate) row: RangeRow,
    /// The row as stored; `None` in a dry run, which writes no rows.
    held: Option<Bytes>,
}

impl Range {
    /// The range of a dry run, which is not stored.
    pub(crate) fn unstored() -> Self {
        Self::of(StreamRange::default())
    }

    pub(crate) fn of(range: StreamRange) -> Self {
        Self {
            number: 0,
            row: RangeRow::new(Part::Migrate, range),
            held: None,
        }
    }
}

/// Outcome of a batch of a run.
#[derive(Debug)]
pub(crate) enum Committed {
    Written,
    /// Nothing was written, because these streams have changed since they were read.
    Stale(Vec<StreamId>),
}

/// Parameters of a new run.
pub(crate) struct NewRun {
    pub(crate) id: RunId,
    pub(crate) kind: RunKind,
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) plan: Plan,
    pub(crate) throttle: Option<NonZeroU32>,
    pub(crate) again: bool,
    /// Whether the store is a copy, on which the run is rehearsed. The record of the processes
    /// in user code is then that of a dry run.
    pub(crate) rehearses: bool,
}

impl RunRecord {
    /// The record of a run that begins now.
    pub(crate) fn new(start: NewRun) -> Self {
        let NewRun {
            id,
            kind,
            actor,
            reason,
            plan,
            throttle,
            again,
            rehearses: _,
        } = start;
        Self {
            id,
            number: 0,
            kind,
            actor,
            reason,
            plan,
            again,
            state: RunState::Planned,
            throttle,
            executions: 1,
            program: None,
            took_over: None,
            started: Timestamp::now(),
            ended: None,
        }
    }
}

/// Checks that a run takes no undone route, and closes the routes that it undoes. Returns
/// the versions whose undone processes stay there.
async fn undone_routes(
    store: &Store,
    record: &RunRecord,
    plan: &Plan,
    batch: &mut Batch,
) -> Result<Arc<BTreeSet<WorkflowId>>, Error> {
    match record.kind {
        RunKind::Undo { of } => {
            let runs = history_of(store)?;
            if let Some(undone) = runs.get(of).await? {
                let closed = undone::close(store, &runs, &undone, (record.id, plan)).await?;
                batch.rows.extend(closed);
            }
            Ok(Arc::default())
        }
        RunKind::Migrate | RunKind::Retry { .. } if !record.again => {
            let closed = undone::check(store, plan).await?;
            batch.guards.extend(closed.guards);
            Ok(closed.versions)
        }
        _ => Ok(Arc::default()),
    }
}

/// The run that claims a store.
enum ClaimingRun {
    New(Box<RunRecord>),
    Resumed(Box<ResumedRun>),
}

/// Parameters of a run that is resumed.
pub(crate) struct ResumedRun {
    pub(crate) id: RunId,
    pub(crate) actor: String,
    pub(crate) reason: String,
    /// The plan, if it is not that of the record.
    pub(crate) plan: Option<Plan>,
    /// Whether this or an earlier execution has another plan than the record.
    pub(crate) has_other_code: bool,
    /// Whether it takes routes that were undone from now on.
    pub(crate) takes_undone: bool,
}

/// The record of a run to be resumed.
async fn resumable(store: &Store, id: RunId) -> Result<RunRecord, Error> {
    let Some(mut record) = history_of(store)?.get(id).await? else {
        return Err(Error::invalid(format!(
            "run {id} is not in the store; check the id in the list of runs"
        )));
    };
    if record.state.is_done() {
        return Err(Error::invalid(format!(
            "run {id} is {}, so there is nothing to resume; start a new run, or retry its failures",
            record.state
        )));
    }
    if record.kind == RunKind::Lazy {
        return Err(Error::invalid(format!(
            "run {id} migrates processes as they are opened and cannot be resumed; start a run for the other processes"
        )));
    }
    if let Some(undo) = history_of(store)?.undo_of(id).await? {
        return Err(Error::invalid(format!(
            "run {id} was undone by run {undo}, so it is not resumed; start a new run, with `again` if the code of its routes is the same"
        )));
    }
    record.executions += 1;
    record.ended = None;
    Ok(record)
}

/// The bookkeeping of one execution of a run.
pub(crate) struct RunLog {
    store: Store,
    live: LiveExecution,
    /// The claim as written by this execution.
    claim: Bytes,
    record: Mutex<RunRecord>,
    execution: Mutex<Execution>,
    /// Whether this or an earlier execution has another plan than the record.
    has_other_code: bool,
    /// The versions whose undone processes stay there.
    pub(crate) undone: Arc<BTreeSet<WorkflowId>>,
    /// The file of the processes in user code, or why it is missing.
    in_user_code: Result<InUserCodeFile, Error>,
}

impl RunLog {
    /// Claims the store for a new run.
    pub(crate) async fn begin(store: Store, start: NewRun, take_over: bool) -> Result<Self, Error> {
        let rehearses = start.rehearses;
        let record = Box::new(RunRecord::new(start));
        Self::claim(store, take_over, rehearses, ClaimingRun::New(record)).await
    }

    /// Claims the store for an earlier run.
    pub(crate) async fn resume(
        store: Store,
        again: ResumedRun,
        take_over: bool,
    ) -> Result<Self, Error> {
        Self::claim(
            store,
            take_over,
            false,
            ClaimingRun::Resumed(Box::new(again)),
        )
        .await
    }

    async fn claim(
        store: Store,
        take_over: bool,
        rehearses: bool,
        claiming: ClaimingRun,
    ) -> Result<Self, Error> {
        for _ in 0..ATTEMPTS {
            let mut record = match &claiming {
                ClaimingRun::New(record) => (**record).clone(),
                ClaimingRun::Resumed(resumed) => {
                    let mut record = resumable(&store, resumed.id).await?;
                    record.again |= resumed.takes_undone;
                    record
                }
            };
            let (actor, reason) = match &claiming {
                ClaimingRun::New(record) => (&record.actor, &record.reason),
                ClaimingRun::Resumed(again) => (&again.actor, &again.reason),
            };
            let mut execution = Execution::here(record.executions, actor.clone(), reason.clone());
            let mut has_other_code = false;
            if let ClaimingRun::Resumed(again) = &claiming {
                execution.plan.clone_from(&again.plan);
                execution.before = Some(history_of(&store)?.counts(again.id).await?);
                has_other_code = again.has_other_code;
            }
            let live = LiveExecution::new();
            let held = row(&store, claim::CLAIM).await?;
            let mut claim = claim::read(held.clone())?;
            if let Some(holder) = &claim.holder {
                if !take_over && !is_dead(holder, &store) {
                    return Err(claimed(holder.run));
                }
                if holder.run != record.id {
                    record.took_over = Some(holder.run);
                }
                execution.took_over = Some(holder.run);
            }
            let mut batch = Batch::default();
            // An execution of this program that has ended did not end the program.
            let dead = claim.holder.clone();
            let dead = dead.filter(|holder| !holder.program.is_this());
            if let Some(dead) = &dead {
                let left = suspects::left_by(&store, dead).await?;
                let left = left
                    .iter()
                    .map(|(stream, row)| suspects::write(stream, row));
                batch.rows = left.collect::<Result<_, _>>()?;
            }
            let dead_dry_runs = match rehearses {
                true => DeadDryRuns::none(&store),
                false => DeadDryRuns::of(&store)?,
            };
            let plan = execution.plan.as_ref().unwrap_or(&record.plan);
            for (stream, row) in dead_dry_runs.suspects(&store, record.id, plan).await? {
                let row = suspects::write(&stream, &row)?;
                // What the dead execution had in user code is known better.
                if batch.rows.iter().all(|written| written.key != row.key) {
                    batch.rows.push(row);
                }
            }
            let undone = undone_routes(&store, &record, plan, &mut batch).await?;
            if record.number == 0 {
                number(&store, &mut record, &mut batch).await?;
            }
            claim.holder = Some(Holder {
                run: record.id,
                execution: live.0,
                program: Program::this().clone(),
            });
            let claim = Bytes::from(row::write(&claim)?);
            batch.rows.extend([
                RowWrite::put(claim::CLAIM.to_vec(), claim.clone()).expecting(held),
                RowWrite::put(rows::run(record.id), row::write(&record)?),
                RowWrite::put(
                    rows::execution(record.id, execution.number),
                    row::write(&execution)?,
                ),
            ]);
            // A run that may not begin makes no claim.
            let folder = Folder::of(store.scratch_folder());
            if !rehearses {
                folder.check_writable(live.0)?;
            }
            match store.commit(&batch).await {
                Ok(Commit::Written) => {
                    if let Some(dead) = dead {
                        folder.remove(dead.execution);
                    }
                    dead_dry_runs.forget();
                    let in_user_code = match rehearses {
                        true => Err(Error::invalid("a rehearsal has the file of a dry run")),
                        false => folder.create(live.0),
                    };
                    let in_user_code = match in_user_code {
                        Err(error) if folder.is_required() && !rehearses => return Err(error),
                        in_user_code => in_user_code,
                    };
                    return Ok(Self {
                        in_user_code,
                        store,
                        live,
                        claim,
                        record: Mutex::new(record),
                        execution: Mutex::new(execution),
                        has_other_code,
                        undone,
                    });
                }
                Ok(Commit::Stale(_)) => {}
                Err(error) if again(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "other runs claimed the store in every attempt; check the list of runs, and try again",
        ))
    }

    /// A guard that keeps this execution registered as live.
    ///
    /// Workers may outlive the guard. What they do then has no effect once another
    /// execution has claimed the store.
    pub(crate) fn alive(&self) -> impl Drop + Send + use<> {
        LiveExecution(self.live.0)
    }

    /// The file that names the processes in user code, or why it is missing.
    pub(crate) fn in_user_code(&self) -> Result<Arc<InUserCode>, &Error> {
        self.in_user_code.as_ref().map(InUserCodeFile::in_user_code)
    }

    /// Records what is known of a suspect.
    pub(crate) async fn suspect(&self, stream: &StreamId, row: &SuspectRow) -> Result<(), Error> {
        self.write(|batch| {
            batch.rows.push(suspects::write(stream, row)?);
            Ok(())
        })
        .await
    }

    /// Forgets the suspects that are up to date by now, and those of this run that did not
    /// end the program when they were tried alone.
    pub(crate) async fn acquit(
        &self,
        is_outdated: impl Fn(&WorkflowId) -> bool,
    ) -> Result<(), Error> {
        let mut over = Vec::new();
        for (stream, row) in suspects::all(&self.store).await? {
            let head = self.store.head(&stream).await?;
            let outdated = head.is_some_and(|head| is_outdated(&head.workflow_id));
            let harmless = matches!(row.verdict, Verdict::Survived | Verdict::NeverReturned);
            if !outdated || (harmless && row.run == self.run()) {
                over.push(rows::suspect(&stream));
            }
        }
        if over.is_empty() {
            return Ok(());
        }
        self.write(|batch| {
            batch.rows = over.iter().cloned().map(RowWrite::remove).collect();
            Ok(())
        })
        .await
    }

    pub(crate) fn record(&self) -> RunRecord {
        self.lock().clone()
    }

    fn execution(&self) -> std::sync::MutexGuard<'_, Execution> {
        self.execution
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether processes may have been migrated, or may have failed, in this run with
    /// other code than that of this execution.
    pub(crate) fn has_other_code(&self) -> bool {
        self.has_other_code
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RunRecord> {
        // No code that can panic runs under the lock.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn run(&self) -> RunId {
        self.lock().id
    }

    /// The guard of every batch of this execution: the claim is unchanged.
    fn guard(&self) -> (Vec<u8>, Option<Bytes>) {
        (claim::CLAIM.to_vec(), Some(self.claim.clone()))
    }

    /// Fails if the batch was stale because the claim has changed.
    async fn check_claim(&self, stale: &Stale) -> Result<(), Error> {
        if !stale.rows.iter().any(|key| key == claim::CLAIM) {
            return Ok(());
        }
        let claim = claim::read(row(&self.store, claim::CLAIM).await?)?;
        let run = self.run();
        Err(match claim.holder {
            Some(holder) => lost(run, holder.run),
            None => {
                let runs = history_of(&self.store)?.list().await?;
                let by = runs.iter().rfind(|other| other.took_over == Some(run));
                lost(run, by.map_or(run, |other| other.id))
            }
        })
    }

    /// The ranges of the run; empty before the run was split.
    pub(crate) async fn ranges(&self) -> Result<Vec<Range>, Error> {
        let ranges = history_of(&self.store)?.range_rows(self.run()).await?;
        Ok(ranges
            .into_iter()
            .map(|(number, row, held)| Range {
                number,
                row,
                held: Some(held),
            })
            .collect())
    }

    /// Counts of processes that were migrated when they were opened.
    pub(crate) async fn lazy_counts(&self) -> Result<RunCounts, Error> {
        history_of(&self.store)?.lazy_counts(self.run()).await
    }

    /// Adds ranges to the run.
    ///
    /// The same transaction marks the target versions of the routes as present, and the
    /// versions to be emptied as closing, so that each birth at them is recorded from
    /// then on.
    pub(crate) async fn add_ranges(
        &self,
        first: u32,
        parts: Vec<(Part, StreamRange)>,
        present: &[WorkflowId],
        closing: &[WorkflowId],
    ) -> Result<Vec<Range>, Error> {
        let mut ranges = Vec::with_capacity(parts.len());
        for (number, (part, range)) in (first..).zip(parts) {
            let row = RangeRow::new(part, range);
            let held = Some(Bytes::from(row::write(&row)?));
            ranges.push(Range { number, row, held });
        }
        let run = self.run();
        self.write(|batch| {
            batch.present = present.to_vec();
            batch.closing = Some((run, closing.to_vec()));
            let row = |range: &Range| {
                let held = range.held.clone().unwrap_or_default();
                RowWrite::put(rows::range(run, range.number), held)
            };
            batch.rows.extend(ranges.iter().map(row));
            Ok(())
        })
        .await?;
        Ok(ranges)
    }

    /// Forgets the failures of processes that had no route in an earlier execution and
    /// have one in this program. The ranges begin again, so that these processes are
    /// decided again. Returns the number of failures.
    pub(crate) async fn forget_failures(
        &self,
        ranges: &mut [Range],
        has_route: impl Fn(&WorkflowId) -> bool,
    ) -> Result<usize, Error> {
        const PAGE: usize = 2_000;
        let classes = [
            FailureClass::MissingRoute,
            FailureClass::UnknownVersion,
            FailureClass::NewerThanProgram,
        ];
        let (run, mut after, mut all) = (self.run(), None, 0);
        loop {
            let page = failures(&self.store, run, &classes, after.as_ref(), None, PAGE).await?;
            let at_end = page.len() < PAGE;
            let mut over = Vec::new();
            for failure in &page {
                let (Some(stream), Some(at)) = (failure.stream(), &failure.at) else {
                    continue;
                };
                if !has_route(at) {
                    continue;
                }
                over.push(rows::failure(run, stream));
                // The failure is counted in the range of the stream, or in a sweep.
                let mut of_stream = ranges.iter_mut().filter(|range| range.row.contains(stream));
                of_stream.any(|range| range.row.forget_failure(at.name()));
            }
            if !over.is_empty() {
                all += over.len();
                self.begin_again(ranges, over).await?;
            }
            if at_end {
                return Ok(all);
            }
            after = page.last().and_then(|last| last.stream().cloned());
        }
    }

    /// Resets ranges for a second pass, and removes the rows of failures that they count
    /// no longer.
    async fn begin_again(&self, ranges: &mut [Range], failures: Vec<Vec<u8>>) -> Result<(), Error> {
        let run = self.run();
        let mut execution = self.execution().clone();
        execution.decided_again += failures.len() as u64;
        let key = rows::execution(run, execution.number);
        let mut written = vec![(key, row::write(&execution)?)];
        for range in ranges.iter_mut() {
            range.row.begin_again();
            written.push((rows::range(run, range.number), row::write(&range.row)?));
        }
        self.write(|batch| {
            let put = |(key, row): &(Vec<u8>, Vec<u8>)| RowWrite::put(key.clone(), row.clone());
            batch.rows = written.iter().map(put).collect();
            batch
                .rows
                .extend(failures.iter().cloned().map(RowWrite::remove));
            Ok(())
        })
        .await?;
        *self.execution() = execution;
        Ok(())
    }

    /// Takes over ranges from an earlier execution, and resets them if `again` is set.
    pub(crate) async fn take(&self, ranges: &mut [Range], again: bool) -> Result<(), Error> {
        for range in ranges.iter_mut() {
            range.row.token += 1;
            if again {
                range.row.begin_again();
            }
        }
        let run = self.run();
        let mut held = Vec::with_capacity(ranges.len());
        for range in ranges.iter() {
            held.push(Bytes::from(row::write(&range.row)?));
        }
        self.write(|batch| {
            let rows = ranges.iter().zip(&held);
            batch.rows.extend(
                rows.map(|(range, held)| {
                    RowWrite::put(rows::range(run, range.number), held.clone())
                }),
            );
            Ok(())
        })
        .await?;
        for (range, held) in ranges.iter_mut().zip(held) {
            range.held = Some(held);
        }
        Ok(())
    }

    /// Takes over a range from another worker, unless that worker has committed
    /// meanwhile. Returns whether the range was taken over, and the range as stored
    /// now.
    pub(crate) async fn take_over(&self, mut range: Range) -> Result<(bool, Range), Error> {
        let key = rows::range(self.run(), range.number);
        let mut row = range.row.clone();
        row.token += 1;
        let held = Bytes::from(row::write(&row)?);
        let write = RowWrite::put(key.clone(), held.clone());
        let mut batch = Batch::default();
        batch.guards.push(self.guard());
        batch.rows.push(write.expecting(range.held.clone()));
        match self.store.commit(&batch).await {
            Ok(Commit::Written) => {
                range.row = row;
                range.held = Some(held);
                return Ok((true, range));
            }
            Ok(Commit::Stale(stale)) => self.check_claim(&stale).await?,
            Err(error) if again(&error) => {}
            Err(error) => return Err(error),
        }
        if let Some(held) = self::row(&self.store, &key).await? {
            range.row = row::read(held.clone(), "a range of a run")?;
            range.held = Some(held);
        }
        Ok((false, range))
    }

    /// Commits a batch together with the progress of a range.
    ///
    /// Both are durable only after [`flush`](Self::flush). If the outcome is unknown,
    /// it is found out by reading.
    pub(crate) async fn commit(
        &self,
        mut batch: Batch,
        read: ReadPoint,
        range: &mut Range,
        mut row: RangeRow,
    ) -> Result<Committed, Error> {
        row.commits += 1;
        let key = rows::range(self.run(), range.number);
        let held = Bytes::from(row::write(&row)?);
        let write = RowWrite::put(key.clone(), held.clone());
        batch.guards.push(self.guard());
        batch.rows.push(write.expecting(range.held.clone()));
        match self.store.commit_unflushed(&batch, read).await {
            Ok(Commit::Written) => {}
            Ok(Commit::Stale(stale)) => {
                self.check_claim(&stale).await?;
                if stale.rows.contains(&key) {
                    return Err(range_lost(self.run(), range.number));
                }
                return Ok(Committed::Stale(stale.streams));
            }
            Err(error) if *error.kind() == ErrorKind::OutcomeUnknown => {
                match self.is_committed(&batch, &key, &row).await {
                    Ok(true) => {}
                    Ok(false) => {
                        let what = "a commit without an answer from the store was not written; retry the commit";
                        return Err(Error::new(ErrorKind::Conflict, what).with_source(error));
                    }
                    // The outcome stays unknown until the store can be read.
                    Err(_) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
        range.row = row;
        range.held = Some(held);
        Ok(Committed::Written)
    }

    /// Makes all commits durable, and retries a few times if the outcome is unknown.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        for _ in 1..FLUSHES {
            match self.store.flush().await {
                Err(error) if *error.kind() == ErrorKind::OutcomeUnknown => {}
                outcome => return outcome,
            }
        }
        self.store.flush().await
    }

    /// Finds out whether a batch with unknown outcome has landed.
    ///
    /// It compares the event ids of the migrated processes, or the row of the range if
    /// the batch migrates none.
    async fn is_committed(
        &self,
        batch: &Batch,
        key: &[u8],
        ours: &RangeRow,
    ) -> Result<bool, Error> {
        // What a reader sees may not be durable yet, so flush before it counts.
        self.flush().await?;
        for it in &batch.moves {
            let next = self.store.read_all(&it.stream, it.head.sequence, 1).await?;
            if next
                .first()
                .is_none_or(|next| next.event_id != it.event.event_id())
            {
                return Ok(false);
            }
        }
        if !batch.moves.is_empty() {
            return Ok(true);
        }
        let row: Option<RangeRow> = row(&self.store, key)
            .await?
            .map(|row| row::read(row, "a range of a run"))
            .transpose()?;
        // Under another token, the row was written by another worker.
        Ok(row.is_some_and(|row| row.token == ours.token && row.commits >= ours.commits))
    }

    /// Records the state of the run and its limit, unless they are recorded already.
    pub(crate) async fn set_state(
        &self,
        state: RunState,
        throttle: Option<NonZeroU32>,
    ) -> Result<(), Error> {
        let mut record = self.record();
        if (record.state, record.throttle) == (state, throttle) {
            return Ok(());
        }
        record.state = state;
        record.throttle = throttle;
        self.write(|batch| {
            let row = RowWrite::put(rows::run(record.id), row::write(&record)?);
            batch.rows.push(row);
            Ok(())
        })
        .await?;
        *self.lock() = record;
        Ok(())
    }

    /// Records requests to the run.
    pub(crate) async fn record_actions(&self, actions: &[RunAction]) -> Result<(), Error> {
        let run = self.run();
        let mut rows = Vec::with_capacity(actions.len());
        for action in actions {
            let row = row::write(action)?;
            rows.push(RowWrite::put(rows::action(run, action.time), row));
        }
        self.write(|batch| {
            batch.rows.extend(rows.iter().cloned());
            Ok(())
        })
        .await
    }

    /// Ends this execution: records the state and releases the claim.
    pub(crate) async fn end(
        &self,
        state: RunState,
        stopped_by: Option<String>,
    ) -> Result<(), Error> {
        let mut record = self.record();
        record.state = state;
        if state.is_done() || state == RunState::Cancelled {
            record.ended = Some(Timestamp::now());
        }
        let execution = Execution {
            ended: Some(Timestamp::now()),
            stopped_by,
            ..self.execution().clone()
        };
        let key = rows::execution(record.id, execution.number);
        let ended = Bytes::from(row::write(&execution)?);
        let released = row::write(&Claim::default())?;
        let mut lost = false;
        let is_undo = matches!(record.kind, RunKind::Undo { .. });
        // A cancelled undo closes its routes again when it is resumed.
        let is_over = state.is_done() || (is_undo && state == RunState::Cancelled);
        let has_migrated = match is_over && (is_undo || record.again) {
            true => Some(history_of(&self.store)?.counts(record.id).await?.migrated > 0),
            false => None,
        };
        for _ in 0..ATTEMPTS {
            let rows = match (is_undo, has_migrated) {
                // An undo that took nothing back closes nothing.
                (true, Some(false)) => undone::reopen_after(&self.store, record.id).await?,
                // What was taken again in part is still undone.
                (false, Some(true)) if !record.plan.selection.leaves_out() => {
                    undone::reopen(&self.store, &record.plan).await?
                }
                _ => Vec::new(),
            };
            let mut batch = Batch {
                rows,
                ..Batch::default()
            };
            self.add_up_lazies(&mut batch).await?;
            let (claim, held) = self.guard();
            batch.rows.extend([
                RowWrite::put(claim, released.clone()).expecting(held),
                RowWrite::put(rows::run(record.id), row::write(&record)?),
                RowWrite::put(key.clone(), ended.clone()),
            ]);
            match self.store.commit(&batch).await {
                Ok(Commit::Written) => {}
                Ok(Commit::Stale(stale)) => {
                    // Another run may have claimed the store since.
                    if lost && row(&self.store, &key).await?.as_ref() == Some(&ended) {
                        // The commit with the lost answer has landed; make it durable.
                        self.flush().await?;
                    } else {
                        self.check_claim(&stale).await?;
                        continue;
                    }
                }
                Err(error) if again(&error) => {
                    lost |= !error.is_conflict();
                    continue;
                }
                Err(error) => {
                    *self.lock() = record;
                    return Err(error);
                }
            }
            *self.lock() = record;
            return Ok(());
        }
        Err(too_many_conflicts())
    }

    /// Replaces the count rows of opened processes, one for each process, by their sum.
    async fn add_up_lazies(&self, batch: &mut Batch) -> Result<(), Error> {
        const MOST: usize = 10_000;
        let (run, mut sum) = (self.run(), RunCounts::default());
        let key = rows::lazies(run);
        let found = self.store.rows(&key, None, MOST).await?;
        if found.len() < 2 {
            return Ok(());
        }
        let mut held = None;
        for (at, row) in found {
            let counts: RunCounts = row::read(row.clone(), format_args!("a count of run {run}"))?;
            sum.add(&counts);
            match at[..] == key[..] {
                true => held = Some(row),
                false => batch
                    .rows
                    .push(RowWrite::remove(at.to_vec()).expecting(Some(row))),
            }
        }
        let row = RowWrite::put(key, row::write(&sum)?);
        batch.rows.push(row.expecting(held));
        Ok(())
    }

    async fn write(&self, put: impl Fn(&mut Batch) -> Result<(), Error>) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let mut batch = Batch::default();
            batch.guards.push(self.guard());
            put(&mut batch)?;
            match self.store.commit(&batch).await {
                Ok(Commit::Written) => return Ok(()),
                Ok(Commit::Stale(stale)) => self.check_claim(&stale).await?,
                Err(error) if again(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(too_many_conflicts())
    }

    /// The row of a failure, for the batch that commits the failure.
    pub(crate) async fn failure(
        &self,
        error: &MigrationError,
        at: Option<&WorkflowId>,
    ) -> Result<RowWrite, Error> {
        let (run, kind) = {
            let record = self.lock();
            (record.id, record.kind.clone())
        };
        let attempt = match kind {
            RunKind::Retry { of, .. } => attempt(&self.store, of, stream_of(error)?).await? + 1,
            _ => 1,
        };
        failure(run, error, at, attempt)
    }
}

/// The row of a failure.
pub(crate) fn failure(
    run: RunId,
    error: &MigrationError,
    at: Option<&WorkflowId>,
    attempt: u32,
) -> Result<RowWrite, Error> {
    let stream = stream_of(error)?;
    let row = FailureRow {
        error: StoredError::of(stream, error),
        at: at.cloned(),
        attempt,
    };
    let key = rows::failure(run, stream);
    Ok(RowWrite::put(key, row::write(&row)?))
}

/// The process that failed: of nothing else there is a row.
pub(crate) fn stream_of(error: &MigrationError) -> Result<&StreamId, Error> {
    let stream = error.subject.stream();
    stream.ok_or_else(|| {
        Error::invalid(format!(
            "a failure without a process cannot be recorded: {error}; report it as a bug"
        ))
    })
}

/// A row of the bookkeeping, by its key.
pub(crate) async fn row(store: &Store, key: &[u8]) -> Result<Option<Bytes>, Error> {
    // The key itself sorts before all longer keys that start with it.
    let found = store.rows(key, None, 1).await?;
    let row = found.into_iter().find(|(at, _)| at[..] == *key);
    Ok(row.map(|(_, row)| row))
}

/// Assigns the run a number that is unique in its store.
pub(crate) async fn number(
    store: &Store,
    record: &mut RunRecord,
    batch: &mut Batch,
) -> Result<(), Error> {
    let held = row(store, rows::NUMBER).await?;
    let mut number: rows::Number = match held.clone() {
        Some(row) => row::read(row, "the number of runs")?,
        None => rows::Number::default(),
    };
    number.runs += 1;
    record.number = number.runs;
    let row = RowWrite::put(rows::NUMBER.to_vec(), row::write(&number)?);
    batch.rows.push(row.expecting(held));
    Ok(())
}

/// Number of failed attempts at a process in a run; 0 if it did not fail there.
async fn attempt(store: &Store, run: RunId, stream: &StreamId) -> Result<u32, Error> {
    row(store, &rows::failure(run, stream))
        .await?
        .map_or(Ok(0), |row| {
            let row: FailureRow = row::read(row, format_args!("a failure of run {run}"))?;
            Ok(row.attempt)
        })
}

/// Whether the execution that made a claim can no longer write. This does not depend on
/// clocks or timeouts.
pub(crate) fn is_dead(holder: &Holder, store: &Store) -> bool {
    match holder.program.is_this() {
        true => !is_live(holder.execution),
        false => has_ended(&holder.program, store),
    }
}

/// Whether a program can no longer write to a store.
pub(crate) fn has_ended(program: &Program, store: &Store) -> bool {
    // If this program is the only writer, another one is fenced.
    !program.is_this() && (store.is_single_writer() || program.has_ended())
}

pub(crate) fn claimed(run: RunId) -> Error {
    Error::new(
        ErrorKind::Claimed { run },
        format!(
            "run {run} claims the store; wait until that run has ended, or take over the store if its program is dead"
        ),
    )
}

/// Whether to repeat a write of the bookkeeping, which is idempotent.
fn again(error: &Error) -> bool {
    error.is_conflict() || *error.kind() == ErrorKind::OutcomeUnknown
}

/// The error of an execution whose claim was taken over, by another run or by another
/// execution of the same run.
fn lost(run: RunId, to: RunId) -> Error {
    let message = if run == to {
        format!(
            "run {run} was resumed by another program; check the progress in the record of the run"
        )
    } else {
        format!(
            "run {to} took over the store from run {run}, which wrote nothing afterwards; resume run {run} after run {to} has ended"
        )
    };
    Error::new(ErrorKind::Claimed { run: to }, message)
}

/// The token of the range is no longer that of the worker.
#[derive(Debug, thiserror::Error)]
#[error("the range has a newer fencing token")]
struct RangeLost;

fn range_lost(run: RunId, number: u32) -> Error {
    Error::new(
        ErrorKind::Claimed { run },
        format!(
            "range {number} of run {run} was taken over by another worker; this worker wrote nothing afterwards"
        ),
    )
    .with_source(RangeLost)
}

/// Whether a commit failed because the range was taken over.
pub(crate) fn is_range_lost(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<RangeLost>())
}

fn too_many_conflicts() -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "the record of the run conflicted with concurrent writes {ATTEMPTS} times; resume the run later"
        ),
    )
}

fn history_of(store: &Store) -> Result<Runs, Error> {
    Runs::of(store as &dyn EventStore).ok_or_else(|| {
        Error::invalid("the store reports that it is transactional but provides no transactional handle; correct the store")
    })
}
