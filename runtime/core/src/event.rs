//! Events: the facts of a process, in order.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use crate::error::{Error, ErrorKind};
use crate::id::{EventId, StreamId, WorkflowId};
use crate::strict_json;
use crate::time::Timestamp;
use crate::workflow::{EventPayload, Workflow};

/// Names and values that accompany the payload of an event, such as the actor
/// that caused it.
pub type Metadata = BTreeMap<String, String>;

/// The type of the event that records a migration.
pub const MIGRATED: &str = "$migrated";

/// The layout of the payload of a `$migrated` event that this crate writes.
pub const BASELINE_SCHEMA: u32 = 1;

/// Whether an event type is reserved for this crate: it starts with `$`.
///
/// Such events cannot be made with [`NewEvent::new`], and
/// [`EventStore::read`](crate::EventStore::read) leaves them out.
#[must_use]
pub fn is_reserved(event_type: &str) -> bool {
    event_type.starts_with('$')
}

/// An event that is to be appended.
///
/// The writer chooses the id, not the store, so that after a lost answer it can
/// check whether the event was stored.
#[derive(Clone, PartialEq, Eq)]
pub struct NewEvent {
    event_id: EventId,
    workflow_id: WorkflowId,
    event_type: ByteString,
    schema_version: u32,
    payload: Bytes,
    metadata: Metadata,
    finishes: bool,
    undoes: bool,
}

impl NewEvent {
    /// An event from its parts. `workflow_id` is the version of the code that
    /// writes it; `payload` is JSON.
    ///
    /// The payload is not checked against the types of the workflow: neither
    /// that code of that version can read it, nor that a `null` in it was not
    /// written for a NaN or infinite number. [`of`](Self::of) rejects such
    /// numbers, and [`Process::append`](crate::Process::append) also reads the
    /// event back.
    ///
    /// # Errors
    /// The type is empty or starts with `$`, or the payload is not JSON.
    pub fn new(
        workflow_id: WorkflowId,
        event_type: impl Into<ByteString>,
        schema_version: u32,
        payload: impl Into<Bytes>,
    ) -> Result<Self, Error> {
        let (event_type, payload) = (event_type.into(), payload.into());
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the payload of an event of type {event_type:?} is not JSON"),
            )
            .with_source(error));
        }
        Self::checked(workflow_id, event_type, schema_version, payload)
    }

    /// The serialized event of a workflow. Unlike
    /// [`Process::append`](crate::Process::append), this does not read it back.
    ///
    /// # Errors
    /// The event cannot be serialized, a number in it is NaN or infinite, or its
    /// type is empty or starts with `$`.
    pub fn of<W: Workflow>(event: &W::Event) -> Result<Self, Error> {
        let event_type = event.event_type();
        let payload = strict_json::to_vec(event).map_err(|error| {
            Error::new(
                ErrorKind::Workflow,
                format!(
                    "an event of type {event_type:?} of {} cannot be serialized",
                    WorkflowId::of::<W>()
                ),
            )
            .with_source(error)
        })?;
        Self::checked(
            WorkflowId::of::<W>(),
            ByteString::from_static(event_type),
            event.schema_version(),
            payload.into(),
        )
    }

    fn checked(
        workflow_id: WorkflowId,
        event_type: ByteString,
        schema_version: u32,
        payload: Bytes,
    ) -> Result<Self, Error> {
        if event_type.is_empty() {
            return Err(Error::invalid(
                "the event type is empty; give the event a type",
            ));
        }
        if is_reserved(&event_type) {
            return Err(Error::invalid(format!(
                "the event type {event_type:?} is reserved: types that start with `$` belong to state-migration; choose another name"
            )));
        }
        Ok(Self {
            event_id: EventId::random(),
            workflow_id,
            event_type,
            schema_version,
            payload,
            metadata: Metadata::new(),
            finishes: false,
            undoes: false,
        })
    }

    /// The event that records a migration to `to`.
    #[doc(hidden)]
    pub fn migrated(to: WorkflowId, baseline: Bytes, finishes: bool) -> Self {
        Self {
            event_id: EventId::random(),
            workflow_id: to,
            event_type: ByteString::from_static(MIGRATED),
            schema_version: BASELINE_SCHEMA,
            payload: baseline,
            metadata: Metadata::new(),
            finishes,
            undoes: false,
        }
    }

    /// The same event, marked as one that takes the process back.
    #[doc(hidden)]
    #[must_use]
    pub fn undoing(mut self) -> Self {
        self.undoes = true;
        self
    }

    /// The same event with an id that the caller chose.
    #[must_use]
    pub fn with_event_id(mut self, event_id: EventId) -> Self {
        self.event_id = event_id;
        self
    }

    /// The same event with one more entry of metadata. Names and values are
    /// texts of at most 65,535 bytes.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// The same event, marked with whether the process is finished after it.
    #[must_use]
    pub fn finishing(mut self, finishes: bool) -> Self {
        self.finishes = finishes;
        self
    }

    /// The id of the event.
    #[must_use]
    pub fn event_id(&self) -> EventId {
        self.event_id
    }

    /// The version of the code that writes the event.
    #[must_use]
    pub fn workflow_id(&self) -> &WorkflowId {
        &self.workflow_id
    }

    /// The stable type of the event.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The version of the payload's layout.
    #[must_use]
    pub fn schema_version(&self) -> u32 {
        self.schema_version
    }

    /// The payload, raw JSON.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Names and values that accompany the payload.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Whether the process is finished after this event.
    #[must_use]
    pub fn finishes(&self) -> bool {
        self.finishes
    }

    /// Whether the event is an undo: it takes the process back to an earlier version.
    #[must_use]
    pub fn undoes(&self) -> bool {
        self.undoes
    }

    /// The event as it was before it was recorded.
    pub fn of_record(event: Event) -> Self {
        Self {
            event_id: event.event_id,
            workflow_id: event.workflow_id,
            event_type: event.event_type,
            schema_version: event.schema_version,
            payload: event.payload,
            metadata: event.metadata,
            finishes: event.finishes,
            undoes: false,
        }
    }

    /// The event as a store records it. For implementors of stores.
    #[must_use]
    pub fn record(self, stream_id: StreamId, sequence: u64, time: Timestamp) -> Event {
        Event {
            event_id: self.event_id,
            stream_id,
            sequence,
            time,
            workflow_id: self.workflow_id,
            event_type: self.event_type,
            schema_version: self.schema_version,
            payload: self.payload,
            metadata: self.metadata,
            finishes: self.finishes,
        }
    }
}

