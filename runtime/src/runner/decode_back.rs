//! In a dry run: reads a converted state back, as the process will when it goes
//! on. User code runs here. Pure.
//!
//! What is said about a difference or an error names places and types only; the
//! values of a state may be nobody's business.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::value::RawValue;

use crate::id::StreamId;
use crate::registry::{Migration, Route};
use crate::runner::fold::catch;
use crate::runner::report::{FailureClass, MigrationError, MigrationReport, Stage};

/// How many levels a place is followed down a state; serde_json reads no more.
const LEVELS: usize = 128;

/// Migrations whose new states could not be read back for want of a decoder,
/// with the reason.
#[derive(Debug, Default)]
pub(super) struct Unchecked(Mutex<BTreeMap<String, String>>);

impl Unchecked {
    fn note(&self, migration: &Migration, why: &str) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted
            .entry(migration.short_name())
            .or_insert_with(|| format!("{migration}: whether a process can go on with its new state was not checked, because {why}"));
    }

    /// One warning for each migration.
    pub(super) fn warn(&self, report: &mut MigrationReport) {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in noted.values() {
            report.warn(StreamId::literal("(migrations)"), warning.clone());
        }
    }
}

/// Checks that a new state, deserialized and serialized again, is the same text.
pub(super) fn check(
    route: &Route,
    stream: &StreamId,
    json: &str,
    unchecked: &Unchecked,
) -> Result<(), MigrationError> {
    let last = &route.hops()[route.hops().len() - 1];
    let state_type = last.target_state.name;
    // The text of a user's error is user code too.
    let back = catch(|| {
        last.decode_back(json)
            .map(|back| back.map_err(|error| Refusal::of(&error)))
    });
    let differently = FailureClass::ReadsBackDifferently;
    let (class, what) = match back {
        Ok(Some(Ok(again))) if again == json.as_bytes() => return Ok(()),
        Ok(Some(Ok(again))) => (
            differently,
            format!(
                "deserialized and serialized again, the new state is not the same: {}",
                difference(json, &String::from_utf8_lossy(&again))
            ),
        ),
        Ok(Some(Err(refusal))) if refusal.borrows => {
            let why = format!(
                "`{state_type}` borrows from the text that it is deserialized from; let it own its values, such as a `String` instead of a `&str`"
            );
            unchecked.note(last, &why);
            return Ok(());
        }
        Ok(Some(Err(refusal))) => (
            differently,
            format!(
                "the new state cannot be deserialized again: {}",
                refusal.text(json)
            ),
        ),
        Ok(None) => {
            let why = if last.defined_at().is_some() {
                format!("`{state_type}` cannot be deserialized; derive `serde::Deserialize` for it")
            } else {
                format!(
                    "a migration that is written by hand does not say how `{state_type}` is deserialized; annotate a function with `#[state_migration]`, or load a migrated process in a test"
                )
            };
            unchecked.note(last, &why);
            return Ok(());
        }
        Err(bad) => (
            bad.class,
            format!(
                "the new state cannot be deserialized again: {}",
                bad.message
            ),
        ),
    };
    Err(MigrationError {
        stream_id: stream.clone(),
        stage: Stage::Encoding,
        class,
        sequence: None,
        message: format!(
            "{last}: {what}; correct how `{state_type}` is serialized or deserialized and run again"
        ),
    })
}

/// Where two texts of a state differ first, and how.
fn difference(ours: &str, theirs: &str) -> String {
    let mut path = String::new();
    let (mut ours, mut theirs) = (ours, theirs);
    for _ in 0..LEVELS {
        let (Some(before), Some(after)) = (Members::of(ours), Members::of(theirs)) else {
            break;
        };
        if before.is_list != after.is_list {
            break;
        }
        let lost =
            before
                .by_name
                .iter()
                .find_map(|(name, ours)| match after.by_name.get(name).copied() {
                    None => Some((name, None)),
                    Some(theirs) if theirs.get() != ours.get() => {
                        Some((name, Some((*ours, theirs))))
                    }
                    Some(_) => None,
                });
        match lost {
            Some((name, Some(both))) => {
                path.push_str(&name.step());
                (ours, theirs) = (both.0.get(), both.1.get());
            }
            Some((name, None)) => return format!("{:?} is lost", path + &name.step()),
            None => {
                let added = after
                    .by_name
                    .keys()
                    .find(|name| !before.by_name.contains_key(name));
                return match added {
                    Some(name) => format!("{:?} is new", path + &name.step()),
                    None => format!("the members of {} are in another order", place(&path)),
                };
            }
        }
    }
    format!("{} is another value", place(&path))
}

