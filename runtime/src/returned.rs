//! What an annotated function takes and returns: the states in it, and how they
//! are read and shown. Only generated code names these items.
//!
//! What generated code finds by a method call has a name that no trait of the
//! user's has, or the two would be ambiguous.

use std::any::Any;
use std::fmt::Display;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::migration::ConversionError;
use crate::registry::{Decoder, Encoder};
use crate::workflow::BoxError;

/// The type of a return value, of which is to be found out how the state in it
/// is taken out, and whether it can be deserialized. A method of the type's own
/// goes before one of a trait, and one that needs no reference before one that
/// needs it; so the methods are tried from the top.
#[derive(Debug)]
pub struct Gives<R>(PhantomData<fn() -> R>);

impl<R> Gives<R> {
    /// The return value of an annotated function.
    #[must_use]
    pub const fn of<P>(_: fn(P) -> R) -> Self {
        Self(PhantomData)
    }
}

/// Takes the state out of a return value.
pub type Settle<R, S> = fn(R) -> Result<S, ConversionError>;

impl<S, E: Into<BoxError>> Gives<Result<S, E>> {
    /// A proper error is kept with its sources.
    #[must_use]
    pub fn __state_migration_settle(self) -> Settle<Result<S, E>, S> {
        |returned| returned.map_err(ConversionError::from_error)
    }
}

/// A return value with an error that can only be shown.
pub trait AsText {
    /// The return value.
    type Returned;
    /// The state in it.
    type State;
    /// Keeps the text of the error.
    fn __state_migration_settle(self) -> Settle<Self::Returned, Self::State>;
}

impl<S, E: Display> AsText for Gives<Result<S, E>> {
    type Returned = Result<S, E>;
    type State = S;

    fn __state_migration_settle(self) -> Settle<Result<S, E>, S> {
        |returned| returned.map_err(|error| ConversionError::new(error.to_string()))
    }
}

/// All other return values are states.
pub trait AsIs {
    /// The return value.
    type State;
    /// Leaves it as it is.
    fn __state_migration_settle(self) -> Settle<Self::State, Self::State>;
}

impl<S> AsIs for &Gives<S> {
    type State = S;

    fn __state_migration_settle(self) -> Settle<S, S> {
        Ok
    }
}

impl<S: Deserialize<'static> + Send + 'static, E> Gives<Result<S, E>> {
    /// The state in a `Result`.
    #[must_use]
    pub fn __state_migration_decoder(self) -> Option<Decoder> {
        Some(Decoder::of::<S>())
    }
}

/// A return value that is a state which can be deserialized.
pub trait DecodeState {
    /// The return value as the state.
    fn __state_migration_decoder(self) -> Option<Decoder>;
}

impl<S: Deserialize<'static> + Send + 'static> DecodeState for Gives<S> {
    fn __state_migration_decoder(self) -> Option<Decoder> {
        Some(Decoder::of::<S>())
    }
}

/// All other return values: a target's state need not be deserialized to be written.
pub trait DecodeNothing {
    /// Nothing is known.
    fn __state_migration_decoder(self) -> Option<Decoder>;
}

impl<R> DecodeNothing for &Gives<R> {
    fn __state_migration_decoder(self) -> Option<Decoder> {
        None
    }
}

/// The type of a parameter, of which is to be found out whether it can be
/// serialized. A method of the type's own goes before one of a trait.
#[derive(Debug)]
pub struct Takes<P>(PhantomData<fn() -> P>);

impl<P> Takes<P> {
    /// The parameter of an annotated function.
    #[must_use]
    pub const fn of<R>(_: fn(P) -> R) -> Self {
        Self(PhantomData)
    }
}

impl<S: Serialize + 'static> Takes<S> {
    /// The state that can be serialized.
    #[must_use]
    pub fn __state_migration_encoder(self) -> Option<Encoder> {
        Some(Encoder::of::<S>())
    }
}

/// All other parameters: a source's state need not be serialized to be read.
pub trait EncodeNothing {
    /// Nothing is known.
    fn __state_migration_encoder(self) -> Option<Encoder>;
}

impl<P> EncodeNothing for Takes<P> {
    fn __state_migration_encoder(self) -> Option<Encoder> {
        None
    }
}

/// Calls an annotated function with a state of the `from` workflow. That its
/// types are those of the two workflows is for [`link`](crate::check::link) to see: a bound here
/// would make a mistake two errors.
///
/// # Errors
/// The function returned one.
pub fn convert<S: 'static, P: 'static, R, G: 'static, T: 'static>(
    state: S,
    function: fn(P) -> R,
    settle: Settle<R, G>,
) -> Result<T, ConversionError> {
    let takes = same(state).ok_or_else(not_linked)?;
    same(settle(function(takes))?).ok_or_else(not_linked)
}

/// A value as the type that it is of.
fn same<A: 'static, B: 'static>(value: A) -> Option<B> {
    let mut value = Some(value);
    let any: &mut dyn Any = &mut value;
    any.downcast_mut::<Option<B>>()?.take()
}

fn not_linked() -> ConversionError {
    ConversionError::new("a bug in state-migration: the types of a migration were not checked")
}
