//! The signature of the annotated function, and every mistake that its tokens show.
//!
//! Mistakes in types are left to the compiler; the bounds are on `link` in the
//! runtime crate.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::parse::discouraged::Speculative;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Error, FnArg, GenericParam, Ident, PatType, Receiver, ReceiverKind, Result,
    ReturnType, Safety, Signature, Token, Type, Visibility, parse_quote, parse_quote_spanned,
};

use crate::check::type_tokens::{self, borrowed};
use crate::check::unparsed_fn::{UnparsedFn, in_every_edition, read_unparsed_fn};
use crate::errors::Errors;

/// A function that can be a migration. Its `#[cfg]`s are not part of this: rustc
/// evaluates them before it expands the attribute, in any order.
pub(crate) struct Function {
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    /// The type of the parameter.
    pub(crate) takes: Type,
    /// The return type.
    pub(crate) gives: Type,
    /// Whether it is left out of the documentation.
    pub(crate) is_hidden: bool,
    /// Whether rustc cannot parse the function either.
    pub(crate) is_incomplete: bool,
}

impl Function {
    /// Reads an item.
    pub(crate) fn parse(item: TokenStream) -> Result<Self> {
        function.parse2(item)
    }
}

fn function(input: ParseStream<'_>) -> Result<Function> {
    let attributes = Attribute::parse_outer(input)?;
    let visibility = input.parse()?;
    let start = input.span();
    let ahead = input.fork();
    let signature = ahead.parse::<Signature>();
    // rustc treats these as a mistyped `->`.
    let has_no_arrow = ahead.peek(Token![=>]) || ahead.peek(Token![:]);
    let signature = match signature {
        Ok(signature) if !has_no_arrow => signature,
        _ => {
            let Some(UnparsedFn {
                name,
                is_incomplete,
            }) = read_unparsed_fn(input)
            else {
                return Err(Error::new(
                    start,
                    "expected a function: put `#[state_migration]` on the `fn` that converts the state",
                ));
            };
            let name = name.unwrap_or_else(|| Ident::new("_", start));
            input.parse::<TokenStream>()?;
            return Ok(Function {
                visibility,
                takes: unknown(name.span()),
                gives: unknown(name.span()),
                is_hidden: false,
                name,
                is_incomplete: is_incomplete || has_no_arrow,
            });
        }
    };
    input.advance_to(&ahead);
    let mut errors = Errors::default();
    if let Some(second) = attributes.iter().find(|attribute| is_ours(attribute)) {
        errors.add(Error::new_spanned(
            second,
            "a function can have only one `#[state_migration]`: write a separate function for this one",
        ));
    }
    let features = |attribute: &&Attribute| attribute.path().is_ident("target_feature");
    if let Some(features) = attributes.iter().find(features) {
        errors.add(Error::new_spanned(
            features,
            "`#[target_feature]` is not supported on a migration: remove it",
        ));
    }
    qualifiers(&signature, &mut errors);
    let takes = parameter(&signature, &mut errors);
    let gives = returned(&signature, &mut errors);
    // The body, or its absence, is left to rustc.
    input.parse::<TokenStream>()?;
    let (takes, gives) = errors.or((takes, gives))?;
    Ok(Function {
        visibility,
        name: in_every_edition(signature.ident),
        takes,
        gives,
        is_hidden: attributes.iter().any(is_hidden),
        is_incomplete: false,
    })
}

/// A placeholder for a type that could not be parsed.
fn unknown(place: Span) -> Type {
    parse_quote_spanned!(place=> ())
}

fn qualifiers(signature: &Signature, errors: &mut Errors) {
    if let Some(asyncness) = &signature.asyncness {
        errors.add(Error::new_spanned(
            asyncness,
            "a migration cannot be `async`: remove `async`, or implement `StateMigration` for a type that holds what it needs",
        ));
    }
    if let Safety::Unsafe(unsafety) = &signature.safety {
        errors.add(Error::new_spanned(
            unsafety,
            "a migration cannot be `unsafe`: remove `unsafe`",
        ));
    }
    if let Some(abi) = &signature.abi {
        errors.add(Error::new_spanned(
            abi,
            "a migration cannot be `extern`: remove `extern`",
        ));
    }
    let generics = &signature.generics;
    if has_lifetimes_only(signature) {
        errors.add(Error::new_spanned(
            generics,
            "a migration cannot have lifetimes: remove them, and write types that own their data: the state without `&`, and a `String` or `&'static str` as the error",
        ));
    } else if !generics.params.is_empty() {
        errors.add(Error::new_spanned(
            generics,
            "a migration cannot be generic: remove the generic parameters",
        ));
    }
    if let Some(clause) = &generics.where_clause {
        let message = "a migration cannot have a `where` clause: remove it";
        // In syn, a clause without bounds has no tokens.
        errors.add(match clause.predicates.is_empty() {
            true => Error::new_spanned(clause.where_token, message),
            false => Error::new_spanned(clause, message),
        });
    }
    if let Some(variadic) = &signature.variadic {
        errors.add(Error::new_spanned(
            variadic,
            "a migration takes one parameter, the old state: remove the `...`",
        ));
    }
}

