//! A function whose signature syn cannot parse.
//!
//! Either the user is still typing it, and rustc reports what is missing; or its
//! syntax is newer than this macro, and rustc can parse it. The two must be told
//! apart: the first needs no error from this macro, and the second needs its migration.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Ident, LitStr};

/// The parts of such a function that can be read.
pub(crate) struct UnparsedFn {
    pub(crate) name: Option<Ident>,
    /// Whether no version of the compiler can parse it.
    pub(crate) is_incomplete: bool,
}

/// The qualifiers of a function, in the order that rustc requires.
const QUALIFIERS: [&str; 7] = ["const", "async", "gen", "unsafe", "safe", "extern", "fn"];

/// Reads a function, starting at its qualifiers; `None` if it is not a function.
pub(crate) fn read_unparsed_fn(input: ParseStream<'_>) -> Option<UnparsedFn> {
    let mut is_incomplete = false;
    let mut before = 0;
    loop {
        let word = Ident::parse_any(input).ok()?;
        let at = QUALIFIERS.iter().position(|known| word == known)?;
        is_incomplete |= at < before;
        before = at;
        if word == "fn" {
            break;
        }
        input.parse::<Option<LitStr>>().ok()?;
    }
    let name = Ident::parse_any(input).ok().map(in_every_edition);
    let name: Option<Ident> = name.and_then(|name| syn::parse2(name.into_token_stream()).ok());
    is_incomplete |= name.is_none();
    let rest = input.fork().parse::<TokenStream>().unwrap_or_default();
    is_incomplete |= match rest.into_iter().next() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
            are_incomplete(group.stream())
        }
        Some(TokenTree::Punct(generics)) => generics.as_char() != '<',
        _ => true,
    };
    Some(UnparsedFn {
        name,
        is_incomplete,
    })
}

/// Keywords of some editions only.
const KEYWORDS_OF_AN_EDITION: [&str; 5] = ["async", "await", "dyn", "gen", "try"];

/// A name in a spelling that is valid in every edition.
pub(crate) fn in_every_edition(name: Ident) -> Ident {
    match KEYWORDS_OF_AN_EDITION.iter().any(|word| name == word) {
        true => Ident::new_raw(&name.to_string(), name.span()),
        false => name,
    }
}

/// Whether a parameter is incomplete: its type or its name is missing.
fn are_incomplete(parameters: TokenStream) -> bool {
    let mut each = vec![Vec::new()];
    let mut depth = 0_usize;
    let mut arrow = false;
    for token in parameters {
        let punct = match &token {
            TokenTree::Punct(punct) => punct.as_char(),
            _ => ' ',
        };
        match punct {
            '<' => depth += 1,
            '>' if !arrow => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                each.push(Vec::new());
                continue;
            }
            _ => {}
        }
        arrow = punct == '-' || punct == '=';
        if let Some(last) = each.last_mut() {
            last.push(token);
        }
    }
    // The empty rest after a trailing comma, or an empty list of parameters.
    if each.last().is_some_and(Vec::is_empty) {
        each.pop();
    }
    each.iter().any(|parameter| is_incomplete(parameter))
}

fn is_incomplete(parameter: &[TokenTree]) -> bool {
    let is = |at: usize, character: char| matches!(parameter.get(at), Some(TokenTree::Punct(p)) if p.as_char() == character);
    let is_word = |word: &str| {
        parameter
            .iter()
            .any(|t| matches!(t, TokenTree::Ident(i) if i == word))
    };
    let semicolon = (0..parameter.len()).any(|at| is(at, ';'));
    let mut colons = (0..parameter.len()).filter(|&at| {
        let joint = |at: usize| {
            matches!(&parameter[at], TokenTree::Punct(p) if p.spacing() == Spacing::Joint)
        };
        is(at, ':') && !(joint(at) && is(at + 1, ':')) && !(at > 0 && is(at - 1, ':') && joint(at - 1))
    });
    let without_type = match colons.next() {
        Some(colon) => colon == 0 || colon + 1 == parameter.len(),
        // `self` and `...` have no type.
        None => !is_word("self") && !is(parameter.len().wrapping_sub(1), '.'),
    };
    semicolon || without_type
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse::Parser;

    #[test]
    fn only_what_no_compiler_can_read_is_incomplete() {
        for (function, expected) in [
            ("fn m(old: A, n) -> B {}", true),
            ("fn m(old A) -> B {}", true),
            ("fn m(old: ) -> B {}", true),
            ("fn m(: A) -> B {}", true),
            ("fn m(old: A,,) -> B {}", true),
            ("fn m(, old: A) -> B {}", true),
            ("fn m(old: A;) -> B {}", true),
            ("fn m(a::b) -> B {}", true),
            ("fn m = |old: A| B;", true),
            ("fn m", true),
            ("unsafe const fn m(old: A) -> B {}", true),
            ("async const fn m(old: A) -> B {}", true),
            ("fn Self(old: A) -> B {}", true),
            ("fn _(old: A) -> B {}", true),
            ("fn (old: A) -> B {}", true),
            ("fn match(old: A) -> B {}", true),
            // Valid names in another edition.
            ("fn try(old: A) -> B {}", false),
            ("fn dyn(old: A) -> B {}", false),
            // Possible future syntax.
            ("fn m(old: A new B) -> C {}", false),
            ("fn m(old: M<A, B> new, ) -> C {}", false),
            ("fn m(old: fn(A) -> M<B, C> new) -> D {}", false),
            ("fn m(old: a::B) -> new C {}", false),
            ("fn m<new T>(old: T) -> C {}", false),
            ("fn m(&new self) -> C {}", false),
            ("gen unsafe extern \"C\" fn m() -> C {}", false),
        ] {
            let read = |input: ParseStream<'_>| {
                let unparsed = read_unparsed_fn(input);
                input.parse::<TokenStream>()?;
                Ok(unparsed)
            };
            let read = read.parse_str(function).ok().flatten();
            assert_eq!(
                read.map(|read| read.is_incomplete),
                Some(expected),
                "{function}"
            );
        }
    }
}
