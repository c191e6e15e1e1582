//! Stage three: takes a state along its route and creates the `$migrated` event.
//!
//! User code runs here. No I/O.

use bytes::Bytes;
use serde_json::value::RawValue;
use state_migration_core::baseline::Frame;
use state_migration_core::fold::AnyState;
use state_migration_core::redaction::{self, Lists};
use state_migration_core::registry::erased::Unconverted;
use state_migration_core::{
    Baseline, BaselineKind, FailureClass, Fingerprint, Head, Migration, MigrationError, NewEvent,
    Route, RunId, Stage, StreamId, Totals,
};

use crate::run::totals::RunTotals;
use crate::run::{build, suspects};
use crate::stages::fold::Folded;
use crate::user_code::panics::{DropGuarded, UserCodeFailure, WAY_OUT, catch, short};
use crate::user_code::round_trip;

/// A converted process, ready to be committed.
#[derive(Clone)]
pub(crate) struct Converted {
    pub(crate) stream: StreamId,
    /// The head of the stream when it was read.
    pub(crate) head: Head,
    /// The event that records the migration.
    pub(crate) event: NewEvent,
    /// The new state, raw JSON.
    pub(crate) state: Bytes,
    /// Whether undo functions converted the state back.
    pub(crate) by_function: bool,
    /// Its totals, before and after.
    pub(crate) totals: RunTotals,
    /// Of a redo: where the new state differs.
    pub(crate) difference: Option<String>,
}

impl Converted {
    /// The new state, as text.
    pub(crate) fn json(&self) -> &str {
        // Serialized JSON is always UTF-8.
        std::str::from_utf8(&self.state).unwrap_or_default()
    }
}

/// A route, with the parts that all its baselines share.
pub(crate) struct Planned {
    pub(crate) route: Route,
    /// The fingerprint of the code of the whole route.
    pub(crate) code: Fingerprint,
    frame: Result<Frame, String>,
}

impl Planned {
    pub(crate) fn new(route: Route, run: RunId) -> Self {
        let last = &route.hops()[route.hops().len() - 1];
        let frame = Frame::of(Baseline {
            workflow: route.source().name().to_owned(),
            from: route.source().version().to_owned(),
            to: route.target().version().to_owned(),
            route: route.baseline_hops(),
            run,
            kind: BaselineKind::Migrate,
            state_schema_version: last.target_schema_version(),
            state: RawValue::NULL.to_owned(),
        });
        Self {
            frame: frame.map_err(|error| error.to_string()),
            code: suspects::code_of(&route.baseline_hops()),
            route,
        }
    }

    /// The fingerprint that the head stores if the code of this route, in this build of
    /// the program, finds the process finished.
    pub(crate) fn finished_by(&self) -> Fingerprint {
        let [code, build] = [self.route.hops()[0].fingerprint(), build::fingerprint()];
        Fingerprint::of_bytes(&[code.get().to_le_bytes(), build.get().to_le_bytes()].concat())
    }
}

/// Checks that two executions of user code gave the same state.
pub(crate) fn same(
    route: &Route,
    first: &Converted,
    second: &Converted,
) -> Result<(), MigrationError> {
    let differ = |lists| redaction::difference(first.json(), second.json(), lists).is_some();
    // The process may have been changed between the two reads.
    if first.head != second.head
        || first.state == second.state
        || !differ(Lists::InOrder)
        || (!differ(Lists::InAnyOrder) && round_trip::reorders(route, first.json()))
    {
        return Ok(());
    }
    Err(non_deterministic(&first.stream, "two different states"))
}

/// The failure of a process with non-deterministic code.
pub(crate) fn non_deterministic(stream: &StreamId, what: &str) -> MigrationError {
    MigrationError::new(
        Stage::Converting,
        FailureClass::NonDeterministic,
        stream,
        format!(
            "user code is non-deterministic: two executions gave {what}; avoid clocks, randomness and the order of a `HashMap`, and retry"
        ),
    )
}

