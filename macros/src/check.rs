//! The annotated function: what generated code needs of it, and every mistake
//! that its tokens show. Mistakes in types are left to the compiler; the module
//! `check` of the runtime crate holds the bounds.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Error, FnArg, Ident, Meta, Result, ReturnType, Safety, Signature, Token, Type,
    Visibility, parse_quote,
};

use crate::fallback::Errors;
use crate::place::at;
use crate::words::{self, borrowed};

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

    /// Whether rustc refuses the function for a type without a size; generated code
    /// would only repeat that.
    pub(crate) fn is_refused_by_rustc(&self) -> bool {
        words::is_unsized(&self.takes) || words::is_unsized(&self.gives)
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
    let features = |attribute: &&Attribute| attribute.path().is_ident("target_feature");
    if let Some(features) = attributes.iter().find(features) {
        errors.add(Error::new_spanned(
            features,
            "a migration is called on any machine: remove `#[target_feature]`",
        ));
    }
    qualifiers(&signature, &mut errors);
    let takes = parameter(&signature, &mut errors);
    let gives = returned(&signature, &mut errors);
    let no_body = input.parse::<Option<Token![;]>>()?;
    if let (Some(semicolon), None) = (no_body, signature.receiver()) {
        errors.add(Error::new_spanned(
            semicolon,
            "a migration is a function with a body: move it out of its `trait` or `extern` block",
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
        Some(FnArg::Typed(parameter)) => words::ungrouped(&parameter.ty).clone(),
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
    } else if borrowed(&takes).is_some() {
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
            let gives = words::ungrouped(gives);
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
    if words::find(ty, "impl").is_some() {
        errors.add(Error::new_spanned(
            ty,
            "`impl Trait` hides which state this is: name the type",
        ));
    }
}

/// The item, marked as a migration where it has one more attribute that may make
/// it one: imported under another name, that can be told from others only by what
/// it does when its turn comes, which is to refuse what is marked. The mark is of
/// a tool, for which rustc does nothing.
pub(crate) fn marked(item: TokenStream) -> TokenStream {
    let attributes = |input: ParseStream<'_>| {
        let attributes = Attribute::parse_outer(input)?;
        input.parse::<TokenStream>()?;
        Ok(attributes)
    };
    let attributes = attributes.parse2(item.clone()).unwrap_or_default();
    // One by our name is refused as it is.
    let may_be_ours =
        |attribute: &&Attribute| !attributes.iter().any(is_ours) && may_be_ours(attribute);
    let mark = attributes
        .iter()
        .find(may_be_ours)
        .map(|attribute| at(attribute, quote!(#[rust_analyzer::state_migration])));
    quote!(#mark #item)
}

/// Whether an attribute has an argument of ours.
fn may_be_ours(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return false;
    };
    let tokens: Vec<TokenTree> = list.tokens.clone().into_iter().collect();
    tokens.windows(2).any(|pair| {
        let key = matches!(&pair[0], TokenTree::Ident(key) if key == "from" || key == "to");
        key && matches!(&pair[1], TokenTree::Punct(punct) if punct.as_char() == '=')
    })
}

/// Whether an attribute is `#[state_migration]`, or the mark of one.
pub(crate) fn is_ours(attribute: &Attribute) -> bool {
    let last = attribute.path().segments.last();
    last.is_some_and(|segment| segment.ident == "state_migration")
}
