//! The typed part of a migration, behind a trait without types.

use std::any::{Any, TypeId};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::fold::{AnyState, Fold, Folding};
use crate::json;
use crate::migration::{ConversionError, StateMigration};
use crate::registry::unborrowed::Unborrowed;
use crate::strict_json;
use crate::workflow::Workflow;

/// A type, by identity and by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TypeRef {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

impl TypeRef {
    pub(crate) fn of<T: 'static>() -> Self {
        Self {
            id: TypeId::of::<T>(),
            name: std::any::type_name::<T>(),
        }
    }
}

/// Reads a state from JSON, where its type is not known: what
/// [`StateMigration::decoder`] returns.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    decode: fn(&[u8]) -> Result<AnyState, serde_json::Error>,
}

impl Decoder {
    /// The decoder of a state that owns its values.
    #[must_use]
    pub fn for_state<S: DeserializeOwned + Send + 'static>() -> Self {
        Self {
            decode: |json| Ok(Box::new(json::read::<S>(json)?)),
        }
    }

    /// The decoder of a state of which only the compiler knows whether it has one.
    ///
    /// `DeserializeOwned` is asked for nowhere here: which types have it can
    /// depend on lifetimes, of which the compiler knows nothing yet when it
    /// chooses a method. Nothing is borrowed from the text, so one lifetime is as
    /// good as all.
    pub(crate) fn of<S: Deserialize<'static> + Send + 'static>() -> Self {
        Self {
            decode: |json| {
                Ok(Box::new(
                    json::read::<Unborrowed<'_, S>>(json)?.into_inner(),
                ))
            },
        }
    }

    pub(crate) fn decode(self, json: &[u8]) -> Result<AnyState, serde_json::Error> {
        (self.decode)(json)
    }
}

/// Serializes a state whose type is not known here, for people to look at.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Encoder {
    encode: fn(&AnyState, &mut Vec<u8>) -> Result<(), serde_json::Error>,
}

impl Encoder {
    /// The encoder of a state.
    pub(crate) fn of<S: Serialize + 'static>() -> Self {
        Self {
            encode: |state, out| match (state.as_ref() as &dyn Any).downcast_ref::<S>() {
                Some(state) => strict_json::to_writer(out, state),
                None => Err(serde::ser::Error::custom(
                    "a bug in state-migration: an encoder was given a state of another type",
                )),
            },
        }
    }

    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    pub(crate) fn encode(self, state: &AnyState) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = Vec::new();
        (self.encode)(state, &mut json)?;
        Ok(json)
    }
}

/// What the runner needs of a migration.
pub(crate) trait Step: Send + Sync {
    /// A fold of the source version.
    fn fold(&self) -> Box<dyn Fold>;
    /// Converts a state of the source version into one of the target version.
    fn convert(&self, state: AnyState) -> Result<AnyState, ConversionError>;
    /// Serializes a state of the target version, and appends it. A number that
    /// JSON does not have is an error.
    fn encode(&self, state: &AnyState, out: &mut Vec<u8>) -> Result<(), serde_json::Error>;
    /// Whether a process in this state of the target version is over.
    fn is_finished(&self, state: &AnyState) -> bool;
}

pub(crate) struct Typed<M>(pub(crate) M);

impl<M: StateMigration> Step for Typed<M>
where
    <M::FromWorkflow as Workflow>::State: DeserializeOwned,
    <M::ToWorkflow as Workflow>::State: Serialize,
{
    fn fold(&self) -> Box<dyn Fold> {
        Box::new(Folding::<M::FromWorkflow>::new())
    }

    fn convert(&self, state: AnyState) -> Result<AnyState, ConversionError> {
        // Validation joins hops only where the types are the same.
        match state.downcast::<<M::FromWorkflow as Workflow>::State>() {
            Ok(state) => self.0.migrate(*state).map(|new| Box::new(new) as AnyState),
            Err(_) => Err(ConversionError::new(
                "a bug in state-migration: a hop was given a state of another type",
            )),
        }
    }

    fn encode(&self, state: &AnyState, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match downcast::<M>(state) {
            Some(state) => strict_json::to_writer(out, state),
            None => Err(serde::ser::Error::custom(
                "a bug in state-migration: a hop was given a state of another type",
            )),
        }
    }

    fn is_finished(&self, state: &AnyState) -> bool {
        downcast::<M>(state).is_some_and(<M::ToWorkflow as Workflow>::is_finished)
    }
}

fn downcast<M: StateMigration>(state: &AnyState) -> Option<&<M::ToWorkflow as Workflow>::State> {
    (state.as_ref() as &dyn Any).downcast_ref()
}
