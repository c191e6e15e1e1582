//! Folding of stored events into a state.

use std::any::Any;

use serde::de::DeserializeOwned;

use crate::baseline::{self, BadBaseline};
use crate::error::{Error, ErrorKind};
use crate::event::{Event, MIGRATED, is_reserved};
use crate::id::StreamId;
use crate::migration::Decoder;
use crate::redaction;
use crate::store_api::ChunkEvent;
use crate::tag;
use crate::workflow::{BoxError, Workflow};

/// The parts of an event that a fold reads.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    pub(crate) event_type: &'a str,
    pub(crate) schema_version: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> From<&'a Event> for EventView<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            event_type: &event.event_type,
            schema_version: event.schema_version,
            payload: &event.payload,
        }
    }
}

impl<'a> From<&'a ChunkEvent> for EventView<'a> {
    fn from(event: &'a ChunkEvent) -> Self {
        Self {
            event_type: &event.event_type,
            schema_version: event.schema_version,
            payload: &event.payload,
        }
    }
}

/// Why an event could not be folded, without values of payloads or states.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    #[error(
        "`upcast` refused an event of type {event_type:?}, schema version {schema_version}: {error}"
    )]
    Upcast {
        event_type: String,
        schema_version: u32,
        error: BoxError,
    },
    #[error(
        "an event of type {event_type:?}, schema version {schema_version}, cannot be decoded: {problem}"
    )]
    Decode {
        event_type: String,
        schema_version: u32,
        problem: String,
    },
    #[error(
        "an event of type {event_type:?}, schema version {schema_version}, is unknown to the code: {problem}"
    )]
    UnknownType {
        event_type: String,
        schema_version: u32,
        problem: String,
    },
    #[error("the state in the baseline or snapshot cannot be decoded: {0}")]
    State(String),
    #[error("the reserved event type {0:?} is unknown to this release; upgrade state-migration")]
    UnknownReserved(String),
    #[error("the baseline cannot be read")]
    Baseline(BadBaseline),
}

impl FoldError {
    /// The error for an event whose stream and sequence number are known.
    pub fn at(self, stream: &StreamId, sequence: u64) -> Error {
        match self {
            Self::Baseline(bad) => bad.at(stream, sequence),
            Self::UnknownReserved(_) => Error::new(
                ErrorKind::NewerFormat,
                format!("event {sequence} of stream {stream}: {self}"),
            ),
            other => Error::new(
                ErrorKind::Workflow,
                format!("event {sequence} of stream {stream}: {other}"),
            ),
        }
    }
}

fn undecodable<E: DeserializeOwned>(
    event: EventView<'_>,
    payload: &[u8],
    error: &serde_json::Error,
) -> FoldError {
    let (event_type, schema_version) = (event.event_type.to_owned(), event.schema_version);
    let problem = redaction::without_values(error);
    if tag::is_unknown::<E>(payload, error) {
        FoldError::UnknownType {
            event_type,
            schema_version,
            problem,
        }
    } else {
        FoldError::Decode {
            event_type,
            schema_version,
            problem,
        }
    }
}

/// A state whose type is erased.
pub type AnyState = Box<dyn Any + Send>;

/// A fold of a workflow whose type is erased.
pub trait Fold: Send {
    /// Starts from a stored state, as raw JSON of the given schema version.
    fn restore(&mut self, schema_version: u32, state: &[u8]) -> Result<(), FoldError>;

    /// Folds one event; a `$migrated` event replaces the state by its baseline.
    fn apply(&mut self, event: EventView<'_>) -> Result<(), FoldError>;

    /// Continues from a state of this version, if the type is right.
    fn begin_with(&mut self, state: AnyState) -> Result<(), FoldError>;

    /// Whether a process in the current state is finished.
    fn is_finished(&self) -> bool;

    /// A copy of the fold, so that several folds can continue from here.
    fn fork(&self) -> Box<dyn Fold>;

    /// The state after all events so far.
    fn finish(self: Box<Self>) -> AnyState;
}

/// The fold of workflow `W`.
pub(crate) struct Folding<W: Workflow> {
    state: W::State,
    /// `None` if it is unknown how to deserialize a state.
    decoder: Option<Decoder>,
}

impl<W: Workflow> Folding<W> {
    pub(crate) fn new() -> Self
    where
        W::State: DeserializeOwned,
    {
        Self::with(Some(Decoder::for_state::<W::State>()))
    }

    pub(crate) fn with(decoder: Option<Decoder>) -> Self {
        Self {
            state: W::State::default(),
            decoder,
        }
    }

    /// Starts from a stored state, raw JSON.
    pub(crate) fn restore(&mut self, state: &[u8]) -> Result<(), FoldError> {
        let unknown = || FoldError::State("it is not known how to deserialize it".to_owned());
        let decoder = self.decoder.ok_or_else(unknown)?;
        let state = decoder
            .decode(state)
            .map_err(|error| FoldError::State(redaction::without_values(&error)))?;
        self.set(state)
    }

    fn set(&mut self, state: AnyState) -> Result<(), FoldError> {
        self.state = *state.downcast().map_err(|_| {
            FoldError::State("it is of another type; report it as a bug".to_owned())
        })?;
        Ok(())
    }

    /// Folds one event.
    pub fn fold(&mut self, event: EventView<'_>) -> Result<(), FoldError> {
        if is_reserved(event.event_type) {
            if event.event_type != MIGRATED {
                return Err(FoldError::UnknownReserved(event.event_type.to_owned()));
            }
            let state =
                baseline::state_of(event.schema_version, event.payload, W::STATE_SCHEMA_VERSION)
                    .map_err(FoldError::Baseline)?;
            return self.restore(state.as_bytes());
        }
        let payload =
            W::upcast(event.event_type, event.schema_version, event.payload).map_err(|error| {
                FoldError::Upcast {
                    event_type: event.event_type.to_owned(),
                    schema_version: event.schema_version,
                    error,
                }
            })?;
        let decoded: W::Event = redaction::read(&payload)
            .map_err(|error| undecodable::<W::Event>(event, &payload, &error))?;
        self.state = W::apply(std::mem::take(&mut self.state), &decoded);
        Ok(())
    }

    pub(crate) fn into_state(self) -> W::State {
        self.state
    }
}

impl<W: Workflow> Fold for Folding<W> {
    fn restore(&mut self, schema_version: u32, state: &[u8]) -> Result<(), FoldError> {
        if schema_version != W::STATE_SCHEMA_VERSION {
            return Err(FoldError::Baseline(BadBaseline::OtherState {
                stored: schema_version,
                code: W::STATE_SCHEMA_VERSION,
            }));
        }
        Folding::restore(self, state)
    }

    fn apply(&mut self, event: EventView<'_>) -> Result<(), FoldError> {
        self.fold(event)
    }

    fn begin_with(&mut self, state: AnyState) -> Result<(), FoldError> {
        self.set(state)
    }

    fn is_finished(&self) -> bool {
        W::is_finished(&self.state)
    }

    fn fork(&self) -> Box<dyn Fold> {
        Box::new(Self {
            state: self.state.clone(),
            decoder: self.decoder,
        })
    }

    fn finish(self: Box<Self>) -> AnyState {
        Box::new(self.into_state())
    }
}
