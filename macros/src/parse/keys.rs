//! The keys of a macro: `key = value`, or a flag, in any order.
//!
//! All macros share one reader, so that each key has the same syntax everywhere. A
//! grammar lists the keys of one macro.

use proc_macro2::TokenTree;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::token::{Brace, Bracket, Paren};
use syn::{Error, Expr, Ident, Lit, LitStr, Path, Result, Token, Type, TypePath, parse_quote};

use crate::check::type_tokens;
use crate::errors::Errors;

/// The keys of one macro.
pub(crate) struct Grammar {
    pub(crate) keys: &'static [&'static str],
    /// An example of the whole macro call, for messages.
    pub(crate) write: &'static str,
}

/// The keys found in one macro call.
#[derive(Default)]
pub(crate) struct KeyValues {
    pub(crate) from: Option<Type>,
    pub(crate) to: Option<Type>,
    pub(crate) name: Option<Ident>,
    pub(crate) krate: Option<Path>,
    pub(crate) undo: Option<Ident>,
    pub(crate) detached: Option<Ident>,
    pub(crate) note: Option<LitStr>,
    pub(crate) covers: Option<Expr>,
    pub(crate) check: Option<Path>,
    pub(crate) unchanged: Option<(u64, u64)>,
    pub(crate) reason: Option<LitStr>,
    /// The values of misspelled keys, one edit away from `from` or `to`.
    pub(crate) meant: Vec<(&'static str, Type)>,
}

impl Grammar {
    /// Reads all keys, and continues after a wrong one.
    pub(crate) fn read(&self, input: ParseStream<'_>, errors: &mut Errors) -> Result<KeyValues> {
        let mut found = KeyValues::default();
        while !input.is_empty() {
            if let Err(error) = self.key(input, &mut found) {
                errors.add(error);
                skip_to_next_key(input)?;
            }
        }
        Ok(found)
    }

    /// Reads one key and the comma after it.
    fn key(&self, input: ParseStream<'_>, found: &mut KeyValues) -> Result<()> {
        if !input.peek(Ident::peek_any) {
            return Err(input.error(self.no_key()));
        }
        let key = Ident::parse_any(input)?;
        let name = key.to_string();
        if !self.keys.contains(&name.as_str()) {
            let message = if is_key(input, &name) {
                found.meant.extend(self.meant(&input.fork(), &key));
                self.unknown(&name)
            } else {
                self.no_key()
            };
            return Err(Error::new_spanned(&key, message));
        }
        match name.as_str() {
            "from" => {
                let is_to = found.to.is_none() && !follows(&input.fork(), "to");
                let from = workflow(input, &key, "OrderV1")?;
                set_end(&mut found.from, from, &key, is_to.then_some("to"))
            }
            "to" => {
                let is_from = found.from.is_none() && !follows(&input.fork(), "from");
                let to = workflow(input, &key, "OrderV2")?;
                set_end(&mut found.to, to, &key, is_from.then_some("from"))
            }
            "name" => set(&mut found.name, new_name(input, &key)?, &key),
            "crate" => {
                let krate = path(input, &key)?;
                // If `crate` is given twice, neither path is used.
                set(&mut found.krate, krate, &key).inspect_err(|_| found.krate = None)
            }
            "undo" => set(&mut found.undo, flag(input, &key)?, &key),
            "detached" => set(&mut found.detached, flag(input, &key)?, &key),
            "note" => set(&mut found.note, text(input, &key)?, &key),
            "check" => set(&mut found.check, check(input, &key)?, &key),
            "covers" => set(&mut found.covers, covers(input, &key)?, &key),
            "unchanged" => set(&mut found.unchanged, unchanged(input, &key)?, &key),
            "reason" => set(&mut found.reason, text(input, &key)?, &key),
            // A key of a macro that has no arm here.
            _ => Err(Error::new_spanned(&key, self.unknown(&name))),
        }?;
        if !input.is_empty() && input.parse::<Option<Token![,]>>()?.is_none() {
            let is_end = name == "from" || name == "to";
            let message = match is_end && input.peek(Token![|]) && !is_before_key(&input.fork()) {
                true => &format!(
                    "`{name}` takes one workflow type: write a function for each pair of versions"
                ),
                false => no_comma(input),
            };
            return Err(input.error(message));
        }
        Ok(())
    }

