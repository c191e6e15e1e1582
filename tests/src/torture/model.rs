//! The model: the required content of a store, in plain vectors. It holds every event
//! that was requested, whether it was acknowledged, and what follows from it.
//!
//! The model shares no code with the library's stores. An append whose answer was lost
//! may have been written or not; the model reads this once, and expects it from then on.

mod stream;

use std::collections::BTreeMap;

use state_migration::{Error, ErrorKind, ProcessIdentity, RegistryKey, RunId, TenantId};

pub use stream::Stream;

use super::workflows::{Happened, Version};

/// What is wrong with a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Which of the kinds that the table counts.
    pub kind: Kind,
    /// What, and where.
    pub what: String,
}

/// Kinds of what can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An event that was acknowledged is not there.
    Lost,
    /// An event is there twice, or a process was migrated twice.
    Doubled,
    /// The store could not be read, which it may say when it is closed.
    Unread,
    /// The store could not be read now, and said to try again.
    Unavailable,
    /// Everything else.
    Other,
}

impl Wrong {
    /// Something else than a lost or a doubled event.
    pub fn other(what: impl Into<String>) -> Self {
        Self {
            kind: Kind::Other,
            what: what.into(),
        }
    }

    /// An error of the store where there should be none.
    #[must_use]
    pub fn unread(what: impl std::fmt::Display, error: &Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Corrupt | ErrorKind::NewerFormat => Kind::Other,
            ErrorKind::Unavailable => Kind::Unavailable,
            _ => Kind::Unread,
        };
        Self {
            kind,
            what: format!("{what}: {error}"),
        }
    }

    /// Whether the store said that it could not be read.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        matches!(self.kind, Kind::Unread | Kind::Unavailable)
    }

    fn lost(what: String) -> Self {
        Self {
            kind: Kind::Lost,
            what,
        }
    }

    /// An event that is there twice.
    pub fn twice(what: impl Into<String>) -> Self {
        Self {
            kind: Kind::Doubled,
            what: what.into(),
        }
    }
}

/// A value that a write may have changed.
#[derive(Debug, Clone)]
pub struct Maybe<T> {
    now: T,
    /// What it may be instead, since answers were lost.
    or: Vec<T>,
}

impl<T: PartialEq> Maybe<T> {
    fn new(now: T) -> Self {
        Self {
            now,
            or: Vec::new(),
        }
    }

    /// A write is asked for.
    pub fn ask(&mut self, value: T) {
        self.or.push(value);
    }

    /// The write that was asked for last was acknowledged.
    pub fn acknowledge(&mut self) {
        if let Some(value) = self.or.pop() {
            self.now = value;
            self.or.clear();
        }
    }

    /// The write that was asked for last has not happened.
    pub fn refuse(&mut self) {
        self.or.pop();
    }

    fn check(&mut self, seen: T, settled: bool) -> bool {
        if self.now != seen && !self.or.contains(&seen) {
            return false;
        }
        if settled {
            self.now = seen;
            self.or.clear();
        }
        true
    }
}

/// An append in the model.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    stream: usize,
    number: u64,
}

/// Under which keys processes are registered, of which tenant.
type Registered = BTreeMap<(TenantId, String), (RegistryKey, Maybe<Option<usize>>)>;

/// What a store must hold.
#[derive(Debug)]
pub struct Model {
    /// All processes that there may be.
    pub streams: Vec<Stream>,
    /// Which process is registered under which key.
    pub keys: Registered,
    next_token: u64,
    next_number: u64,
}

impl Model {
    /// A model of these processes, none of which has an event.
    #[must_use]
    pub fn new(processes: impl IntoIterator<Item = ProcessIdentity>) -> Self {
        Self {
            streams: processes.into_iter().map(Stream::new).collect(),
            keys: BTreeMap::new(),
            next_token: 0,
            next_number: 0,
        }
    }

    /// A token that no event has yet.
    pub fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// Records the request of an append after the event `after`. Its outcome is
    /// unknown until it is reported.
    pub fn ask(
        &mut self,
        stream: usize,
        after: u64,
        version: Version,
        events: Vec<Happened>,
    ) -> Asked {
        self.next_number += 1;
        let number = self.next_number;
        self.streams[stream].ask(number, after + 1, version, events);
        Asked { stream, number }
    }

    /// An append was acknowledged: it is durable.
    pub fn acknowledge(&mut self, asked: Asked) {
        self.streams[asked.stream].acknowledge(asked.number);
    }

    /// An append was refused: nothing was written.
    pub fn refuse(&mut self, asked: Asked) {
        self.streams[asked.stream].refuse(asked.number);
    }

    /// The question what is registered under a key.
    pub fn key(&mut self, tenant: &TenantId, key: &RegistryKey) -> &mut Maybe<Option<usize>> {
        let place = (tenant.clone(), key.to_string());
        let new = || (key.clone(), Maybe::new(None));
        &mut self.keys.entry(place).or_insert_with(new).1
    }

    /// Compares what a key leads to. Returns the process.
    ///
    /// # Errors
    /// Something is wrong.
    pub fn check_key(
        &mut self,
        tenant: &TenantId,
        key: &RegistryKey,
        seen: Option<&ProcessIdentity>,
        settled: bool,
    ) -> Result<Option<usize>, Wrong> {
        let found = seen.map(|seen| {
            let same = |stream: &Stream| stream.id() == seen.stream_id();
            self.streams.iter().position(same).unwrap_or(usize::MAX)
        });
        if !self.key(tenant, key).check(found, settled) {
            return Err(Wrong::other(format!(
                "{key} of tenant {tenant} leads to {seen:?}, and must not"
            )));
        }
        if let (Some(process), Some(seen)) = (found, seen) {
            let at = Version::of(&seen.workflow_id);
            if at != self.streams[process].version() {
                return Err(Wrong::other(format!(
                    "{key} of tenant {tenant} has version {at:?}, but {} is at {:?}",
                    seen.stream_id(),
                    self.streams[process].version()
                )));
            }
        }
        Ok(found)
    }

    /// How many events there are, of users.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.streams.iter().map(Stream::events).sum()
    }

    /// How many processes a run was seen to have migrated.
    #[must_use]
    pub fn migrated_by(&self, run: RunId) -> usize {
        self.streams
            .iter()
            .map(|stream| stream.migrations_of(run))
            .sum()
    }
}
