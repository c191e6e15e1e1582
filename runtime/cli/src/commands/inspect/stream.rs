//! The content of a stream, read once from the first event to the last.

use state_migration_core::{Baseline, Error, Event, EventStore, MIGRATED, StreamId, Timestamp};

/// Number of events read at a time.
const PAGE: usize = 512;

/// Maximum number of problems shown.
const PROBLEMS: usize = 5;

/// The content of a stream.
#[derive(Default)]
pub(crate) struct Stream {
    /// The requested events.
    pub(crate) lines: Vec<Event>,
    /// All migrations, in order.
    pub(crate) migrations: Vec<Migration>,
    /// Records that could not be read.
    pub(crate) problems: Vec<String>,
}

/// A migration recorded in a stream.
pub(crate) struct Migration {
    pub(crate) sequence: u64,
    pub(crate) time: Timestamp,
    pub(crate) baseline: Baseline,
}

impl Stream {
    /// Reads from event `first` up to event `last`, and keeps at most `limit` events after `after`.
    pub(crate) async fn read(
        events: &impl EventStore,
        stream: &StreamId,
        (first, last): (u64, u64),
        after: u64,
        limit: usize,
    ) -> Result<Self, Error> {
        let mut read = Self::default();
        let mut at = first.saturating_sub(1);
        while at < last {
            let wanted = usize::try_from(last - at).unwrap_or(PAGE).min(PAGE);
            let page = match events.read_all(stream, at, wanted).await {
                Ok(page) => page,
                // A damaged record must not hide the others.
                Err(error) if error.is_of_record() => {
                    read.one_by_one(events, stream, at, wanted).await?
                }
                Err(error) => return Err(error),
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
    ) -> Result<Vec<Event>, Error> {
        let mut page = Vec::new();
        for at in after..after + wanted as u64 {
            match events.read_all(stream, at, 1).await {
                Ok(mut one) => page.extend(one.pop().filter(|event| event.sequence == at + 1)),
                Err(error) if error.is_of_record() => self.problem(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(page)
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