/// Converts a state along some hops.
pub(crate) fn along<'a>(
    stream: &StreamId,
    hops: impl IntoIterator<Item = &'a Migration>,
    mut state: DropGuarded<AnyState>,
) -> Result<DropGuarded<AnyState>, MigrationError> {
    for hop in hops {
        let Some(old) = state.take() else {
            return Err(failed(Stage::Converting, stream, hop, no_state()));
        };
        // Formatting a user's error runs user code too.
        let converted = catch(|| {
            hop.step.convert(old).map_err(|unconverted| {
                let class = match unconverted {
                    Unconverted::Refused(_) => FailureClass::Refused,
                    Unconverted::CheckFailed(_) => FailureClass::CheckFailed,
                };
                bad(class, short(unconverted.to_string()))
            })
        });
        state = match converted {
            Ok(Ok(state)) => DropGuarded::new(state),
            Ok(Err(bad)) | Err(bad) => return Err(failed(Stage::Converting, stream, hop, bad)),
        };
    }
    Ok(state)
}

fn failed(
    stage: Stage,
    stream: &StreamId,
    hop: &Migration,
    bad: UserCodeFailure,
) -> MigrationError {
    MigrationError::new(
        stage,
        bad.class,
        stream,
        format!("{}, in {hop}{WAY_OUT}", bad.message),
    )
}

fn bad(class: FailureClass, message: String) -> UserCodeFailure {
    UserCodeFailure { class, message }
}

fn no_state() -> UserCodeFailure {
    let message = "the conversion left no state; report it as a bug of state-migration";
    bad(FailureClass::Unserializable, message.to_owned())
}

/// The totals of a state before or after a hop.
fn totals(
    stream: &StreamId,
    hop: &Migration,
    state: &DropGuarded<AnyState>,
    is_target: bool,
) -> Result<Totals, MigrationError> {
    let totals = catch(|| state.get().map(|state| hop.step.totals(state, is_target)));
    let (class, message) = match totals {
        Ok(totals) => {
            let totals = totals.unwrap_or_default();
            match totals.too_large() {
                None => return Ok(totals),
                Some(name) => (
                    FailureClass::TotalTooLarge,
                    format!("the total `{name}` of this process is too large to be added up"),
                ),
            }
        }
        Err(bad) => (bad.class, bad.message),
    };
    Err(failed(Stage::Converting, stream, hop, bad(class, message)))
}

/// Converts a folded state along all hops of the route.
pub(crate) fn process(planned: &Planned, folded: Folded) -> Result<Converted, MigrationError> {
    let route = &planned.route;
    let Folded {
        stream,
        head,
        state,
    } = folded;
    let (first, last) = (&route.hops()[0], &route.hops()[route.hops().len() - 1]);
    let before = totals(&stream, first, &state, false)?;
    let state = along(&stream, route.hops(), state)?;
    let after = totals(&stream, last, &state, true)?;
    let unserializable =
        |error: serde_json::Error| bad(FailureClass::Unserializable, short(error.to_string()));
    let encoded = catch(|| {
        let state = state.get().ok_or_else(no_state)?;
        let encode = |out: &mut Vec<u8>| last.step.encode(state, out).map_err(unserializable);
        let no_frame = |error: &String| bad(FailureClass::Unserializable, error.clone());
        let frame = planned.frame.as_ref().map_err(no_frame)?;
        let (payload, json) = frame.around(encode)?;
        Ok((payload, json, last.step.is_finished(state)))
    });
    match encoded {
        Ok(Ok((payload, state, finished))) => Ok(Converted {
            event: NewEvent::migrated(route.target().clone(), payload, finished),
            totals: RunTotals { before, after },
            by_function: false,
            difference: None,
            state,
            stream,
            head,
        }),
        Ok(Err(bad)) | Err(bad) => Err(failed(Stage::Encoding, &stream, last, bad)),
    }
}
