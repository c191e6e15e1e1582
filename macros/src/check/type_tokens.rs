//! The tokens of a type, examined without knowing what they name.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Type;

/// The type inside the invisible group of a `$t:ty` of a `macro_rules!`.
pub(crate) fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungrouped(&group.elem),
        written => written,
    }
}

/// The type inside such groups and inside of parentheses.
pub(crate) fn unparenthesized(ty: &Type) -> &Type {
    match ungrouped(ty) {
        Type::Paren(paren) => unparenthesized(&paren.elem),
        written => written,
    }
}

/// The first reference or lifetime in a type that is not `'static`, or is elided.
pub(crate) fn borrowed(ty: &Type) -> Option<Span> {
    let words = words(ty);
    let follows = |at: usize, word: &str| words.get(at + 1).is_some_and(|next| next.0 == word);
    let mut words = words.iter().enumerate();
    let found = words.find(|(at, (word, _))| match word.as_str() {
        "&" => !follows(*at, "'"),
        "'" => !follows(*at, "static"),
        _ => false,
    });
    found.map(|(_, (_, span))| *span)
}

/// The first `_` in a type that is to be inferred.
pub(crate) fn placeholder(ty: &Type) -> Option<Span> {
    let words = words(ty);
    let is_lifetime = |at: usize| at > 0 && words[at - 1].0 == "'";
    let mut words = words.iter().enumerate();
    let found = words.find(|(at, (word, _))| word == "_" && !is_lifetime(*at));
    found.map(|(_, (_, span))| *span)
}

/// The span of a word in a type.
pub(crate) fn find(ty: &Type, wanted: &str) -> Option<Span> {
    let found = words(ty).into_iter().find(|(word, _)| word == wanted);
    found.map(|(_, span)| span)
}

/// The tokens of a type, except those in parentheses and braces, where a function
/// pointer has lifetimes and placeholders of its own.
fn words(ty: &Type) -> Vec<(String, Span)> {
    fn read(tokens: TokenStream, words: &mut Vec<(String, Span)>) {
        for token in tokens {
            let span = token.span();
            match token {
                TokenTree::Group(group) => match group.delimiter() {
                    Delimiter::Bracket | Delimiter::None => read(group.stream(), words),
                    Delimiter::Parenthesis | Delimiter::Brace => words.push((String::new(), span)),
                },
                word => words.push((word.to_string(), span)),
            }
        }
    }
    let mut words = Vec::new();
    read(ty.to_token_stream(), &mut words);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ty(text: &str) -> Type {
        match syn::parse_str(text) {
            Ok(ty) => ty,
            Err(error) => unreachable!("{text}: {error}"),
        }
    }

    #[test]
    fn a_type_borrows_where_it_has_a_lifetime_that_ends() {
        for (text, borrows) in [
            ("V1<'a>", true),
            ("V1<'_>", true),
            ("V1<&str>", true),
            ("V1<[&'a str]>", true),
            ("V1<'static>", false),
            ("V1<&'static str>", false),
            ("V1<fn(&str) -> u8>", false),
            ("orders::V1", false),
        ] {
            assert_eq!(borrowed(&ty(text)).is_some(), borrows, "{text}");
        }
    }

    #[test]
    fn a_lifetime_that_is_left_out_is_no_placeholder() {
        for (text, has_one) in [
            ("Vec<_>", true),
            ("[_; 2]", true),
            ("V1<'_>", false),
            ("V1<_a>", false),
            ("V1<fn(_)>", false),
        ] {
            assert_eq!(placeholder(&ty(text)).is_some(), has_one, "{text}");
        }
    }
}
