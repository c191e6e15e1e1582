//! The macros that declare versions without a migration:
//! `no_migration!(OrderV1, reason = "…")` and `register_workflow!(OrderV3)`.

use proc_macro2::{TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser};
use syn::{Error, LitStr, Result, Token, Type};

use crate::errors::Errors;
use crate::parse::keys::Grammar;
use crate::parse::versions::{comma, invocation, passed_on, version};

const DECISION: Grammar = Grammar {
    keys: &["reason"],
    write: "no_migration!(OrderV1, reason = \"…\")",
};

const REGISTER: &str = "register_workflow!(OrderV3)";

/// The arguments of `no_migration!`.
pub(crate) struct NoMigration {
    pub(crate) krate: TokenTree,
    pub(crate) version: Type,
    pub(crate) reason: LitStr,
}

impl NoMigration {
    pub(crate) fn parse(input: TokenStream) -> Result<Self> {
        let read = |input: ParseStream<'_>| {
            let krate = passed_on(input)?;
            let (version, reason) = decision(input, &krate)?;
            Ok(Self {
                krate,
                version,
                reason,
            })
        };
        read.parse2(input)
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

/// Reads the comma after a version, where `=>` is a mistake.
fn comma_and_no_arrow(input: ParseStream<'_>, write: &str) -> Result<()> {
    if input.peek(Token![=>]) {
        let message = format!("`=>` is not supported here: write `{write}`");
        return Err(input.error(message));
    }
    comma(input)
}

/// The arguments of `register_workflow!`.
pub(crate) struct Register {
    pub(crate) krate: TokenTree,
    pub(crate) versions: Vec<Type>,
}

impl Register {
    pub(crate) fn parse(input: TokenStream) -> Result<Self> {
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
            Ok(Self { krate, versions })
        };
        read.parse2(input)
    }
}
