//! Decoders and encoders of states whose types are erased.

use std::any::{Any, TypeId};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[cfg(feature = "testing")]
use crate::draft::{Draft, Reader, Refusal, Trace};
use crate::fold::AnyState;
use crate::migration::unborrowed::Unborrowed;
use crate::{redaction, strict_json};

/// A type, by identity and by name.
#[derive(Debug, Clone, Copy)]
pub struct TypeRef {
    pub(crate) id: TypeId,
    pub name: &'static str,
}

impl TypeRef {
    pub fn of<T: 'static>() -> Self {
        Self {
            id: TypeId::of::<T>(),
            name: std::any::type_name::<T>(),
        }
    }
}

/// Reads a state from JSON where the type of the state is erased: the result of
/// [`StateMigration::decoder`](crate::StateMigration::decoder).
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    decode: fn(&[u8]) -> Result<AnyState, serde_json::Error>,
    #[cfg(feature = "testing")]
    complete: fn(&mut Draft, &Trace) -> Result<(), Refusal>,
}

impl Decoder {
    /// The decoder of a state that owns its values.
    #[must_use]
    pub fn for_state<S: DeserializeOwned + Send + 'static>() -> Self {
        Self {
            decode: |json| Ok(Box::new(redaction::read::<S>(json)?)),
            #[cfg(feature = "testing")]
            complete: |draft, trace| S::deserialize(Reader::new(draft, trace)).map(drop),
        }
    }

    /// The decoder of a state whose `Deserialize` implementation only the
    /// compiler knows.
    ///
    /// There is no `DeserializeOwned` bound, because whether a type implements
    /// it can depend on lifetimes, which the compiler does not know yet when it
    /// selects a constant. The decoder lends nothing from the text, so any
    /// lifetime will do.
    pub const fn of<S: Deserialize<'static> + Send + 'static>() -> Self {
        Self {
            decode: |json| {
                Ok(Box::new(
                    redaction::read::<Unborrowed<'_, S>>(json)?.into_inner(),
                ))
            },
            #[cfg(feature = "testing")]
            complete: |draft, trace| {
                Unborrowed::<'_, S>::deserialize(Reader::new(draft, trace)).map(drop)
            },
        }
    }

    #[doc(hidden)]
    pub fn decode(self, json: &[u8]) -> Result<AnyState, serde_json::Error> {
        (self.decode)(json)
    }

    /// Deserializes a draft, which fills its holes.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn complete(self, draft: &mut Draft, trace: &Trace) -> Result<(), Refusal> {
        (self.complete)(draft, trace)
    }
}

/// Serializes a state whose type is erased, for display.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Encoder {
    encode: fn(&AnyState, &mut Vec<u8>) -> Result<(), serde_json::Error>,
}

impl Encoder {
    /// The encoder of a state.
    pub const fn of<S: Serialize + 'static>() -> Self {
        Self {
            encode: |state, out| match (state.as_ref() as &dyn Any).downcast_ref::<S>() {
                Some(state) => strict_json::to_writer(out, state),
                None => Err(serde::ser::Error::custom(
                    "an encoder received a state of another type; report it as a bug of state-migration",
                )),
            },
        }
    }

    pub fn encode(self, state: &AnyState) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = Vec::new();
        (self.encode)(state, &mut json)?;
        Ok(json)
    }
}
