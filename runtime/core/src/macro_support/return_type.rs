//! The parameter and the return value of an annotated function: the states in
//! them, and their decoders and encoders. Only generated code names these
//! items.
//!
//! Methods that generated code calls have names that no trait of the user has,
//! because equal names would be ambiguous.

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Display};

use crate::migration::ConversionError;
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

/// An annotated function, and how the state is taken out of what it returns.
pub struct Conversion<P: ?Sized, R, S> {
    function: fn(P) -> R,
    settle: fn(R) -> Result<S, ConversionError>,
}

// How the state is taken out depends on the type of the return value. A method of the
// type's own goes before one of a trait, and one that needs no reference before one that
// needs it, and `&` before `&mut`; so the methods are tried from the top.

impl<P: ?Sized, S, E: Into<BoxError>> Function<P, Result<S, E>> {
    /// A proper error is kept with its sources.
    #[must_use]
    pub fn __state_migration_conversion(self) -> Conversion<P, Result<S, E>, S> {
        Conversion {
            function: self.0,
            settle: |returned| returned.map_err(ConversionError::from_error),
        }
    }
}

/// A return value with an error that cannot be sent to another thread.
pub trait AsMessageChain {
    /// The function with what it takes to call it.
    type Conversion;
    /// Keeps the texts of the error and of its sources.
    fn __state_migration_conversion(self) -> Self::Conversion;
}

impl<P: ?Sized, S, E: Into<Box<dyn Error>>> AsMessageChain for Function<P, Result<S, E>> {
    type Conversion = Conversion<P, Result<S, E>, S>;

    fn __state_migration_conversion(self) -> Self::Conversion {
        Conversion {
            function: self.0,
            settle: |returned| returned.map_err(|error| message_chain(&*error.into())),
        }
    }
}

/// The same for a box that does not convert into another box.
pub trait AsMessageChainOfBox {
    /// The function with what it takes to call it.
    type Conversion;
    /// Keeps the texts of the error and of its sources.
    fn __state_migration_conversion(self) -> Self::Conversion;
}

impl<P: ?Sized, S> AsMessageChainOfBox for Function<P, Result<S, Box<dyn Error + Send>>> {
    type Conversion = Conversion<P, Result<S, Box<dyn Error + Send>>, S>;

    fn __state_migration_conversion(self) -> Self::Conversion {
        Conversion {
            function: self.0,
            settle: |returned| returned.map_err(|error| message_chain(&*error)),
        }
    }
}

/// The messages of an error and of its sources, which can be sent to another
/// thread when the error itself cannot.
#[derive(Debug)]
struct MessageChain {
    text: String,
    source: Option<Box<Self>>,
}

impl MessageChain {
    fn of(error: &dyn Error) -> Self {
        Self {
            text: error.to_string(),
            source: error.source().map(|source| Box::new(Self::of(source))),
        }
    }
}

impl Display for MessageChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for MessageChain {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

fn message_chain(error: &dyn Error) -> ConversionError {
    ConversionError::from_error(MessageChain::of(error))
}

/// A return value with an error that only implements `Display`.
pub trait AsText {
    /// The function with what it takes to call it.
    type Conversion;
    /// Keeps the text of the error.
    fn __state_migration_conversion(self) -> Self::Conversion;
}

impl<P: ?Sized, S, E: Display> AsText for &Function<P, Result<S, E>> {
    type Conversion = Conversion<P, Result<S, E>, S>;

    fn __state_migration_conversion(self) -> Self::Conversion {
        Conversion {
            function: self.0,
            settle: |returned| returned.map_err(|error| ConversionError::new(error.to_string())),
        }
    }
}

/// All other return values are the state itself.
pub trait AsIs {
    /// The function with what it takes to call it.
    type Conversion;
    /// Leaves it as it is.
    fn __state_migration_conversion(self) -> Self::Conversion;
}

impl<P: ?Sized, S> AsIs for &mut Function<P, S> {
    type Conversion = Conversion<P, S, S>;

    fn __state_migration_conversion(self) -> Self::Conversion {
        Conversion {
            function: self.0,
            settle: Ok,
        }
    }
}

/// What a call leaves beside the state.
pub type Called = Result<(), ConversionError>;

/// A call of an annotated function, without types: `Option`s with the state of the
/// `from` workflow, and for that of the `to` workflow.
pub struct Call<'a> {
    source: &'a mut dyn Any,
    target: &'a mut dyn Any,
}

/// Converts a state by an annotated function. `S` and `T` are the states of the two
/// workflows.
///
/// # Errors
/// The function returned one.
pub(crate) fn convert_by<S: 'static, T: 'static>(
    call: fn(Call<'_>) -> Called,
    state: S,
) -> Result<T, ConversionError> {
    let (mut source, mut target) = (Some(state), None::<T>);
    call(Call {
        source: &mut source,
        target: &mut target,
    })?;
    target.ok_or_else(not_linked)
}

/// Calls an annotated function. That its types are those of the two workflows is for
/// [`link`](crate::macro_support::link::link) to see: a bound here would make a mistake two errors.
///
/// # Errors
/// The function returned one.
pub fn convert<P: 'static, R, S: 'static>(
    call: Call<'_>,
    conversion: Conversion<P, R, S>,
) -> Called {
    let source = call.source.downcast_mut::<Option<P>>();
    let state = source.and_then(Option::take).ok_or_else(not_linked)?;
    let target = call.target.downcast_mut().ok_or_else(not_linked)?;
    *target = Some((conversion.settle)((conversion.function)(state))?);
    Ok(())
}

fn not_linked() -> ConversionError {
    ConversionError::new(
        "the types of a migration were not checked; report it as a bug of state-migration",
    )
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
    fn an_error_that_is_not_send_keeps_its_message_and_sources() {
        let because = "invalid digit found in string";
        let failed = Some(vec!["failed in test".to_owned(), because.to_owned()]);
        let boxed = (function(boxed).__state_migration_conversion().settle)(boxed(1)).err();
        assert_eq!(boxed.as_ref().map(chain), failed);
        let own = (function(own).__state_migration_conversion().settle)(own(1)).err();
        assert_eq!(own.as_ref().map(chain), failed);
        let sent = (function(sent).__state_migration_conversion().settle)(sent(1)).err();
        assert_eq!(sent.as_ref().map(chain), Some(vec![because.to_owned()]));
        let text = (function(text).__state_migration_conversion().settle)(text(1)).err();
        assert_eq!(text.as_ref().map(chain), Some(vec!["text".to_owned()]));
        let state = (function(state).__state_migration_conversion().settle)(state(1)).ok();
        assert_eq!(state, Some(1));
    }
}
