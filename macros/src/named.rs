//! The types that wrong arguments name. The migration that would use them is not
//! there, and without a use their imports would be warned of beside the mistake.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Ident, Lifetime, LitStr, Result, Token, Type};

use crate::words;

/// Uses of every type that is named; what is not there is no error of its own, for
/// rustc looks no further than a `compile_error!`.
pub(crate) fn uses(args: TokenStream) -> TokenStream {
    let types = types.parse2(args).unwrap_or_default();
    let names = (0..types.len()).map(|at| format_ident!("__StateMigration{at}"));
    quote!(#(type #names = #types;)*)
}

/// The same, as an item.
pub(crate) fn used(args: TokenStream) -> TokenStream {
    in_an_item(&uses(args))
}

/// Errors of a macro that is an item, with uses of what is behind its `$crate ;`.
/// In one item, so that in the place of a value there is one mistake too.
pub(crate) fn errors(error: &syn::Error, input: TokenStream) -> TokenStream {
    let errors = error.to_compile_error();
    let uses = uses(input.into_iter().skip(2).collect());
    if uses.is_empty() {
        return errors;
    }
    in_an_item(&quote!(#uses #errors))
}

fn in_an_item(code: &TokenStream) -> TokenStream {
    if code.is_empty() {
        return TokenStream::new();
    }
    quote!(const _: () = { #code };)
}

fn types(input: ParseStream<'_>) -> Result<Vec<TokenStream>> {
    let mut types = Vec::new();
    let mut is_text = false;
    while !input.is_empty() {
        if input.peek(Ident::peek_any) && input.peek2(Token![=]) && !input.peek2(Token![=>]) {
            let key = Ident::parse_any(input)?;
            is_text = key == "note" || key == "reason";
            input.parse::<Token![=]>()?;
            if key == "name" && !input.is_empty() {
                skip(input)?;
            }
            continue;
        }
        if let Some(text) = input.parse::<Option<LitStr>>()? {
            types.extend(text.parse().ok().filter(|_| !is_text).and_then(usable));
            continue;
        }
        let ahead = input.fork();
        let ty = ahead.parse::<Type>();
        // A trait is no type, wherever it is written.
        let has_a_trait = matches!(ty, Ok(Type::TraitObject(_) | Type::ImplTrait(_)));
        let used = ty.ok().and_then(usable);
        if has_a_trait || used.is_some() {
            types.extend(used);
            while input.cursor() != ahead.cursor() {
                skip(input)?;
            }
            continue;
        }
        if let TokenTree::Group(group) = skip(input)? {
            types.extend(self::types.parse2(group.stream())?);
        }
    }
    Ok(types)
}

fn skip(input: ParseStream<'_>) -> Result<TokenTree> {
    input.parse()
}

/// A path to a type that can be written in an item; by custom, its last name is in
/// camel case, and a key is not.
fn usable(ty: Type) -> Option<TokenStream> {
    let ty = words::ungrouped(&ty);
    let Type::Path(path) = ty else {
        return None;
    };
    let last = path.path.segments.last()?.ident.unraw().to_string();
    let is_type = last.starts_with(char::is_uppercase) && words::find(ty, "Self").is_none();
    is_type.then(|| complete(quote!(#ty)))
}

/// The type with `'static` for each lifetime, and `()` for what is to be inferred.
fn complete(ty: TokenStream) -> TokenStream {
    let mut complete = TokenStream::new();
    let mut tokens = ty.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let span = token.span();
        match &token {
            TokenTree::Punct(tick) if tick.as_char() == '\'' => {
                tokens.next();
                complete.extend(lifetime(span));
            }
            TokenTree::Punct(borrow) if borrow.as_char() == '&' => {
                complete.extend([token]);
                let has_one = tokens.peek().is_some_and(|next| next.to_string() == "'");
                complete.extend((!has_one).then(|| lifetime(span)));
            }
            TokenTree::Ident(word) if word == "_" => complete.extend(quote_spanned!(span=> ())),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                let mut inner = Group::new(Delimiter::Bracket, self::complete(group.stream()));
                inner.set_span(group.span());
                complete.extend([TokenTree::from(inner)]);
            }
            _ => complete.extend([token]),
        }
    }
    complete
}

fn lifetime(span: Span) -> TokenStream {
    let lifetime = Lifetime::new("'static", span);
    quote!(#lifetime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_type_is_used() {
        for (args, used) in [
            ("from = A to = b::B", "A, b::B"),
            ("form = A, too = ::b::B<C>", "A, ::b::B<C>"),
            ("from(A), to: B", "A, B"),
            ("A => B, undoo", "A, B"),
            ("A B", "A, B"),
            ("from = &A, to = &'a B", "A, B"),
            (
                "from = A<'a>, to = B<_, [&u8]>",
                "A<'static>, B<(), [&'static u8]>",
            ),
            ("from = \"a::A\", to = 7", "a::A"),
            ("from = Self, to = <A as Family>::B", "<A as Family>::B"),
            ("from = dyn A, to = impl B + C", ""),
            ("name = A, note = \"B\", reason = \"C\"", ""),
            ("undo, crate = ::a::b, from = a, note = c", ""),
        ] {
            let plain = |text: String| text.replace(' ', "");
            let types = match args.parse().map(|args| types.parse2(args)) {
                Ok(Ok(types)) => types,
                _ => unreachable!("{args}"),
            };
            let types: Vec<String> = types.iter().map(TokenStream::to_string).collect();
            assert_eq!(plain(types.join(",")), plain(used.to_owned()), "{args}");
        }
    }
}
