//! Edits of a deployed type, as pairs of types: each is told or harmless.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Stored, WithEvent, WithState, edited};

/// The state is in a list of the stored one.
#[derive(Default, Clone, Serialize, Deserialize)]
struct InList<T> {
    id: u64,
    list: Vec<T>,
}

/// The fields of the state are fields of the stored one.
#[derive(Default, Clone, Serialize, Deserialize)]
struct Flat<T> {
    id: u64,
    #[serde(flatten)]
    part: T,
}

/// The fields of the state are fields of a variant.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged<T> {
    #[default]
    Other,
    This(T),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    /// The test fails, and the message contains this.
    Told(&'static str),
    Harmless,
}
use Verdict::{Harmless, Told};

fn outcomes<A: Stored, B: Stored>() -> Vec<(&'static str, Result<(), String>)> {
    vec![
        ("state", edited::<WithState<A>, WithState<B>>()),
        ("event", edited::<WithEvent<A>, WithEvent<B>>()),
        (
            "list",
            edited::<WithState<InList<A>>, WithState<InList<B>>>(),
        ),
        (
            "event in list",
            edited::<WithEvent<InList<A>>, WithEvent<InList<B>>>(),
        ),
    ]
}

fn outcomes_in_struct<A: Stored, B: Stored>() -> Vec<(&'static str, Result<(), String>)> {
    vec![
        ("flat", edited::<WithState<Flat<A>>, WithState<Flat<B>>>()),
        (
            "tagged",
            edited::<WithEvent<Tagged<A>>, WithEvent<Tagged<B>>>(),
        ),
    ]
}

type Row = (
    &'static str,
    Verdict,
    Vec<(&'static str, Result<(), String>)>,
);

macro_rules! edits {
    ($($name:ident $in:ident $verdict:expr; { $($before:tt)* } { $($after:tt)* })*) => {
        $(mod $name {
            pub(super) mod before {
                #[allow(unused_imports)]
                use super::super::*;
                edits! { @ $($before)* }
            }
            pub(super) mod after {
                #[allow(unused_imports)]
                use super::super::*;
                edits! { @ $($after)* }
            }
        })*
        fn table() -> Vec<Row> {
            vec![$((
                stringify!($name),
                $verdict,
                edits! { @$in $name },
            )),*]
        }
    };
    (@anywhere $name:ident) => { outcomes::<$name::before::State, $name::after::State>() };
    (@struct $name:ident) => {{
        let mut outcomes = outcomes::<$name::before::State, $name::after::State>();
        outcomes.extend(outcomes_in_struct::<$name::before::State, $name::after::State>());
        outcomes
    }};
    (@ $($item:item)*) => {
        $(#[derive(Default, Clone, Serialize, Deserialize)] #[allow(dead_code)] $item)*
    };
}

fn yes() -> bool {
    true
}

fn is_empty(text: &str) -> bool {
    text.is_empty()
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

mod twice {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        (number * 2).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        Ok(u64::deserialize(from)? * 3)
    }
}

mod not_zero {
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        match u64::deserialize(from)? {
            0 => Err(serde::de::Error::custom("zero")),
            number => Ok(number),
        }
    }
}

mod null_is_seven {
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.or(Some(7)))
    }
}

