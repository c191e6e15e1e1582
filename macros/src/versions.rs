//! The macros that speak of versions without a migration:
//! `no_migration!(OrderV1, reason = "…")` and `register_workflow!(OrderV3)`.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::{Error, LitStr, Result, Token, Type};

use crate::arrows::{comma, passed_on, version};
use crate::fallback::Errors;
use crate::keys::Grammar;
use crate::named;
use crate::place::{block, ends, invocation, item, location, runtime};

const DECISION: Grammar = Grammar {
    keys: &["reason"],
    write: "no_migration!(OrderV1, reason = \"…\")",
};

const REGISTER: &str = "register_workflow!(OrderV3)";

pub(crate) fn no_migration(input: TokenStream) -> TokenStream {
    let read = |input: ParseStream<'_>| {
        let krate = passed_on(input)?;
        let (version, reason) = decision(input, &krate)?;
        Ok((krate, version, reason))
    };
    match read.parse2(input.clone()) {
        Ok((krate, version, reason)) => {
            let at = location(ends(&version).0, "no_migration!");
            let known = quote!(no_migration::<#version>(#reason, #at));
            item(&krate, submit(&krate, &known))
        }
        Err(error) => named::errors(&error, input),
    }
}

fn decision(input: ParseStream<'_>, krate: &TokenTree) -> Result<(Type, LitStr)> {
    let write = DECISION.write;
    let version = version(input, write, invocation(krate))?;
    comma_and_no_arrow(input, write)?;
    let mut errors = Errors::default();
    let found = DECISION.read(input, &mut errors)?;
    let found = errors.or(found)?;
    let reason = found.reason.ok_or_else(|| {
        let message = format!("`reason` is missing: write `{write}`");
        Error::new_spanned(&version, message)
    })?;
    Ok((version, reason))
}

/// Reads the comma after a version, where no step from it is meant.
fn comma_and_no_arrow(input: ParseStream<'_>, write: &str) -> Result<()> {
    if input.peek(Token![=>]) {
        let message = format!("single versions are named here, no step: write `{write}`");
        return Err(input.error(message));
    }
    comma(input)
}

pub(crate) fn register(input: TokenStream) -> TokenStream {
    let read = |input: ParseStream<'_>| {
        let krate = passed_on(input)?;
        let nothing = invocation(&krate);
        let mut versions = vec![version(input, REGISTER, nothing)?];
        while !input.is_empty() {
            comma_and_no_arrow(input, REGISTER)?;
            if !input.is_empty() {
                versions.push(version(input, REGISTER, nothing)?);
            }
        }
        Ok((krate, versions))
    };
    match read.parse2(input.clone()) {
        Ok((krate, versions)) => {
            let versions = versions.iter().map(|version| {
                let at = location(ends(version).0, "register_workflow!");
                submit(&krate, &quote!(workflow::<#version>(#at)))
            });
            item(&krate, versions.collect())
        }
        Err(error) => named::errors(&error, input),
    }
}

/// Hands a version over to the linker.
fn submit(krate: &TokenTree, known: &TokenStream) -> TokenStream {
    let runtime = runtime();
    let code = quote! {
        #runtime::inventory::submit! { #runtime::VersionRegistration::#known }
    };
    block(krate, &quote!(#[allow(deprecated)]), &code)
}
