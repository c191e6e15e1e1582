//! The head of a stream, and how each write changes it.
//!
//! Every store applies the same rules: when a write is rejected, and which head
//! follows from it. They are here once.

use std::cmp::Ordering;

use crate::baseline;
use crate::error::{Error, ErrorKind};
use crate::event::{MIGRATED, NewEvent, is_reserved};
use crate::fingerprint::Fingerprint;
use crate::id::{StreamId, WorkflowId};
use crate::store_api::ExpectedSequence;
use crate::version::natural_cmp;

/// The head of a stream: last sequence number, version and flags.
///
/// The methods are for implementors of stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The sequence number of the last event.
    pub sequence: u64,
    /// Increased by every change of the head. A store that changes heads only
    /// by appends may use the sequence number.
    pub revision: u64,
    /// The version of the process: the target of its latest `$migrated` event,
    /// or else the version of its first event.
    pub workflow_id: WorkflowId,
    /// The sequence number of the latest `$migrated` event, if any.
    pub baseline: Option<u64>,
    /// The first sequence number whose event still exists: 1 unless events were
    /// erased on purpose.
    pub first_kept: u64,
    /// Whether the process is finished.
    pub finished: bool,
    /// The fingerprint of the migration and of the build of the program whose
    /// run marked the process as finished; `None` if the last event did.
    pub finished_by: Option<Fingerprint>,
    /// Whether an operator holds the process, so that no run migrates it.
    pub held: bool,
    /// Whether an undo took the process to its version.
    pub undone: bool,
}

impl Head {
    /// The head of a stream that has only been appended to.
    #[must_use]
    pub fn of(sequence: u64, workflow_id: WorkflowId) -> Self {
        Self {
            sequence,
            revision: sequence,
            workflow_id,
            baseline: None,
            first_kept: 1,
            finished: false,
            finished_by: None,
            held: false,
            undone: false,
        }
    }

    /// Where a replay starts: the sequence number before the first event to
    /// fold.
    #[must_use]
    pub fn replay_after(&self) -> u64 {
        self.baseline.map_or(0, |at| at.saturating_sub(1))
    }

