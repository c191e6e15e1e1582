//! Paths and problems in the JSON text of a state, without values, which may be
//! confidential.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The maximum depth of a path; serde_json does not read deeper.
const LEVELS: usize = 128;

/// Deserializes JSON. The text is validated as UTF-8 once, which is faster than
/// validating each string.
pub(crate) fn read<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, serde_json::Error> {
    match std::str::from_utf8(json) {
        Ok(text) => serde_json::from_str(text),
        // The error of this call has the position.
        Err(_) => serde_json::from_slice(json),
    }
}

/// The path of the innermost value at which an error occurred; empty for the whole text,
/// and also between two members. `None` if the error has no position.
pub(crate) fn path_of(json: &str, error: &serde_json::Error) -> Option<String> {
    let offset = offset(json, error.line(), error.column())?;
    Some(path_at(json, offset, false))
}

/// The offset of the last byte that was read, from a line and a column.
fn offset(json: &str, line: usize, column: usize) -> Option<usize> {
    let (before, column) = (line.checked_sub(1)?, column.checked_sub(1)?);
    let lines = json.split_inclusive('\n').take(before);
    Some(lines.map(str::len).sum::<usize>() + column)
}

/// The path of the innermost value at an offset in the text of a state.
fn path_at(json: &str, offset: usize, may_be_just_behind: bool) -> String {
    let mut path = String::new();
    let mut here = json;
    for _ in 0..LEVELS {
        let Some(members) = Members::of(here.trim()) else {
            break;
        };
        let found = members.by_name.into_iter().find(|(_, value)| {
            // The members are slices of the same text.
            let start = value.get().as_ptr() as usize - json.as_ptr() as usize;
            let end = start + value.get().len() + usize::from(may_be_just_behind);
            (start..end).contains(&offset)
        });
        let Some((name, value)) = found else { break };
        path.push_str(&name.step());
        here = value.get();
    }
    path
}

pub(crate) fn place(path: &str) -> String {
    if path.is_empty() {
        "the top level".to_owned()
    } else {
        format!("{path:?}")
    }
}

/// The name of a member: an index or a key.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Index(usize),
    Key(String),
}

impl Name {
    /// One step of a JSON pointer.
    pub(crate) fn step(&self) -> String {
        match self {
            Self::Index(index) => format!("/{index}"),
            Self::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        }
    }
}

/// The members of an object or a list as they are written, because a parsed
/// number may differ from the one in the text.
struct Members<'a> {
    is_list: bool,
    /// Sorted by name. A repeated name is kept as often as it occurs.
    by_name: Vec<(Name, &'a RawValue)>,
}

impl<'a> Members<'a> {
    /// `None` where the text is neither an object nor a list.
    fn of(json: &'a str) -> Option<Self> {
        let is_list = json.starts_with('[');
        let by_name = if is_list {
            let list: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            let names = (0..).map(Name::Index);
            names.zip(list).collect()
        } else if json.starts_with('{') {
            let Object(mut members) = serde_json::from_str(json).ok()?;
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            members
        } else {
            return None;
        };
        Some(Self { is_list, by_name })
    }
}

/// The members of an object in their original order.
struct Object<'a>(Vec<(Name, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(Name, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(key) = map.next_key()? {
                    pairs.push((Name::Key(key), map.next_value()?));
                }
                Ok(pairs)
            }
        }

        deserializer.deserialize_map(Pairs).map(Self)
    }
}

/// A JSON text with other values where `replace` gives one for the path of a value that is
/// neither an object nor a list. Everything else stays as it is written. `None` if the text is
/// no JSON, or too deep.
pub fn rewrite(
    json: &str,
    replace: &mut impl FnMut(&[String], &RawValue) -> Option<String>,
) -> Option<String> {
    let value: &RawValue = serde_json::from_str(json).ok()?;
    rewrite_at(value, &mut Vec::new(), replace)
}

