//! What a run writes about itself while it goes: its claim on the store, its
//! record, and how far each range is.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use uuid::Uuid;

use crate::error::{Error, ErrorKind};
use crate::id::{RunId, StreamId, WorkflowId};
use crate::run::rows::{self, Claim, FailureRow, Holder, Part, RangeRow};
use crate::run::{Plan, RunCounts, RunKind, RunRecord, RunState, Runs};
use crate::runner::MigrationError;
use crate::store::{Chunk, ChunkRequest, EventStore, StreamRange, TransactionalStore};
use crate::time::Timestamp;

type Store = Arc<dyn TransactionalStore>;

/// How often a row is written before others are said to be in the way.
const ATTEMPTS: usize = 16;

/// How often what was written is made durable before the answer is taken for lost.
const FLUSHES: usize = 4;

/// This process of the operating system.
fn program() -> Uuid {
    static ID: OnceLock<Uuid> = OnceLock::new();
    *ID.get_or_init(Uuid::new_v4)
}

/// The executions that are under way in this program.
fn live() -> &'static Mutex<HashSet<Uuid>> {
    static LIVE: OnceLock<Mutex<HashSet<Uuid>>> = OnceLock::new();
    LIVE.get_or_init(Mutex::default)
}

fn is_live(execution: Uuid) -> bool {
    live()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .contains(&execution)
}

/// An execution that is under way as long as this exists.
struct Live(Uuid);

impl Live {
    fn new() -> Self {
        let execution = Uuid::new_v4();
        live()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(execution);
        Self(execution)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        live()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.0);
    }
}

/// A range, with what the store holds of it.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) number: u32,
    pub(crate) row: RangeRow,
}

impl Range {
    /// The range of a dry run, which is written nowhere.
    pub(crate) fn nowhere() -> Self {
        Self::of(StreamRange::default())
    }

    pub(crate) fn of(range: StreamRange) -> Self {
        Self {
            number: 0,
            row: RangeRow::new(Part::Migrate, range),
        }
    }
}

/// How a run is started.
pub(crate) struct Start {
    pub(crate) id: RunId,
    pub(crate) kind: RunKind,
    pub(crate) who: String,
    pub(crate) why: String,
    pub(crate) plan: Plan,
}

impl RunRecord {
    /// The record of a run that begins now.
    pub(crate) fn new(start: Start) -> Self {
        let Start {
            id,
            kind,
            who,
            why,
            plan,
        } = start;
        Self {
            id,
            number: 0,
            kind,
            who,
            why,
            plan,
            state: RunState::Planned,
            executions: 1,
            took_over: None,
            started: Timestamp::now(),
            ended: None,
        }
    }
}

/// Which run claims a store.
enum Claims {
    New(Box<RunRecord>),
    Again(RunId, Option<Box<Plan>>),
}

/// The record of a run that is to be resumed.
async fn resumable(store: &Store, id: RunId) -> Result<RunRecord, Error> {
    let Some(mut record) = history_of(store)?.get(id).await? else {
        return Err(Error::invalid(format!(
            "the store has not seen run {id}; look up the id in its history of runs"
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
            "run {id} migrates processes as they are opened, and cannot be resumed"
        )));
    }
    record.executions += 1;
    record.ended = None;
    Ok(record)
}

/// The bookkeeping of one execution of a run.
pub(crate) struct Ledger {
    store: Store,
    live: Live,
    record: Mutex<RunRecord>,
}

impl Ledger {
    /// Claims the store for a new run.
    pub(crate) async fn begin(store: Store, start: Start, take_over: bool) -> Result<Self, Error> {
        let record = RunRecord::new(start);
        Self::claim(store, take_over, Claims::New(Box::new(record))).await
    }

    /// Claims the store for a run that was begun before.
    /// With the plan of the program that goes on.
    pub(crate) async fn resume(
        store: Store,
        id: RunId,
        plan: Option<Plan>,
        take_over: bool,
    ) -> Result<Self, Error> {
        Self::claim(store, take_over, Claims::Again(id, plan.map(Box::new))).await
    }