    /// The head after an append to a stream with the head `before` (`None`: the
    /// stream has no events). The events get the sequence numbers after
    /// `before`, up to the one of the new head.
    ///
    /// # Errors
    /// The append is rejected, by the first of these rules that it breaks:
    /// - [`ErrorKind::Invalid`]: it has no events, events of two versions, a
    ///   `$migrated` event beside others, or another event of a reserved type.
    /// - [`ErrorKind::Migrated`] or [`ErrorKind::WrongVersion`]: the process is
    ///   at another version than the events, or than the source of the
    ///   `$migrated` event.
    /// - [`ErrorKind::Conflict`]: the stream does not end at `expected`.
    /// - [`ErrorKind::Invalid`]: a `$migrated` event for a stream without
    ///   events.
    /// - [`ErrorKind::Held`]: a `$migrated` event for a held process.
    pub fn after_append(
        before: Option<&Self>,
        stream: &StreamId,
        expected: ExpectedSequence,
        events: &[NewEvent],
    ) -> Result<Self, Error> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Err(Error::invalid(format!(
                "an append to {stream} has no events"
            )));
        };
        check_alike(stream, first, events)?;
        let is_migration = is_reserved(first.event_type());
        // The version is compared first, so that code of an old version learns
        // that the process has moved, not only that another writer was faster.
        if let Some(before) = before.filter(|_| !is_migration) {
            before.check_version(stream, first.workflow_id())?;
        }
        check_end(stream, expected, before)?;
        if is_migration {
            let Some(before) = before else {
                return Err(Error::invalid(format!(
                    "stream {stream} has no events, so it cannot be migrated"
                )));
            };
            before.check_migration(stream, first)?;
            return before.after_migration(stream, first);
        }
        let blank = Self::of(0, first.workflow_id().clone());
        let before = before.unwrap_or(&blank);
        Ok(Self {
            sequence: before.sequence_after(stream, events.len() as u64)?,
            revision: before.revision + 1,
            finished: last.finishes(),
            finished_by: None,
            ..before.clone()
        })
    }

    /// The head after the migration of a [`Move`](crate::Move), whose event gets
    /// the sequence number of the new head.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: the sequence numbers are used up.
    pub fn after_migration(&self, stream: &StreamId, event: &NewEvent) -> Result<Self, Error> {
        let sequence = self.sequence_after(stream, 1)?;
        // A redo changes the state alone.
        let is_redo = *event.workflow_id() == self.workflow_id;
        Ok(Self {
            sequence,
            revision: self.revision + 1,
            workflow_id: event.workflow_id().clone(),
            baseline: Some(sequence),
            finished: event.finishes(),
            finished_by: None,
            undone: event.undoes() || is_redo && self.undone,
            ..*self
        })
    }

    /// The head after a run found that the process is finished: see
    /// [`Finished`](crate::Finished).
    #[must_use]
    pub fn after_finish(&self, by: Fingerprint) -> Self {
        Self {
            revision: self.revision + 1,
            finished: true,
            finished_by: Some(by),
            ..self.clone()
        }
    }

    /// The head after the events before this one were removed: see
    /// [`Erasure`](crate::Erasure).
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`]: a replay needs the events, or they are removed already.
    pub fn after_erasure(&self, stream: &StreamId, before: u64) -> Result<Self, Error> {
        let baseline = self.baseline.unwrap_or(0);
        if before <= self.first_kept || before > baseline {
            return Err(Error::invalid(format!(
                "the events of stream {stream} before event {before} cannot be removed: it keeps those from {} on, and a replay starts at {}",
                self.first_kept,
                self.replay_after() + 1
            )));
        }
        Ok(Self {
            revision: self.revision + 1,
            first_kept: before,
            ..self.clone()
        })
    }

    /// The head after a hold or a release.
    #[must_use]
    pub fn after_hold(&self, held: bool) -> Self {
        Self {
            revision: self.revision + 1,
            held,
            ..self.clone()
        }
    }

    /// Checks that code of version `code` may write to the process: an event, a
    /// snapshot or a registry entry.
    ///
    /// # Errors
    /// [`ErrorKind::Migrated`] if the process is at a later version of the same
    /// workflow, otherwise [`ErrorKind::WrongVersion`].
    pub fn check_version(&self, stream: &StreamId, code: &WorkflowId) -> Result<(), Error> {
        check_version(stream, code, &self.workflow_id)
    }

    /// The sequence number of the last of `count` more events.
    fn sequence_after(&self, stream: &StreamId, count: u64) -> Result<u64, Error> {
        self.sequence.checked_add(count).ok_or_else(|| {
            Error::corrupt(format!(
                "the sequence numbers of stream {stream} are used up"
            ))
        })
    }

    fn check_migration(&self, stream: &StreamId, event: &NewEvent) -> Result<(), Error> {
        let baseline = baseline::parse(event.schema_version(), event.payload())
            .map_err(|bad| bad.at(stream, self.sequence + 1))?;
        if baseline.target() != *event.workflow_id() {
            return Err(Error::invalid(format!(
                "a `{MIGRATED}` event for {stream} is of version {}, but its baseline is of version {}",
                baseline.target(),
                event.workflow_id()
            )));
        }
        self.check_version(stream, &baseline.source())?;
        match self.held {
            false => Ok(()),
            true => Err(Error::new(
                ErrorKind::Held,
                format!(
                    "process {stream} is held by an operator and stays at {}; release it first",
                    self.workflow_id
                ),
            )),
        }
    }
}

/// Checks that events can be appended together.
fn check_alike(stream: &StreamId, first: &NewEvent, events: &[NewEvent]) -> Result<(), Error> {
    let version = first.workflow_id();
    if let Some(other) = events.iter().find(|it| it.workflow_id() != version) {
        return Err(Error::invalid(format!(
            "an append to {stream} mixes events of {version} and {}",
            other.workflow_id()
        )));
    }
    match events.iter().find(|it| is_reserved(it.event_type())) {
        Some(_) if events.len() > 1 => Err(Error::invalid(format!(
            "an append to {stream} mixes a `{MIGRATED}` event with others"
        ))),
        Some(other) if other.event_type() != MIGRATED => Err(Error::invalid(format!(
            "the event type {:?} is reserved",
            other.event_type()
        ))),
        _ => Ok(()),
    }
}

fn check_end(
    stream: &StreamId,
    expected: ExpectedSequence,
    head: Option<&Head>,
) -> Result<(), Error> {
    let last = head.map_or(0, |head| head.sequence);
    if last == expected.last() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "stream {stream} ends at event {last}, not at {}; load the process again and retry",
            expected.last()
        ),
    ))
}

/// Checks that code of version `code` may write to a process at `stands_at`.
pub(crate) fn check_version(
    stream: &StreamId,
    code: &WorkflowId,
    stands_at: &WorkflowId,
) -> Result<(), Error> {
    if code == stands_at {
        return Ok(());
    }
    let same_name = code.name() == stands_at.name();
    if same_name && natural_cmp(code.version(), stands_at.version()) == Ordering::Less {
        return Err(Error::new(
            ErrorKind::Migrated {
                to: stands_at.clone(),
            },
            format!(
                "process {stream} was migrated to {stands_at}, but this code is for {code}; use code for {stands_at}"
            ),
        ));
    }
    let way_out = match same_name {
        true => "migrate the process, or use code for its version",
        false => "use code for its workflow",
    };
    Err(Error::new(
        ErrorKind::WrongVersion {
            stands_at: stands_at.clone(),
        },
        format!("process {stream} is at {stands_at}, but this code is for {code}; {way_out}"),
    ))
}
