//! The fingerprint of a function, which identifies the code that converted a state.
//!
//! It is stored with every migrated process, so the input of the hash must not change:
//! the texts of the tokens and their nesting. Spaces, line breaks, comments, docs, and
//! commas that the formatter removes are left out. The comma of a tuple with one element
//! is hashed, since the formatter keeps it. `TokenStream::to_string` is not usable,
//! because its spacing is unspecified.
//!
//! Only a parser could classify every comma. There are two known errors: the trailing
//! comma in the parameters of a closure is hashed, though the formatter removes it; and
//! the comma of `(x as M<A, B> + 1,)` is not hashed, though it makes a tuple.

use proc_macro2::{Delimiter, Group, Punct, Spacing, TokenStream, TokenTree};

/// The hash of an item's tokens; never 0, which means an unknown fingerprint.
pub(crate) fn fingerprint(item: &TokenStream) -> u64 {
    let mut hash = Fnv::new();
    hash.stream(item.clone(), false);
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

    /// Hashes a text with its kind. The end mark is not a valid byte of UTF-8, so that
    /// `a b` and `ab` differ.
    fn text(&mut self, kind: u8, text: &str) {
        self.byte(kind);
        text.bytes().for_each(|byte| self.byte(byte));
        self.byte(0xff);
    }

    /// Hashes tokens. `in_tuple` means that they are the content of a tuple with one
    /// element.
    fn stream(&mut self, tokens: TokenStream, in_tuple: bool) {
        let mut tokens = tokens.into_iter().peekable();
        let mut operator = String::new();
        let mut before = Before::Other;
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
            // The formatter removes a comma before a closing bracket, and after the block
            // of a `match` arm.
            if is_punct(&token, ',')
                && match tokens.peek() {
                    None => !in_tuple,
                    Some(next) => is_punct(next, '>'),
                }
            {
                continue;
            }
            if is_punct(&token, ',') && before == Before::Arm {
                continue;
            }
            let next = before.then(&token);
            match token {
                TokenTree::Ident(ident) => self.text(b'i', &ident.to_string()),
                TokenTree::Literal(literal) => self.text(b'l', &literal.to_string()),
                TokenTree::Punct(punct) => {
                    operator.push(punct.as_char());
                    if !continues(&operator, &punct, tokens.peek()) {
                        self.text(b'p', &operator);
                        operator.clear();
                    }
                }
                TokenTree::Group(group) => {
                    self.group(&group, before != Before::Called && is_single(&group));
                }
            }
            before = next;
        }
    }

    fn group(&mut self, group: &Group, is_tuple: bool) {
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => (b'(', b')'),
            Delimiter::Brace => (b'{', b'}'),
            Delimiter::Bracket => (b'[', b']'),
            Delimiter::None => (b'<', b'>'),
        };
        self.byte(open);
        self.stream(group.stream(), is_tuple);
        self.byte(close);
    }
}

/// The operators of more than one character. Adjacent characters are hashed as one only
/// within these: `a && b` differs from `a & &b`, but `a=-b` equals `a = -b`.
const OPERATORS: [&str; 24] = [
    "!=", "%=", "&&", "&=", "*=", "+=", "-=", "->", "..", "...", "..=", "/=", "::", "<<", "<<=",
    "<=", "==", "=>", ">=", ">>", ">>=", "^=", "|=", "||",
];

/// Whether the next character belongs to the same operator.
fn continues(operator: &str, last: &Punct, next: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Punct(next)) = next else {
        return false;
    };
    last.spacing() == Spacing::Joint
        && OPERATORS
            .iter()
            .any(|known| known.starts_with(&format!("{operator}{}", next.as_char())))
}

/// The context before a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// An expression, pattern or name that following parentheses belong to.
    Called,
    /// The tick of a lifetime or a label.
    Tick,
    /// The first half of a `->`.
    Shaft,
    /// The first half of a `=>`.
    Equals,
    /// The arrow of a `match` arm.
    Arrow,
    /// The tick of a label after that arrow.
    LabelTick,
    /// The label after that tick.
    Label,
    /// The block after the arrow.
    Arm,
    Other,
}

/// Keywords that can be followed by a tuple.
const KEYWORDS: [&str; 16] = [
    "as", "break", "const", "dyn", "else", "for", "if", "in", "let", "match", "mut", "ref",
    "return", "where", "while", "yield",
];

impl Before {
    /// The context after a token, given the context before it.
    fn then(self, token: &TokenTree) -> Self {
        match token {
            TokenTree::Ident(word) if KEYWORDS.iter().any(|keyword| word == keyword) => Self::Other,
            TokenTree::Ident(_) if self == Self::LabelTick => Self::Label,
            TokenTree::Ident(_) if self == Self::Tick => Self::Other,
            TokenTree::Ident(_) | TokenTree::Literal(_) => Self::Called,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => match self {
                Self::Arrow => Self::Arm,
                _ => Self::Other,
            },
            TokenTree::Group(_) => Self::Called,
            TokenTree::Punct(punct) => match punct.as_char() {
                '\'' if self == Self::Arrow => Self::LabelTick,
                '\'' => Self::Tick,
                ':' if self == Self::Label => Self::Arrow,
                '-' if punct.spacing() == Spacing::Joint => Self::Shaft,
                '=' if punct.spacing() == Spacing::Joint => Self::Equals,
                '>' if self == Self::Shaft => Self::Other,
                '>' if self == Self::Equals => Self::Arrow,
                // After generics, the name of a macro, and a call with `?`.
                '>' | '!' | '?' => Self::Called,
                _ => Self::Other,
            },
        }
    }
}

