//! The mark on a function that may have the attribute twice.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Meta};

use crate::check::signature::is_ours;
use crate::expand::spans::at;

/// The item, marked as a migration where it has one more attribute that may make
/// it one: imported under another name, that can be told from others only by what
/// it does when its turn comes, which is to refuse what is marked. The mark is of
/// a tool, for which rustc does nothing.
pub(crate) fn marked(item: TokenStream) -> TokenStream {
    let attributes = |input: ParseStream<'_>| {
        let attributes = Attribute::parse_outer(input)?;
        input.parse::<TokenStream>()?;
        Ok(attributes)
    };
    let attributes = attributes.parse2(item.clone()).unwrap_or_default();
    // One by our name is refused as it is.
    let may_be_ours =
        |attribute: &&Attribute| !attributes.iter().any(is_ours) && may_be_ours(attribute);
    let mark = attributes
        .iter()
        .find(may_be_ours)
        .map(|attribute| at(attribute, quote!(#[rust_analyzer::state_migration])));
    quote!(#mark #item)
}

/// Whether an attribute has an argument of ours.
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
