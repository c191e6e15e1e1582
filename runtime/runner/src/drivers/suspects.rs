//! Suspects, tried alone before a run continues.
//!
//! A suspect was in user code when a program ended. Here it is migrated while no other
//! user code of the run runs, as if it were opened beside the run. If the program ends again,
//! the next execution knows which process it was. If its code fails, the run reaches the
//! process again.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{Either, select};
use state_migration_core::{DueOf, DuePage, Error, FailureClass, StreamId};

use crate::chunk::context::ChunkContext;
use crate::chunk::page::Page;
use crate::run::bookkeeping::Bookkeeping;
use crate::run::on_open_log::OnOpenLog;
use crate::run::run_log::{Range, RunLog};
use crate::run::suspects::{self, Decided, SuspectRow, Verdict};
use crate::run::{RunCounts, RunKind};
use crate::run_context::RunContext;
use crate::stages::scan;
use crate::user_code::threads::EndOfRun;

/// Time within which code that ends the program is expected to do so.
const AT_ONCE: Duration = Duration::from_secs(1);

impl ChunkContext {
    /// All suspects. A dry run or a rehearsal tries none of them, and a run with a limit tries each one
    /// when it reaches it, since which processes it is for is known only then.
    pub(crate) async fn suspects(
        &mut self,
        run: &RunContext,
    ) -> Result<Vec<(StreamId, SuspectRow)>, Error> {
        if self.committer.bookkeeping.run_log().is_none() || run.rehearses {
            self.decided = Decided::for_reading(&self.store, &run.migrations).await?;
            return Ok(Vec::new());
        }
        let mut suspects = suspects::all(&self.store).await?;
        if matches!(run.kind, RunKind::Retry { .. }) {
            // A retry is a new attempt, whatever earlier runs have found out.
            suspects.retain(|(_, row)| row.run == run.id);
        }
        if self.selection.limit().is_some() {
            let open = suspects.iter();
            let open = open.filter(|(_, row)| row.verdict == Verdict::Suspected);
            self.open_suspects = Arc::new(Mutex::new(open.cloned().collect()));
        }
        Ok(suspects)
    }

    /// Whether a suspect is tried before the run continues.
    pub(crate) fn is_tried_first(&self, stream: &StreamId, row: &SuspectRow) -> bool {
        row.verdict == Verdict::Suspected
            && self.selection.limit().is_none()
            && self.selection.selects(stream)
    }

    /// Tries each suspect that a run with a limit has reached, alone: such a run has one
    /// worker. Returns whether there was one.
    pub(crate) async fn try_reached(&self, page: &DuePage) -> Result<bool, Error> {
        let Some(run_log) = self.committer.bookkeeping.run_log() else {
            return Ok(false);
        };
        let reached: Vec<(StreamId, SuspectRow)> = {
            let mut open = self.open_suspects.lock();
            let open = open.as_mut().unwrap_or_else(|poisoned| poisoned.get_mut());
            let streams = page.processes.iter().map(|process| &process.stream);
            streams
                .filter_map(|stream| open.remove_entry(stream))
                .collect()
        };
        let any = !reached.is_empty();
        for (stream, mut row) in reached {
            self.try_suspect(&stream, &mut row, run_log).await?;
        }
        Ok(any)
    }

    /// Tries a suspect alone, and records what is known of it then. Returns what was
    /// committed.
    pub(crate) async fn try_suspect(
        &self,
        stream: &StreamId,
        row: &mut SuspectRow,
        run_log: &RunLog,
    ) -> Result<RunCounts, Error> {
        let tried = {
            let mut tried = pin!(self.try_alone(stream, row, run_log));
            match select(tried.as_mut(), pin!(tokio::time::sleep(AT_ONCE))).await {
                Either::Left((tried, _)) => tried?,
                Either::Right(_) => {
                    let slow = SuspectRow {
                        slow: true,
                        ..row.clone()
                    };
                    run_log.suspect(stream, &slow).await?;
                    tried.await?
                }
            }
        };
        let Some((verdict, counts)) = tried else {
            return Ok(RunCounts::default());
        };
        (row.verdict, row.slow) = (verdict, false);
        run_log.suspect(stream, row).await?;
        Ok(counts)
    }

    /// Migrates a suspect. Returns `None` if the run has no code for the process, or other
    /// code.
    async fn try_alone(
        &self,
        stream: &StreamId,
        row: &SuspectRow,
        run_log: &RunLog,
    ) -> Result<Option<(Verdict, RunCounts)>, Error> {
        let Some(head) = self.store.head(stream).await? else {
            return Ok(None);
        };
        let code = self.code_for(&head.workflow_id);
        if code != Some(row.code) || self.control.is_cancelled() {
            return Ok(None);
        }
        let mut alone = self.clone();
        // Only a run can tell which are the first N processes, or which have failed.
        let commits =
            matches!(run_log.record().kind, RunKind::Migrate) && self.selection.limit().is_none();
        alone.committer.bookkeeping = match commits {
            true => {
                let log = OnOpenLog::of_run(self.store.clone(), run_log.run()).await?;
                Bookkeeping::OnOpen(Arc::new(log))
            }
            false => Bookkeeping::DryRun,
        };
        let page = scan::page(
            &alone.store,
            DueOf::Streams(vec![stream.clone()]),
            Arc::new(scan::FoundBefore(alone.filter.clone())),
            1,
            alone.snapshots(),
        );
        let page = Page {
            read: page.await?,
            births: Vec::new(),
        };
        match alone.migrate_page(page, &mut Range::unstored()).await {
            Ok(worked) => {
                let mut failed = worked.done.failed.iter();
                let stuck = failed.any(|failed| failed.error.class == FailureClass::NeverReturned);
                let verdict = match stuck {
                    true => Verdict::NeverReturned,
                    false => Verdict::Survived,
                };
                let migrated = if commits {
                    worked.done.counts.migrated
                } else {
                    0
                };
                let counts = RunCounts {
                    migrated,
                    lazy: migrated,
                    ..RunCounts::default()
                };
                Ok(Some((verdict, counts)))
            }
            // The workers end the run.
            Err(error) if EndOfRun::behind(&error).is_some() => Ok(None),
            // Its code has returned, and the run reaches the process again.
            Err(error) if error.is_conflict() => {
                Ok(Some((Verdict::Survived, RunCounts::default())))
            }
            Err(error) => Err(error),
        }
    }
}