fn rewrite_at(
    value: &RawValue,
    path: &mut Vec<String>,
    replace: &mut impl FnMut(&[String], &RawValue) -> Option<String>,
) -> Option<String> {
    let json = value.get();
    let mut within = |name: String, value: &RawValue| {
        path.push(name);
        let rewritten = rewrite_at(value, path, replace);
        path.pop();
        rewritten
    };
    if json.starts_with('[') {
        let list: Vec<&RawValue> = serde_json::from_str(json).ok()?;
        let list = list.into_iter().enumerate();
        let list = list.map(|(index, value)| within(index.to_string(), value));
        let list: Vec<String> = list.collect::<Option<_>>()?;
        Some(format!("[{}]", list.join(",")))
    } else if json.starts_with('{') {
        let Object(members) = serde_json::from_str(json).ok()?;
        let members = members.into_iter().map(|(name, value)| {
            let Name::Key(name) = name else { return None };
            let key = serde_json::to_string(&name).ok()?;
            Some(format!("{key}:{}", within(name, value)?))
        });
        let members: Vec<String> = members.collect::<Option<_>>()?;
        Some(format!("{{{}}}", members.join(",")))
    } else {
        Some(replace(path, value).unwrap_or_else(|| json.to_owned()))
    }
}

/// Whether the order of a list matters in a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// The order matters.
    InOrder,
    /// The order does not matter: a `HashSet` is written as a list, in another
    /// order each time.
    InAnyOrder,
}

/// The first difference between two texts as JSON values; `None` if they are
/// equal.
///
/// The order of an object's members does not matter. Numbers are equal by
/// value: `1` equals `1.0`, and `0` equals `-0.0`. They are compared as decimal
/// text, to the last digit.
pub fn difference(ours: &str, theirs: &str, lists: Lists) -> Option<String> {
    let (mut ours, mut theirs) = (ours.trim(), theirs.trim());
    let same = |ours: &str, theirs: &str, level| {
        ours == theirs || canonical(ours, lists, level) == canonical(theirs, lists, level)
    };
    if same(ours, theirs, 0) {
        return None;
    }
    let mut path = String::new();
    for level in 1..=LEVELS {
        let (before, after) = match (Members::of(ours), Members::of(theirs)) {
            (Some(before), Some(after)) if before.is_list == after.is_list => (before, after),
            _ => break,
        };
        let mut after = after.by_name.into_iter().peekable();
        let mut another = None;
        for (name, ours) in before.by_name {
            match after.next_if(|(other, _)| *other <= name) {
                Some((other, theirs)) if other == name => {
                    if !same(ours.get(), theirs.get(), level) {
                        another = Some((name, ours, theirs));
                        break;
                    }
                }
                Some((new, _)) => return Some(format!("{:?} is new", path + &new.step())),
                None => return Some(format!("{:?} is lost", path + &name.step())),
            }
        }
        match (another, after.next()) {
            (Some((name, before, after)), _) => {
                path.push_str(&name.step());
                (ours, theirs) = (before.get(), after.get());
            }
            (None, Some((new, _))) => return Some(format!("{:?} is new", path + &new.step())),
            (None, None) => break,
        }
    }
    Some(format!("{} differs", place(&path)))
}

/// The canonical text of a value. Parts nested deeper than any type can read
/// are left unchanged.
fn canonical(json: &str, lists: Lists, level: usize) -> String {
    let members = match level {
        LEVELS.. => None,
        _ => Members::of(json),
    };
    let Some(Members { is_list, by_name }) = members else {
        let scalar = match json.starts_with('"') {
            true => canonical_string(json),
            false => canonical_number(json),
        };
        return scalar.unwrap_or_else(|| json.to_owned());
    };
    let mut parts: Vec<String> = Vec::with_capacity(by_name.len());
    for (name, value) in by_name {
        let value = canonical(value.get(), lists, level + 1);
        parts.push(match name {
            Name::Index(_) => value,
            Name::Key(key) => format!("{key:?}:{value}"),
        });
    }
    if is_list && lists == Lists::InAnyOrder {
        parts.sort_unstable();
    }
    let parts = parts.join(",");
    match is_list {
        true => format!("[{parts}]"),
        false => format!("{{{parts}}}"),
    }
}

