//! The code of one version with its types erased, for tests of a whole program: the types
//! of its state and of its events, and how its events are folded.

use std::any::{Any, TypeId};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::baseline::{self, BadBaseline};
use crate::draft::{Draft, Reader, Refusal, Trace};
use crate::event::{MIGRATED, is_reserved};
use crate::fold::{AnyState, EventView, FoldError};
use crate::id::WorkflowId;
use crate::migration::codec::{Decoder, Encoder, TypeRef};
use crate::redaction;
use crate::registry::MigrationRegistry;
use crate::strict_json;
use crate::workflow::{EventPayload, Workflow};

/// The code of a workflow type, except the codecs of its state.
#[derive(Debug, Clone, Copy)]
pub struct TypeCode {
    pub state_schema_version: u32,
    state: fn() -> TypeRef,
    event_type: fn() -> &'static str,
    initial: fn() -> AnyState,
    copy: fn(&AnyState) -> Option<AnyState>,
    apply: fn(AnyState, EventView<'_>) -> Result<AnyState, FoldError>,
    rewrite: fn(&[u8]) -> Result<RewrittenEvent, String>,
    complete: fn(&mut Draft, &Trace) -> Result<(), Refusal>,
}

impl<'a> EventView<'a> {
    /// A view of an event from elsewhere than a store.
    #[must_use]
    pub fn new(event_type: &'a str, schema_version: u32, payload: &'a [u8]) -> Self {
        Self {
            event_type,
            schema_version,
            payload,
        }
    }

    /// The payload as JSON.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Whether the event is a `$migrated` one.
    #[must_use]
    pub fn is_migrated(&self) -> bool {
        self.event_type == MIGRATED
    }

    /// Whether the type of the event is reserved.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        is_reserved(self.event_type)
    }
}

/// An event that was deserialized and serialized again.
#[derive(Debug)]
pub struct RewrittenEvent {
    pub event_type: &'static str,
    pub schema_version: u32,
    pub payload: Vec<u8>,
}

impl TypeCode {
    pub(crate) const fn of<W: Workflow>() -> Self {
        Self {
            state_schema_version: W::STATE_SCHEMA_VERSION,
            state: TypeRef::of::<W::State>,
            event_type: std::any::type_name::<W::Event>,
            initial: || Box::new(W::State::default()),
            copy: |state| {
                let state = (state.as_ref() as &dyn Any).downcast_ref::<W::State>()?;
                Some(Box::new(state.clone()))
            },
            apply: apply::<W>,
            rewrite: rewrite::<W::Event>,
            complete: |draft, trace| {
                serde::Deserialize::deserialize(Reader::new(draft, trace))
                    .map(|event: W::Event| drop(event))
            },
        }
    }

    /// The name of the type of the events.
    #[must_use]
    pub fn event_type(self) -> &'static str {
        (self.event_type)()
    }

    /// The state before the first event.
    #[must_use]
    pub fn initial(self) -> AnyState {
        (self.initial)()
    }

    /// A copy of a state; `None` if it is of another type.
    #[must_use]
    pub fn copy(self, state: &AnyState) -> Option<AnyState> {
        (self.copy)(state)
    }

    /// Folds an event that is not reserved.
    pub fn apply(self, state: AnyState, event: EventView<'_>) -> Result<AnyState, FoldError> {
        (self.apply)(state, event)
    }

    /// Deserializes an event and serializes it again.
    pub fn rewrite(self, payload: &[u8]) -> Result<RewrittenEvent, String> {
        (self.rewrite)(payload)
    }

    /// Deserializes a draft as an event, which fills its holes.
    pub fn complete(self, draft: &mut Draft, trace: &Trace) -> Result<(), Refusal> {
        (self.complete)(draft, trace)
    }
}

fn apply<W: Workflow>(state: AnyState, event: EventView<'_>) -> Result<AnyState, FoldError> {
    let (event_type, schema_version) = (event.event_type, event.schema_version);
    let payload = W::upcast(event_type, schema_version, event.payload).map_err(|error| {
        FoldError::Upcast {
            event_type: event_type.to_owned(),
            schema_version,
            error,
        }
    })?;
    let event: W::Event = redaction::read(&payload).map_err(|error| FoldError::Decode {
        event_type: event_type.to_owned(),
        schema_version,
        problem: error.to_string(),
    })?;
    let other_type = "the state is of another type; report it as a bug of state-migration";
    match (state as Box<dyn Any>).downcast::<W::State>() {
        Ok(state) => Ok(Box::new(W::apply(*state, &event))),
        Err(_) => Err(FoldError::State(other_type.to_owned())),
    }
}

