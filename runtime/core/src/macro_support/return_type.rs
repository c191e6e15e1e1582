//! The parameter and the return value of an annotated function: the states in
//! them, and their decoders and encoders. Only generated code names these
//! items.
//!
//! Methods that generated code calls have names that no trait of the user has,
//! because equal names would be ambiguous.

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Display};
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::migration::{ConversionError, Decoder, Encoder};
use crate::workflow::BoxError;

/// An annotated function of one parameter. A type without a size, which rustc
/// rejects by itself, is accepted here and rejected as late as possible, where
/// it causes the fewest errors.
#[derive(Debug)]
pub struct Function<P: ?Sized, R: ?Sized>(fn(P) -> R);

/// Accepts an annotated function. Everything that generated code asks of a
/// function begins with this call, so that a function without parameters or
/// with several causes the same error each time, which rustc shows once.
#[must_use]
pub const fn function<P: ?Sized, R: ?Sized>(function: fn(P) -> R) -> Function<P, R> {
    Function(function)
}

impl<P: ?Sized, R: ?Sized> Function<P, R> {
    /// The type of its return value.
    #[must_use]
    pub const fn gives(self) -> Gives<R> {
        Gives(PhantomData)
    }

    /// The type of its parameter.
    #[must_use]
    pub const fn takes(self) -> Takes<P> {
        Takes(PhantomData)
    }
}

/// The type of a return value, used to find out how to take the state out of it
/// and whether the state can be deserialized. Method resolution prefers an
/// inherent method to one of a trait, no reference to a reference, and `&` to
/// `&mut`; the methods are therefore tried from the top of this file.
#[derive(Debug)]
pub struct Gives<R: ?Sized>(PhantomData<fn() -> R>);

/// Takes the state out of a return value.
pub type Settle<R, S> = fn(R) -> Result<S, ConversionError>;

impl<S, E: Into<BoxError>> Gives<Result<S, E>> {
    /// An error that converts into a boxed error is kept with its sources.
    #[must_use]
    pub fn __state_migration_settle(self) -> Settle<Result<S, E>, S> {
        |returned| returned.map_err(ConversionError::from_error)
    }
}

/// A return value with an error that cannot be sent to another thread.
pub trait AsTold {
    /// The return value.
    type Returned;
    /// The state in it.
    type State;
    /// Keeps the messages of the error and of its sources.
    fn __state_migration_settle(self) -> Settle<Self::Returned, Self::State>;
}

impl<S, E: Into<Box<dyn Error>>> AsTold for Gives<Result<S, E>> {
    type Returned = Result<S, E>;
    type State = S;

    fn __state_migration_settle(self) -> Settle<Result<S, E>, S> {
        |returned| returned.map_err(|error| told(&*error.into()))
    }
}

/// The same for a box that does not convert into another box.
pub trait AsToldOfABox {
    /// The return value.
    type Returned;
    /// The state in it.
    type State;
    /// Keeps the messages of the error and of its sources.
    fn __state_migration_settle(self) -> Settle<Self::Returned, Self::State>;
}

impl<S> AsToldOfABox for Gives<Result<S, Box<dyn Error + Send>>> {
    type Returned = Result<S, Box<dyn Error + Send>>;
    type State = S;

    fn __state_migration_settle(self) -> Settle<Self::Returned, S> {
        |returned| returned.map_err(|error| told(&*error))
    }
}

/// The messages of an error and of its sources, which can be sent to another
/// thread when the error itself cannot.
#[derive(Debug)]
struct Told {
    text: String,
    source: Option<Box<Self>>,
}

impl Told {
    fn of(error: &dyn Error) -> Self {
        Self {
            text: error.to_string(),
            source: error.source().map(|source| Box::new(Self::of(source))),
        }
    }
}

impl Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Told {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

fn told(error: &dyn Error) -> ConversionError {
    ConversionError::from_error(Told::of(error))
}

/// A return value with an error that only implements `Display`.
pub trait AsText {
    /// The return value.
    type Returned;
    /// The state in it.
    type State;
    /// Keeps the message of the error.
    fn __state_migration_settle(self) -> Settle<Self::Returned, Self::State>;
}

impl<S, E: Display> AsText for &Gives<Result<S, E>> {
    type Returned = Result<S, E>;
    type State = S;