edits! {
    renamed_field struct Told("a\n    before: u64\n    after:  absent");
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { c: u64, b: u64 } }
    default_added struct Harmless;
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { #[serde(default)] a: u64, b: u64 } }
    default_of_container_added struct Harmless;
        { pub struct State { a: u64, b: u64 } }
        { #[serde(default)] pub struct State { a: u64, b: u64 } }
    default_removed struct Told("before: u64, may be missing\n    after:  u64");
        { pub struct State { #[serde(default)] a: u64, b: u64 } }
        { pub struct State { a: u64, b: u64 } }
    default_changed struct Told("a\n    before: false was written for");
        { pub struct State { #[serde(default)] a: bool, b: u64 } }
        { pub struct State { #[serde(default = "yes")] a: bool, b: u64 } }
    fields_reordered struct Harmless;
        { pub struct State { a: u64, b: String } }
        { pub struct State { b: String, a: u64 } }
    variant_reordered anywhere Harmless;
        { pub enum State { #[default] A, B { a: u64 }, C(String, u8) } }
        { pub enum State { C(String, u8), B { a: u64 }, #[default] A } }
    variant_renamed anywhere Told("enum of A, B\n    after:  enum of A, C");
        { pub enum State { #[default] A, B { a: u64 } } }
        { pub enum State { #[default] A, C { a: u64 } } }
    variant_added anywhere Told("enum of A\n    after:  enum of A, B");
        { pub enum State { #[default] A } }
        { pub enum State { #[default] A, B } }
    variant_removed anywhere Told("enum of A, B\n    after:  enum of A");
        { pub enum State { #[default] A, B } }
        { pub enum State { #[default] A } }
    field_of_variant_added anywhere Told("<B>.b\n    before: absent\n    after:  u64");
        { pub enum State { #[default] A, B { a: u64 } } }
        { pub enum State { #[default] A, B { a: u64, b: u64 } } }
    unit_variant_with_content anywhere Told("<B>\n    before: absent\n    after:  u64");
        { pub enum State { #[default] A, B } }
        { pub enum State { #[default] A, B(u64) } }
    number_widened struct Told("before: u32\n    after:  u64");
        { pub struct State { a: u32, b: u64 } }
        { pub struct State { a: u64, b: u64 } }
    number_narrowed struct Told("before: u64\n    after:  u32");
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { a: u32, b: u64 } }
    unsigned_to_signed struct Told("before: u64\n    after:  i64");
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { a: i64, b: u64 } }
    number_to_fraction struct Told("before: u64\n    after:  f64");
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { a: f64, b: u64 } }
    flatten_added struct Told("part");
        { pub struct State { a: u64, part: Part } pub struct Part { b: u64, c: String } }
        { pub struct State { a: u64, #[serde(flatten)] part: Part } pub struct Part { b: u64, c: String } }
    flatten_removed struct Told("part");
        { pub struct State { a: u64, #[serde(flatten)] part: Part } pub struct Part { b: u64, c: String } }
        { pub struct State { a: u64, part: Part } pub struct Part { b: u64, c: String } }
    field_in_flatten_renamed struct Told("c\n    before: string");
        { pub struct State { a: u64, #[serde(flatten)] part: Part } pub struct Part { b: u64, c: String } }
        { pub struct State { a: u64, #[serde(flatten)] part: Part } pub struct Part { b: u64, d: String } }
    skip_added struct Told("a\n    before: u64\n    after:  absent");
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { #[serde(skip)] a: u64, b: u64 } }
    skip_serializing_added struct Told("absent is written");
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { #[serde(skip_serializing, default)] a: u64, b: u64 } }
    rename_all_changed struct Told("aB\n    before: u64\n    after:  absent");
        { #[serde(rename_all = "camelCase")] pub struct State { a_b: u64 } }
        { #[serde(rename_all = "kebab-case")] pub struct State { a_b: u64 } }
    rename_all_to_the_same_names struct Harmless;
        { pub struct State { a_b: u64 } }
        { #[serde(rename_all = "snake_case")] pub struct State { a_b: u64 } }
    option_added struct Told("before: u64\n    after:  option of u64");
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { a: Option<u64>, b: u64 } }
    option_removed struct Told("a\n    before: option of u64, may be missing\n    after:  u64");
        { pub struct State { a: Option<u64>, b: u64 } }
        { pub struct State { a: u64, b: u64 } }
    newtype_wrapped struct Harmless;
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { a: Wrapped, b: u64 } pub struct Wrapped(u64); }
    box_added struct Harmless;
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { a: Box<u64>, b: u64 } }
    tuple_to_struct struct Told("before: tuple of 2\n    after:  struct");
        { pub struct State { a: (u64, u64) } }
        { pub struct State { a: Pair } pub struct Pair { x: u64, y: u64 } }
    list_to_map struct Told("before: list\n    after:  map by u64");
        { pub struct State { a: Vec<u64> } }
        { pub struct State { a: BTreeMap<u64, u64> } }
    items_of_a_list_changed struct Told("a[*]\n    before: u64\n    after:  string");
        { pub struct State { a: Vec<u64> } }
        { pub struct State { a: Vec<String> } }
    key_of_map_changed struct Told("before: map by string\n    after:  map by u64");
        { pub struct State { a: BTreeMap<String, u64> } }
        { pub struct State { a: BTreeMap<u64, u64> } }
    tag_added anywhere Told("enum of A, B");
        { pub enum State { #[default] A, B { a: u64 } } }
        { #[serde(tag = "type")] pub enum State { #[default] A, B { a: u64 } } }
    tag_renamed struct Told("type\n    before: tag of A, B\n    after:  absent");
        { #[serde(tag = "type")] pub enum State { #[default] A, B { a: u64 } } }
        { #[serde(tag = "sort")] pub enum State { #[default] A, B { a: u64 } } }
    content_added struct Told("<B>.a\n    before: u64\n    after:  absent");
        { #[serde(tag = "type")] pub enum State { #[default] A, B { a: u64 } } }
        { #[serde(tag = "type", content = "of")] pub enum State { #[default] A, B { a: u64 } } }
    field_of_tagged_variant_renamed struct Told("<B>.a\n    before: u64\n    after:  absent");
        { #[serde(tag = "type")] pub enum State { #[default] A, B { a: u64 } } }
        { #[serde(tag = "type")] pub enum State { #[default] A, B { b: u64 } } }
    field_of_content_renamed struct Told(".of.a\n    before: u64\n    after:  absent");
        { #[serde(tag = "type", content = "of")] pub enum State { #[default] A, B { a: u64 }, C(String) } }
        { #[serde(tag = "type", content = "of")] pub enum State { #[default] A, B { b: u64 }, C(String) } }
    skip_serializing_if_added struct Told("a\n    before: null was written for");
        { pub struct State { a: Option<u64>, b: u64 } }
        { pub struct State { #[serde(skip_serializing_if = "Option::is_none")] a: Option<u64>, b: u64 } }
    skip_serializing_if_without_default_added struct Told("a\n    before: \"\" was written for");
        { pub struct State { a: String, b: u64 } }
        { pub struct State { #[serde(skip_serializing_if = "is_empty")] a: String, b: u64 } }
    skip_serializing_if_of_a_list_added struct Told("a\n    before: [] was written for");
        { pub struct State { a: Vec<u64>, b: u64 } }
        { pub struct State { #[serde(default, skip_serializing_if = "Vec::is_empty")] a: Vec<u64>, b: u64 } }
    untagged_added anywhere Told("before: enum of A, B");
        { pub enum State { #[default] A, B(u64) } }
        { #[serde(untagged)] pub enum State { #[default] A, B(u64) } }
    with_added struct Told("a\n    before: u64\n    after:  string");
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { #[serde(with = "as_text")] a: u64, b: u64 } }
    with_of_the_same_type_added struct Told("a\n    before: 1 was written for");
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { #[serde(with = "twice")] a: u64, b: u64 } }
    validation_added struct Told("was read\n    after:  not read: zero");
        { pub struct State { a: u64, b: bool } }
        { pub struct State { #[serde(deserialize_with = "not_zero::deserialize")] a: u64, b: bool } }
    null_read_as_another struct Told("a\n    before: null was written for");
        { pub struct State { #[serde(default)] a: Option<u64>, b: bool } }
        { pub struct State { #[serde(default, deserialize_with = "null_is_seven::deserialize")] a: Option<u64>, b: bool } }
    field_added struct Told("b\n    before: absent\n    after:  u64");
        { pub struct State { a: u64 } }
        { pub struct State { a: u64, b: u64 } }
    field_with_default_added struct Told("b\n    before: absent\n    after:  u64, may be missing");
        { pub struct State { a: u64 } }
        { pub struct State { a: u64, #[serde(default)] b: u64 } }
    field_removed struct Told("b\n    before: u64\n    after:  absent");
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { a: u64 } }
    type_changed struct Told("a\n    before: u64\n    after:  string");
        { pub struct State { a: u64 } }
        { pub struct State { a: String } }
    type_renamed struct Harmless;
        { pub struct State { a: Old } pub struct Old { b: u64 } }
        { pub struct State { a: New } pub struct New { b: u64 } }
    alias_added struct Harmless;
        { pub struct State { a: u64, b: u64 } }
        { pub struct State { #[serde(alias = "c")] a: u64, b: u64 } }
    unknown_fields_denied anywhere Harmless;
        { pub struct State { a: u64, b: u64 } }
        { #[serde(deny_unknown_fields)] pub struct State { a: u64, b: u64 } }
}

#[test]
fn each_edit_of_a_deployed_type_is_told_or_harmless() {
    let mut wrong = Vec::new();
    for (edit, verdict, outcomes) in table() {
        for (context, outcome) in outcomes {
            let right = match (verdict, &outcome) {
                (Harmless, Ok(())) => true,
                // Where values are buffered, the places and kinds are others.
                (Told(part), Err(message)) => {
                    let is_told = message.starts_with("the stored layout of edited@1 has changed");
                    is_told && (["flat", "tagged"].contains(&context) || message.contains(part))
                }
                _ => false,
            };
            if !right {
                let found = outcome.err().unwrap_or_else(|| "harmless".to_owned());
                wrong.push(format!(
                    "{edit}, {context}: expected {verdict:?}, found {found}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
