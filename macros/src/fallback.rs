//! What the attribute leaves behind where it cannot do its work: the errors,
//! and the function, so that calls of it are no errors too.

use proc_macro2::TokenStream;
use syn::Error;

/// Every mistake found, to be shown at once.
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
    pub(crate) fn or<T>(self, value: T) -> syn::Result<T> {
        self.all.map_or(Ok(value), Err)
    }
}

/// The errors, and the item as the user wrote it.
pub(crate) fn with_item(errors: &Error, item: TokenStream) -> TokenStream {
    let mut output = errors.to_compile_error();
    output.extend(item);
    output
}
