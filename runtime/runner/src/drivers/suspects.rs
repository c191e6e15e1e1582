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
use crate::run::RunKind;
use crate::run::bookkeeping::Bookkeeping;
use crate::run::on_open_log::OnOpenLog;
use crate::run::run_log::{Range, RunLog};
use crate::run::suspects::{self, Decided, SuspectRow, Verdict};
use crate::run_context::RunContext;
use crate::stages::scan;
use crate::user_code::threads::EndOfRun;

/// Time within which code that ends the program is expected to do so.
const AT_ONCE: Duration = Duration::from_secs(1);

impl ChunkContext {
    /// Tries each suspect that this run is for, and then knows which processes fail
    /// without a further attempt. A dry run tries none.
    pub(crate) async fn try_suspects(&mut self, run: &RunContext) -> Result<(), Error> {
        let Some(run_log) = self.committer.bookkeeping.run_log().cloned() else {
            self.decided = Decided::for_reading(&self.store, &run.migrations).await?;
            return Ok(());
        };
        let mut suspects = suspects::all(&self.store).await?;
        if matches!(run.kind, RunKind::Retry { .. }) {
            // A retry is a new attempt, whatever earlier runs have found out.
            suspects.retain(|(_, row)| row.run == run.id);
        }
        if self.selection.limit().is_some() {
            // Which processes the run is for is known only when it reaches them.
            let open = suspects.iter();
            let open = open.filter(|(_, row)| row.verdict == Verdict::Suspected);
            self.open_suspects = Arc::new(Mutex::new(open.cloned().collect()));
        } else {
            for (stream, row) in &mut suspects {
                if row.verdict == Verdict::Suspected && self.selection.selects(stream) {
                    self.try_suspect(stream, row, &run_log).await?;
                }
            }
        }
        self.decided = Decided::of(suspects);
        Ok(())
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

    /// Tries a suspect alone, and records what is known of it then.
    async fn try_suspect(
        &self,
        stream: &StreamId,
        row: &mut SuspectRow,
        run_log: &RunLog,
    ) -> Result<(), Error> {
        let verdict = {
            let mut tried = pin!(self.try_alone(stream, row, run_log));
            match select(tried.as_mut(), pin!(tokio::time::sleep(AT_ONCE))).await {
                Either::Left((verdict, _)) => verdict?,
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
        if let Some(verdict) = verdict {
            (row.verdict, row.slow) = (verdict, false);
            run_log.suspect(stream, row).await?;
        }
        Ok(())
    }

    /// Migrates a suspect. Returns `None` if the run has no code for the process, or other
    /// code.
    async fn try_alone(
        &self,
        stream: &StreamId,
        row: &SuspectRow,
        run_log: &RunLog,
    ) -> Result<Option<Verdict>, Error> {
        let Some(head) = self.store.head(stream).await? else {
            return Ok(None);
        };
        let planned = self.routes.get(&head.workflow_id);
        if planned.is_none_or(|planned| planned.code != row.code) || self.control.is_cancelled() {
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
                Ok(Some(match stuck {
                    true => Verdict::NeverReturned,
                    false => Verdict::Survived,
                }))
            }
            // The workers end the run.
            Err(error) if EndOfRun::behind(&error).is_some() => Ok(None),
            // Its code has returned, and the run reaches the process again.
            Err(error) if error.is_conflict() => Ok(Some(Verdict::Survived)),
            Err(error) => Err(error),
        }
    }
}
