//! The history of runs, wherever a command reads it: in the store itself, or
//! through the service that has it open.

use crate::context::Context;
use crate::exit_code::Failure;
use crate::remote::client::{Told, Via};
use state_migration_core::{FailureClass, RunId, StreamId};
use state_migration_runner::run::history::Claim;
use state_migration_runner::{Failure as Failed, RunCounts, RunRecord, Runs};
use state_migration_store::SlateDbReader;

/// The runs that a store has seen.
pub(crate) enum History {
    Store(Runs, Option<SlateDbReader>),
    Service(Via, Told),
}

impl Context {
    /// The history of the store that is named, or of the service.
    pub(crate) async fn history(&self) -> Result<History, Failure> {
        if let Some(via) = self.via() {
            return History::through(via).await;
        }
        let reader = self.reader().await?;
        let runs = Runs::of(&reader).ok_or_else(|| self.keeps_no_runs())?;
        Ok(History::Store(runs, Some(reader)))
    }
}

impl From<Runs> for History {
    fn from(runs: Runs) -> Self {
        Self::Store(runs, None)
    }
}

impl History {
    /// The history of the store of a service, as it is now.
    pub(crate) async fn through(via: Via) -> Result<Self, Failure> {
        let told = via.runs(None).await?;
        Ok(Self::Service(via, told))
    }

    /// The last runs of the store of a service, with the one that holds it.
    pub(crate) async fn of_late(via: Via, limit: usize) -> Result<Self, Failure> {
        let told = via.runs(Some(limit)).await?;
        Ok(Self::Service(via, told))
    }

    /// All runs.
    pub(crate) async fn list(&self) -> Result<Vec<RunRecord>, Failure> {
        match self {
            Self::Store(runs, _) => Ok(runs.list().await?),
            Self::Service(_, told) => Ok(told.runs.iter().map(|(run, _)| run.clone()).collect()),
        }
    }

    pub(crate) async fn get(&self, run: RunId) -> Result<Option<RunRecord>, Failure> {
        match self {
            Self::Store(runs, _) => Ok(runs.get(run).await?),
            Self::Service(_, told) => Ok(told.of(run).map(|(run, _)| run.clone())),
        }
    }

    /// What a run has done.
    pub(crate) async fn counts(&self, run: RunId) -> Result<RunCounts, Failure> {
        match self {
            Self::Store(runs, _) => Ok(runs.counts(run).await?),
            Self::Service(_, told) => {
                Ok(told.of(run).map(|(_, counts)| *counts).unwrap_or_default())
            }
        }
    }

    /// All runs, with the one that holds the store.
    pub(crate) async fn list_claimed(&self) -> Result<(Vec<RunRecord>, Option<Claim>), Failure> {
        match self {
            Self::Store(runs, reader) => {
                let (records, mut claim) = runs.list_claimed().await?;
                // Where nobody has the store open, nobody works on it either.
                if let (Some(claim), Some(reader)) = (&mut claim, reader) {
                    claim.is_dead |= !reader.is_in_use().await?;
                }
                Ok((records, claim))
            }
            Self::Service(_, told) => Ok((self.list().await?, told.claim)),
        }
    }

    /// At most `limit` failures of a run after a stream; fewer mean the end.
    pub(crate) async fn failures(
        &self,
        run: RunId,
        class: Option<FailureClass>,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<Failed>, Failure> {
        match self {
            Self::Store(runs, _) => Ok(runs.failures(run, class, after, limit).await?),
            Self::Service(via, _) => via.failures(run, class, after, limit).await,
        }
    }

    /// Lets the store go.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        if let Self::Store(_, Some(reader)) = self {
            reader.close().await?;
        }
        Ok(())
    }
}