    async fn claim(store: Store, take_over: bool, claims: Claims) -> Result<Self, Error> {
        for _ in 0..ATTEMPTS {
            let mut record = match &claims {
                Claims::New(record) => (**record).clone(),
                Claims::Again(id, plan) => {
                    let mut record = resumable(&store, *id).await?;
                    if let Some(plan) = plan {
                        record.plan = (**plan).clone();
                    }
                    record
                }
            };
            let live = Live::new();
            let mut chunk = store.begin(ChunkRequest::bookkeeping()).await?;
            let mut claim = rows::read_claim(chunk.row(rows::CLAIM).await?)?;
            if let Some(holder) = &claim.holder {
                if !take_over && !is_dead(holder, &store) {
                    return Err(claimed(holder.run));
                }
                if holder.run != record.id {
                    record.took_over = Some(holder.run);
                }
            }
            if record.number == 0 {
                claim.runs += 1;
                record.number = claim.runs;
            }
            claim.holder = Some(Holder {
                run: record.id,
                execution: live.0,
                program: program(),
            });
            chunk.put_row(rows::CLAIM.to_vec(), Some(rows::write(&claim)?));
            chunk.put_row(rows::run(record.id), Some(rows::write(&record)?));
            match chunk.commit().await {
                Ok(()) => {
                    return Ok(Self {
                        store,
                        live,
                        record: Mutex::new(record),
                    });
                }
                Err(error) if again(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            "other runs claimed the store all the time; look at the history of runs, and try again",
        ))
    }

    /// The execution is alive as long as this is, whatever else goes on: what
    /// its workers still do when it is dropped comes to nothing once another
    /// execution holds the store.
    pub(crate) fn alive(&self) -> impl Drop + Send + use<> {
        Live(self.live.0)
    }

    pub(crate) fn record(&self) -> RunRecord {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RunRecord> {
        // Nothing that can panic runs under the lock.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn run(&self) -> RunId {
        self.lock().id
    }

    /// Begins a transaction of bookkeeping, which the claim guards.
    pub(crate) async fn begin_chunk(&self) -> Result<Box<dyn Chunk>, Error> {
        let mut chunk = self.store.begin(ChunkRequest::bookkeeping()).await?;
        self.guard(&mut chunk).await?;
        Ok(chunk)
    }

    /// Checks in a transaction that the store is still this execution's: the
    /// transaction does not commit when it is not by then.
    pub(crate) async fn guard(&self, chunk: &mut Box<dyn Chunk>) -> Result<(), Error> {
        let claim = rows::read_claim(chunk.row(rows::CLAIM).await?)?;
        match claim.holder {
            Some(holder) if holder.execution == self.live.0 => Ok(()),
            Some(holder) => Err(lost(self.run(), holder.run)),
            None => {
                let run = self.run();
                let runs = history_of(&self.store)?.list().await?;
                let by = runs.iter().rfind(|other| other.took_over == Some(run));
                Err(lost(run, by.map_or(run, |other| other.id)))
            }
        }
    }

    /// The ranges that the run has been cut into; none before it was.
    pub(crate) async fn ranges(&self) -> Result<Vec<Range>, Error> {
        let ranges = history_of(&self.store)?.ranges(self.run()).await?;
        Ok(ranges
            .into_iter()
            .map(|(number, row)| Range { number, row })
            .collect())
    }

    /// What was counted of processes that were migrated as they were opened.
    pub(crate) async fn lazy_counts(&self) -> Result<RunCounts, Error> {
        history_of(&self.store)?.lazy_counts(self.run()).await
    }

    /// Adds ranges to the run.
    pub(crate) async fn lay(
        &self,
        first: u32,
        parts: Vec<(Part, StreamRange)>,
    ) -> Result<Vec<Range>, Error> {
        let ranges: Vec<Range> = (first..)
            .zip(parts)
            .map(|(number, (part, range))| Range {
                number,
                row: RangeRow::new(part, range),
            })
            .collect();
        let run = self.run();
        self.write(|chunk| {
            for range in &ranges {
                let row = rows::write(&range.row)?;
                chunk.put_row(rows::range(run, range.number), Some(row));
            }
            Ok(())
        })
        .await?;
        Ok(ranges)
    }

    /// Commits a chunk together with the progress of a range; neither is durable
    /// before [`settle`](Self::settle) says so. When the store does not say
    /// whether they were written, its own rows do.
    pub(crate) async fn commit(
        &self,
        mut chunk: Box<dyn Chunk>,
        range: &mut Range,
        mut row: RangeRow,
    ) -> Result<(), Error> {
        row.commits += 1;
        let key = rows::range(self.run(), range.number);
        chunk.put_row(key.clone(), Some(rows::write(&row)?));
        match chunk.commit_unflushed().await {
            Ok(()) => {}
            Err(error) if *error.kind() == ErrorKind::OutcomeUnknown => {
                match self.has_landed(&key, row.commits).await {
                    Ok(true) => {}
                    Ok(false) => {
                        let what = "a commit whose answer was lost has not happened";
                        return Err(Error::new(ErrorKind::Conflict, what).with_source(error));
                    }
                    // It stays unknown until the store can be read; the rows will tell.
                    Err(_) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
        range.row = row;
        Ok(())
    }

    /// Makes durable what was committed of a range.
    pub(crate) async fn settle(&self, range: &Range) -> Result<(), Error> {
        match self.store.flush().await {
            Err(error) if *error.kind() == ErrorKind::OutcomeUnknown => {
                let key = rows::range(self.run(), range.number);
                match self.has_landed(&key, range.row.commits).await {
                    Ok(true) => Ok(()),
                    _ => Err(error),
                }
            }
            outcome => outcome,
        }
    }

    /// Makes all that can be seen durable; where the answer is lost, a few times.
    async fn flush(&self) -> Result<(), Error> {
        for _ in 1..FLUSHES {
            match self.store.flush().await {
                Err(error) if *error.kind() == ErrorKind::OutcomeUnknown => {}
                outcome => return outcome,
            }
        }
        self.store.flush().await
    }

    /// Finds out whether a commit has landed whose answer was lost.
    async fn has_landed(&self, key: &[u8], commits: u64) -> Result<bool, Error> {
        // What can be seen may not last: make it durable before it counts.
        self.flush().await?;
        let found = self.store.rows(key, None, 1).await?;
        let row = found.into_iter().find(|(at, _)| at[..] == *key);
        let row: Option<RangeRow> = row
            .map(|(_, row)| rows::read(row, "a range of a run"))
            .transpose()?;
        Ok(row.is_some_and(|row| row.commits >= commits))
    }

    /// Writes that the run is in a state now, unless it is already.
    pub(crate) async fn set_state(&self, state: RunState) -> Result<(), Error> {
        let mut record = self.record();
        if record.state == state {
            return Ok(());
        }
        record.state = state;
        self.write(|chunk| {
            chunk.put_row(rows::run(record.id), Some(rows::write(&record)?));
            Ok(())
        })
        .await?;
        *self.lock() = record;
        Ok(())
    }

    /// Ends this execution: writes the state, and lets the store go.
    pub(crate) async fn end(&self, state: RunState) -> Result<(), Error> {
        let mut record = self.record();
        record.state = state;
        if state.is_done() || state == RunState::Cancelled {
            record.ended = Some(Timestamp::now());
        }
        let mut lost = false;
        for _ in 0..ATTEMPTS {
            let mut chunk = self.store.begin(ChunkRequest::bookkeeping()).await?;
            let mut claim: Claim = rows::read_claim(chunk.row(rows::CLAIM).await?)?;
            if claim.holder.is_none() && lost {
                // The answer that was lost was a good one; make sure that it lasts.
                self.flush().await?;
                *self.lock() = record;
                return Ok(());
            }
            self.guard(&mut chunk).await?;
            claim.holder = None;
            chunk.put_row(rows::CLAIM.to_vec(), Some(rows::write(&claim)?));
            chunk.put_row(rows::run(record.id), Some(rows::write(&record)?));
            match chunk.commit().await {
                Err(error) if again(&error) => lost |= !error.is_conflict(),
                outcome => {
                    *self.lock() = record;
                    return outcome;
                }
            }
        }
        Err(in_the_way())
    }

    async fn write(
        &self,
        put: impl Fn(&mut Box<dyn Chunk>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let mut chunk = self.begin_chunk().await?;
            put(&mut chunk)?;
            match chunk.commit().await {
                Err(error) if again(&error) => {}
                outcome => return outcome,
            }
        }
        Err(in_the_way())
    }

    /// Whether a process has failed in this run.
    pub(crate) async fn has_failed(&self, stream: &StreamId) -> Result<bool, Error> {
        Ok(attempt(&self.store, self.run(), stream).await? > 0)
    }

    /// The row of a failure, for the chunk that the failure is part of.
    pub(crate) async fn put_failure(
        &self,
        chunk: &mut Box<dyn Chunk>,
        error: &MigrationError,
        at: Option<&WorkflowId>,
    ) -> Result<(), Error> {
        let (run, kind) = {
            let record = self.lock();
            (record.id, record.kind.clone())
        };
        let attempt = match kind {
            RunKind::Retry { of, .. } => attempt(&self.store, of, &error.stream_id).await? + 1,
            RunKind::Migrate | RunKind::Lazy => 1,
        };
        put_failure(chunk, run, error, at, attempt)
    }
}

/// Puts the row of a failure.
pub(crate) fn put_failure(
    chunk: &mut Box<dyn Chunk>,
    run: RunId,
    error: &MigrationError,
    at: Option<&WorkflowId>,
    attempt: u32,
) -> Result<(), Error> {
    let row = FailureRow {
        error: error.clone(),
        at: at.cloned(),
        attempt,
    };
    let key = rows::failure(run, &error.stream_id);
    chunk.put_row(key, Some(rows::write(&row)?));
    Ok(())
}

/// The how-manieth attempt it was that failed in a run; 0 if it did not.
async fn attempt(store: &Store, run: RunId, stream: &StreamId) -> Result<u32, Error> {
    let key = rows::failure(run, stream);
    // Of all that start with the key, the key itself comes first.
    let found = store.rows(&key, None, 1).await?;
    let row = found.into_iter().find(|(at, _)| at[..] == key[..]);
    row.map_or(Ok(0), |(_, row)| {
        let row: FailureRow = rows::read(row, format_args!("a failure of run {run}"))?;
        Ok(row.attempt)
    })
}

/// Whether the execution that holds a claim cannot write any more. Nothing is
/// concluded from time.
pub(crate) fn is_dead(holder: &Holder, store: &Store) -> bool {
    if holder.program == program() {
        !is_live(holder.execution)
    } else {
        // Another program's, and this one is the only one that can write.
        store.is_single_writer()
    }
}

fn claimed(run: RunId) -> Error {
    Error::new(
        ErrorKind::Claimed { run },
        format!(
            "run {run} holds the store; wait until it has ended, or take the store over if it is dead"
        ),
    )
}

/// Whether a write of the run about itself is to be made again: it says the
/// same when it is made twice.
fn again(error: &Error) -> bool {
    error.is_conflict() || *error.kind() == ErrorKind::OutcomeUnknown
}

/// An execution of a run lost the store to a run, or to another execution of its own.
fn lost(run: RunId, to: RunId) -> Error {
    let message = if run == to {
        format!(
            "run {run} was taken over by another execution of itself; look at its record for how far it is"
        )
    } else {
        format!(
            "run {run} lost the store to run {to}, which took it over; nothing was written since"
        )
    };
    Error::new(ErrorKind::Claimed { run: to }, message)
}

fn in_the_way() -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "the record of the run gave way to other writes {ATTEMPTS} times; resume the run later"
        ),
    )
}

fn history_of(store: &Store) -> Result<Runs, Error> {
    Runs::of(store as &dyn EventStore).ok_or_else(|| {
        Error::invalid("the store says that it is transactional and gives no transactional handle")
    })
}
