//! The arguments of the attribute.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, Ident, LitStr, Path, Result, Type, parse_quote};

use crate::errors::Errors;
use crate::parse::keys::{Grammar, KeyValues};

const KEYS: Grammar = Grammar {
    keys: &[
        "from",
        "to",
        "name",
        "crate",
        "undo",
        "detached",
        "note",
        "check",
        "covers",
        "unchanged",
    ],
    write: "from = OrderV1, to = OrderV2",
};

pub(crate) const SAME_WORKFLOW: &str =
    "`from` and `to` are the same workflow: name two different versions";

/// The arguments, complete.
pub(crate) struct Args {
    pub(crate) from: Type,
    pub(crate) to: Type,
    /// The name of the generated struct, if it does not follow from the function's.
    pub(crate) name: Option<Ident>,
    /// The path of the runtime crate.
    pub(crate) krate: Path,
    pub(crate) details: Details,
}

/// The keys of a migration other than its two versions.
pub(crate) struct Details {
    pub(crate) undo: bool,
    pub(crate) detached: bool,
    pub(crate) note: Option<LitStr>,
    /// The function that compares the two states.
    pub(crate) check: Option<Path>,
    /// A text that stands for the code that the function calls.
    pub(crate) covers: Option<Expr>,
    /// A fingerprint of earlier code that does the same, and that of this code.
    pub(crate) unchanged: Option<(u64, u64)>,
}

impl Args {
    /// Reads the arguments. `attribute` is the span of the attribute itself, for
    /// mistakes that belong to no argument.
    pub(crate) fn parse(args: TokenStream, attribute: Span) -> Result<Self> {
        let mut found = found.parse2(args.clone())?;
        let details = Details::of(&mut found);
        let (from, to) = match (found.from, found.to) {
            (Some(from), Some(to)) => (from, to),
            (Some(_), None) => {
                return Err(Error::new_spanned(
                    args,
                    "`to` is missing: add `to = OrderV2`",
                ));
            }
            (None, Some(_)) => {
                return Err(Error::new_spanned(
                    args,
                    "`from` is missing: add `from = OrderV1`",
                ));
            }
            (None, None) => {
                return Err(Error::new(
                    attribute,
                    "`from` and `to` are missing: write `from = OrderV1, to = OrderV2`",
                ));
            }
        };
        if is_same(&from, &to) {
            return Err(Error::new_spanned(to, SAME_WORKFLOW));
        }
        let krate = found.krate.unwrap_or_else(Self::default_krate);
        Ok(Self {
            from,
            to,
            name: found.name,
            krate,
            details,
        })
    }

    /// The arguments that can be read, even if others are wrong or a key is
    /// misspelled.
    pub(crate) fn as_far_as_read(args: TokenStream) -> KeyValues {
        let read = |input: ParseStream<'_>| KEYS.read(input, &mut Errors::default());
        let mut found = read.parse2(args).unwrap_or_default();
        match (found.meant.as_slice(), &found.from, &found.to) {
            ([("from", from)], None, Some(_)) => found.from = Some(from.clone()),
            ([("to", to)], Some(_), None) => found.to = Some(to.clone()),
            _ => {}
        }
        found
    }

    /// Whether the arguments contain one of these keys, or a misspelling of one, in
    /// any form.
    pub(crate) fn may_say(args: TokenStream, keys: &[&str]) -> bool {
        args.into_iter().any(|token| {
            let TokenTree::Ident(word) = token else {
                return false;
            };
            let meant = KEYS.nearest(&word.to_string());
            meant.is_some_and(|key| keys.contains(&key))
        })
    }

    /// The path of the runtime crate if the key `crate` is absent.
    pub(crate) fn default_krate() -> Path {
        parse_quote!(::state_migration)
    }
}

impl Details {
    pub(crate) fn of(found: &mut KeyValues) -> Self {
        Self {
            undo: found.undo.is_some(),
            detached: found.detached.is_some(),
            note: found.note.take(),
            check: found.check.take(),
            covers: found.covers.take(),
            unchanged: found.unchanged.take(),
        }
    }
}

/// Whether both types are written with the same tokens.
pub(crate) fn is_same(from: &Type, to: &Type) -> bool {
    from.to_token_stream().to_string() == to.to_token_stream().to_string()
}

fn found(input: ParseStream<'_>) -> Result<KeyValues> {
    let mut errors = Errors::default();
    let found = KEYS.read(input, &mut errors)?;
    errors.or(found)
}
