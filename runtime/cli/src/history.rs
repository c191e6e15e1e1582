//! The history of runs, read from the store or from the service that has it open.

use state_migration_core::{FailureClass, RunId, StreamId};
use state_migration_runner::run::history::Claim;
use state_migration_runner::{
    Execution, Failure as Failed, RunAction, RunCounts, RunKind, RunRecord, RunTotals, Runs,
};
use state_migration_store::SlateDbReader;

use crate::context::Context;
use crate::exit_code::Failure;
use crate::local::program_fit;
use crate::remote::client::{ServiceClient, ServiceRuns};

/// The history of runs of a store.
pub(crate) enum History {
    Store(Runs, Option<SlateDbReader>),
    Service(ServiceClient, ServiceRuns),
}

impl Context {
    /// Reads the history of the named store or service.
    pub(crate) async fn history(&self) -> Result<History, Failure> {
        if let Some(client) = self.client() {
            return History::through(client).await;
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
    /// Reads the current history from a service.
    pub(crate) async fn through(client: ServiceClient) -> Result<Self, Failure> {
        let listed = client.runs(None).await?;
        Ok(Self::Service(client, listed))
    }

    /// Reads the last runs from a service, and the run that has claimed the store.
    pub(crate) async fn of_late(client: ServiceClient, limit: usize) -> Result<Self, Failure> {
        let listed = client.runs(Some(limit)).await?;
        Ok(Self::Service(client, listed))
    }

    /// All runs.
    pub(crate) async fn list(&self) -> Result<Vec<RunRecord>, Failure> {
        match self {
            Self::Store(runs, _) => Ok(runs.list().await?),
            Self::Service(_, listed) => {
                Ok(listed.runs.iter().map(|(run, _)| run.clone()).collect())
            }
        }
    }

    pub(crate) async fn get(&self, run: RunId) -> Result<Option<RunRecord>, Failure> {
        match self {
            Self::Store(runs, _) => Ok(runs.get(run).await?),
            Self::Service(_, listed) => Ok(listed.of(run).map(|(run, _)| run.clone())),
        }
    }

    /// The counts of a run.
    pub(crate) async fn counts(&self, run: RunId) -> Result<RunCounts, Failure> {
        match self {
            Self::Store(runs, _) => Ok(runs.counts(run).await?),
            Self::Service(_, listed) => Ok(listed
                .of(run)
                .map(|(_, counts)| *counts)
                .unwrap_or_default()),
        }
    }

    /// The undo that took processes of a run back, if any.
    pub(crate) async fn undo_of<'a>(
        &self,
        run: RunId,
        all: &'a [RunRecord],
    ) -> Result<Option<&'a RunRecord>, Failure> {
        for undo in all {
            let is_undo = undo.kind == RunKind::Undo { of: run };
            if is_undo && self.counts(undo.id).await?.migrated > 0 {
                return Ok(Some(undo));
            }
        }
        Ok(None)
    }

    /// The executions of a run, oldest first.
    pub(crate) async fn executions(&self, run: RunId) -> Result<Vec<Execution>, Failure> {
        match self {
            Self::Store(runs, _) => Ok(runs.executions(run).await?),
            Self::Service(client, _) => Ok(client.executed(run).await?.0),
        }
    }

    /// The requests to a run while it was in progress, oldest first.
    pub(crate) async fn actions(&self, run: RunId) -> Result<Vec<RunAction>, Failure> {
        match self {
            Self::Store(runs, _) => Ok(runs.actions(run).await?),
            Self::Service(client, _) => Ok(client.executed(run).await?.1),
        }
    }

    /// The totals of the processes that a run has migrated.
    pub(crate) async fn totals(&self, run: RunId) -> Result<RunTotals, Failure> {
        match self {
            Self::Store(runs, _) => Ok(runs.totals(run).await?),
            Self::Service(client, _) => Ok(client.executed(run).await?.2),
        }
    }

    /// All runs, with the claim on the store.
    pub(crate) async fn list_claimed(&self) -> Result<(Vec<RunRecord>, Option<Claim>), Failure> {
        match self {
            Self::Store(runs, reader) => {
                let (records, mut claim) = runs.list_claimed().await?;
                // If no program has the store open, no program executes the run either.
                if let (Some(claim), Some(reader)) = (&mut claim, reader) {
                    claim.is_dead |= reader.in_use().await?.is_none();
                }
                Ok((records, claim))
            }
            Self::Service(_, listed) => Ok((self.list().await?, listed.claim)),
        }
    }

    /// Whether the program that has the store open appears to be alive, so that it may
    /// execute the run that claims the store.
    pub(crate) async fn is_open_elsewhere(&self) -> Result<bool, Failure> {
        Ok(match self {
            Self::Store(_, Some(reader)) => {
                let in_use = reader.in_use().await?;
                in_use.is_some_and(|in_use| in_use.appears_alive())
            }
            Self::Store(_, None) => false,
            Self::Service(..) => true,
        })
    }

    /// Refuses to resume a run that a newer program has executed, as far as that is known
    /// here. A service checks that itself.
    pub(crate) async fn check_program(&self, context: &Context) -> Result<(), Failure> {
        let Self::Store(_, Some(reader)) = self else {
            return Ok(());
        };
        program_fit::check_resume(context, reader).await
    }

    /// At most `limit` failures of a run after a stream, of these classes or of all; fewer
    /// mean the end.
    pub(crate) async fn failures(
        &self,
        run: RunId,
        classes: &[FailureClass],
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<Failed>, Failure> {
        match self {
            Self::Store(runs, _) => Ok(runs.failures(run, classes.to_vec(), after, limit).await?),
            Self::Service(client, _) => client.failures(run, classes, after, limit).await,
        }
    }

    /// Closes the store.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        if let Self::Store(_, Some(reader)) = self {
            reader.close().await?;
        }
        Ok(())
    }
}