fn canonical_string(json: &str) -> Option<String> {
    let text: String = serde_json::from_str(json).ok()?;
    Some(format!("{text:?}"))
}

/// A number of any size as 0.DIGITS · 10^EXPONENT, without zeros at either end
/// of the digits; `None` for `true`, `false` and `null`.
fn canonical_number(json: &str) -> Option<String> {
    let (sign, text) = match json.strip_prefix('-') {
        Some(text) => ("-", text),
        None => ("", json),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
        None => (text, 0_i64),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = all.trim_start_matches('0');
    let leading = all.len() - digits.len();
    let point = i64::try_from(whole.len()).ok()? - i64::try_from(leading).ok()?;
    let exponent = exponent.checked_add(point)?;
    match digits.trim_end_matches('0') {
        "" => Some("0".to_owned()),
        digits => Some(format!("{sign}0.{digits}e{exponent}")),
    }
}

/// The starts of those messages of serde that contain only names from types.
const WITHOUT_VALUES: [&str; 6] = [
    "missing field `",
    "duplicate field `",
    "i128 is not supported",
    "u128 is not supported",
    "data did not match any variant of untagged enum ",
    "no variant of enum ",
];

/// The reason why a state could not be read, without its values.
pub struct Refusal {
    /// The problem, in the words of serde and of the type.
    what: Option<String>,
    /// Whether the type expects text that outlives the deserialization.
    pub borrows: bool,
    line: usize,
    column: usize,
    /// Whether the rejected value may end where the reading stopped.
    of_a_value: bool,
}

impl Refusal {
    pub fn of(error: &serde_json::Error) -> Self {
        let mut text = error.to_string();
        if error.line() > 0
            && let Some(place) = text.rfind(" at line ")
        {
            text.truncate(place);
        }
        // Messages of serde with a known format, in which the values can be
        // located.
        let starts = |with: &[&str]| with.iter().any(|start| text.starts_with(start));
        let of_a_value = starts(&["invalid type: ", "invalid value: ", "unknown variant `"]);
        // If nothing is expected, the end of the message may be part of a
        // value.
        let nothing = [", there are no variants", ", there are no fields"];
        let nothing = nothing.iter().any(|end| text.ends_with(end));
        let expected = text
            .rsplit_once(", expected ")
            .filter(|_| !nothing)
            .map(|(_, expected)| expected);
        let what = if of_a_value || starts(&["invalid length ", "unknown field `"]) {
            expected.map(|expected| format!("expected {expected}"))
        } else if starts(&WITHOUT_VALUES) || !error.is_data() {
            // serde_json's messages about the text itself contain no values.
            Some(text.clone())
        } else {
            None
        };
        Self {
            borrows: of_a_value && expected.is_some_and(|e| e.starts_with("a borrowed ")),
            what,
            line: error.line(),
            column: error.column(),
            of_a_value,
        }
    }

    fn what(&self) -> &str {
        self.what.as_deref().unwrap_or("the type rejects the value")
    }

    /// The reason with the path of the value.
    pub fn text(&self, json: &str) -> String {
        let what = self.what();
        let Some(offset) = offset(json, self.line, self.column) else {
            return what.to_owned();
        };
        let path = path_at(json, offset, self.of_a_value);
        format!("{what} at {}", place(&path))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what())?;
        if self.line > 0 {
            write!(f, " at line {} column {}", self.line, self.column)?;
        }
        Ok(())
    }
}

