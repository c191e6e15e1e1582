//! The fingerprint of a function, which identifies the code that converted a state.
//!
//! It is stored with every migrated process, so the input of the hash must not change:
//! the texts of the tokens and their nesting. `TokenStream::to_string` is not usable,
//! because its spacing is unspecified.
//!
//! Changes by the formatter, and those without effect on the conversion, leave the hash as it
//! is:
//!
//! - spaces, line breaks, comments and docs;
//! - a comma at the end of a list, and after the block of a `match` arm. The comma of a
//!   tuple with one element is hashed, since the formatter keeps it;
//! - the braces around the only expression of a `match` arm or of a closure;
//! - the semicolon after a `return`, `break` or `continue` at the end of a block;
//! - parentheses around a whole argument, initializer, condition or result;
//! - the order and the grouping of imports that follow each other;
//! - attributes about lints and inlining, and the visibility of the function.
//!
//! Parentheses in the arguments of a macro are hashed. Only a parser could classify every
//! comma. There are two known errors: the trailing comma in the parameters of a closure is
//! hashed, though the formatter removes it; and the comma of `(x as M<A, B> + 1,)` is not
//! hashed, though it makes a tuple.

use proc_macro2::{Delimiter, Group, Punct, Spacing, TokenStream, TokenTree};

/// The hash of an item's tokens; never 0, which means an unknown fingerprint.
pub(crate) fn fingerprint(item: &TokenStream) -> u64 {
    let mut hash = Fnv::new();
    hash.stream(&content(item.clone()), Place::ITEM, false);
    hash.0.max(1)
}

/// FNV-1a of 64 bits.
#[derive(Clone, Copy)]
struct Fnv(u64);

/// Where tokens are.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    kind: Kind,
    /// Whether they are among the arguments of a macro or of an attribute.
    in_macro: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Item,
    /// Braces.
    Block,
    /// The braces of a `match`.
    Arms,
    /// Parentheses or brackets.
    List,
}

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
    fn stream(&mut self, tokens: &[TokenTree], place: Place, in_tuple: bool) {
        let mut operator = String::new();
        let mut before = Before::Other;
        let mut statement = Statement::default();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let next = tokens.get(at + 1);
            statement.token(tokens, at);
            if statement.begins && matches!(place.kind, Kind::Block | Kind::Item) {
                let end = end_of_imports(tokens, at);
                if end > at {
                    self.imports(&tokens[at..end]);
                    at = end;
                    before = Before::Other;
                    continue;
                }
            }
            if is_punct(token, '#') {
                // An inner attribute has a `!` before its brackets.
                let has_bang = next.is_some_and(|next| is_punct(next, '!'));
                let brackets = at + 1 + usize::from(has_bang);
                if tokens.get(brackets).is_some_and(means_nothing) {
                    at = brackets + 1;
                    continue;
                }
            }
            if place.kind == Kind::Item && is_word(token, "pub") && !statement.has_item {
                let of_part = next.is_some_and(|next| is_group(next, Delimiter::Parenthesis));
                at += 1 + usize::from(of_part);
                continue;
            }
            statement.has_item |= matches!(token, TokenTree::Ident(_));
            if is_punct(token, ',') && is_comma_removed(next, before, &statement, in_tuple)
                || is_punct(token, ';') && statement.is_semicolon_removed(next, place)
                || is_punct(token, '|')
                    && place.kind == Kind::Arms
                    && begins_arm(tokens, at, before)
            {
                at += 1;
                continue;
            }
            let after = before.then(token);
            match token {
                TokenTree::Ident(ident) => self.text(b'i', &ident.to_string()),
                TokenTree::Literal(literal) => {
                    let literal = literal.to_string();
                    // `a.0 .1` is formatted as `a.0.1`.
                    let fields = literal.split_once('.').filter(|_| before == Before::Dot);
                    match fields {
                        Some((one, two)) => {
                            self.text(b'l', one);
                            self.text(b'p', ".");
                            self.text(b'l', two);
                        }
                        None => self.text(b'l', &literal),
                    }
                }
                TokenTree::Punct(punct) => {
                    operator.push(punct.as_char());
                    if !continues(&operator, punct, next) {
                        self.text(b'p', &operator);
                        operator.clear();
                    }
                }
                TokenTree::Group(group) => {
                    let inner = content(group.stream());
                    match redundant(group, &inner, tokens, at, before, place) {
                        Redundant::Arm => {
                            self.stream(&inner, place.with(Kind::Block), false);
                            at += usize::from(next.is_some_and(|next| is_punct(next, ',')));
                            if at + 1 < tokens.len() {
                                self.text(b'p', ",");
                            }
                        }
                        Redundant::Block => self.stream(&inner, place.with(Kind::Block), false),
                        Redundant::Parentheses => {
                            self.stream(&inner, place.with(Kind::List), false)
                        }
                        Redundant::No => {
                            let is_tuple = before != Before::Called && is_single(group, &inner);
                            let place = place.of(group, &inner, tokens, at);
                            self.group(group, &inner, place, is_tuple);
                        }
                    }
                }
            }
            before = after;
            at += 1;
        }
    }

    fn group(&mut self, group: &Group, inner: &[TokenTree], place: Place, is_tuple: bool) {
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => (b'(', b')'),
            Delimiter::Brace => (b'{', b'}'),
            Delimiter::Bracket => (b'[', b']'),
            Delimiter::None => (b'<', b'>'),
        };
        self.byte(open);
        self.stream(inner, place, is_tuple);
        self.byte(close);
    }

    /// Hashes imports by what they import, in any order and grouping.
    fn imports(&mut self, imports: &[TokenTree]) {
        let mut paths = Vec::new();
        for import in imports.split(|token| is_punct(token, ';')) {
            Self::new().paths(import, &mut paths);
        }
        paths.sort_unstable();
        paths.dedup();
        for path in paths {
            self.byte(b'u');
            path.to_be_bytes()
                .into_iter()
                .for_each(|byte| self.byte(byte));
        }
    }

    /// Adds the hashes of the imported paths that begin like this one.
    fn paths(mut self, rest: &[TokenTree], paths: &mut Vec<u64>) {
        for token in rest {
            match token {
                TokenTree::Group(group) => {
                    let inner = content(group.stream());
                    for each in inner.split(|token| is_punct(token, ',')) {
                        self.paths(each, paths);
                    }
                    return;
                }
                TokenTree::Punct(punct) => {
                    self.text(b'p', punct.as_char().encode_utf8(&mut [0; 4]))
                }
                TokenTree::Ident(ident) => self.text(b'i', &ident.to_string()),
                TokenTree::Literal(literal) => self.text(b'l', &literal.to_string()),
            }
        }
        if !rest.is_empty() {
            paths.push(self.0);
        }
    }
}

