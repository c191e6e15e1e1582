//! What the tokens of a type show, without knowing what they name.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::{GenericArgument, PathArguments, Type, parse_quote};

use crate::place::ends;

/// A type as it is written, where a `macro_rules!` passes it on as `$t:ty`.
pub(crate) fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungrouped(&group.elem),
        written => written,
    }
}

/// The first part of a type that borrows for other than `'static`, or for what
/// is not written.
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

/// The first part of a type that is to be inferred.
pub(crate) fn placeholder(ty: &Type) -> Option<Span> {
    let words = words(ty);
    let is_lifetime = |at: usize| at > 0 && words[at - 1].0 == "'";
    let mut words = words.iter().enumerate();
    let found = words.find(|(at, (word, _))| word == "_" && !is_lifetime(*at));
    found.map(|(_, (_, span))| *span)
}

/// Where a word is in a type.
pub(crate) fn find(ty: &Type, wanted: &str) -> Option<Span> {
    let found = words(ty).into_iter().find(|(word, _)| word == wanted);
    found.map(|(_, span)| span)
}

/// For a type without a size, or a `Result` with one, code that compiles if it is one:
/// `str` and `Result` may be names of other types here, and those be right.
pub(crate) fn without_size(ty: &Type) -> Option<TokenStream> {
    let path = match ungrouped(ty) {
        Type::Paren(paren) => return without_size(&paren.elem),
        Type::Slice(_) | Type::TraitObject(_) => return Some(TokenStream::new()),
        Type::Path(path) => path,
        _ => return None,
    };
    if path.path.is_ident("str") {
        let place = ends(path).0;
        return Some(quote_spanned! {place=>
            const _: fn(&#path) -> &::core::primitive::str = |same| same;
        });
    }
    let mut path = path.clone();
    let last = path.path.segments.last_mut()?;
    let PathArguments::AngleBracketed(generics) = &mut last.arguments else {
        return None;
    };
    let mut types = generics.args.iter();
    let proof = types.find_map(|argument| match argument {
        GenericArgument::Type(ty) => without_size(ty),
        _ => None,
    })?;
    if last.ident != "Result" || generics.args.len() != 2 {
        return None;
    }
    generics.args = parse_quote!((), ());
    let place = ends(&path).0;
    Some(quote_spanned! {place=>
        #proof
        const _: fn(#path) -> ::core::result::Result<(), ()> = |same| same;
    })
}

/// The tokens of a type, without those in parentheses and braces: a function
/// pointer has lifetimes and placeholders of its own there.
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

    fn without_spaces(code: &str) -> String {
        code.split_whitespace().collect()
    }

    #[test]
    fn a_type_without_a_size_is_seen_in_a_result_too() {
        for (text, proof) in [
            ("[u8]", Some("")),
            ("(dyn Error + Send)", Some("")),
            (
                "str",
                Some("const _: fn(&str) -> &::core::primitive::str = |same| same;"),
            ),
            (
                "io::Result<S, dyn Error>",
                Some(
                    "const _: fn(io::Result<(), ()>) -> ::core::result::Result<(), ()> = |same| same;",
                ),
            ),
            (
                "Result<S, str>",
                Some(
                    "const _: fn(&str) -> &::core::primitive::str = |same| same;
                    const _: fn(Result<(), ()>) -> ::core::result::Result<(), ()> = |same| same;",
                ),
            ),
            ("Result<str>", None),
            ("Other<S, str>", None),
            ("[u8; 2]", None),
            ("Box<dyn Error>", None),
            ("Result<S, Box<str>>", None),
            ("Result<S, &'static str>", None),
            ("Result<[u8; 2], fn(&str)>", None),
        ] {
            let found = without_size(&ty(text)).map(|code| without_spaces(&code.to_string()));
            assert_eq!(found, proof.map(without_spaces), "{text}");
        }
    }
}
