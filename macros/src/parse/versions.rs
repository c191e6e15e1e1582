//! The versions in the arguments of a function-like macro.
//!
//! The runtime crate's macros pass on what the user wrote, behind their `$crate` and
//! a `;`.

use proc_macro2::{Span, TokenTree};
use syn::parse::ParseStream;
use syn::{Error, Result, Token, Type};

use crate::parse::keys::workflow_type;

/// Reads `$crate ;`.
pub(crate) fn passed_on(input: ParseStream<'_>) -> Result<TokenTree> {
    let krate = input.parse()?;
    input.parse::<Token![;]>()?;
    Ok(krate)
}

/// Where the whole macro stands, for mistakes that no token shows. With the
/// context of `$crate`, or rustc names the macro behind the one that was written.
pub(crate) fn invocation(krate: &TokenTree) -> Span {
    Span::call_site().resolved_at(krate.span())
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

/// Reads versions with arrows between them, at least two.
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
