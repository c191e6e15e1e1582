//! The round trip of a new state: it is deserialized as the process will read it, and
//! serialized again.
//!
//! A state that changes in this way is not committed. User code runs here. No I/O.
//! Messages contain paths and types without values, which may be confidential.

use state_migration_core::redaction::{self, Lists, Refusal};
use state_migration_core::{FailureClass, Migration, MigrationError, Route, Stage, StreamId};

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
    let state_type = last.target_state.name;
    // Formatting a user's error runs user code too.
    let back = catch(|| read(last, json));
    let failed = |class, message| Err(MigrationError::new(Stage::Encoding, class, stream, message));
    let differently = FailureClass::ReadsBackDifferently;
    let (class, what) = match back {
        Ok(None) => return failed(differently, unreadable(route).unwrap_or_default()),
        Ok(Some(RoundTrip::Same)) => return Ok(()),
        Ok(Some(RoundTrip::Different(difference))) => (
            differently,
            format!(
                "the new state changes when it is deserialized and serialized again: {difference}"
            ),
        ),
        Ok(Some(RoundTrip::Unwritable(why))) => (
            differently,
            format!("the new state cannot be serialized again after it was deserialized: {why}"),
        ),
        Ok(Some(RoundTrip::Unreadable(refusal))) if refusal.borrows => {
            let message = format!(
                "{last}: the new state cannot be deserialized again, because `{state_type}` borrows from its input; use owned types, such as `String` instead of `&str`, and retry"
            );
            return failed(differently, message);
        }
        Ok(Some(RoundTrip::Unreadable(refusal))) => (
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
    let message = format!(
        "{last}: {what}; correct how `{state_type}` is serialized or deserialized and retry"
    );
    failed(class, message)
}

/// Maximum number of round trips in which a set shows that it has no order. A set of two
/// elements keeps their order in half of them.
const SHUFFLES: usize = 16;

/// Whether lists of a state come in another order after a round trip, as those of a
/// `HashSet` do.
pub(crate) fn reorders(route: &Route, json: &str) -> bool {
    let last = last(route);
    let reordered = || match catch(|| again(last, json)) {
        Ok(Some(again)) => redaction::difference(json, &again, Lists::InOrder).is_some(),
        Ok(None) | Err(_) => false,
    };
    (0..SHUFFLES).any(|_| reordered())
}

/// The state after a round trip, if it can be made.
fn again(last: &Migration, json: &str) -> Option<String> {
    let state = last.target_decoder()?.decode(json.as_bytes()).ok()?;
    let mut again = Vec::with_capacity(json.len());
    last.step.encode(&state, &mut again).ok()?;
    String::from_utf8(again).ok()
}

/// Deserializes a state of the target version and serializes it again. Returns `None` if
/// no decoder is known.
fn read(last: &Migration, json: &str) -> Option<RoundTrip> {
    let state = match last.target_decoder()?.decode(json.as_bytes()) {
        Ok(state) => state,
        Err(error) => return Some(RoundTrip::Unreadable(Refusal::of(&error))),
    };
    let mut again = Vec::with_capacity(json.len());
    if let Err(error) = last.step.encode(&state, &mut again) {
        return Some(RoundTrip::Unwritable(short(error.to_string())));
    }
    if again == json.as_bytes() {
        return Some(RoundTrip::Same);
    }
    let again = String::from_utf8_lossy(&again);
    Some(
        match redaction::difference(json, &again, Lists::InAnyOrder) {
            None => RoundTrip::Same,
            Some(difference) => RoundTrip::Different(difference),
        },
    )
}