/// Whether the function is generic, but only over lifetimes. The types that have them are
/// part of the same mistake.
fn has_lifetimes_only(signature: &Signature) -> bool {
    let mut parameters = signature.generics.params.iter().peekable();
    parameters.peek().is_some()
        && parameters.all(|parameter| matches!(parameter, GenericParam::Lifetime(_)))
}

/// The type of the one parameter.
fn parameter(signature: &Signature, errors: &mut Errors) -> Type {
    let is_sure = |input: &&FnArg| signature.inputs.len() == 1 || !is_conditional(input);
    let sure = signature.inputs.iter().filter(is_sure);
    // If all have a `#[cfg]`, only rustc knows which of them remain.
    let Some(first) = sure.clone().next().or(signature.inputs.first()) else {
        errors.add(Error::new(
            signature.paren_token.span.join(),
            "a migration takes the state of its `from` workflow: add a parameter for it",
        ));
        return parse_quote!(());
    };
    let takes = match first {
        FnArg::Typed(parameter) => type_tokens::ungrouped(&parameter.ty).clone(),
        FnArg::Receiver(receiver) => {
            let message = match receiver.kind {
                ReceiverKind::Typed(..) => {
                    "a migration must be a free function whose parameter has another name than `self`: write `old` instead, outside of any `impl` or `trait`"
                }
                _ => "a migration must be a free function: move it out of its `impl` or `trait`",
            };
            errors.add(Error::new_spanned(receiver, message));
            return parse_quote!(());
        }
    };
    if sure.clone().next().is_none() {
        return takes;
    }
    let more: Punctuated<&FnArg, Token![,]> = sure.skip(1).collect();
    if !more.is_empty() {
        errors.add(Error::new_spanned(
            more,
            "a migration takes one parameter, the old state: remove the others, or implement `StateMigration` for a type that holds them",
        ));
    }
    if has_lifetimes_only(signature) {
        // The lifetimes are reported.
    } else if let Type::Reference(reference) = &takes {
        let message = match &*reference.elem {
            Type::Slice(_) => {
                "a migration takes the old state, not its events: write the type of the state"
            }
            _ => "a migration takes the state by value: remove the `&`",
        };
        errors.add(Error::new_spanned(&takes, message));
    } else if borrowed(&takes).is_some() {
        errors.add(Error::new_spanned(
            &takes,
            "a state cannot have a non-`'static` lifetime: take an owned type",
        ));
    }
    named(&takes, errors);
    takes
}

/// Whether rustc may remove a parameter later, because of a `#[cfg]`.
fn is_conditional(parameter: &FnArg) -> bool {
    let (FnArg::Typed(PatType { attrs, .. }) | FnArg::Receiver(Receiver { attrs, .. })) = parameter;
    let mut paths = attrs.iter().map(Attribute::path);
    paths.any(|path| path.is_ident("cfg") || path.is_ident("cfg_attr"))
}

/// The return type of the function.
fn returned(signature: &Signature, errors: &mut Errors) -> Type {
    match &signature.output {
        ReturnType::Type(_, gives) => {
            let gives = type_tokens::ungrouped(gives);
            named(gives, errors);
            gives.clone()
        }
        ReturnType::Default => {
            errors.add(Error::new(
                signature.paren_token.span.close(),
                "a migration returns the state of its `to` workflow: add `->` and the type",
            ));
            parse_quote!(())
        }
    }
}

fn named(ty: &Type, errors: &mut Errors) {
    if type_tokens::find(ty, "impl").is_some() {
        let message = match type_tokens::find(ty, "Future") {
            Some(_) => {
                "a migration cannot return a future: return the state itself, or implement `StateMigration` for a type that holds what it needs"
            }
            None => "`impl Trait` is not supported here: write the concrete type",
        };
        errors.add(Error::new_spanned(ty, message));
    }
}

/// Whether a function ends with its body.
pub(crate) fn has_body(function: &TokenStream) -> bool {
    let last = function.clone().into_iter().last();
    matches!(last, Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace)
}

/// Whether an attribute is `#[doc(hidden)]`.
fn is_hidden(attribute: &Attribute) -> bool {
    let is_doc = attribute.path().is_ident("doc");
    is_doc
        && attribute
            .parse_args::<Ident>()
            .is_ok_and(|word| word == "hidden")
}

/// Whether an attribute is `#[state_migration]`, or its marker.
pub(crate) fn is_ours(attribute: &Attribute) -> bool {
    let last = attribute.path().segments.last();
    last.is_some_and(|segment| segment.ident == "state_migration")
}