fn content(tokens: TokenStream) -> Vec<TokenTree> {
    tokens.into_iter().collect()
}

impl Place {
    const ITEM: Self = Self {
        kind: Kind::Item,
        in_macro: false,
    };

    fn with(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The place of the tokens in a group.
    fn of(self, group: &Group, inner: &[TokenTree], tokens: &[TokenTree], at: usize) -> Self {
        let back = |back: usize| at.checked_sub(back).map(|at| &tokens[at]);
        let is = |at: usize, character| back(at).is_some_and(|token| is_punct(token, character));
        let is_name = |at: usize| match back(at) {
            Some(TokenTree::Ident(name)) => HEADS.iter().all(|word| name != word),
            _ => false,
        };
        let of_attribute = is(1, '#') || is(1, '!') && is(2, '#');
        let of_call = is(1, '!') && is_name(2);
        let of_definition = is_name(1) && is(2, '!') && is_name(3);
        let is_macro = of_attribute || of_call || of_definition;
        Self {
            kind: match group.delimiter() {
                Delimiter::Brace if has_arrow(inner) => Kind::Arms,
                Delimiter::Brace => Kind::Block,
                _ => Kind::List,
            },
            in_macro: self.in_macro || is_macro,
        }
    }
}

/// What is known of a statement, or of an item.
#[derive(Default)]
struct Statement {
    /// Whether the token is its first one.
    begins: bool,
    /// Whether it begins with `return`, `break` or `continue`.
    is_jump: bool,
    /// Whether the conditions of a `where` precede.
    in_where: bool,
    /// Whether the item has begun, after its attributes and its visibility.
    has_item: bool,
}

impl Statement {
    fn token(&mut self, tokens: &[TokenTree], at: usize) {
        self.begins = match at.checked_sub(1).map(|before| &tokens[before]) {
            None => true,
            Some(before) => is_punct(before, ';') || is_group(before, Delimiter::Brace),
        };
        let token = &tokens[at];
        let ends = self.begins && !is_punct(token, ';');
        self.is_jump &= !ends;
        self.is_jump |= self.begins && JUMPS.iter().any(|jump| is_word(token, jump));
        self.in_where |= is_word(token, "where");
        self.in_where &= !is_group(token, Delimiter::Brace);
    }

