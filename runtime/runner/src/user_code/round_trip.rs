//! The round trip of a new state: it is deserialized as the process will read it, and
//! serialized again.
//!
//! A state that changes in this way is not committed. User code runs here. No I/O.
//! Messages contain paths and types without values, which may be confidential.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use state_migration_core::redaction::{self, Lists, Refusal};
use state_migration_core::{
    FailureClass, Migration, MigrationError, Route, Stage, StreamId, Subject,
};

use crate::report::MigrationReport;
use crate::user_code::panics::{catch, short};

/// Migrations whose new states could not be read back because no decoder is known, with
/// the reason.
#[derive(Debug, Default)]
pub(crate) struct UncheckedStates(Mutex<BTreeMap<String, String>>);

impl UncheckedStates {
    fn note(&self, migration: &Migration, why: &str) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.entry(migration.short_name()).or_insert_with(|| {
            format!("{migration}: the round trip of the new state was not checked, because {why}")
        });
    }

    /// Adds one warning for each migration.
    pub(crate) fn warn(&self, report: &mut MigrationReport) {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in noted.values() {
            report.warn(Subject::Migrations, warning.clone());
        }
    }
}

/// Result of a round trip.
enum RoundTrip {
    Same,
    Different(String),
    Unreadable(Refusal),
    Unwritable(String),
    /// No decoder is known.
    Unknown,
}

/// Checks that a new state is the same value after a round trip.
pub(crate) fn check(
    route: &Route,
    stream: &StreamId,
    json: &str,
    unchecked: &UncheckedStates,
) -> Result<(), MigrationError> {
    let last = &route.hops()[route.hops().len() - 1];
    let state_type = last.target_state.name;
    // Formatting a user's error runs user code too.
    let back = catch(|| read(last, json));
    let differently = FailureClass::ReadsBackDifferently;
    let (class, what) = match back {
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
            let why = format!(
                "`{state_type}` borrows from its input; use owned types, such as `String` instead of `&str`"
            );
            unchecked.note(last, &why);
            return Ok(());
        }
        Ok(RoundTrip::Unreadable(refusal)) => (
            differently,
            format!(
                "the new state cannot be deserialized again: {}",
                refusal.text(json)
            ),
        ),
        Ok(RoundTrip::Unknown) => {
            let why = if last.defined_at().is_some() {
                format!("`{state_type}` cannot be deserialized; derive `serde::Deserialize` for it")
            } else {
                format!(
                    "a migration without the macro does not define how `{state_type}` is deserialized; define `StateMigration::decoder`"
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
    Err(MigrationError::new(
        Stage::Encoding,
        class,
        stream,
        format!(
            "{last}: {what}; correct how `{state_type}` is serialized or deserialized and retry"
        ),
    ))
}

/// Maximum number of round trips in which a set shows that it has no order. A set of two
/// elements keeps their order in half of them.
const SHUFFLES: usize = 16;

/// Whether lists of a state come in another order after a round trip, as those of a
/// `HashSet` do.
pub(crate) fn reorders(route: &Route, json: &str) -> bool {
    let last = &route.hops()[route.hops().len() - 1];
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

/// Deserializes a state of the target version and serializes it again.
fn read(last: &Migration, json: &str) -> RoundTrip {
    let Some(decoder) = last.target_decoder() else {
        return RoundTrip::Unknown;
    };
    let state = match decoder.decode(json.as_bytes()) {
        Ok(state) => state,
        Err(error) => return RoundTrip::Unreadable(Refusal::of(&error)),
    };
    let mut again = Vec::with_capacity(json.len());
    if let Err(error) = last.step.encode(&state, &mut again) {
        return RoundTrip::Unwritable(short(error.to_string()));
    }
    if again == json.as_bytes() {
        return RoundTrip::Same;
    }
    let again = String::from_utf8_lossy(&again);
    match redaction::difference(json, &again, Lists::InAnyOrder) {
        None => RoundTrip::Same,
        Some(difference) => RoundTrip::Different(difference),
    }
}
