//! What is written about processes that are migrated as they are opened: beside
//! a run that goes over all of them, and without one.

use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::id::{RunId, StreamId, WorkflowId};
use crate::run::rows::{self, FailureRow};
use crate::run::{RunCounts, RunKind, RunRecord, RunState, Runs, ledger};
use crate::runner::MigrationError;
use crate::selection::Selection;
use crate::store::{Chunk, EventStore, TransactionalStore};

/// Into how many rows the count is split, so that processes that are opened at
/// the same time seldom write the same one.
const SHARDS: u8 = 16;

/// The bookkeeping of processes that are migrated as they are opened.
pub(crate) struct LazyBook {
    store: Arc<dyn TransactionalStore>,
    run: RunId,
    /// The record of a run of its own; `None` where another run is under way,
    /// as part of which the processes count.
    own: Option<RunRecord>,
}

impl LazyBook {
    /// The bookkeeping as part of the run that holds the store, with the
    /// selection of that run; else of the run that `own` describes.
    pub(crate) async fn open(
        store: Arc<dyn TransactionalStore>,
        own: RunRecord,
    ) -> Result<(Self, Selection), Error> {
        let Some(runs) = Runs::of(&store as &dyn EventStore) else {
            return Err(Error::invalid(
                "the store says that it is transactional and gives no transactional handle",
            ));
        };
        let active = match runs.claimed_by().await? {
            Some(run) => runs.get(run).await?,
            None => None,
        };
        // A retry is for what failed in it, and for nothing else.
        let active = active.filter(|run| run.kind == RunKind::Migrate);
        let (run, own, selection) = match active {
            Some(active) => (active.id, None, active.plan.selection),
            None => {
                let selection = own.plan.selection.clone();
                (own.id, Some(own), selection)
            }
        };
        Ok((Self { store, run, own }, selection))
    }

    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    /// Commits a chunk of one process with what is written about it.
    pub(crate) async fn commit(
        &self,
        mut chunk: Box<dyn Chunk>,
        stream: &StreamId,
        counts: &RunCounts,
        failed: &[(MigrationError, Option<WorkflowId>)],
    ) -> Result<(), Error> {
        if let Some(own) = &self.own {
            self.put_record(&mut chunk, own).await?;
        }
        let mut counts = *counts;
        counts.lazy = counts.migrated;
        counts.failed = 0;
        for (error, at) in failed {
            // Beside another run that one comes by it too, and says so.
            if self.own.is_some() {
                let key = rows::failure(self.run, &error.stream_id);
                let before: Option<FailureRow> = chunk
                    .row(&key)
                    .await?
                    .map(|row| rows::read(row, format_args!("a failure of run {}", self.run)))
                    .transpose()?;
                counts.failed += u64::from(before.is_none());
                let attempt = before.map_or(0, |before| before.attempt) + 1;
                ledger::put_failure(&mut chunk, self.run, error, at.as_ref(), attempt)?;
            }
        }
        let key = rows::lazy(self.run, shard(stream));
        let mut sum: RunCounts = match chunk.row(&key).await? {
            Some(row) => rows::read(row, format_args!("a count of run {}", self.run))?,
            None => RunCounts::default(),
        };
        sum.add(&counts);
        let row = rows::write(&sum)?;
        chunk.put_row(key.clone(), Some(row));
        let answer = chunk.commit().await;
        match answer {
            Err(lost) if *lost.kind() == ErrorKind::OutcomeUnknown => {
                // What can be seen may not last: make it durable before it counts.
                self.store.flush().await.map_err(|_| lost)
            }
            answer => answer,
        }
    }

    async fn put_record(&self, chunk: &mut Box<dyn Chunk>, own: &RunRecord) -> Result<(), Error> {
        let key = rows::run(own.id);
        if chunk.row(&key).await?.is_some() {
            return Ok(());
        }
        let mut claim = rows::read_claim(chunk.row(rows::CLAIM).await?)?;
        claim.runs += 1;
        let mut record = own.clone();
        record.number = claim.runs;
        record.state = RunState::Running;
        debug_assert_eq!(record.kind, RunKind::Lazy);
        chunk.put_row(rows::CLAIM.to_vec(), Some(rows::write(&claim)?));
        chunk.put_row(key, Some(rows::write(&record)?));
        Ok(())
    }
}

fn shard(stream: &StreamId) -> u8 {
    let sum = stream
        .as_str()
        .bytes()
        .fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    sum % SHARDS
}
