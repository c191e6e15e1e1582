//! In a dry run: reads a converted state back, as the process will when it goes
//! on. User code runs here. Pure.
//!
//! What is said about a difference or an error names places and types only; the
//! values of a state may be nobody's business.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::id::StreamId;
use crate::json::{LEVELS, Members, Refusal, place};
use crate::registry::{Migration, Route};
use crate::runner::fold::catch;
use crate::runner::report::{FailureClass, MigrationError, MigrationReport, Stage};

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