/// The message of a JSON error without the values that serde includes.
pub(crate) fn without_values(error: &serde_json::Error) -> String {
    Refusal::of(error).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn refused<T: serde::de::DeserializeOwned>(json: &str) -> String {
        match serde_json::from_reader::<_, T>(json.as_bytes()) {
            Ok(_) => "not refused".to_owned(),
            Err(error) => Refusal::of(&error).text(json),
        }
    }

    #[test]
    fn a_refusal_is_told_without_values() {
        #[derive(serde::Deserialize)]
        #[allow(dead_code)]
        struct Person {
            age: u8,
            name: String,
        }
        #[derive(serde::Deserialize)]
        enum Size {
            Small,
            Large,
        }
        type People = BTreeMap<String, Vec<Person>>;
        for (json, expected) in [
            (
                r#"{"a":[{"age":1,"name":"x"},{"name":"x","age":"secret"}]}"#,
                r#"expected u8 at "/a/1/age""#,
            ),
            (
                r#"{"a":[{"age":70000,"name":"x"}]}"#,
                r#"expected u8 at "/a/0/age""#,
            ),
            (
                r#"{"a":[{"name":"x","age":70000}]}"#,
                r#"expected u8 at "/a/0/age""#,
            ),
            (r#"{"a":[{"age":1}]}"#, r#"missing field `name` at "/a/0""#),
            (
                "{\"a\":[\n{\"age\":1}]}",
                r#"missing field `name` at "/a/0""#,
            ),
            (r#"{"a":7}"#, r#"expected a sequence at "/a""#),
            ("[]", "expected a map at the top level"),
        ] {
            assert_eq!(refused::<People>(json), expected, "{json}");
        }
        assert_eq!(
            refused::<Vec<Size>>(r#"["Small","Large","secret, expected secret"]"#),
            r#"expected `Small` or `Large` at "/2""#
        );
        #[derive(Debug, serde::Deserialize)]
        enum Nothing {}
        let secret = r#""secret, expected secret""#;
        assert_eq!(
            refused::<Nothing>(secret),
            "the type rejects the value at the top level"
        );
        let error = serde_json::from_str::<Nothing>(secret).unwrap_err();
        assert_eq!(
            without_values(&error),
            "the type rejects the value at line 1 column 25"
        );
        assert_eq!(
            refused::<Vec<std::net::IpAddr>>(r#"["secret"]"#),
            r#"the type rejects the value at "/0""#
        );
    }

    #[test]
    fn serde_s_reasons_without_values_are_told() {
        #[derive(serde::Deserialize)]
        #[allow(dead_code)]
        struct Flattened {
            #[serde(flatten)]
            inner: Inner,
        }
        #[derive(serde::Deserialize)]
        #[allow(dead_code)]
        struct Inner {
            number: u128,
        }
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        #[allow(dead_code)]
        enum Either {
            Number(u8),
            Text(String),
        }
        assert_eq!(
            refused::<Vec<Flattened>>(r#"[{"number":1}]"#),
            r#"u128 is not supported at "/0""#
        );
        assert_eq!(
            refused::<Vec<Either>>("[1,true]"),
            "data did not match any variant of untagged enum Either at the top level"
        );
    }

    #[test]
    fn what_serde_json_says_of_a_text_is_told_with_its_place() {
        let deep = "[".repeat(130) + &"]".repeat(130);
        let refusal = refused::<serde_json::Value>(&deep);
        assert!(
            refusal.starts_with("recursion limit exceeded at \"/0/0/"),
            "{refusal}"
        );
    }

    #[test]
    fn the_first_difference_is_named_by_its_place() {
        for (ours, theirs, expected) in [
            (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":3}"#, r#""/b" differs"#),
            (r#"{"a":1,"b":2}"#, r#"{"a":1}"#, r#""/b" is lost"#),
            (r#"{"a":1,"b":2}"#, r#"{"b":2}"#, r#""/a" is lost"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, r#""/b" is new"#),
            (r#"{"b":1}"#, r#"{"b":1,"a":2}"#, r#""/a" is new"#),
            (
                r#"{"a":[0,{"b":{}}]}"#,
                r#"{"a":[0,{"b":[]}]}"#,
                r#""/a/1/b" differs"#,
            ),
            ("[1,[2,3]]", "[1,[2]]", r#""/1/1" is lost"#),
            ("[1]", "[1,2]", r#""/1" is new"#),
            ("1", "2", "the top level differs"),
            ("null", "0", "the top level differs"),
            (r#""1""#, "1", "the top level differs"),
            (r#"{"a/b~":1}"#, r#"{"a/b~":2}"#, r#""/a~1b~0" differs"#),
            (r#"{"a\n":1}"#, r#"{"a\n":2}"#, r#""/a\n" differs"#),
            // A map that is flattened into a struct may repeat one of its
            // fields.
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#, r#""/a" differs"#),
            (r#"{"a":1,"a":1}"#, r#"{"a":1}"#, r#""/a" is lost"#),
        ] {
            for lists in [Lists::InOrder, Lists::InAnyOrder] {
                let found = difference(ours, theirs, lists);
                assert_eq!(found.as_deref(), Some(expected), "{ours} {theirs}");
            }
        }
    }

    #[test]
    fn the_same_value_may_be_written_in_two_ways() {
        for (ours, theirs) in [
            (r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"c":2,"b":1}}"#),
            (r#"{"a": [ 1 ]}"#, r#" {"a":[1]} "#),
            (r#""\u0041""#, r#""A""#),
            ("[1]", "[1.0]"),
            ("100", "1e2"),
            ("0.001", "10E-4"),
            ("-0.0", "0"),
            ("0.30000000000000000", "0.3"),
            (
                "340282366920938463463374607431768211455",
                "3402823669209384634633746074317682114550e-1",
            ),
        ] {
            for (ours, theirs) in [(ours, theirs), (theirs, ours)] {
                let found = difference(ours, theirs, Lists::InOrder);
                assert_eq!(found, None, "{ours} {theirs}");
            }
        }
    }

    #[test]
    fn the_order_of_a_list_counts_where_it_is_to() {
        for (ours, theirs, in_order, in_any_order) in [
            ("[1,2]", "[2,1.0]", Some(r#""/0" differs"#), None),
            (
                r#"{"a":[[1],[2,{"b":3,"c":4}]]}"#,
                r#"{"a":[[{"c":4,"b":3},2],[1]]}"#,
                Some(r#""/a/0/0" differs"#),
                None,
            ),
            (
                "[1,1,2]",
                "[2,2,1]",
                Some(r#""/0" differs"#),
                Some(r#""/0" differs"#),
            ),
        ] {
            let found = difference(ours, theirs, Lists::InOrder);
            assert_eq!(found.as_deref(), in_order, "{ours} {theirs}");
            let found = difference(ours, theirs, Lists::InAnyOrder);
            assert_eq!(found.as_deref(), in_any_order, "{ours} {theirs}");
        }
    }

    #[test]
    fn numbers_are_compared_to_the_last_digit() {
        for (ours, theirs) in [
            ("1", "-1"),
            ("1", "10"),
            ("0.1", "0.01"),
            ("0.1", "0.10000000000000001"),
            ("18446744073709551616", "18446744073709551617"),
            ("1e400", "1e401"),
            ("1e99999999999999999999", "1e99999999999999999998"),
        ] {
            let found = difference(ours, theirs, Lists::InAnyOrder);
            let expected = Some("the top level differs");
            assert_eq!(found.as_deref(), expected, "{ours} {theirs}");
        }
    }

    #[test]
    fn a_state_of_any_depth_is_compared() {
        let deep = |end: &str| "[".repeat(10_000) + end + &"]".repeat(10_000);
        let difference = difference(&deep("1"), &deep("2"), Lists::InAnyOrder);
        let difference = difference.unwrap_or_default();
        assert!(difference.starts_with(r#""/0/0/"#) && difference.ends_with(" differs"));
    }
}
