//! The arguments of the attribute.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Ident, Path, Result, Token, Type, parse_quote};

use crate::fallback::Errors;

/// The arguments, complete.
pub(crate) struct Args {
    pub(crate) from: Type,
    pub(crate) to: Type,
    /// The path of the runtime crate.
    pub(crate) krate: Path,
}

#[derive(Default)]
struct Found {
    from: Option<Type>,
    to: Option<Type>,
    krate: Option<Path>,
}

impl Args {
    /// Reads the arguments. `attribute` is where the attribute itself stands,
    /// for mistakes that no argument shows.
    pub(crate) fn parse(args: TokenStream, attribute: Span) -> Result<Self> {
        let found = found.parse2(args.clone())?;
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
        if from.to_token_stream().to_string() == to.to_token_stream().to_string() {
            return Err(Error::new_spanned(
                to,
                "`from` and `to` are the same workflow: `to` must be a later version",
            ));
        }
        let krate = found
            .krate
            .unwrap_or_else(|| parse_quote!(::state_migration));
        Ok(Self { from, to, krate })
    }
}

/// Reads all arguments, past the wrong ones.
fn found(input: ParseStream<'_>) -> Result<Found> {
    let mut found = Found::default();
    let mut errors = Errors::default();
    while !input.is_empty() {
        if let Err(error) = argument(input, &mut found) {
            errors.add(error);
            skip_to_next_key(input)?;
        }
    }
    errors.or(found)
}

/// Reads one argument and the comma after it.
fn argument(input: ParseStream<'_>, found: &mut Found) -> Result<()> {
    if !input.peek(Ident::peek_any) {
        return Err(input.error(NO_KEY));
    }
    let key = Ident::parse_any(input)?;
    match key.to_string().as_str() {
        "from" => set(&mut found.from, workflow(input, &key, "OrderV1")?, &key)?,
        "to" => set(&mut found.to, workflow(input, &key, "OrderV2")?, &key)?,
        "crate" => set(&mut found.krate, path(input, &key)?, &key)?,
        unknown if input.peek(Token![=]) => {
            return Err(Error::new_spanned(
                &key,
                format!("unknown key `{unknown}`: the keys are `from`, `to` and `crate`"),
            ));
        }
        _ => return Err(Error::new_spanned(&key, NO_KEY)),
    }
    if !input.is_empty() && input.parse::<Option<Token![,]>>()?.is_none() {
        return Err(input.error("expected a `,` before this"));
    }
    Ok(())
}

const NO_KEY: &str = "expected a key: write `from = OrderV1, to = OrderV2`";

fn set<T>(slot: &mut Option<T>, value: T, key: &Ident) -> Result<()> {
    match slot.replace(value) {
        Some(_) => Err(Error::new_spanned(
            key,
            format!("`{key}` is given twice: remove one"),
        )),
        None => Ok(()),
    }
}

fn workflow(input: ParseStream<'_>, key: &Ident, example: &str) -> Result<Type> {
    let message = format!("`{key}` takes a workflow type: write `{key} = {example}`");
    equals(input, key, &message)?;
    let start = input.span();
    match input.parse() {
        Ok(workflow @ (Type::Path(_) | Type::Group(_) | Type::Macro(_))) => Ok(workflow),
        Ok(other) => Err(Error::new_spanned(other, message)),
        Err(_) => Err(Error::new(start, message)),
    }
}

fn path(input: ParseStream<'_>, key: &Ident) -> Result<Path> {
    let message = "`crate` takes a path: write `crate = ::state_migration`";
    equals(input, key, message)?;
    let start = input.span();
    Path::parse_mod_style(input).map_err(|_| Error::new(start, message))
}

/// Reads the `=` before a value that is there.
fn equals(input: ParseStream<'_>, key: &Ident, message: &str) -> Result<()> {
    let equals = input.parse::<Option<Token![=]>>()?;
    if equals.is_none() || input.is_empty() || input.peek(Token![,]) {
        return Err(Error::new_spanned(key, message));
    }
    Ok(())
}

/// Goes on behind a mistake. A type may hold commas too, so only a comma before
/// `key =` surely ends one.
fn skip_to_next_key(input: ParseStream<'_>) -> Result<()> {
    while !input.is_empty() {
        if input.peek(Token![,]) && input.peek2(Ident::peek_any) && input.peek3(Token![=]) {
            input.parse::<Token![,]>()?;
            return Ok(());
        }
        input.step(|cursor| match cursor.token_tree() {
            Some((_, rest)) => Ok(((), rest)),
            None => Err(cursor.error("expected more tokens")),
        })?;
    }
    Ok(())
}