    fn no_key(&self) -> String {
        format!("expected a key: write `{}`", self.write)
    }

    fn unknown(&self, name: &str) -> String {
        let keys = listed(self.keys);
        match self.nearest(name) {
            Some(key) => format!("unknown key `{name}`, did you mean `{key}`? The {keys}"),
            None => format!("unknown key `{name}`: the {keys}"),
        }
    }

    /// The workflow behind a key that is one edit away from `from` or `to`.
    fn meant(&self, input: ParseStream<'_>, key: &Ident) -> Option<(&'static str, Type)> {
        let near = |right: &&&str| distance(&key.to_string(), right) == 1;
        let right = ["from", "to"]
            .iter()
            .filter(|right| self.keys.contains(right))
            .find(near)?;
        Some((right, workflow(input, key, "").ok()?))
    }

    /// The key that a misspelled or foreign word probably means.
    pub(crate) fn nearest(&self, name: &str) -> Option<&'static str> {
        let name = &name.trim_start_matches("r#").to_lowercase();
        let by_meaning = SYNONYMS.iter().find(|(written, _)| *written == name);
        if let Some((_, key)) = by_meaning.filter(|(_, key)| self.keys.contains(key)) {
            return Some(key);
        }
        let far = |key: &str| distance(name, key);
        let near = self.keys.iter().copied();
        near.filter(|key| far(key) <= key.len() / 4 + usize::from(key.len() < 4))
            .min_by_key(|key| far(key))
    }
}

/// Synonyms of keys, which are not similar in spelling.
const SYNONYMS: [(&str, &str); 16] = [
    ("source", "from"),
    ("target", "to"),
    ("into", "to"),
    ("rename", "name"),
    ("struct_name", "name"),
    ("path", "crate"),
    ("down", "undo"),
    ("reverse", "undo"),
    ("foreign", "detached"),
    ("comment", "note"),
    ("description", "note"),
    ("reason", "note"),
    ("helpers", "covers"),
    ("depends", "covers"),
    ("same_as", "unchanged"),
    ("because", "reason"),
];

