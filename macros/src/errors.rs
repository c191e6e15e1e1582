//! The list of mistakes in one macro call, which are shown at once.

use syn::{Error, Result};

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors {
    all: Option<Error>,
}

impl Errors {
    pub(crate) fn add(&mut self, error: Error) {
        match &mut self.all {
            Some(all) => all.combine(error),
            None => self.all = Some(error),
        }
    }

    /// The value, if there was no mistake.
    pub(crate) fn or<T>(self, value: T) -> Result<T> {
        self.all.map_or(Ok(value), Err)
    }
}