    /// Whether the formatter adds this semicolon, or removes it.
    fn is_semicolon_removed(&self, next: Option<&TokenTree>, place: Place) -> bool {
        place.kind == Kind::Block && next.is_none() && self.is_jump
    }
}

/// Whether the formatter adds this comma, or removes it.
fn is_comma_removed(
    next: Option<&TokenTree>,
    before: Before,
    statement: &Statement,
    in_tuple: bool,
) -> bool {
    match next {
        None => !in_tuple,
        Some(next) => {
            is_punct(next, '>')
                || before == Before::Arm
                || statement.in_where && is_group(next, Delimiter::Brace)
        }
    }
}

/// Whether a `|` is the first token of a `match` arm.
fn begins_arm(tokens: &[TokenTree], at: usize, before: Before) -> bool {
    let follows = at.checked_sub(1).map(|before| &tokens[before]);
    before == Before::Arm || follows.is_none_or(|token| is_punct(token, ','))
}

/// Whether a group could be written without its delimiters.
enum Redundant {
    No,
    /// The block of an arm with one expression.
    Arm,
    /// The block of a closure with one expression.
    Block,
    Parentheses,
}

/// Keywords that begin a jump.
const JUMPS: [&str; 3] = ["break", "continue", "return"];

/// Keywords before an expression.
const HEADS: [&str; 6] = ["break", "if", "in", "match", "return", "while"];

fn redundant(
    group: &Group,
    inner: &[TokenTree],
    tokens: &[TokenTree],
    at: usize,
    before: Before,
    place: Place,
) -> Redundant {
    if inner.is_empty() {
        return Redundant::No;
    }
    let (previous, next) = (
        at.checked_sub(1).map(|before| &tokens[before]),
        tokens.get(at + 1),
    );
    let is_one_of = |token: &TokenTree, all: &[char]| all.iter().any(|it| is_punct(token, *it));
    let ends = next.is_none_or(|next| is_one_of(next, &[',', ';']));
    match group.delimiter() {
        Delimiter::Brace if before == Before::Arrow && is_expression(inner) => Redundant::Arm,
        Delimiter::Brace if ends && is_expression(inner) => {
            match previous.is_some_and(|previous| is_punct(previous, '|')) {
                true => Redundant::Block,
                false => Redundant::No,
            }
        }
        // `(..)` is a pattern.
        Delimiter::Parenthesis if !place.in_macro && !is_punct(&inner[0], '.') => {
            let is_head = |token: &TokenTree| HEADS.iter().any(|word| is_word(token, word));
            let begins = previous.is_none_or(|previous| {
                is_head(previous)
                    || before == Before::Arrow
                    || is_one_of(previous, &[',', ';', '='])
            });
            let is_brace = |token: &TokenTree| is_group(token, Delimiter::Brace);
            let precedes_block = previous.is_some() && next.is_some_and(is_brace);
            let ends = ends || precedes_block && !inner.iter().any(is_brace);
            match begins && ends && place.kind != Kind::Item && first_own_comma(inner).is_none() {
                true => Redundant::Parentheses,
                false => Redundant::No,
            }
        }
        _ => Redundant::No,
    }
}

/// Whether a block is one expression, and the formatter would leave its braces out if it
/// is short.
fn is_expression(tokens: &[TokenTree]) -> bool {
    let first = tokens.first();
    let is_jump = first.is_some_and(|first| JUMPS.iter().any(|jump| is_word(first, jump)));
    let end = tokens.iter().position(|token| is_punct(token, ';'));
    first.is_some_and(|first| !is_punct(first, '#'))
        && end.is_none_or(|end| is_jump && end + 1 == tokens.len())
}

/// The end of the imports that begin at a token.
fn end_of_imports(tokens: &[TokenTree], mut at: usize) -> usize {
    while tokens.get(at).is_some_and(|token| is_word(token, "use")) {
        let rest = tokens[at..].iter();
        match rest.clone().position(|token| is_punct(token, ';')) {
            Some(end) => at += end + 1,
            None => break,
        }
    }
    at
}

/// Whether tokens have a `=>` between them.
fn has_arrow(tokens: &[TokenTree]) -> bool {
    tokens.windows(2).any(|pair| {
        let joint =
            matches!(&pair[0], TokenTree::Punct(punct) if punct.spacing() == Spacing::Joint);
        joint && is_punct(&pair[0], '=') && is_punct(&pair[1], '>')
    })
}

/// The operators of more than one character. Adjacent characters are hashed as one only
/// within these: `a && b` differs from `a & &b`, but `a=-b` equals `a = -b`. The formatter
/// breaks lines between the characters of `>>` and `<<` in types.
const OPERATORS: [&str; 19] = [
    "!=", "%=", "&&", "&=", "*=", "+=", "-=", "->", "..", "...", "..=", "/=", "::", "<=", "==",
    "=>", "^=", "|=", "||",
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
    /// The dot of a field or of a call.
    Dot,
    /// A dot of a range.
    Range,
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
                '.' if punct.spacing() == Spacing::Alone && self != Self::Range => Self::Dot,
                '.' => Self::Range,
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
fn is_single(group: &Group, inner: &[TokenTree]) -> bool {
    group.delimiter() == Delimiter::Parenthesis
        && inner.len() > 1
        && first_own_comma(inner) == Some(inner.len() - 1)
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

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn is_group(token: &TokenTree, delimiter: Delimiter) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter)
}

/// The attributes that mean nothing for what a function does.
const NO_EDIT: [&str; 10] = [
    "allow", "cold", "deny", "doc", "expect", "forbid", "inline", "must_use", "rustfmt", "warn",
];

/// Whether a token is the `[…]` of such an attribute.
fn means_nothing(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else {
        return false;
    };
    let first = group.stream().into_iter().next();
    group.delimiter() == Delimiter::Bracket
        && first.is_some_and(|first| NO_EDIT.iter().any(|word| is_word(&first, word)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
