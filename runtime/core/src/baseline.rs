//! The baseline: the content of a `$migrated` event, where every later replay
//! of the process starts.

use bytes::Bytes;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};
use crate::event::{BASELINE_SCHEMA, Event, MIGRATED};
use crate::fingerprint::Fingerprint;
use crate::id::{RunId, StreamId, WorkflowId};
use crate::redaction;

/// Expected size of a state, in bytes.
const STATE: usize = 1 << 10;

/// One migration in the route of a process: the version it led to, and the
/// fingerprint of the conversion's code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The version that this hop led to.
    pub to: String,
    /// The fingerprint of the conversion's code.
    pub code: Fingerprint,
}

/// How a baseline came about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BaselineKind {
    /// A migration to a later version.
    #[default]
    Migrate,
    /// The process went back to the version that it had before an earlier run.
    Undo {
        /// The earlier run.
        of: RunId,
        /// Whether the state is that of the events before that run. Otherwise, undo
        /// functions converted the state of the process back.
        exact: bool,
    },
    /// The state was computed again with corrected code; the version stays.
    Redo {
        /// The run whose migration was corrected.
        of: RunId,
        /// The sequence number of its `$migrated` event.
        sequence: u64,
    },
}

impl BaselineKind {
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_migrate(&self) -> bool {
        *self == Self::Migrate
    }
}

/// The content of a `$migrated` event: source, target, route, run and converted
/// state.
///
/// No earlier event is ever read again to determine the state of the process.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The workflow's name.
    pub workflow: String,
    /// The version of the process before the migration.
    pub from: String,
    /// The version of the process after the migration.
    pub to: String,
    /// The hops in order; the last leads to `to`.
    pub route: Vec<Hop>,
    /// The run that migrated the process.
    #[serde(deserialize_with = "as_written")]
    pub run: RunId,
    /// The kind of the run.
    #[serde(default, skip_serializing_if = "BaselineKind::is_migrate")]
    pub kind: BaselineKind,
    /// The `STATE_SCHEMA_VERSION` of the workflow version `to`.
    pub state_schema_version: u32,
    /// The converted state, raw JSON.
    pub state: Box<RawValue>,
}

/// The parts of a baseline that a replay needs, borrowed from the event. The
/// other fields are skipped but must be present, so that a truncated baseline
/// or one with a renamed field is rejected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct StateOf<'a> {
    workflow: IgnoredAny,
    from: IgnoredAny,
    to: IgnoredAny,
    route: IgnoredAny,
    run: IgnoredAny,
    #[serde(default)]
    kind: IgnoredAny,
    state_schema_version: u32,
    #[serde(borrow)]
    state: &'a RawValue,
}

/// Reads an id and accepts only the form in which ids are written.
fn as_written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RunId, D::Error> {
    let text = String::deserialize(deserializer)?;
    let run: RunId = text.parse().map_err(D::Error::custom)?;
    match run.to_string() == text {
        true => Ok(run),
        false => Err(D::Error::custom(
            "the id of the run is not in canonical form",
        )),
    }
}

impl Baseline {
    /// Reads the payload of a `$migrated` event.
    ///
    /// # Errors
    /// The event is of another type, of a newer layout, or unreadable.
    pub fn from_event(event: &Event) -> Result<Self, Error> {
        if event.event_type != MIGRATED {
            return Err(Error::invalid(format!(
                "event {} of stream {} is of type {:?}, not a `{MIGRATED}` event",
                event.sequence, event.stream_id, event.event_type
            )));
        }
        parse(event.schema_version, &event.payload)
            .map_err(|problem| problem.at(&event.stream_id, event.sequence))
    }

    /// The version of the process before the migration.
    #[must_use]
    pub fn source(&self) -> WorkflowId {
        WorkflowId::new(self.workflow.clone(), self.from.clone())
    }

    /// The version of the process after the migration.
    #[must_use]
    pub fn target(&self) -> WorkflowId {
        WorkflowId::new(self.workflow.clone(), self.to.clone())
    }

    #[doc(hidden)]
    pub fn to_payload(&self) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(self).map(Bytes::from)
    }
}

/// A serialized baseline without its state, shared by the processes of a route.
#[derive(Debug, Clone)]
pub struct Frame {
    before: Vec<u8>,
}

impl Frame {
    /// The text after the state, which is the last field.
    const AFTER: &[u8] = b"}";

    /// The frame of a baseline; the state in it does not matter.
    pub fn of(mut baseline: Baseline) -> Result<Self, serde_json::Error> {
        baseline.state = RawValue::NULL.to_owned();
        let whole = baseline.to_payload()?;
        let state = RawValue::NULL.get().len() + Self::AFTER.len();
        Ok(Self {
            before: whole[..whole.len() - state].to_vec(),
        })
    }

