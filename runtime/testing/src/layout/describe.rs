//! The places of a draft in words.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use state_migration_core::draft::{Asked, Draft, Form, Path};

/// One place of a draft.
pub(crate) struct Line<'a> {
    pub(crate) draft: &'a Draft,
    pub(crate) path: Path,
    /// The place, such as `$.lines[*].kind<Item>.price`.
    pub(crate) place: String,
    pub(crate) kind: String,
    /// The path of the member of an object, if it is one.
    pub(crate) member: Option<Path>,
}

/// Every place of a draft, from the outermost to the innermost.
pub(crate) fn lines(draft: &Draft) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    describe(
        draft,
        &mut Path::new(),
        "$".to_owned(),
        "",
        None,
        &mut lines,
    );
    lines
}

fn describe<'a>(
    draft: &'a Draft,
    path: &mut Path,
    place: String,
    prefix: &str,
    member: Option<Path>,
    lines: &mut Vec<Line<'a>>,
) {
    if let (Asked::Option | Asked::Newtype, Form::Inner(inner)) = (&draft.asked, &draft.form) {
        let prefix = match draft.asked {
            Asked::Option => format!("{prefix}option of "),
            _ => prefix.to_owned(),
        };
        path.push(0);
        describe(inner, path, place, &prefix, member, lines);
        path.pop();
        return;
    }
    lines.push(Line {
        draft,
        path: path.clone(),
        place: place.clone(),
        kind: prefix.to_owned() + &kind(draft),
        member,
    });
    if matches!(draft.asked, Asked::Again(_)) {
        return;
    }
    let mut child = |position: usize, draft: &'a Draft, place: String, is_member: bool| {
        path.push(position);
        let member = is_member.then(|| path.clone());
        describe(draft, path, place, "", member, lines);
        path.pop();
    };
    match &draft.form {
        Form::List(items) => {
            for (position, item) in items.iter().enumerate() {
                let index = match draft.asked {
                    Asked::Tuple(_) => position.to_string(),
                    _ => "*".to_owned(),
                };
                child(position, item, format!("{place}[{index}]"), false);
            }
        }
        Form::Map(members) if matches!(draft.asked, Asked::Map(_)) => {
            for (position, (_, value)) in members.iter().enumerate() {
                child(position, value, format!("{place}{{*}}"), false);
            }
        }
        Form::Map(members) => {
            let tag = tag_of(members);
            for (position, (name, value)) in members.iter().enumerate() {
                let of_variant = match tag {
                    Some((tag, variant)) if tag != name => format!("<{variant}>"),
                    _ => String::new(),
                };
                child(position, value, format!("{place}{of_variant}.{name}"), true);
            }
        }
        Form::Variant(name, Some(content)) => {
            child(0, content, format!("{place}<{name}>"), false);
        }
        Form::Inner(inner) => child(0, inner, place, false),
        Form::Hole | Form::Leaf(_) | Form::Variant(_, None) => {}
    }
}

/// The tag among the members of an object, with its variant.
fn tag_of(members: &[(String, Draft)]) -> Option<(&str, &str)> {
    members
        .iter()
        .find_map(|(name, value)| match (&value.asked, &value.form) {
            (Asked::Tag(_), Form::Variant(variant, _)) => Some((&**name, &**variant)),
            _ => None,
        })
}

fn kind(draft: &Draft) -> String {
    match &draft.asked {
        Asked::Leaf(kind) => (*kind).to_owned(),
        Asked::Option => "option".to_owned(),
        Asked::Newtype | Asked::Nothing => "value".to_owned(),
        Asked::List => "list".to_owned(),
        Asked::Tuple(len) => format!("tuple of {len}"),
        Asked::Map(keys) if keys.is_empty() => "map".to_owned(),
        Asked::Map(keys) => format!("map by {keys}"),
        Asked::Struct | Asked::OpenStruct => "struct".to_owned(),
        Asked::Enum(variants) => format!("enum of {}", sorted(variants)),
        Asked::Tag(variants) => format!("tag of {}", sorted(variants)),
        Asked::Again(name) => format!("{name} again"),
        Asked::Any(expected) => any(draft, expected),
    }
}

/// The kind of a value that was buffered, from what was expected and accepted.
fn any(draft: &Draft, expected: &str) -> String {
    if expected == "any valid JSON value" {
        return "any JSON value".to_owned();
    }
    let number = |number: &str| draft.expected.clone().unwrap_or_else(|| number.to_owned());
    match &draft.form {
        Form::Map(_) => "struct".to_owned(),
        Form::List(_) => "list".to_owned(),
        Form::Leaf(Value::Number(n)) if n.is_f64() => number("number"),
        Form::Leaf(Value::Number(_)) => number("integer"),
        Form::Leaf(Value::String(_)) => "string".to_owned(),
        Form::Leaf(Value::Bool(_)) => "bool".to_owned(),
        _ => "unit".to_owned(),
    }
}

fn sorted(variants: &[&str]) -> String {
    let mut sorted = variants.to_vec();
    sorted.sort_unstable();
    sorted.join(", ")
}

/// What follows the kind of a member that may be missing.
pub(crate) const OPTIONAL: &str = ", may be missing";

/// What follows the kind of a buffered value that may be null.
const NULLABLE: &str = ", may be null";

/// The places of all drafts of a type.
#[derive(Default)]
pub(crate) struct Lines(BTreeMap<String, BTreeSet<String>>);

impl Lines {
    pub(crate) fn add(
        &mut self,
        lines: Vec<Line<'_>>,
        optional: &BTreeSet<Path>,
        nullable: &BTreeSet<Path>,
    ) {
        for line in lines {
            let mut kind = line.kind;
            if nullable.contains(&line.path) {
                kind.push_str(NULLABLE);
            }
            if line.member.is_some_and(|member| optional.contains(&member)) {
                kind.push_str(OPTIONAL);
            }
            self.0.entry(line.place).or_default().insert(kind);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn finish(self) -> BTreeMap<String, String> {
        let joined = |mut kinds: BTreeSet<String>| {
            // A tag is known as one only from the second variant on.
            let tags: Vec<String> = kinds
                .iter()
                .filter_map(|kind| Some(format!("enum of {}", kind.strip_prefix("tag of ")?)))
                .collect();
            kinds.retain(|kind| !tags.contains(kind));
            kinds.into_iter().collect::<Vec<_>>().join(" or ")
        };
        let lines = self.0.into_iter();
        lines.map(|(place, kinds)| (place, joined(kinds))).collect()
    }
}
