//! The annotated function: what generated code needs of it, and every mistake
//! that its tokens show. Mistakes in types are left to the compiler; the module
//! `check` of the runtime crate holds the bounds.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Error, FnArg, Ident, Result, ReturnType, Safety, Signature, Token, Type, Visibility,
    parse_quote,
};

use crate::fallback::Errors;

/// A function that can be a migration. Its `#[cfg]`s are no part of this: rustc
/// has decided on them before it calls the attribute, in whatever order they are.
pub(crate) struct Function {
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
    /// The type of its parameter.
    pub(crate) takes: Type,
    /// The type that it returns.
    pub(crate) gives: Type,
}

impl Function {
    /// Reads an item.
    pub(crate) fn parse(item: TokenStream) -> Result<Self> {
        function.parse2(item)
    }

    /// Whether rustc refuses the function for a type that is not written out;
    /// generated code with the same type would only repeat that.
    pub(crate) fn is_refused_by_rustc(&self) -> bool {
        has_placeholder(&self.takes) || has_placeholder(&self.gives) || borrows(&self.gives)
    }
}

fn function(input: ParseStream<'_>) -> Result<Function> {
    let attributes = Attribute::parse_outer(input)?;
    let visibility = input.parse()?;
    let start = input.span();
    let Ok(signature) = input.parse::<Signature>() else {
        return Err(Error::new(
            start,
            "expected a function: `#[state_migration]` goes on the `fn` that converts the state",
        ));
    };
    let mut errors = Errors::default();
    if let Some(second) = attributes.iter().find(|attribute| is_ours(attribute)) {
        errors.add(Error::new_spanned(
            second,
            "a function is one migration: remove this attribute, and write a function of its own for it",
        ));
    }
    qualifiers(&signature, &mut errors);
    let takes = parameter(&signature, &mut errors);
    let gives = returned(&signature, &mut errors);
    let no_body = input.parse::<Option<Token![;]>>()?;
    if let (Some(semicolon), None) = (no_body, signature.receiver()) {
        errors.add(Error::new_spanned(
            semicolon,
            "a migration is a function with a body: move it out of its `trait`",
        ));
    }
    // The body is rustc's to understand.
    input.parse::<TokenStream>()?;
    let (takes, gives) = errors.or((takes, gives))?;
    Ok(Function {
        visibility,
        name: signature.ident,
        takes,
        gives,
    })
}

fn qualifiers(signature: &Signature, errors: &mut Errors) {
    if let Some(asyncness) = &signature.asyncness {
        errors.add(Error::new_spanned(
            asyncness,
            "a migration waits for nothing: remove `async`",
        ));
    }
    if let Safety::Unsafe(unsafety) = &signature.safety {
        errors.add(Error::new_spanned(
            unsafety,
            "a migration must be safe to call: remove `unsafe`",
        ));
    }
    if let Some(abi) = &signature.abi {
        errors.add(Error::new_spanned(
            abi,
            "a migration is called from Rust: remove `extern`",
        ));
    }
    let generics = &signature.generics;
    if !generics.params.is_empty() {
        errors.add(Error::new_spanned(
            generics,
            "a migration converts one type into one other: remove the generic parameters",
        ));
    }
    if let Some(clause) = &generics.where_clause {
        errors.add(Error::new_spanned(
            clause,
            "a migration converts one type into one other: remove the `where` clause",
        ));
    }
    if let Some(variadic) = &signature.variadic {
        errors.add(Error::new_spanned(
            variadic,
            "a migration takes one parameter, the old state: remove the `...`",
        ));
    }
}

/// The type of the one parameter.
fn parameter(signature: &Signature, errors: &mut Errors) -> Type {
    let mut inputs = signature.inputs.iter();
    let takes = match inputs.next() {
        Some(FnArg::Typed(parameter)) => (*parameter.ty).clone(),
        Some(FnArg::Receiver(receiver)) => {
            errors.add(Error::new_spanned(
                receiver,
                "a migration is a free function: move it out of its `impl` or `trait`",
            ));
            return parse_quote!(());
        }
        None => {
            errors.add(Error::new(
                signature.paren_token.span.join(),
                "a migration takes the state of its `from` workflow: add the parameter",
            ));
            return parse_quote!(());
        }
    };
    let more: Punctuated<&FnArg, Token![,]> = inputs.collect();
    if !more.is_empty() {
        errors.add(Error::new_spanned(
            more,
            "a migration takes one parameter, the old state: remove the others",
        ));
    }
    if let Type::Reference(_) = takes {
        errors.add(Error::new_spanned(
            &takes,
            "a migration takes the state by value: remove the `&`",
        ));
    } else if borrows(&takes) {
        errors.add(Error::new_spanned(
            &takes,
            "a migration takes the state by value: a state borrows nothing",
        ));
    }
    named(&takes, errors);
    takes
}

/// The type that the function returns.
fn returned(signature: &Signature, errors: &mut Errors) -> Type {
    match &signature.output {
        ReturnType::Type(_, gives) => {
            named(gives, errors);
            (**gives).clone()
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
    if words(ty).iter().any(|word| word == "impl") {
        errors.add(Error::new_spanned(
            ty,
            "`impl Trait` hides which state this is: name the type",
        ));
    }
}

/// The tokens of a type, without those in parentheses and braces: a function
/// pointer has lifetimes and placeholders of its own there.
fn words(ty: &Type) -> Vec<String> {
    fn read(tokens: TokenStream, words: &mut Vec<String>) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => match group.delimiter() {
                    Delimiter::Bracket | Delimiter::None => read(group.stream(), words),
                    Delimiter::Parenthesis | Delimiter::Brace => words.push(String::new()),
                },
                word => words.push(word.to_string()),
            }
        }
    }
    let mut words = Vec::new();
    read(ty.to_token_stream(), &mut words);
    words
}

/// Whether a type has a lifetime other than `'static`, written or left out.
fn borrows(ty: &Type) -> bool {
    let words = words(ty);
    let next = |at: usize| words.get(at + 1).map(String::as_str);
    words
        .iter()
        .enumerate()
        .any(|(at, word)| match word.as_str() {
            "&" => next(at) != Some("'"),
            "'" => next(at) != Some("static"),
            _ => false,
        })
}

/// Whether a type has a part that is to be inferred.
fn has_placeholder(ty: &Type) -> bool {
    let words = words(ty);
    let is_lifetime = |at: usize| at > 0 && words[at - 1] == "'";
    words
        .iter()
        .enumerate()
        .any(|(at, word)| word == "_" && !is_lifetime(at))
}

/// Whether an attribute is `#[state_migration]`.
pub(crate) fn is_ours(attribute: &Attribute) -> bool {
    let last = attribute.path().segments.last();
    last.is_some_and(|segment| segment.ident == "state_migration")
}
