//! The fingerprint of a function: which code converted a state.
//!
//! It is stored with every migrated process, so what goes into the hash must
//! not change: the texts of the tokens and their nesting. Spaces, line breaks,
//! trailing commas, comments and docs are left out. `TokenStream::to_string` would not do: its
//! spacing is unspecified.

use proc_macro2::{Delimiter, Group, Punct, Spacing, TokenStream, TokenTree};

/// The hash of an item's tokens; never 0, which says that nothing is known.
pub(crate) fn fingerprint(item: &TokenStream) -> u64 {
    let mut hash = Fnv::new();
    hash.stream(item.clone());
    hash.0.max(1)
}

/// FNV-1a of 64 bits.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }

    /// A text with what it is. The end mark is no byte of UTF-8, so that `a b`
    /// and `ab` differ.
    fn text(&mut self, kind: u8, text: &str) {
        self.byte(kind);
        text.bytes().for_each(|byte| self.byte(byte));
        self.byte(0xff);
    }

    fn stream(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        let mut operator = String::new();
        while let Some(token) = tokens.next() {
            if is_punct(&token, '#') {
                // An inner attribute has a `!` before its brackets.
                let bang = tokens.next_if(|next| is_punct(next, '!'));
                if tokens.next_if(is_doc).is_some() {
                    continue;
                }
                self.text(b'p', "#");
                if bang.is_some() {
                    self.text(b'p', "!");
                }
                continue;
            }
            // The comma before a closing bracket is the formatter's.
            if is_punct(&token, ',') && tokens.peek().is_none() {
                continue;
            }
            match token {
                TokenTree::Ident(ident) => self.text(b'i', &ident.to_string()),
                TokenTree::Literal(literal) => self.text(b'l', &literal.to_string()),
                TokenTree::Punct(punct) => {
                    operator.push(punct.as_char());
                    if !goes_on(&operator, &punct, tokens.peek()) {
                        self.text(b'p', &operator);
                        operator.clear();
                    }
                }
                TokenTree::Group(group) => self.group(&group),
            }
        }
    }

    fn group(&mut self, group: &Group) {
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => (b'(', b')'),
            Delimiter::Brace => (b'{', b'}'),
            Delimiter::Bracket => (b'[', b']'),
            Delimiter::None => (b'<', b'>'),
        };
        self.byte(open);
        self.stream(group.stream());
        self.byte(close);
    }
}

/// The operators of more than one character. Only within these does it count
/// that characters stand together: `a && b` is not `a & &b`, but `a=-b` is
/// `a = -b`.
const OPERATORS: [&str; 24] = [
    "!=", "%=", "&&", "&=", "*=", "+=", "-=", "->", "..", "...", "..=", "/=", "::", "<<", "<<=",
    "<=", "==", "=>", ">=", ">>", ">>=", "^=", "|=", "||",
];

/// Whether the next character belongs to the same operator.
fn goes_on(operator: &str, last: &Punct, next: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Punct(next)) = next else {
        return false;
    };
    last.spacing() == Spacing::Joint
        && OPERATORS
            .iter()
            .any(|known| known.starts_with(&format!("{operator}{}", next.as_char())))
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// Whether a token is the `[doc …]` of an attribute.
fn is_doc(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else {
        return false;
    };
    let first = group.stream().into_iter().next();
    group.delimiter() == Delimiter::Bracket
        && matches!(first, Some(TokenTree::Ident(ident)) if ident == "doc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn of(code: &str) -> u64 {
        match code.parse() {
            Ok(tokens) => fingerprint(&tokens),
            Err(error) => unreachable!("{code}: {error}"),
        }
    }

    const FUNCTION: &str = "fn m(old: A) -> B { B { total: old.total << 2, } }";

    #[test]
    fn the_hash_of_a_function_is_the_same_in_every_release() {
        assert_eq!(of("a"), 0x2b8f_7619_2bc7_1f40);
        assert_eq!(of(FUNCTION), 0xb229_fd4a_070d_0a1f);
    }

    #[test]
    fn layout_comments_and_docs_do_not_count() {
        for same in [
            "fn m(old:A)->B{B{total:old.total<<2,}}",
            "fn m(old: A) -> B { B { total: old.total << 2 } }",
            "fn m(old: A,) -> B { B { total: old.total << 2 } }",
            "fn m( old : A ) -> B {\n    // shift\n    B { total: old.total << 2, }\n}",
            "/// Doubles twice.\nfn m(old: A) -> B { B { total: old.total << 2, } }",
            "#[doc = \"Doubles twice.\"] fn m(old: A) -> B { B { total: old.total << 2, } }",
            "fn m(old: A) -> B { //! Doubles twice.\n B { total: old.total << 2, } }",
            "fn m(old: A) -> B { B { /** net */ total: old.total << 2, } }",
        ] {
            assert_eq!(of(same), of(FUNCTION), "{same}");
        }
        assert_eq!(of("a=-b"), of("a = -b"));
    }

    #[test]
    fn every_other_token_counts() {
        let others = [
            "fn n(old: A) -> B { B { total: old.total << 2, } }",
            "fn m(old: C) -> B { B { total: old.total << 2, } }",
            "fn m(old: A) -> B { B { total: old.total << 3, } }",
            "fn m(old: A) -> B { B { total: old.total >> 2, } }",
            "fn m(old: A) -> B { B { total: (old.total << 2), } }",
            "fn m(old: A) -> B { B { total: [old.total << 2], } }",
            "fn m(old: A) -> B { B { total: { old.total << 2 }, } }",
            "fn m(old: A) -> B { B { total: old.total << 2u64, } }",
            "fn m(old: A) -> B { B { total: old.total < < 2, } }",
            "pub fn m(old: A) -> B { B { total: old.total << 2, } }",
            "const fn m(old: A) -> B { B { total: old.total << 2, } }",
            "#[inline] fn m(old: A) -> B { B { total: old.total << 2, } }",
            "#[cfg(doc)] fn m(old: A) -> B { B { total: old.total << 2, } }",
            "fn m(old: A) -> B { #![allow(doc)] B { total: old.total << 2, } }",
        ];
        let mut hashes: Vec<u64> = others.iter().map(|code| of(code)).collect();
        hashes.push(of(FUNCTION));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), others.len() + 1);
    }

    #[test]
    fn what_differs_only_in_its_borders_differs() {
        for (a, b) in [
            ("a b", "ab"),
            ("a && b", "a & & b"),
            ("a || b", "a | | b"),
            ("(a) b", "(a b)"),
            ("a.b", "a . . b"),
            ("\"a\"", "a"),
            ("'a' ", "a"),
            ("1.0", "1 . 0"),
            ("()", "{}"),
            ("", "()"),
        ] {
            assert_ne!(of(a), of(b), "{a} and {b}");
        }
    }
}
