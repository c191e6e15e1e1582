//! The spans of generated tokens, which decide where rustc shows a mistake; and the
//! code around generated items.

use std::env;

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};

use crate::parse::versions::invocation;

/// Tokens with the place of others, from the start of the first to the end of the last.
/// None of them has the span of a token that the user wrote: an editor looks for
/// definitions at all tokens with the span of the one under the cursor.
pub(crate) fn at(place: &impl ToTokens, tokens: TokenStream) -> TokenStream {
    let (start, end) = ends(place);
    let mut tokens: Vec<_> = tokens.into_iter().collect();
    for token in &mut tokens {
        token.set_span(start);
    }
    if let Some(last) = tokens.last_mut() {
        last.set_span(end);
    }
    tokens.into_iter().collect()
}

/// The empty spans before the first and behind the last token.
pub(crate) fn ends(tokens: &impl ToTokens) -> (Span, Span) {
    let (first, last) = outermost(tokens);
    (start(first), end(last))
}

/// The spans of the first and the last token.
pub(crate) fn outermost(tokens: &impl ToTokens) -> (Span, Span) {
    let mut tokens = tokens.to_token_stream().into_iter();
    let Some(first) = tokens.next() else {
        return (Span::call_site(), Span::call_site());
    };
    let last = tokens
        .last()
        .map_or_else(|| first.span(), |last| last.span());
    (first.span(), last)
}

/// The empty span before a token.
pub(crate) fn start(token: Span) -> Span {
    // Outside the compiler, as in the tests of this crate, spans have no place.
    match proc_macro::is_available() {
        true => token.unwrap().start().into(),
        false => token,
    }
}

/// The empty span behind a token.
pub(crate) fn end(token: Span) -> Span {
    match proc_macro::is_available() {
        true => token.unwrap().end().into(),
        false => token,
    }
}

/// The code of a function-like macro, as one item. Where an item is not allowed, rustc
/// then reports one error and does not examine the code.
pub(crate) fn item(krate: &TokenTree, code: TokenStream) -> TokenStream {
    let place = invocation(krate);
    let path = quote_spanned!(place=> #krate::__private::replaced_by);
    // rustc shows the path of the macro from which this token is.
    let keyword = quote_spanned!(Span::call_site()=> struct);
    quote_spanned!(place=> #[#path(#code)] #keyword StateMigration;)
}

/// The name of the module that generated code takes its items from. It is an alias,
/// because a path that contains the user's tokens is linted as the user's, and `$crate`
/// cannot have the span of another token.
pub(crate) fn runtime() -> TokenStream {
    quote!(__state_migration)
}

/// Generated code in the scope of that alias, under an attribute for its lints.
pub(crate) fn block(krate: &impl ToTokens, lints: &TokenStream, code: &TokenStream) -> TokenStream {
    let runtime = runtime();
    quote! {
        #lints
        const _: () = {
            use #krate::__private as #runtime;

            #code
        };
    }
}

/// The path of the runtime's macros in an attribute's code. rustc does not look through
/// the alias of [`runtime`] below another attribute that it cannot resolve.
pub(crate) fn macros(krate: &impl ToTokens) -> TokenStream {
    // Otherwise the path would be linted as the user's.
    let generated = krate.to_token_stream().into_iter().map(|mut token| {
        token.set_span(Span::call_site());
        token
    });
    let krate: TokenStream = generated.collect();
    quote!(#krate::__private)
}

/// The `SourceLocation` of a function, or of a function-like macro. It is that of the
/// generated call, since `line!` and `file!` would have to be expanded for each. `macros`
/// is the path of the runtime's macros.
pub(crate) fn location(written: Span, what: &str, macros: &TokenStream) -> TokenStream {
    let (runtime, written) = (runtime(), start(written));
    let function = quote!(#macros::core::concat!(#macros::core::module_path!(), "::", #what));
    // rustc sets it for the crate that it compiles.
    let package = env::var("CARGO_PKG_NAME").unwrap_or_default();
    let mut arguments = Group::new(Delimiter::Parenthesis, quote!(#function, #package));
    arguments.set_span(written);
    let location = quote!(#runtime::location).into_iter().map(|mut token| {
        token.set_span(written);
        token
    });
    let location: TokenStream = location.collect();
    quote!(#location #arguments)
}