fn rewrite<E: EventPayload>(payload: &[u8]) -> Result<RewrittenEvent, String> {
    let event: E = redaction::read(payload).map_err(|error| error.to_string())?;
    Ok(RewrittenEvent {
        event_type: event.event_type(),
        schema_version: event.schema_version(),
        payload: strict_json::to_vec(&event).map_err(|error| error.to_string())?,
    })
}

/// The type of a state and its codecs, as far as they are known.
#[derive(Debug, Clone, Copy)]
pub struct StateCode {
    id: TypeId,
    pub decoder: Option<Decoder>,
    pub encoder: Option<Encoder>,
}

impl StateCode {
    /// The codecs of the state of `W`.
    #[must_use]
    pub fn of<W: Workflow>() -> Self
    where
        W::State: Serialize + DeserializeOwned,
    {
        Self {
            id: TypeId::of::<W::State>(),
            decoder: Some(Decoder::for_state::<W::State>()),
            encoder: Some(Encoder::of::<W::State>()),
        }
    }
}

/// A version that a registry knows, with its code.
#[derive(Debug, Clone)]
pub struct KnownVersion {
    pub id: WorkflowId,
    pub code: TypeCode,
    pub state_type: &'static str,
    pub decoder: Option<Decoder>,
    pub encoder: Option<Encoder>,
}

impl KnownVersion {
    /// Serializes a state of this version.
    pub fn write(&self, state: &AnyState) -> Result<Box<RawValue>, String> {
        let encoder = self
            .encoder
            .ok_or("it is unknown how the state is serialized")?;
        let json = encoder.encode(state).map_err(|error| error.to_string())?;
        serde_json::from_slice(&json).map_err(|error| error.to_string())
    }

    /// Deserializes a state of this version.
    pub fn read(&self, json: &[u8]) -> Result<AnyState, String> {
        let decoder = self
            .decoder
            .ok_or("it is unknown how the state is deserialized")?;
        decoder.decode(json).map_err(|error| error.to_string())
    }

    /// The state in a `$migrated` event of this version.
    pub fn baseline(&self, event: EventView<'_>) -> Result<AnyState, String> {
        let code = self.code.state_schema_version;
        let state = baseline::state_of(event.schema_version, event.payload, code);
        self.read(state.map_err(in_words)?.as_bytes())
    }
}

fn in_words(problem: BadBaseline) -> String {
    match problem {
        BadBaseline::Newer(layout) => {
            format!("the baseline has layout {layout}, which this release cannot read")
        }
        BadBaseline::Unreadable(why) => format!("the baseline cannot be read: {why}"),
        BadBaseline::OtherState { stored, code } => {
            format!("the baseline has `STATE_SCHEMA_VERSION` {stored}, but the code has {code}")
        }
    }
}

impl MigrationRegistry {
    /// Every version with its code, sorted. `more` are codecs that no migration has.
    #[must_use]
    pub fn known_versions(&self, more: &[StateCode]) -> Vec<KnownVersion> {
        let codes = self.state_codes(more);
        let versions = self.versions();
        versions
            .filter_map(|id| {
                let code = self.type_code_of(id)?;
                let state = (code.state)();
                let of_type = |of: &&StateCode| of.id == state.id;
                Some(KnownVersion {
                    id: id.clone(),
                    code,
                    state_type: state.name,
                    decoder: codes.iter().filter(of_type).find_map(|of| of.decoder),
                    encoder: codes.iter().filter(of_type).find_map(|of| of.encoder),
                })
            })
            .collect()
    }

    fn type_code_of(&self, id: &WorkflowId) -> Option<TypeCode> {
        let edges = self.migrations().iter().chain(self.undos());
        let mut ends = edges.flat_map(|edge| {
            let [source, target] = edge.codes;
            [(edge.source(), source), (edge.target(), target)]
        });
        let registered = self.registered_codes.get(id).copied();
        registered.or_else(|| ends.find(|(end, _)| *end == id).map(|(_, code)| code))
    }

    fn state_codes(&self, more: &[StateCode]) -> Vec<StateCode> {
        let edges = self.migrations().iter().chain(self.undos());
        let ends = edges.flat_map(|edge| {
            let source = StateCode {
                id: edge.source_state.id,
                decoder: Some(edge.source_decoder),
                encoder: edge.source_encoder(),
            };
            let target = StateCode {
                id: edge.target_state.id,
                decoder: edge.target_decoder(),
                encoder: Some(edge.target_encoder()),
            };
            [source, target]
        });
        more.iter().copied().chain(ends).collect()
    }
}
