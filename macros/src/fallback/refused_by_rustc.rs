//! Functions that rustc refuses, so that generated code would only repeat the error.

use proc_macro2::TokenStream;
use quote::quote_spanned;
use syn::{GenericArgument, PathArguments, Type, parse_quote};

use crate::check::signature::Function;
use crate::check::type_tokens::ungrouped;
use crate::expand::spans::outermost;

/// `Some` if rustc refuses the function, because it is incomplete or has an unsized type;
/// with code that rustc refuses if that assumption is wrong.
pub(crate) fn refused_by_rustc(function: &Function) -> Option<TokenStream> {
    if function.is_incomplete {
        return Some(TokenStream::new());
    }
    without_size(&function.takes).or_else(|| without_size(&function.gives))
}

/// For an unsized type, or a `Result` with one, code that compiles only if the type is
/// what its name says: `str` and `Result` may be the names of the user's own types.
fn without_size(ty: &Type) -> Option<TokenStream> {
    let path = match ungrouped(ty) {
        Type::Paren(paren) => return without_size(&paren.elem),
        Type::Slice(_) | Type::TraitObject(_) => return Some(TokenStream::new()),
        Type::Path(path) => path,
        _ => return None,
    };
    if path.path.is_ident("str") {
        let place = outermost(path).0;
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
    let place = outermost(&path).0;
    Some(quote_spanned! {place=>
        #proof
        const _: fn(#path) -> ::core::result::Result<(), ()> = |same| same;
    })
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
