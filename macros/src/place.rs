//! Where generated tokens stand in the source: rustc shows a mistake at the span
//! of the token that it is in.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};

/// The tokens at the place of others.
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

/// The spans of the first and the last token.
pub(crate) fn ends(tokens: &impl ToTokens) -> (Span, Span) {
    let mut spans = tokens
        .to_token_stream()
        .into_iter()
        .map(|token| token.span());
    let first = spans.next().unwrap_or_else(Span::call_site);
    (first, spans.last().unwrap_or(first))
}

/// The `SourceLocation` of what the user wrote: a function, or the macro itself.
pub(crate) fn location(written: Span, what: &str, krate: &impl ToTokens) -> TokenStream {
    // `line!` gives the line of its own tokens.
    let line = quote_spanned!(written=> ::core::line!());
    quote::quote! {
        #krate::SourceLocation {
            function: ::core::concat!(::core::module_path!(), "::", #what),
            package: ::core::env!("CARGO_PKG_NAME"),
            file: ::core::file!(),
            line: #line,
        }
    }
}
