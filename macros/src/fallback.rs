//! What the attribute leaves behind where it cannot do its work: the errors,
//! and the function, so that calls of it are no errors too.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Error, Ident, Result, Signature, Token, Visibility};

use crate::args::Args;
use crate::check::is_ours;
use crate::expand::migration_name;

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
    pub(crate) fn or<T>(self, value: T) -> Result<T> {
        self.all.map_or(Ok(value), Err)
    }
}

/// The errors, the item as the user wrote it, and the struct that it would have
/// had, so that naming that one is no error too.
pub(crate) fn with_item(errors: &Error, args: TokenStream, item: TokenStream) -> TokenStream {
    let mut output = errors.to_compile_error();
    let generated = generated.parse2(item.clone()).ok().flatten();
    output.extend(item);
    if let Some((visibility, function)) = generated {
        let name = Args::name(args).unwrap_or_else(|| migration_name(&function));
        output.extend(quote! {
            #[allow(dead_code, missing_docs)]
            #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
            #visibility struct #name;
        });
    }
    output
}

/// Visibility and name of a function that stands where a struct may.
fn generated(input: ParseStream<'_>) -> Result<Option<(Visibility, Ident)>> {
    let attributes = Attribute::parse_outer(input)?;
    let visibility = input.parse()?;
    let signature: Signature = input.parse()?;
    let in_a_trait = signature.receiver().is_some() || input.peek(Token![;]);
    // A second attribute of ours brings its own.
    let another = attributes.iter().any(is_ours);
    input.parse::<TokenStream>()?;
    Ok((!in_a_trait && !another).then_some((visibility, signature.ident)))
}