impl fmt::Debug for NewEvent {
    // For the reason given at `Event`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEvent")
            .field("event_id", &self.event_id)
            .field("workflow_id", &self.workflow_id)
            .field("event_type", &self.event_type)
            .field("schema_version", &self.schema_version)
            .field("payload_len", &self.payload.len())
            .field("finishes", &self.finishes)
            .finish()
    }
}

/// An event that a store holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// The id that the writer chose.
    pub event_id: EventId,
    /// The stream of the event.
    pub stream_id: StreamId,
    /// Its position in the stream, starting at 1.
    pub sequence: u64,
    /// When it was recorded, by the writer's clock.
    pub time: Timestamp,
    /// The version of the code that wrote it; for a `$migrated` event, the
    /// target.
    pub workflow_id: WorkflowId,
    /// The stable type.
    pub event_type: ByteString,
    /// The version of the payload's layout.
    pub schema_version: u32,
    /// The payload, raw JSON.
    pub payload: Bytes,
    /// Names and values that accompany the payload.
    pub metadata: Metadata,
    /// Whether the process is finished after this event.
    pub finishes: bool,
}

impl fmt::Debug for Event {
    // The payload may hold personal data, which must not reach logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event_id", &self.event_id)
            .field("stream_id", &self.stream_id)
            .field("sequence", &self.sequence)
            .field("time", &self.time)
            .field("workflow_id", &self.workflow_id)
            .field("event_type", &self.event_type)
            .field("schema_version", &self.schema_version)
            .field("payload_len", &self.payload.len())
            .field("finishes", &self.finishes)
            .finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn users_cannot_make_reserved_events() {
        let order = WorkflowId::from_static("order", "1");
        for reserved in ["$migrated", "$", "$anything"] {
            let error = NewEvent::new(order.clone(), reserved, 1, "{}").unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Invalid);
            assert!(error.to_string().contains("reserved"), "{error}");
        }
        assert!(NewEvent::new(order.clone(), "", 1, "{}").is_err());
        assert!(NewEvent::new(order.clone(), "Placed", 1, "{").is_err());
        assert!(NewEvent::new(order, "Placed", 1, "{}").is_ok());
    }
}