    /// The payload with the state that `encode` appends, and that state alone.
    pub fn around<E>(
        &self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(Bytes, Bytes), E> {
        let mut payload = Vec::with_capacity(self.before.len() + STATE);
        payload.extend_from_slice(&self.before);
        encode(&mut payload)?;
        let end = payload.len();
        payload.extend_from_slice(Self::AFTER);
        let payload = Bytes::from(payload);
        let state = payload.slice(self.before.len()..end);
        Ok((payload, state))
    }
}

/// A problem with a baseline, before its stream and sequence number are known.
#[derive(Debug)]
pub enum BadBaseline {
    Newer(u32),
    /// The reason, without values of the state.
    Unreadable(String),
    OtherState {
        stored: u32,
        code: u32,
    },
}

impl BadBaseline {
    pub fn at(self, stream: &StreamId, sequence: u64) -> Error {
        match self {
            Self::Newer(version) => Error::new(
                ErrorKind::NewerFormat,
                format!(
                    "the `{MIGRATED}` event {sequence} of stream {stream} has layout {version}, but this release reads layouts up to {BASELINE_SCHEMA}; upgrade state-migration"
                ),
            ),
            Self::OtherState { stored, code } => Error::new(
                ErrorKind::Workflow,
                format!(
                    "the `{MIGRATED}` event {sequence} of stream {stream} holds a state of schema version {stored}, but the code expects {code}; a changed state needs a new `VERSION` of the workflow and a migration to it"
                ),
            ),
            Self::Unreadable(why) => Error::corrupt(format!(
                "the `{MIGRATED}` event {sequence} of stream {stream} cannot be read ({why}); restore the event from a backup (nothing was changed)"
            )),
        }
    }
}

fn known(schema_version: u32) -> Result<(), BadBaseline> {
    if schema_version > BASELINE_SCHEMA {
        Err(BadBaseline::Newer(schema_version))
    } else {
        Ok(())
    }
}

fn unreadable(error: serde_json::Error) -> BadBaseline {
    BadBaseline::Unreadable(redaction::without_values(&error))
}

/// Reads all of a baseline.
pub fn parse(schema_version: u32, payload: &[u8]) -> Result<Baseline, BadBaseline> {
    known(schema_version)?;
    serde_json::from_slice(payload).map_err(unreadable)
}

/// The state in a baseline, as raw JSON, if its layout is the one that `code`
/// reads.
pub fn state_of(schema_version: u32, payload: &[u8], code: u32) -> Result<&str, BadBaseline> {
    known(schema_version)?;
    let part: StateOf<'_> = serde_json::from_slice(payload).map_err(unreadable)?;
    match part.state_schema_version {
        stored if stored != code => Err(BadBaseline::OtherState { stored, code }),
        _ => Ok(part.state.get()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        Baseline {
            workflow: "loan".into(),
            from: "2011".into(),
            to: "2013".into(),
            route: vec![
                Hop {
                    to: "2012".into(),
                    code: Fingerprint::new(1),
                },
                Hop {
                    to: "2013".into(),
                    code: Fingerprint::new(0xabc),
                },
            ],
            run: RunId::from_uuid(uuid::Uuid::from_u128(7)),
            kind: BaselineKind::Migrate,
            state_schema_version: 3,
            state: RawValue::from_string("{\"open\":true}".into()).unwrap(),
        }
    }

    #[test]
    fn the_layout_on_disk_is_this() {
        assert_eq!(
            String::from_utf8(baseline().to_payload().unwrap().to_vec()).unwrap(),
            r#"{"workflow":"loan","from":"2011","to":"2013","route":[{"to":"2012","code":"0000000000000001"},{"to":"2013","code":"0000000000000abc"}],"run":"00000000-0000-0000-0000-000000000007","state_schema_version":3,"state":{"open":true}}"#
        );
    }

    #[test]
    fn the_kind_on_disk_is_this() {
        let of = RunId::from_uuid(uuid::Uuid::from_u128(8));
        let text = r#""00000000-0000-0000-0000-000000000008""#;
        for (kind, written) in [
            (
                BaselineKind::Undo { of, exact: true },
                format!(r#","kind":{{"undo":{{"of":{text},"exact":true}}}},"#),
            ),
            (
                BaselineKind::Redo { of, sequence: 9 },
                format!(r#","kind":{{"redo":{{"of":{text},"sequence":9}}}},"#),
            ),
        ] {
            let baseline = Baseline { kind, ..baseline() };
            let payload = baseline.to_payload().unwrap();
            let json = std::str::from_utf8(&payload).unwrap();
            assert!(json.contains(&written), "{json}");
            assert_eq!(parse(1, &payload).unwrap().kind, kind);
            assert_eq!(state_of(1, &payload, 3).unwrap(), "{\"open\":true}");
        }
    }

    #[test]
    fn a_frame_with_a_state_in_it_is_the_baseline() {
        let frame = Frame::of(baseline()).unwrap();
        let encode = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"open\":true}");
            Ok::<_, ()>(())
        };
        let (payload, state) = frame.around(encode).unwrap();
        assert_eq!(payload, baseline().to_payload().unwrap());
        assert_eq!(&state[..], b"{\"open\":true}");
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written_and_a_newer_one_is_refused() {
        let payload = baseline().to_payload().unwrap();
        assert_eq!(parse(1, &payload).unwrap().route, baseline().route);
        assert_eq!(state_of(1, &payload, 3).unwrap(), "{\"open\":true}");
        assert!(matches!(
            state_of(2, &payload, 3),
            Err(BadBaseline::Newer(2))
        ));
        assert!(matches!(
            state_of(1, &payload, 4),
            Err(BadBaseline::OtherState { stored: 3, code: 4 })
        ));
        assert!(matches!(parse(1, b"{}"), Err(BadBaseline::Unreadable(_))));
    }
}