/// The path of the innermost value that a place in the text of a state is in.
fn path_at(json: &str, offset: usize, may_be_just_behind: bool) -> String {
    let mut path = String::new();
    let mut here = json;
    for _ in 0..LEVELS {
        let Some(members) = Members::of(here) else {
            break;
        };
        let found = members.by_name.into_iter().find(|(_, value)| {
            // The members are parts of the same text.
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

fn place(path: &str) -> String {
    if path.is_empty() {
        "the whole of it".to_owned()
    } else {
        format!("{path:?}")
    }
}

/// The name of a member.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Index(usize),
    Key(String),
}

impl Name {
    /// One step of a JSON pointer.
    fn step(&self) -> String {
        match self {
            Self::Index(index) => format!("/{index}"),
            Self::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        }
    }
}

/// The members of an object or a list, as they are written: a number that is
/// parsed may not be the one that is in the text.
struct Members<'a> {
    is_list: bool,
    by_name: BTreeMap<Name, &'a RawValue>,
}

impl<'a> Members<'a> {
    /// `None` where the text is neither an object nor a list.
    fn of(json: &'a str) -> Option<Self> {
        let is_list = json.trim_start().starts_with('[');
        let by_name = if is_list {
            let list: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            let names = (0..).map(Name::Index);
            names.zip(list).collect()
        } else {
            let object: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
            let members = object.into_iter();
            members
                .map(|(key, value)| (Name::Key(key), value))
                .collect()
        };
        Some(Self { is_list, by_name })
    }
}

/// Why a state could not be read, as far as it can be told without its values.
struct Refusal {
    /// What is wrong, in words of serde's and of the type's.
    what: Option<String>,
    /// Whether the type expects text that lives longer than the reading.
    borrows: bool,
    line: usize,
    column: usize,
    /// Whether the value in question may end where the reading stopped.
    of_a_value: bool,
}

impl Refusal {
    fn of(error: &serde_json::Error) -> Self {
        let mut text = error.to_string();
        if error.line() > 0
            && let Some(place) = text.rfind(" at line ")
        {
            text.truncate(place);
        }
        // serde's own forms, in which it is known where values of the state stand.
        let starts = |with: &[&str]| with.iter().any(|start| text.starts_with(start));
        let of_a_value = starts(&["invalid type: ", "invalid value: ", "unknown variant `"]);
        let expected = text
            .rsplit_once(", expected ")
            .map(|(_, expected)| expected);
        let what = if of_a_value || starts(&["invalid length ", "unknown field `"]) {
            expected.map(|expected| format!("expected {expected}"))
        } else if starts(&["missing field `", "duplicate field `"]) {
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

    fn text(&self, json: &str) -> String {
        let what = self.what.as_deref().unwrap_or("the type refuses it");
        if self.line == 0 || self.column == 0 {
            return what.to_owned();
        }
        let before = json.split_inclusive('\n').take(self.line - 1);
        let line = before.map(str::len).sum::<usize>();
        let path = path_at(json, line + self.column - 1, self.of_a_value);
        format!("{what} at {}", place(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: serde::de::DeserializeOwned>(json: &str) -> String {
        match serde_json::from_reader::<_, T>(json.as_bytes()) {
            Ok(_) => "not refused".to_owned(),
            Err(error) => Refusal::of(&error).text(json),
        }
    }

    #[test]
    fn the_first_difference_is_named_by_its_place() {
        for (ours, theirs, expected) in [
            (
                r#"{"a":1,"b":2}"#,
                r#"{"a":1,"b":3}"#,
                r#""/b" is another value"#,
            ),
            (r#"{"a":1,"b":2}"#, r#"{"a":1}"#, r#""/b" is lost"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, r#""/b" is new"#),
            (
                r#"{"a":[0,{"b":{}}]}"#,
                r#"{"a":[0,{"b":[]}]}"#,
                r#""/a/1/b" is another value"#,
            ),
            ("[1,[2,3]]", "[1,[2]]", r#""/1/1" is lost"#),
            ("[1]", "[1,2]", r#""/1" is new"#),
            (
                r#"{"a":{"b":1,"c":2}}"#,
                r#"{"a":{"c":2,"b":1}}"#,
                r#"the members of "/a" are in another order"#,
            ),
            ("1", "2", "the whole of it is another value"),
            (
                r#"{"a/b~":1}"#,
                r#"{"a/b~":2}"#,
                r#""/a~1b~0" is another value"#,
            ),
            (r#"{"a\n":1}"#, r#"{"a\n":2}"#, r#""/a\n" is another value"#),
            // Both parse to the same number.
            (
                r#"{"a":0.30000000000000000}"#,
                r#"{"a":0.3}"#,
                r#""/a" is another value"#,
            ),
        ] {
            assert_eq!(difference(ours, theirs), expected, "{ours} {theirs}");
        }
    }

    #[test]
    fn a_state_of_any_depth_is_compared() {
        let deep = |end: &str| "[".repeat(10_000) + end + &"]".repeat(10_000);
        let difference = difference(&deep("1"), &deep("2"));
        assert!(difference.starts_with(r#""/0/0/"#) && difference.ends_with(" is another value"));
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
            ("[]", "expected a map at the whole of it"),
        ] {
            assert_eq!(refused::<People>(json), expected, "{json}");
        }
        assert_eq!(
            refused::<Vec<Size>>(r#"["Small","Large","secret, expected secret"]"#),
            r#"expected `Small` or `Large` at "/2""#
        );
        assert_eq!(
            refused::<Vec<std::net::IpAddr>>(r#"["secret"]"#),
            r#"the type refuses it at "/0""#
        );
    }
}
