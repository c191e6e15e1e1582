//! The round trip of a new state: it is deserialized as the process will read it, and
//! serialized again.
//!
//! A state that changes in this way is not committed. User code runs here. No I/O.
//! Messages contain paths and types without values, which may be confidential.

use std::fmt;

use state_migration_core::redaction::{self, Lists, Refusal};
use state_migration_core::{
    FailureClass, Migration, MigrationError, Route, Stage, StreamId, VersionCode,
};

use crate::user_code::panics::{catch, short};

/// Result of a round trip.
enum RoundTrip {
    Same,
    Different(String),
    Unreadable(Refusal),
    Unwritable(String),
}

fn last(route: &Route) -> &Migration {
    &route.hops()[route.hops().len() - 1]
}

/// Why no new state of a route can be read back: no decoder is known.
pub(crate) fn unreadable(route: &Route) -> Option<String> {
    let last = last(route);
    if last.target_decoder().is_some() {
        return None;
    }
    let state_type = last.target_state.name;
    let why = if last.defined_at().is_some() {
        format!("`{state_type}` cannot be deserialized; derive `serde::Deserialize` for it")
    } else {
        format!(
            "a migration without the macro does not define how `{state_type}` is deserialized; define `StateMigration::decoder`"
        )
    };
    Some(format!(
        "{last}: new states cannot be read back before they are committed, because {why}"
    ))
}

/// Checks that a new state is the same value after a round trip.
pub(crate) fn check(route: &Route, stream: &StreamId, json: &str) -> Result<(), MigrationError> {
    let last = last(route);
    if last.target_decoder().is_none() {
        let (stage, class) = (Stage::Encoding, FailureClass::ReadsBackDifferently);
        let message = unreadable(route).unwrap_or_default();
        return Err(MigrationError::new(stage, class, stream, message));
    }
    let again = || again_by_route(last, json);
    check_again(last, last.target_state.name, stream, json, again)
}

/// Checks the same of a state of a version.
pub(crate) fn check_by(
    code: &VersionCode,
    stream: &StreamId,
    json: &str,
) -> Result<(), MigrationError> {
    let again = || by_code(code, json);
    check_again(code.version(), code.state_type(), stream, json, again)
}

fn check_again(
    of: &dyn fmt::Display,
    state_type: &str,
    stream: &StreamId,
    json: &str,
    again: impl FnOnce() -> Result<String, Problem>,
) -> Result<(), MigrationError> {
    let failed = |class, message| Err(MigrationError::new(Stage::Encoding, class, stream, message));
    let differently = FailureClass::ReadsBackDifferently;
    // Formatting a user's error runs user code too.
    let (class, what) = match catch(|| compared(json, again())) {
        Ok(RoundTrip::Same) => return Ok(()),
        Ok(RoundTrip::Different(difference)) => (
            differently,
            format!(
                "the new state changes when it is deserialized and serialized again: {difference}"
            ),
        ),
        Ok(RoundTrip::Unwritable(why)) => (
            differently,
            format!("the new state cannot be serialized again after it was deserialized: {why}"),
        ),
        Ok(RoundTrip::Unreadable(refusal)) if refusal.borrows => {
            let message = format!(
                "{of}: the new state cannot be deserialized again, because `{state_type}` borrows from its input; use owned types, such as `String` instead of `&str`, and retry"
            );
            return failed(differently, message);
        }
        Ok(RoundTrip::Unreadable(refusal)) => (
            differently,
            format!(
                "the new state cannot be deserialized again: {}",
                refusal.text(json)
            ),
        ),
        Err(bad) => (
            bad.class,
            format!(
                "the new state cannot be deserialized again: {}",
                bad.message
            ),
        ),
    };
    let message =
        format!("{of}: {what}; correct how `{state_type}` is serialized or deserialized and retry");
    failed(class, message)
}

/// Maximum number of round trips in which a set shows that it has no order. A set of two
/// elements keeps their order in half of them.
const SHUFFLES: usize = 16;

/// Whether lists of a state come in another order after a round trip, as those of a
/// `HashSet` do.
pub(crate) fn reorders(route: &Route, json: &str) -> bool {
    let last = last(route);
    reorders_by(json, |json| again_by_route(last, json))
}

/// The same, by any means to make a round trip.
pub(crate) fn reorders_by(json: &str, again: impl Fn(&str) -> Result<String, Problem>) -> bool {
    let reordered = || match catch(|| again(json)) {
        Ok(Ok(again)) => redaction::difference(json, &again, Lists::InOrder).is_some(),
        Ok(Err(_)) | Err(_) => false,
    };
    (0..SHUFFLES).any(|_| reordered())
}

/// Why a state has no round trip.
pub(crate) enum Problem {
    Unreadable(Refusal),
    Unwritable(String),
}

/// A state of the target version after a round trip.
fn again_by_route(last: &Migration, json: &str) -> Result<String, Problem> {
    let Some(decoder) = last.target_decoder() else {
        return Err(unknown("deserialized"));
    };
    let state = decoder.decode(json.as_bytes());
    let state = state.map_err(|error| Problem::Unreadable(Refusal::of(&error)))?;
    let mut again = Vec::with_capacity(json.len());
    let written = last.step.encode(&state, &mut again);
    written.map_err(|error| Problem::Unwritable(short(error.to_string())))?;
    Ok(String::from_utf8_lossy(&again).into_owned())
}

/// A state of a version after a round trip.
pub(crate) fn by_code(code: &VersionCode, json: &str) -> Result<String, Problem> {
    let Some(state) = code.decode(json.as_bytes()) else {
        return Err(unknown("deserialized"));
    };
    let state = state.map_err(|error| Problem::Unreadable(Refusal::of(&error)))?;
    let Some(again) = code.encode(&state) else {
        return Err(unknown("serialized"));
    };
    let again = again.map_err(|error| Problem::Unwritable(short(error.to_string())))?;
    Ok(String::from_utf8_lossy(&again).into_owned())
}

fn unknown(how: &str) -> Problem {
    Problem::Unwritable(format!("it is not known how it is {how}"))
}

fn compared(json: &str, again: Result<String, Problem>) -> RoundTrip {
    match again {
        Err(Problem::Unreadable(refusal)) => RoundTrip::Unreadable(refusal),
        Err(Problem::Unwritable(why)) => RoundTrip::Unwritable(why),
        Ok(again) if again == json => RoundTrip::Same,
        Ok(again) => match redaction::difference(json, &again, Lists::InAnyOrder) {
            None => RoundTrip::Same,
            Some(difference) => RoundTrip::Different(difference),
        },
    }
}