/// `keys are a, b and c`.
fn listed(keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => format!("only key is {last}"),
        Some((last, others)) => format!("keys are {} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The edit distance of two words: letters added, removed, replaced, or swapped with
/// the next one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// Whether a word is meant as a key or a flag, and not as a type or a path.
fn is_key(input: ParseStream<'_>, word: &str) -> bool {
    let alone = input.is_empty() || input.peek(Token![,]) || input.peek(Paren);
    let equals = input.peek(Token![=]) && !input.peek(Token![=>]);
    equals || alone && word.starts_with(char::is_lowercase)
}

fn set<T>(slot: &mut Option<T>, value: T, key: &Ident) -> Result<()> {
    match slot.replace(value) {
        Some(_) => Err(Error::new_spanned(
            key,
            format!("`{key}` is given twice: remove one"),
        )),
        None => Ok(()),
    }
}

/// Sets `from` or `to`, neither of them if it is given twice. `missing` is the other key, if
/// it is not given at all: then the second of two equal keys is meant to be that one.
fn set_end(slot: &mut Option<Type>, value: Type, key: &Ident, missing: Option<&str>) -> Result<()> {
    let is_set = set(slot, value, key);
    if is_set.is_err() {
        *slot = None;
    }
    is_set.map_err(|twice| match missing {
        Some(other) => Error::new(
            twice.span(),
            format!("`{key}` is given twice, and `{other}` is missing: write `{other}` here"),
        ),
        None => twice,
    })
}

/// Whether a key with a value is still to come.
fn follows(rest: ParseStream<'_>, key: &str) -> bool {
    while !rest.is_empty() {
        let is_key = rest.peek(Ident::peek_any) && rest.peek2(Token![=]);
        match rest.parse::<TokenTree>() {
            Ok(TokenTree::Ident(word)) if is_key && word == key => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

/// The message about what is in the place of a comma.
pub(crate) fn no_comma(input: ParseStream<'_>) -> &'static str {
    match is_before_key(&input.fork()) {
        true => "write a `,` instead of this",
        false => "expected a `,` before this",
    }
}

/// Whether a mark, such as `;`, is followed by a key.
fn is_before_key(rest: ParseStream<'_>) -> bool {
    let is_mark = matches!(rest.parse(), Ok(TokenTree::Punct(_)));
    let key = Ident::parse_any(rest);
    is_mark && key.is_ok_and(|key| is_key(rest, &key.to_string()))
}

fn workflow(input: ParseStream<'_>, key: &Ident, example: &str) -> Result<Type> {
    let message = format!("`{key}` takes a workflow type: write `{key} = {example}`");
    equals(input, key, &message)?;
    workflow_type(input, &message)
}

/// Reads a type that is written as a workflow type must be.
pub(crate) fn workflow_type(input: ParseStream<'_>, message: &str) -> Result<Type> {
    let start = input.span();
    let workflow = input.parse().map_err(|_| Error::new(start, message))?;
    let workflow = type_tokens::unparenthesized(&workflow).clone();
    if let Some(owner) = owner_of_state(&workflow) {
        let message =
            format!("this is the state of a workflow: write `{owner}`, the workflow itself");
        return Err(Error::new_spanned(workflow, message));
    }
    let is_value = input.peek(Paren) || input.peek(Brace) || input.peek(Bracket);
    if is_value || !matches!(workflow, Type::Path(_)) {
        return Err(Error::new_spanned(workflow, message));
    }
    if let Some(at) = type_tokens::borrowed(&workflow) {
        let message = "a workflow type cannot have a non-`'static` lifetime: write `'static`, or name another type";
        return Err(Error::new(at, message));
    }
    if let Some(at) = type_tokens::placeholder(&workflow) {
        let message = "`_` is not allowed in a workflow type: write the type in full";
        return Err(Error::new(at, message));
    }
    if let Some(at) = type_tokens::find(&workflow, "Self") {
        let message = "`Self` is not available here: write the name of the workflow";
        return Err(Error::new(at, message));
    }
    Ok(workflow)
}

/// The workflow in a type such as `OrderV1::State`, which rustc would write out in full.
fn owner_of_state(ty: &Type) -> Option<String> {
    let Type::Path(TypePath {
        qself: None, path, ..
    }) = ty
    else {
        return None;
    };
    let mut segments = path.segments.iter().rev();
    let (state, owner) = (segments.next()?, segments.next()?);
    let owner = owner.ident.to_string();
    // A module has a name in lower case.
    (state.ident == "State" && owner.starts_with(char::is_uppercase) && owner != "Self")
        .then_some(owner)
}

fn new_name(input: ParseStream<'_>, key: &Ident) -> Result<Ident> {
    let message = "`name` takes the name of the struct to generate: write `name = OrderToCents`";
    equals(input, key, message)?;
    let start = input.span();
    match input.parse() {
        Ok(name) if is_read(input) => Ok(name),
        _ => Err(Error::new(start, message)),
    }
}

fn path(input: ParseStream<'_>, key: &Ident) -> Result<Path> {
    let message = "`crate` takes a path: write `crate = ::state_migration`";
    equals(input, key, message)?;
    let start = input.span();
    match Path::parse_mod_style(input) {
        Ok(path) if is_read(input) => Ok(path),
        _ => Err(Error::new(start, message)),
    }
}

/// Whether a value ends here, with or without a comma before the next key.
fn is_read(input: ParseStream<'_>) -> bool {
    input.is_empty() || input.peek(Token![,]) || input.peek(Ident::peek_any)
}

fn text(input: ParseStream<'_>, key: &Ident) -> Result<LitStr> {
    let message = format!("`{key}` takes a string literal: write `{key} = \"…\"`");
    equals(input, key, &message)?;
    literal(input, key, &message)
}

fn literal(input: ParseStream<'_>, key: &Ident, message: &str) -> Result<LitStr> {
    let start = input.span();
    let text: LitStr = input.parse().map_err(|_| Error::new(start, message))?;
    if text.value().trim().is_empty() {
        return Err(Error::new_spanned(
            &text,
            format!("`{key}` is empty: write a non-empty text"),
        ));
    }
    Ok(text)
}

fn check(input: ParseStream<'_>, key: &Ident) -> Result<Path> {
    let message = "`check` takes the name of a function: write `check = totals_are_kept`, with `fn totals_are_kept(old: &StateV1, new: &StateV2) -> Result<(), String>`";
    equals(input, key, message)?;
    let start = input.span();
    match Path::parse_mod_style(input) {
        Ok(path) if is_read(input) => Ok(path),
        _ => Err(Error::new(start, message)),
    }
}

fn covers(input: ParseStream<'_>, key: &Ident) -> Result<Expr> {
    let message = "`covers` takes a text, or a constant `&str`: write `covers = \"rates of 2025\"` or `covers = include_str!(\"rates.rs\")`";
    equals(input, key, message)?;
    let start = input.span();
    let error = |_| Error::new(start, message);
    match input.fork().parse::<Lit>() {
        Ok(Lit::Str(_)) => literal(input, key, message).map(|text| parse_quote!(#text)),
        Ok(_) => Err(error(())),
        Err(_) => input.parse().map_err(|_| error(())),
    }
}

/// Two fingerprints: `"2fd5edae959d7db8 = bdc68b4f9058b17e"`.
fn unchanged(input: ParseStream<'_>, key: &Ident) -> Result<(u64, u64)> {
    let message = "`unchanged` takes the fingerprint of the earlier code and that of this code: copy `unchanged = \"… = …\"` from the warning of `plan`";
    equals(input, key, message)?;
    let text = literal(input, key, message)?;
    let fingerprint = |hex: &str| match hex.len() {
        16 => u64::from_str_radix(hex, 16).ok(),
        _ => None,
    };
    let both = text.value();
    let both = both
        .split_once('=')
        .and_then(|(earlier, now)| Some((fingerprint(earlier.trim())?, fingerprint(now.trim())?)));
    both.ok_or_else(|| Error::new_spanned(&text, message))
}

fn flag(input: ParseStream<'_>, key: &Ident) -> Result<Ident> {
    if input.peek(Token![=]) || input.peek(Token![:]) || input.peek(Paren) {
        let message = format!("`{key}` takes no value: write `{key}` alone, or remove it");
        return Err(Error::new_spanned(key, message));
    }
    Ok(key.clone())
}

/// Reads the `=` before a value, and checks that a value follows.
fn equals(input: ParseStream<'_>, key: &Ident, message: &str) -> Result<()> {
    let equals = input.parse::<Option<Token![=]>>()?;
    if equals.is_none() || input.is_empty() || input.peek(Token![,]) {
        return Err(Error::new_spanned(key, message));
    }
    Ok(())
}

/// Skips the rest of a wrong argument. Types can contain commas too, so only a comma
/// before `key =` reliably ends an argument.
fn skip_to_next_key(input: ParseStream<'_>) -> Result<()> {
    while !input.is_empty() {
        if input.peek(Token![,]) && input.peek2(Ident::peek_any) && input.peek3(Token![=]) {
            input.parse::<Token![,]>()?;
            return Ok(());
        }
        input.step(|cursor| match cursor.token_tree() {
            Some((_, rest)) => Ok(((), rest)),
            None => Err(cursor.error("expected more tokens")),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_answered_with_the_key_that_was_meant() {
        let grammar = Grammar {
            keys: &["from", "to", "name", "undo", "note"],
            write: "",
        };
        for (written, meant) in [
            ("form", Some("from")),
            ("fro", Some("from")),
            ("source", Some("from")),
            ("too", Some("to")),
            ("undo_", Some("undo")),
            ("notes", Some("note")),
            ("reason", Some("note")),
            ("node", Some("note")),
            ("names", Some("name")),
            ("reverse", Some("undo")),
            // Similar to no key of this macro.
            ("because", None),
            ("version", None),
        ] {
            assert_eq!(grammar.nearest(written), meant, "{written}");
        }
    }

    #[test]
    fn the_distance_is_the_number_of_letters_that_differ() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "to", 2),
            ("from", "from", 0),
            ("form", "from", 1),
            ("detatched", "detached", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }
}
