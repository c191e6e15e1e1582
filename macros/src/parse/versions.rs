//! The versions in the arguments of a function-like macro.
//!
//! The runtime crate's `macro_rules!` pass on the user's tokens after `$crate ;`.

use proc_macro2::{Span, TokenTree};
use syn::parse::ParseStream;
use syn::parse::discouraged::Speculative;
use syn::{Error, Result, Token, Type};

use crate::parse::keys::{no_comma, workflow_type};

/// Reads `$crate ;`.
pub(crate) fn passed_on(input: ParseStream<'_>) -> Result<TokenTree> {
    let krate = input.parse()?;
    input.parse::<Token![;]>()?;
    Ok(krate)
}

/// The span of the whole macro call, for mistakes that belong to no token. It has the
/// context of `$crate`; otherwise rustc names the hidden macro instead of the user's.
pub(crate) fn invocation(krate: &TokenTree) -> Span {
    Span::call_site().resolved_at(krate.span())
}

/// Reads one version, where the user may have written a key or nothing. `nothing` is
/// the span of the error in the latter case.
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

/// Reads a comma, unless the input ends here.
pub(crate) fn comma(input: ParseStream<'_>) -> Result<()> {
    if !input.is_empty() && input.parse::<Option<Token![,]>>()?.is_none() {
        return Err(input.error(no_comma(input)));
    }
    Ok(())
}

/// Reads at least two versions with `=>` between them.
pub(crate) fn versions(
    input: ParseStream<'_>,
    write: &str,
    krate: &TokenTree,
) -> Result<Vec<Type>> {
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

/// Reads the versions with `=>` or `,` between them that the input begins with.
pub(crate) fn versions_as_far_as_read(input: ParseStream<'_>) -> Vec<Type> {
    let mut versions = Vec::new();
    loop {
        let ahead = input.fork();
        let Ok(version) = workflow_type(&ahead, "") else {
            return versions;
        };
        if ahead.peek(Token![=]) && !ahead.peek(Token![=>]) {
            return versions;
        }
        input.advance_to(&ahead);
        versions.push(version);
        let is_arrow = input.peek(Token![=>]) && input.parse::<Token![=>]>().is_ok();
        if !is_arrow && input.parse::<Token![,]>().is_err() {
            return versions;
        }
    }
}
