//! The marker on a function that may have the attribute twice.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Meta};

use crate::check::signature::is_ours;
use crate::expand::spans::at;

/// The item, marked as a migration if another of its attributes may be this one under
/// another name.
///
/// An import under another name cannot be recognized here. It is recognized when rustc
/// expands it, because the attribute refuses a marked function. The marker is a tool
/// attribute, which rustc ignores.
pub(crate) fn marked(item: TokenStream) -> TokenStream {
    let attributes = |input: ParseStream<'_>| {
        let attributes = Attribute::parse_outer(input)?;
        input.parse::<TokenStream>()?;
        Ok(attributes)
    };
    let attributes = attributes.parse2(item.clone()).unwrap_or_default();
    // One with the original name is refused without a marker.
    let may_be_ours =
        |attribute: &&Attribute| !attributes.iter().any(is_ours) && may_be_ours(attribute);
    let marker = attributes
        .iter()
        .find(may_be_ours)
        .map(|attribute| at(attribute, quote!(#[rust_analyzer::state_migration])));
    quote!(#marker #item)
}

/// Whether an attribute has the key `from` or `to`.
fn may_be_ours(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return false;
    };
    let tokens: Vec<TokenTree> = list.tokens.clone().into_iter().collect();
    tokens.windows(2).any(|pair| {
        let key = matches!(&pair[0], TokenTree::Ident(key) if key == "from" || key == "to");
        key && matches!(&pair[1], TokenTree::Punct(punct) if punct.as_char() == '=')
    })
}