    fn __state_migration_settle(self) -> Settle<Result<S, E>, S> {
        |returned| returned.map_err(|error| ConversionError::new(error.to_string()))
    }
}

/// All other return values are the state itself.
pub trait AsIs {
    /// The return value.
    type State;
    /// Returns the value unchanged.
    fn __state_migration_settle(self) -> Settle<Self::State, Self::State>;
}

impl<S> AsIs for &mut Gives<S> {
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

/// A return value that is a deserializable state.
pub trait DecodeState {
    /// The decoder of the return value.
    fn __state_migration_decoder(self) -> Option<Decoder>;
}

impl<S: Deserialize<'static> + Send + 'static> DecodeState for Gives<S> {
    fn __state_migration_decoder(self) -> Option<Decoder> {
        Some(Decoder::of::<S>())
    }
}

/// All other return values: a target state need not be deserializable.
pub trait DecodeNothing {
    /// There is no decoder.
    fn __state_migration_decoder(self) -> Option<Decoder>;
}

impl<R: ?Sized> DecodeNothing for &Gives<R> {
    fn __state_migration_decoder(self) -> Option<Decoder> {
        None
    }
}

/// The type of a parameter, used to find out whether it can be serialized. An
/// inherent method takes precedence over a method of a trait.
#[derive(Debug)]
pub struct Takes<P: ?Sized>(PhantomData<fn() -> P>);

impl<S: Serialize + 'static> Takes<S> {
    /// The encoder of the state.
    #[must_use]
    pub fn __state_migration_encoder(self) -> Option<Encoder> {
        Some(Encoder::of::<S>())
    }
}

/// All other parameters: a source state need not be serializable.
pub trait EncodeNothing {
    /// There is no encoder.
    fn __state_migration_encoder(self) -> Option<Encoder>;
}

impl<P: ?Sized> EncodeNothing for Takes<P> {
    fn __state_migration_encoder(self) -> Option<Encoder> {
        None
    }
}

/// Calls an annotated function with a state of the `from` workflow. Its types
/// are checked by [`link`](crate::macro_support::link::link): a bound here
/// would turn one mistake into two errors.
///
/// # Errors
/// The error that the function returned.
pub fn convert<S: 'static, P: 'static, R, G: 'static, T: 'static>(
    state: S,
    Function(function): Function<P, R>,
    settle: Settle<R, G>,
) -> Result<T, ConversionError> {
    let takes = same(state).ok_or_else(not_linked)?;
    same(settle(function(takes))?).ok_or_else(not_linked)
}

/// Casts a value to the type that it already has.
fn same<A: 'static, B: 'static>(value: A) -> Option<B> {
    let mut value = Some(value);
    let any: &mut dyn Any = &mut value;
    any.downcast_mut::<Option<B>>()?.take()
}

fn not_linked() -> ConversionError {
    ConversionError::new("a bug in state-migration: the types of a migration were not checked")
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[derive(Debug)]
    struct Failed {
        because: std::num::ParseIntError,
        in_this_thread: Rc<str>,
    }

    impl Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "failed in {}", self.in_this_thread)
        }
    }

    impl Error for Failed {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.because)
        }
    }

    fn failed() -> Result<u8, Failed> {
        let in_this_thread = Rc::from("test");
        let parsed = "x".parse::<u8>();
        parsed.map_err(|because| Failed {
            because,
            in_this_thread,
        })
    }

    fn boxed(_: u8) -> Result<u8, Box<dyn Error>> {
        Ok(failed()?)
    }

    fn sent(_: u8) -> Result<u8, Box<dyn Error + Send>> {
        "x".parse::<u8>().map_err(|because| Box::new(because) as _)
    }

    fn own(_: u8) -> Result<u8, Failed> {
        failed()
    }

    fn text(_: u8) -> Result<u8, Rc<str>> {
        Err(Rc::from("text"))
    }

    fn state(old: u8) -> u8 {
        old
    }

    fn chain(error: &ConversionError) -> Vec<String> {
        let mut texts = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            texts.push(error.to_string());
            source = error.source();
        }
        texts
    }

    #[test]
    fn an_error_of_one_thread_is_told_with_its_sources() {
        let because = "invalid digit found in string";
        let failed = Some(vec!["failed in test".to_owned(), because.to_owned()]);
        let boxed = function(boxed).gives().__state_migration_settle()(boxed(1)).err();
        assert_eq!(boxed.as_ref().map(chain), failed);
        let own = function(own).gives().__state_migration_settle()(own(1)).err();
        assert_eq!(own.as_ref().map(chain), failed);
        let sent = function(sent).gives().__state_migration_settle()(sent(1)).err();
        assert_eq!(sent.as_ref().map(chain), Some(vec![because.to_owned()]));
        let text = function(text).gives().__state_migration_settle()(text(1)).err();
        assert_eq!(text.as_ref().map(chain), Some(vec!["text".to_owned()]));
        let state = function(state).gives().__state_migration_settle()(state(1)).ok();
        assert_eq!(state, Some(1));
    }
}
