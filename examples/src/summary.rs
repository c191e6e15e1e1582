//! A summary of the loans in the store, read under version 2013.

use serde::Serialize;
use state_migration::{
    Error, ErrorKind, EventStore, Process, ProcessIdentity, SlateDbStore, StreamId,
};
use tokio::task::{JoinError, JoinSet};

use crate::import::APPLICATION_STREAMS;
use crate::loan_2012::Outcome;
use crate::loan_2013::{Loan2013, LoanState2013};

/// How many streams, and of one stream how many events, are listed at a time.
const PAGE: usize = 512;

/// How many applications one task loads; the tasks of a page run side by side.
const SHARE: usize = 64;

/// The loans of a store.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Domain events in the streams of all applications, at whatever version.
    pub events: u64,
    /// Applications at version 2013, by outcome.
    pub loans: Loans,
    /// The amounts asked for in those applications, in whole euro.
    pub amount_requested: u128,
    /// How long the customers of those applications waited.
    pub waited_seconds: u128,
    /// Applications that are not at version 2013.
    pub behind: u64,
}

/// Why the loans of a store could not be summed up.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum SummaryError {
    /// The store cannot be read.
    Store(#[from] Error),
    /// A task that was reading it ended early.
    Task(#[from] JoinError),
}

/// Applications by outcome.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Loans {
    /// The bank said yes.
    pub approved: u64,
    /// The bank said no.
    pub declined: u64,
    /// The customer did not want it any more.
    pub cancelled: u64,
    /// Not decided yet.
    pub open: u64,
}

impl Loans {
    /// All applications.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.approved + self.declined + self.cancelled + self.open
    }
}

impl Summary {
    /// Loads every application of the store. Deletes all snapshots before, so
    /// that what is read is what the events say.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn of(store: &SlateDbStore) -> Result<Self, SummaryError> {
        store.delete_all_snapshots().await?;
        let mut summary = Self::default();
        let mut after: Option<StreamId> = None;
        loop {
            let streams = store
                .list_streams(Some(APPLICATION_STREAMS), after.as_ref(), PAGE)
                .await?;
            let mut tasks = JoinSet::new();
            for share in streams.chunks(SHARE) {
                tasks.spawn(Self::of_streams(store.clone(), share.to_vec()));
            }
            while let Some(part) = tasks.join_next().await {
                summary.merge(&part??);
            }
            if streams.len() < PAGE {
                return Ok(summary);
            }
            after = streams.into_iter().next_back();
        }
    }

    async fn of_streams(store: SlateDbStore, streams: Vec<StreamId>) -> Result<Self, Error> {
        let mut summary = Self::default();
        for stream in &streams {
            summary.events += domain_events(&store, stream).await?;
            summary.add(load(&store, stream).await?.as_ref());
        }
        Ok(summary)
    }

    fn merge(&mut self, part: &Self) {
        self.events += part.events;
        self.loans.approved += part.loans.approved;
        self.loans.declined += part.loans.declined;
        self.loans.cancelled += part.loans.cancelled;
        self.loans.open += part.loans.open;
        self.amount_requested += part.amount_requested;
        self.waited_seconds += part.waited_seconds;
        self.behind += part.behind;
    }

    fn add(&mut self, loan: Option<&LoanState2013>) {
        let Some(loan) = loan else {
            self.behind += 1;
            return;
        };
        let count = match loan.decision.map(|decision| decision.outcome) {
            Some(Outcome::Approved) => &mut self.loans.approved,
            Some(Outcome::Declined) => &mut self.loans.declined,
            Some(Outcome::Cancelled) => &mut self.loans.cancelled,
            None => &mut self.loans.open,
        };
        *count += 1;
        self.amount_requested += u128::from(loan.amount_requested);
        self.waited_seconds += u128::from(loan.waited_seconds);
    }
}

/// The application under version 2013, if it stands there.
async fn load(store: &SlateDbStore, stream: &StreamId) -> Result<Option<LoanState2013>, Error> {
    let Some((tenant, process)) = stream.process() else {
        return Ok(None);
    };
    let identity = ProcessIdentity::of::<Loan2013>(tenant, process);
    match Process::<Loan2013>::open(identity, store.clone(), store.clone()).await {
        Ok(process) => Ok(Some(process.state().clone())),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WrongVersion { .. } | ErrorKind::Migrated { .. }
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn domain_events(store: &SlateDbStore, stream: &StreamId) -> Result<u64, Error> {
    let (mut count, mut after) = (0, 0);
    loop {
        let page = store.read(stream, after, PAGE).await?;
        count += page.len() as u64;
        match page.last() {
            Some(last) if page.len() == PAGE => after = last.sequence,
            _ => return Ok(count),
        }
    }
}