/// Whether a group is in parentheses and its only comma is at its end.
fn is_single(group: &Group) -> bool {
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    group.delimiter() == Delimiter::Parenthesis
        && tokens.len() > 1
        && first_own_comma(&tokens) == Some(tokens.len() - 1)
}

/// The first comma outside the `<` and `>` of generics.
fn first_own_comma(tokens: &[TokenTree]) -> Option<usize> {
    let mut at = 0;
    while at < tokens.len() {
        if is_punct(&tokens[at], ',') {
            return Some(at);
        }
        at = end_of_generics(tokens, at).unwrap_or(at) + 1;
    }
    None
}

/// The end of the generics that begin at a token, if it begins generics. A comparison is
/// followed by an operand; generics without a leading `::` are followed by the end of
/// the type or by `::`.
fn end_of_generics(tokens: &[TokenTree], start: usize) -> Option<usize> {
    let is = |at: usize, character: char| tokens.get(at).is_some_and(|t| is_punct(t, character));
    if !is(start, '<') {
        return None;
    }
    let mut depth = 0_usize;
    let end = (start..tokens.len()).find(|&at| {
        if is(at, '<') {
            depth += 1;
        } else if is(at, '>') && !is(at - 1, '-') && !is(at - 1, '=') {
            depth -= 1;
        }
        depth == 0
    })?;
    let after_colons = start > 0 && is(start - 1, ':');
    let ends = end + 1 == tokens.len() || is(end + 1, ',') || is(end + 1, ':');
    (after_colons || ends).then_some(end)
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
    fn a_comma_that_the_formatter_removes_does_not_count() {
        for (written, formatted) in [
            (
                "fn m(_: A) { match a { B => { 1 }, C => { 2 }, } }",
                "fn m(_: A) { match a { B => { 1 } C => { 2 } } }",
            ),
            (
                "match a { B => 'b: { 1 }, C => { 2 } }",
                "match a { B => 'b: { 1 } C => { 2 } }",
            ),
            ("fn m(_: Vec<A,>) -> B {}", "fn m(_: Vec<A>) -> B {}"),
            (
                "fn m(_: A) { Vec::<A,>::new() }",
                "fn m(_: A) { Vec::<A>::new() }",
            ),
            ("fn m(_: V<(A,),>) {}", "fn m(_: V<(A,)>) {}"),
        ] {
            assert_eq!(of(written), of(formatted), "{written}");
        }
        for (written, other) in [
            (
                "match a { B => C {}, D => 1 }",
                "match a { B => C {} D => 1 }",
            ),
            ("f(a >= {}, b)", "f(a >= {} b)"),
            ("(Vec::<A>::new(),)", "(Vec::<A>::new())"),
            ("m!(a = > {}, b)", "m!(a = > {} b)"),
        ] {
            assert_ne!(of(written), of(other), "{written}");
        }
    }

    #[test]
    fn the_comma_of_a_tuple_of_one_element_counts() {
        for tuple in [
            "fn m(_: A) -> (B,) { b }",
            "fn m(_: A) { let (b,) = b; }",
            "fn m(_: A) { (b,) }",
            "fn m(_: A) { return (b,); }",
            "fn m(_: A) { Ok((b,)) }",
            "fn m(_: A) { a.map(|b| (b,)) }",
            "fn m(_: A) { match a { _ => (b,), } }",
            "fn m(_: A) { if a {} (b,) }",
            "fn m(_: A) { break 'a (b,); }",
            "fn m(_: &'static (B,)) {}",
            "fn m(_: Vec<(B,)>) {}",
            "fn m(_: *const (B,)) {}",
            "fn m(_: *mut (B,)) {}",
            "fn m(_: A) { [(b,)] }",
            "fn m(_: A) { a == (b,) }",
            "fn m(_: (HashMap<K, V>,)) {}",
            "fn m(_: A) -> (HashMap<K, fn(A) -> Vec<V>>,) { b }",
            "fn m(_: A) { (b.collect::<HashMap<K, V>>(),) }",
            "fn m(_: A) { (HashMap::<K, V>::new(),) }",
            "fn m(_: A) { (a < b,) }",
        ] {
            assert_ne!(of(tuple), of(&tuple.replace(",)", ")")), "{tuple}");
        }
        for no_tuple in [
            "fn m(_: A,) {}",
            "fn m<T>(_: T,) {}",
            "fn m(_: A) { m(b,) }",
            "fn m(_: A) { m::<B>(b,) }",
            "fn m(_: A) { m::<Vec<B>>(b,) }",
            "fn m(_: A) { m(a)(b,) }",
            "fn m(_: A) { m[0](b,) }",
            "fn m(_: A) { m?(b,) }",
            "fn m(_: A) { format!(\"b\",) }",
            "fn m(_: A) { Self(b,) }",
            "fn m(_: A) { let Some(b,) = b; }",
            "fn m(_: A) -> fn(B,) { b }",
            "fn m(_: A) { (a, b,) }",
            "fn m(_: (HashMap<K, V>, B,)) {}",
            "fn m(_: A) { (a < b, c > d,) }",
            "fn m(_: A) { (a < b, c >= d,) }",
            "fn m(_: A) { (a << b, c,) }",
            "fn m(_: A) -> impl Fn(B,) -> C { b }",
        ] {
            assert_eq!(of(no_tuple), of(&no_tuple.replace(",)", ")")), "{no_tuple}");
        }
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
