//! Uses of the types that wrong arguments name. The migration that would use them is not
//! generated, and rustc would report their imports as unused beside the mistake.

use std::collections::BTreeSet;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Ident, LitStr, Result, Token, Type, TypePath};

use crate::check::type_tokens;
use crate::expand::spans::{block, item};
use crate::parse::versions::versions_as_far_as_read;

/// Uses of every path in the arguments, by its first segment, which is the imported one.
/// They are imports themselves, and so valid for any kind of name, also for a constant or
/// a trait in the place of a workflow.
pub(crate) fn uses(args: TokenStream) -> TokenStream {
    let names = names.parse2(args).unwrap_or_default();
    let uses = names.iter().map(|name| {
        // With the context of the macro, whose unused imports rustc does not report.
        let span = Span::call_site().located_at(name.span());
        let mut name = name.clone();
        name.set_span(span);
        quote_spanned!(span=> use #name as _;)
    });
    uses.collect()
}

/// The same uses, as one item.
pub(crate) fn used(args: TokenStream) -> TokenStream {
    in_an_item(&uses(args))
}

/// The first versions of a migration as types, in code that rustc removes: in an import, an
/// editor would propose no types. The place of the second one is kept if it is absent.
pub(crate) fn proposed<'a>(versions: impl IntoIterator<Item = Option<&'a Type>>) -> TokenStream {
    let types = versions.into_iter().map(|version| {
        let ty = version.map_or_else(|| quote!(()), ToTokens::to_token_stream);
        quote!(#[cfg(false)] type __StateMigrationVersion = #ty;)
    });
    types.collect()
}

/// The errors of a function-like macro, with uses of the paths after its `$crate ;`. They
/// are one item, so that a macro in the place of a value is one mistake, too.
pub(crate) fn errors(error: &syn::Error, input: TokenStream) -> TokenStream {
    let errors = error.to_compile_error();
    let mut input = input.into_iter();
    let Some(krate) = input.next() else {
        return errors;
    };
    let arguments: TokenStream = input.skip(1).collect();
    let versions = |input: ParseStream<'_>| {
        let versions = versions_as_far_as_read(input);
        input.parse::<TokenStream>()?;
        Ok(versions)
    };
    let versions = versions.parse2(arguments.clone()).unwrap_or_default();
    let at_least_two = versions.len().max(2);
    let proposed = proposed((0..at_least_two).map(|at| versions.get(at)));
    let uses = uses(arguments);
    let lints = quote!(#[allow(deprecated)]);
    item(
        &krate,
        block(&krate, &lints, &quote!(#proposed #uses #errors)),
    )
}

fn in_an_item(code: &TokenStream) -> TokenStream {
    if code.is_empty() {
        return TokenStream::new();
    }
    quote!(const _: () = { #code };)
}

fn names(input: ParseStream<'_>) -> Result<BTreeSet<Ident>> {
    let mut names = BTreeSet::new();
    // A workflow also has a name in the data, which is a string. A string is therefore
    // read as a type only where a type is expected.
    let mut may_be_quoted = false;
    while !input.is_empty() {
        if input.peek(Ident::peek_any) && input.peek2(Token![=]) && !input.peek2(Token![=>]) {
            let key = Ident::parse_any(input)?;
            may_be_quoted = key != "note" && key != "reason";
            input.parse::<Token![=]>()?;
            if (key == "name" || key == "crate") && !input.is_empty() {
                skip(input)?;
            }
            continue;
        }
        if input.parse::<Option<Token![=>]>>()?.is_some() {
            may_be_quoted = true;
            continue;
        }
        may_be_quoted |= input.peek2(Token![=>]);
        if let Some(text) = input.parse::<Option<LitStr>>()? {
            names.extend(
                text.parse()
                    .ok()
                    .filter(|ty| may_be_quoted && is_type(ty))
                    .and_then(first),
            );
            may_be_quoted = false;
            continue;
        }
        let ahead = input.fork();
        if let Some(ty) = ahead.parse().ok().filter(is_type) {
            names.extend(first(ty));
            while input.cursor() != ahead.cursor() {
                skip(input)?;
            }
            continue;
        }
        // A path that is still being typed.
        if input.peek(Ident::peek_any) && input.peek2(Token![::]) {
            names.extend(Some(Ident::parse_any(input)?).filter(may_be_imported));
            while input.parse::<Option<Token![::]>>()?.is_some() {
                input.parse::<Option<Ident>>()?;
            }
            continue;
        }
        if let TokenTree::Group(group) = skip(input)? {
            names.extend(self::names.parse2(group.stream())?);
        }
    }
    Ok(names)
}

fn skip(input: ParseStream<'_>) -> Result<TokenTree> {
    input.parse()
}

/// Whether this may be a type: by convention, its last segment begins with a capital
/// letter, and a key does not.
fn is_type(ty: &Type) -> bool {
    match type_tokens::ungrouped(ty) {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            let name = last.ident.unraw().to_string();
            name.starts_with(char::is_uppercase)
        }),
        Type::TraitObject(_) | Type::ImplTrait(_) => true,
        _ => false,
    }
}

/// The first segment of a path.
fn first(ty: Type) -> Option<Ident> {
    let ty = type_tokens::ungrouped(&ty);
    let Type::Path(TypePath {
        qself: None, path, ..
    }) = ty
    else {
        return None;
    };
    let name = path.segments.first()?.ident.clone();
    let may_be = path.leading_colon.is_none() && may_be_imported(&name);
    may_be.then_some(name)
}

/// Whether a name can be imported. A single letter may be a type parameter, which
/// cannot.
fn may_be_imported(name: &Ident) -> bool {
    let word = name.to_string();
    !["crate", "self", "super", "Self", "$crate"].contains(&word.as_str()) && word.len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_what_looks_like_a_type_is_used() {
        for (args, used) in [
            ("from = V1 to = b2::V2", "V1, b2"),
            ("form = V1, too = ::b::V2<C>", "V1"),
            ("\"V1\" => \"V2\" => \"V3\"", "V1, V2, V3"),
            ("\"V1\", \"V2\"", ""),
            ("from(V1), to: V2", "V1, V2"),
            ("V1 => V2, undoo", "V1, V2"),
            ("V1 V1", "V1"),
            ("from = &V1, to = &'a V2", "V1, V2"),
            ("from = V1<'a>, to = V2<_, [&u8]>", "V1, V2"),
            ("from = \"orders::V1\", to = 7", "orders"),
            ("from = Self, to = <V1 as Family>::V2, note = T", ""),
            ("from = Self::V1, to = super::V2, from = crate::V3", ""),
            ("from = dyn V1, to = impl V2 + V3", ""),
            ("name = V1, note = \"V2\", reason = \"V3\"", ""),
            ("undo, crate = V1, from = a1, note = c1", ""),
            ("from = b2::, to = b3::c3::", "b2, b3"),
            ("from = super::b2::, to = V2::", "V2"),
            ("detached = YES, reason = REASON", "REASON, YES"),
        ] {
            let names = match args.parse().map(|args| names.parse2(args)) {
                Ok(Ok(names)) => names,
                _ => unreachable!("{args}"),
            };
            let names: Vec<String> = names.iter().map(Ident::to_string).collect();
            assert_eq!(names.join(", "), used, "{args}");
        }
    }
}
