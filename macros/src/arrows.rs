//! The macros that take versions with arrows between them:
//! `identity_migration!(OrderV1 => OrderV2)` and
//! `migration_chain!(OrderV1 => OrderV2 => OrderV3)`.
//!
//! The runtime crate's macros of these names pass on what the user wrote, behind
//! their `$crate` and a `;`.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Result, Token, Type};

use crate::args::{Details, SAME_WORKFLOW, is_same};
use crate::edge::{Edge, inferred};
use crate::fallback::Errors;
use crate::keys::{Grammar, workflow_type};
use crate::named;
use crate::place::{at, block, ends, invocation, item, location, runtime};

const IDENTITY: Grammar = Grammar {
    keys: &["undo", "detached", "note"],
    write: "identity_migration!(OrderV1 => OrderV2, note = \"…\")",
};

const CHAIN: &str = "migration_chain!(OrderV1 => OrderV2 => OrderV3)";

pub(crate) fn identity(input: TokenStream) -> TokenStream {
    let read = |input: ParseStream<'_>| {
        let krate = passed_on(input)?;
        let (from, to) = two(input, &krate)?;
        let mut errors = Errors::default();
        let mut found = IDENTITY.read(input, &mut errors)?;
        errors.or((krate, from, to, Details::of(&mut found)))
    };
    match read.parse2(input.clone()) {
        Ok((krate, from, to, said)) => item(&krate, identity_code(&krate, &from, &to, &said)),
        Err(error) => named::errors(&error, input),
    }
}

fn identity_code(krate: &TokenTree, from: &Type, to: &Type, said: &Details) -> TokenStream {
    let runtime = runtime();
    let defined_at = location(ends(from).0, "identity_migration!");
    let edge = Edge { from, to, said };
    let (from_type, to_type) = (edge.from(), edge.to());
    let source_state = inferred(from);
    let target_state = inferred(to);
    let details = edge.details();
    let submit = edge.submit();
    let (link, close) = (
        at(from, quote!(#runtime::link_identity::<)),
        at(from, quote!(>)),
    );
    let code = quote! {
        enum __StateMigrationPair {}

        impl #runtime::Pair for __StateMigrationPair {
            type From = __StateMigrationFrom;
            type To = __StateMigrationTo;

            const DEFINED_AT: #runtime::SourceLocation = #defined_at;
            #details
        }

        const __STATE_MIGRATION: #runtime::Link =
            #link
                __StateMigrationPair, #from_type, #to_type, #source_state, #target_state,
            #close();

        #submit
    };
    edge.block(krate, &code)
}

pub(crate) fn chain(input: TokenStream) -> TokenStream {
    let read = |input: ParseStream<'_>| {
        let krate = passed_on(input)?;
        let versions = versions(input, CHAIN, &krate)?;
        if input.is_empty() {
            return Ok((krate, versions));
        }
        let message = format!("expected `=>` and a version: write `{CHAIN}`");
        Err(input.error(message))
    };
    match read.parse2(input.clone()) {
        Ok((krate, versions)) => item(&krate, chain_code(&krate, &versions)),
        Err(error) => named::errors(&error, input),
    }
}

fn chain_code(krate: &TokenTree, versions: &[Type]) -> TokenStream {
    let runtime = runtime();
    let hops = versions.windows(2).map(|hop| {
        let (from, to) = (&hop[0], &hop[1]);
        let hop = at(from, quote!(#runtime::hop));
        quote!(#hop::<#from, #to>();)
    });
    block(krate, &quote!(#[allow(deprecated)]), &hops.collect())
}

/// Reads `$crate ;`.
pub(crate) fn passed_on(input: ParseStream<'_>) -> Result<TokenTree> {
    let krate = input.parse()?;
    input.parse::<Token![;]>()?;
    Ok(krate)
}

/// Reads one version, at a place where a key or nothing may stand by mistake.
pub(crate) fn version(input: ParseStream<'_>, write: &str, nothing: Span) -> Result<Type> {
    let message = format!("expected a workflow type: write `{write}`");
    if input.is_empty() {
        return Err(Error::new(nothing, message));
    }
    if input.peek2(Token![=]) && !input.peek2(Token![=>]) {
        return Err(input.error(message));
    }
    workflow_type(input, &message)
}

/// Reads the comma before what follows, if anything does.
pub(crate) fn comma(input: ParseStream<'_>) -> Result<()> {
    if !input.is_empty() && input.parse::<Option<Token![,]>>()?.is_none() {
        return Err(input.error("expected a `,` before this"));
    }
    Ok(())
}

/// Reads the two versions of an identity, and the comma after them.
fn two(input: ParseStream<'_>, krate: &TokenTree) -> Result<(Type, Type)> {
    let versions = versions(input, "identity_migration!(OrderV1 => OrderV2)", krate)?;
    let mut versions = versions.into_iter();
    let (Some(from), Some(to)) = (versions.next(), versions.next()) else {
        return Err(input.error("expected two versions"));
    };
    if let Some(third) = versions.next() {
        return Err(Error::new_spanned(
            third,
            "an identity leads from one version to one other: write one for each pair",
        ));
    }
    if is_same(&from, &to) {
        return Err(Error::new_spanned(to, SAME_WORKFLOW));
    }
    comma(input)?;
    Ok((from, to))
}

/// Reads versions with arrows between them, at least two.
fn versions(input: ParseStream<'_>, write: &str, krate: &TokenTree) -> Result<Vec<Type>> {
    let first = version(input, write, invocation(krate))?;
    let mut versions = vec![first];
    while let Some(arrow) = input.parse::<Option<Token![=>]>>()? {
        versions.push(version(input, write, arrow.spans[1])?);
    }
    if let [only] = versions.as_slice() {
        let message = format!("expected `=>` and a later version: write `{write}`");
        return Err(match input.is_empty() {
            true => Error::new_spanned(only, message),
            false => input.error(message),
        });
    }
    Ok(versions)
}
