//! Suspects, tried alone before a run continues.
//!
//! A suspect was in user code when a program ended. Here its code runs while no other
//! user code of the run does, and the result is discarded. If the program ends again, the
//! next execution knows which process it was.

use std::sync::Arc;

use state_migration_core::{DueOf, Error, FailureClass, StreamId};

use crate::chunk::context::ChunkContext;
use crate::chunk::page::Page;
use crate::run::RunKind;
use crate::run::bookkeeping::Bookkeeping;
use crate::run::run_log::Range;
use crate::run::suspects::{self, Decided, SuspectRow, Verdict};
use crate::run_context::RunContext;
use crate::stages::scan;
use crate::user_code::threads::EndOfRun;

impl ChunkContext {
    /// Tries each suspect that this run is for, and then knows which processes fail
    /// without a further attempt. A dry run tries none.
    pub(crate) async fn try_suspects(&mut self, run: &RunContext) -> Result<(), Error> {
        let Some(run_log) = self.committer.bookkeeping.run_log().cloned() else {
            self.decided = Decided::for_reading(&self.store).await?;
            return Ok(());
        };
        let mut suspects = suspects::all(&self.store).await?;
        if matches!(run.kind, RunKind::Retry { .. }) {
            // A retry is a new attempt, whatever earlier runs have found out.
            suspects.retain(|(_, row)| row.run == run.id);
        }
        for (stream, row) in &mut suspects {
            if row.verdict != Verdict::Suspected || !self.selection.selects(stream) {
                continue;
            }
            let Some(verdict) = self.try_alone(stream, row).await? else {
                continue;
            };
            row.verdict = verdict;
            run_log.suspect(stream, row).await?;
        }
        self.decided = Decided::of(suspects);
        Ok(())
    }

    /// Runs the code of a suspect. Returns `None` if the run has no code for the process,
    /// or other code.
    async fn try_alone(
        &self,
        stream: &StreamId,
        row: &SuspectRow,
    ) -> Result<Option<Verdict>, Error> {
        let Some(head) = self.store.head(stream).await? else {
            return Ok(None);
        };
        let planned = self.routes.get(&head.workflow_id);
        if planned.is_none_or(|planned| planned.code != row.code) || self.control.is_cancelled() {
            return Ok(None);
        }
        let mut alone = self.clone();
        alone.committer.bookkeeping = Bookkeeping::DryRun;
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
            Err(error) => Err(error),
        }
    }
}
