//! Where generated tokens stand in the source: rustc shows a mistake at the span
//! of the token that it is in.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};

use crate::parse::versions::invocation;

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
    let mut tokens = tokens.to_token_stream().into_iter();
    let Some(first) = tokens.next() else {
        return (Span::call_site(), Span::call_site());
    };
    let last = tokens
        .last()
        .map_or_else(|| first.span(), |last| last.span());
    (first.span(), last)
}

/// Code of a macro that stands by itself, so that where no item may be, one sentence
/// says so, and nothing of the code is looked at.
pub(crate) fn item(krate: &TokenTree, code: TokenStream) -> TokenStream {
    let place = invocation(krate);
    let path = quote_spanned!(place=> #krate::__private::replaced_by);
    quote_spanned!(place=> #[#path(#code)] struct StateMigration;)
}

/// What generated code calls the module that it names things of. A name of its own: a
/// path with tokens of the user's is linted as theirs, and the `$crate` of a macro
/// cannot stand at one.
pub(crate) fn runtime() -> TokenStream {
    quote!(__state_migration)
}

/// Generated code where it can call that module so, under an attribute for its lints.
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

/// The `SourceLocation` of what the user wrote: a function, or the macro itself.
pub(crate) fn location(written: Span, what: &str) -> TokenStream {
    let runtime = runtime();
    let core = quote!(#runtime::core);
    // `line!` gives the line of its own tokens.
    let line = quote!(#core::line!()).into_iter().map(|mut token| {
        token.set_span(written);
        token
    });
    let line: TokenStream = line.collect();
    let module = quote!(#core::module_path!());
    quote! {
        #runtime::SourceLocation {
            function: #core::concat!(#module, "::", #what),
            package: #runtime::package(#core::option_env!("CARGO_PKG_NAME"), #module),
            file: #core::file!(),
            line: #line,
        }
    }
}
