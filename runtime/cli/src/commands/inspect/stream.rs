//! What a stream holds, read once from its first event to its last.

use state_migration_core::{Baseline, Error, Event, EventStore, MIGRATED, StreamId, Timestamp};

/// How many events are read at a time.
const PAGE: usize = 512;

/// How many problems are told of.
const PROBLEMS: usize = 5;

/// What a stream holds.
#[derive(Default)]
pub(crate) struct Stream {
    /// The events that were asked for.
    pub(crate) lines: Vec<Event>,
    /// All of the migrations, in order.
    pub(crate) migrations: Vec<Migration>,
    /// What could not be read.
    pub(crate) problems: Vec<String>,
}

/// A migration that a stream tells of.
pub(crate) struct Migration {
    pub(crate) sequence: u64,
    pub(crate) time: Timestamp,
    pub(crate) baseline: Baseline,
}

impl Stream {
    /// Reads up to the event `last`, and keeps those after `after`, `limit` at most.
    pub(crate) async fn read(
        events: &impl EventStore,
        stream: &StreamId,
        last: u64,
        after: u64,
        limit: usize,
    ) -> Result<Self, Error> {
        let mut read = Self::default();
        let mut at = 0;
        while at < last {
            let wanted = usize::try_from(last - at).unwrap_or(PAGE).min(PAGE);
            let page = match events.read_all(stream, at, wanted).await {
                Ok(page) => page,
                // One bad record is not to hide the others.
                Err(_) => read.one_by_one(events, stream, at, wanted).await,
            };
            at += wanted as u64;
            for event in page {
                read.keep(event, after, limit);
            }
        }
        Ok(read)
    }

    async fn one_by_one(
        &mut self,
        events: &impl EventStore,
        stream: &StreamId,
        after: u64,
        wanted: usize,
    ) -> Vec<Event> {
        let mut page = Vec::new();
        for at in after..after + wanted as u64 {
            match events.read_all(stream, at, 1).await {
                Ok(mut one) => page.extend(one.pop().filter(|event| event.sequence == at + 1)),
                Err(error) => self.problem(&error),
            }
        }
        page
    }

    fn keep(&mut self, event: Event, after: u64, limit: usize) {
        if event.event_type == MIGRATED {
            match Baseline::from_event(&event) {
                Ok(baseline) => self.migrations.push(Migration {
                    sequence: event.sequence,
                    time: event.time,
                    baseline,
                }),
                Err(error) => self.problem(&error),
            }
        }
        if event.sequence > after && self.lines.len() < limit {
            self.lines.push(event);
        }
    }

    fn problem(&mut self, error: &Error) {
        if self.problems.len() < PROBLEMS {
            self.problems.push(error.to_string());
        }
    }
}
