//! The macros that take versions with arrows between them:
//! `identity_migration!(OrderV1 => OrderV2)` and
//! `migration_chain!(OrderV1 => OrderV2 => OrderV3)`.

use proc_macro2::{TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser};
use syn::{Error, Result, Type};

use crate::errors::Errors;
use crate::parse::args::{Details, SAME_WORKFLOW, is_same};
use crate::parse::keys::Grammar;
use crate::parse::versions::{comma, passed_on, versions};

const IDENTITY: Grammar = Grammar {
    keys: &["undo", "detached", "note"],
    write: "identity_migration!(OrderV1 => OrderV2, note = \"…\")",
};

const CHAIN: &str = "migration_chain!(OrderV1 => OrderV2 => OrderV3)";

/// The arguments of `identity_migration!`.
pub(crate) struct Identity {
    pub(crate) krate: TokenTree,
    pub(crate) from: Type,
    pub(crate) to: Type,
    pub(crate) details: Details,
}

impl Identity {
    pub(crate) fn parse(input: TokenStream) -> Result<Self> {
        let read = |input: ParseStream<'_>| {
            let krate = passed_on(input)?;
            let (from, to) = two(input, &krate)?;
            let mut errors = Errors::default();
            let mut found = IDENTITY.read(input, &mut errors)?;
            errors.or(Self {
                krate,
                from,
                to,
                details: Details::of(&mut found),
            })
        };
        read.parse2(input)
    }
}

/// The arguments of `migration_chain!`.
pub(crate) struct Chain {
    pub(crate) krate: TokenTree,
    pub(crate) versions: Vec<Type>,
}

impl Chain {
    pub(crate) fn parse(input: TokenStream) -> Result<Self> {
        let read = |input: ParseStream<'_>| {
            let krate = passed_on(input)?;
            let versions = versions(input, CHAIN, &krate)?;
            if input.is_empty() {
                return Ok(Self { krate, versions });
            }
            let message = format!("expected `=>` and a version: write `{CHAIN}`");
            Err(input.error(message))
        };
        read.parse2(input)
    }
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
            "`identity_migration!` takes exactly two versions: write one call for each pair",
        ));
    }
    if is_same(&from, &to) {
        return Err(Error::new_spanned(to, SAME_WORKFLOW));
    }
    comma(input)?;
    Ok((from, to))
}
