//! The states of a process whose events were changed, such as to redact them.

use std::sync::Arc;

use serde_json::value::RawValue;
use state_migration_core::{
    Baseline, Error, Event, FailureClass, MIGRATED, MigrationError, MigrationRegistry, RunId,
    Stage, StreamId,
};

use crate::run::RunKind;
use crate::stages::history::{HistoryEvent, HistoryRun, Replay};
use crate::stages::scan::unreadable;

/// A recorded state, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateAfter {
    /// The sequence number of the last event before it.
    pub sequence: u64,
    /// `name@version` of the state.
    pub at: String,
    pub state: Box<str>,
}

/// Computes the states of a process from events that were changed, with the code of this
/// program, and writes them into its `$migrated` events. Returns the state before each of
/// these events, and the last one.
///
/// A `$migrated` event that is the first of the events keeps its state.
///
/// # Errors
/// The events cannot be folded, or a migration fails.
pub fn states(
    migrations: &Arc<MigrationRegistry>,
    stream: &StreamId,
    events: &mut [Event],
) -> Result<Vec<StateAfter>, MigrationError> {
    let kind = RunKind::Redo {
        of: RunId::random(),
    };
    let Some(run) = HistoryRun::of_kind(&kind, RunId::random(), migrations, true) else {
        return Ok(Vec::new());
    };
    let mut states = Vec::new();
    let mut replay: Option<Replay> = None;
    for event in events {
        let is_migrated = event.event_type == MIGRATED;
        let is_first = replay.is_none();
        if let Some(before) = replay.as_ref().filter(|_| is_migrated) {
            states.extend(before.state(&run, event.sequence - 1)?);
        }
        let mut next = match replay.take() {
            Some(replay) => replay,
            None => {
                let is_whole = event.sequence == 1;
                Replay::begin(&run, stream, event.workflow_id.clone(), true, is_whole)?
            }
        };
        next.apply(&run, HistoryEvent::of(event)?)?;
        let now = match is_migrated {
            true => next.state(&run, event.sequence)?,
            false => None,
        };
        if let Some(now) = now {
            let mut baseline =
                Baseline::from_event(event).map_err(|error| unreadable(stream, &error))?;
            let state = RawValue::from_string(now.state.into());
            let rewritten = state.and_then(|state| {
                baseline.state = state;
                baseline.to_payload()
            });
            event.payload = rewritten
                .map_err(|error| unreadable(stream, &Error::invalid(error.to_string())))?;
        } else if is_migrated && !is_first {
            let message = format!(
                "the state after event {} cannot be serialized by this program; derive `serde::Serialize` for it",
                event.sequence
            );
            let class = FailureClass::Unserializable;
            return Err(MigrationError::new(Stage::Encoding, class, stream, message));
        }
        replay = Some(next);
    }
    if let Some(last) = replay {
        states.extend(last.state(&run, u64::MAX)?);
    }
    Ok(states)
}
