//! Records on disk, format 1: the values that stand under the keys of `key`.
//!
//! Every record starts with a format byte. Numbers are big endian; a string is
//! its length in two bytes and its UTF-8. A payload or state is last and takes
//! the rest.

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use uuid::Uuid;

use crate::error::{Error, ErrorKind};
use crate::event::{Event, NewEvent};
use crate::id::{EventId, ProcessId, ProcessIdentity, StreamId, TenantId, WorkflowId};
use crate::snapshot::Snapshot;
use crate::store::{ChunkEvent, Decision, Head};
use crate::time::Timestamp;

/// The format of every record that this crate writes.
const FORMAT: u8 = 1;

const FINISHES: u8 = 1;
const FINISHED: u8 = 1;
const HAS_BASELINE: u8 = 2;
const HELD: u8 = 4;

const UNDECIDED: u8 = 0;
const LEFT_AS_FINISHED: u8 = 1;
const SKIPPED: u8 = 2;

/// Why a record cannot be read, before it is known which one it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadRecord {
    Newer(u8),
    Malformed(&'static str),
}

impl BadRecord {
    /// The error for a record that `what` names: "the head of stream …".
    pub(crate) fn of(self, what: impl std::fmt::Display) -> Error {
        match self {
            Self::Newer(format) => Error::new(
                ErrorKind::NewerFormat,
                format!(
                    "{what} has format {format}, and this version of the crate reads up to {FORMAT}; upgrade state-migration"
                ),
            ),
            Self::Malformed(why) => Error::corrupt(format!(
                "{what} cannot be read: {why}; nothing was changed, restore the record from a backup"
            )),
        }
    }
}

type Read<T> = Result<T, BadRecord>;

fn start(record: &mut Bytes) -> Read<()> {
    match take_u8(record)? {
        FORMAT => Ok(()),
        0 => Err(BadRecord::Malformed(
            "its format is 0, which no version writes",
        )),
        newer => Err(BadRecord::Newer(newer)),
    }
}

/// A bit that nobody sets says that something else than this crate wrote it, or
/// that it was damaged.
fn check_flags(flags: u8, known: u8) -> Read<()> {
    match flags & !known {
        0 => Ok(()),
        _ => Err(BadRecord::Malformed("it has a flag that is not known")),
    }
}

const NOT_UTF8: BadRecord = BadRecord::Malformed("a string in it is not UTF-8");
const SHORT: BadRecord = BadRecord::Malformed("it is too short");

fn take_u8(record: &mut Bytes) -> Read<u8> {
    record.try_get_u8().map_err(|_| SHORT)
}

fn take_u32(record: &mut Bytes) -> Read<u32> {
    record.try_get_u32().map_err(|_| SHORT)
}

fn take_u64(record: &mut Bytes) -> Read<u64> {
    record.try_get_u64().map_err(|_| SHORT)
}

fn take_text(record: &mut Bytes) -> Read<ByteString> {
    let len = usize::from(record.try_get_u16().map_err(|_| SHORT)?);
    if record.len() < len {
        return Err(SHORT);
    }
    ByteString::try_from(record.split_to(len)).map_err(|_| NOT_UTF8)
}

/// Most records next to each other are of one workflow, so that one is shared.
fn take_workflow_like(record: &mut Bytes, like: Option<&WorkflowId>) -> Read<WorkflowId> {
    let name = take_text(record)?;
    let version = take_text(record)?;
    match like {
        Some(like) if *name == *like.name() && *version == *like.version() => Ok(like.clone()),
        _ => Ok(WorkflowId::new(String::from(name), String::from(version))),
    }
}

fn take_workflow(record: &mut Bytes) -> Read<WorkflowId> {
    take_workflow_like(record, None)
}

fn end(record: &Bytes) -> Read<()> {
    if record.is_empty() {
        Ok(())
    } else {
        Err(BadRecord::Malformed("it is too long"))
    }
}

fn put_text(record: &mut Vec<u8>, text: &str) -> Result<(), Error> {
    let len = u16::try_from(text.len()).map_err(|_| {
        Error::invalid(format!(
            "a name of {} bytes is too long to store; the limit is {}: {:?}…",
            text.len(),
            u16::MAX,
            text.chars().take(40).collect::<String>()
        ))
    })?;
    record.extend_from_slice(&len.to_be_bytes());
    record.extend_from_slice(text.as_bytes());
    Ok(())
}

fn put_workflow(record: &mut Vec<u8>, id: &WorkflowId) -> Result<(), Error> {
    put_text(record, id.name())?;
    put_text(record, id.version())
}

/// Format, flags, event id, time, schema version, workflow, type, payload.
pub(crate) fn write_event(event: &NewEvent, time: Timestamp) -> Result<Vec<u8>, Error> {
    let mut record = Vec::with_capacity(128 + event.payload().len());
    record.push(FORMAT);
    record.push(if event.finishes() { FINISHES } else { 0 });
    record.extend_from_slice(event.event_id().as_uuid().as_bytes());
    record.extend_from_slice(&time.as_micros().to_be_bytes());
    record.extend_from_slice(&event.schema_version().to_be_bytes());
    put_workflow(&mut record, event.workflow_id())?;
    put_text(&mut record, event.event_type())?;
    record.extend_from_slice(event.payload());
    Ok(record)
}

pub(crate) fn read_event(mut record: Bytes, stream: &StreamId, sequence: u64) -> Read<Event> {
    start(&mut record)?;
    let flags = take_u8(&mut record)?;
    check_flags(flags, FINISHES)?;
    if record.len() < 16 {
        return Err(SHORT);
    }
    let event_id = EventId::from_uuid(Uuid::from_u128(record.get_u128()));
    let time = Timestamp::from_micros(take_u64(&mut record)?);
    let schema_version = take_u32(&mut record)?;
    let workflow_id = take_workflow(&mut record)?;
    let event_type = take_text(&mut record)?;
    Ok(Event {
        event_id,
        stream_id: stream.clone(),
        sequence,
        time,
        workflow_id,
        event_type,
        schema_version,
        payload: record,
        finishes: flags & FINISHES != 0,
    })
}

/// The parts of an event that a fold needs, without copying any of them.
///
/// The event has to be of the version at which its stream stands, as all are
/// from the baseline on: head and events are each other's second source.
pub(crate) fn read_chunk_event(
    mut record: Bytes,
    sequence: u64,
    stands_at: &WorkflowId,
) -> Read<ChunkEvent> {
    const FLAGS_ID_AND_TIME: usize = 1 + 16 + 8;
    start(&mut record)?;
    check_flags(record.first().copied().ok_or(SHORT)?, FINISHES)?;
    // Where a text that starts there ends.
    let text = |from: usize| match record.get(from..from + 2) {
        Some(len) => Ok(from + 2 + usize::from(u16::from_be_bytes([len[0], len[1]]))),
        None => Err(SHORT),
    };
    let version = record.get(FLAGS_ID_AND_TIME..FLAGS_ID_AND_TIME + 4);
    let version: [u8; 4] = version.and_then(|v| v.try_into().ok()).ok_or(SHORT)?;
    let name = FLAGS_ID_AND_TIME + 4;
    let version_text = text(name)?;
    let kind = text(version_text)?;
    let end = text(kind)?;
    if record.len() < end {
        return Err(SHORT);
    }
    let is_of = |at: usize, end: usize, text: &str| record[at + 2..end] == *text.as_bytes();
    if !is_of(name, version_text, stands_at.name())
        || !is_of(version_text, kind, stands_at.version())
    {
        return Err(BadRecord::Malformed(
            "it is of another version than the head of its stream",
        ));
    }
    let event_type = ByteString::try_from(record.slice(kind + 2..end)).map_err(|_| NOT_UTF8)?;
    record.advance(end);
    Ok(ChunkEvent {
        sequence,
        event_type,
        schema_version: u32::from_be_bytes(version),
        payload: record,
    })
}

/// Format, flags, last sequence number, baseline (0: none), workflow.
pub(crate) fn write_head(head: &Head) -> Result<Vec<u8>, Error> {
    let mut record = Vec::with_capacity(64);
    record.push(FORMAT);
    let finished = if head.finished { FINISHED } else { 0 };
    let baseline = if head.baseline.is_some() {
        HAS_BASELINE
    } else {
        0
    };
    let held = if head.held { HELD } else { 0 };
    record.push(finished | baseline | held);
    record.extend_from_slice(&head.sequence.to_be_bytes());
    record.extend_from_slice(&head.baseline.unwrap_or(0).to_be_bytes());
    put_workflow(&mut record, &head.workflow_id)?;
    Ok(record)
}

pub(crate) fn read_head(record: Bytes) -> Read<Head> {
    read_head_like(record, None)
}

/// Reads a head, probably of the same workflow and version as another one.
pub(crate) fn read_head_like(mut record: Bytes, like: Option<&WorkflowId>) -> Read<Head> {
    start(&mut record)?;
    let flags = take_u8(&mut record)?;
    check_flags(flags, FINISHED | HAS_BASELINE | HELD)?;
    let sequence = take_u64(&mut record)?;
    let baseline = take_u64(&mut record)?;
    let workflow_id = take_workflow_like(&mut record, like)?;
    end(&record)?;
    let has_baseline = flags & HAS_BASELINE != 0;
    if sequence == 0 || baseline > sequence || has_baseline != (baseline > 0) {
        return Err(BadRecord::Malformed("its sequence numbers cannot be"));
    }
    Ok(Head {
        sequence,
        workflow_id,
        baseline: has_baseline.then_some(baseline),
        finished: flags & FINISHED != 0,
        held: flags & HELD != 0,
    })
}

/// Format, sequence number, state schema version, workflow, state.
pub(crate) fn write_snapshot(snapshot: &Snapshot) -> Result<Vec<u8>, Error> {
    let mut record = Vec::with_capacity(48 + snapshot.state.len());
    record.push(FORMAT);
    record.extend_from_slice(&snapshot.sequence.to_be_bytes());
    record.extend_from_slice(&snapshot.state_schema_version.to_be_bytes());
    put_workflow(&mut record, &snapshot.workflow_id)?;
    record.extend_from_slice(&snapshot.state);
    Ok(record)
}

pub(crate) fn read_snapshot(mut record: Bytes, stream: &StreamId) -> Read<Snapshot> {
    start(&mut record)?;
    let sequence = take_u64(&mut record)?;
    let state_schema_version = take_u32(&mut record)?;
    let workflow_id = take_workflow(&mut record)?;
    Ok(Snapshot {
        stream_id: stream.clone(),
        sequence,
        workflow_id,
        state_schema_version,
        state: record,
    })
}

/// Format, tenant, process, workflow.
pub(crate) fn write_entry(
    tenant: &TenantId,
    process: &ProcessId,
    stands_at: &WorkflowId,
) -> Result<Vec<u8>, Error> {
    let mut record = Vec::with_capacity(128);
    record.push(FORMAT);
    put_text(&mut record, tenant.as_str())?;
    put_text(&mut record, process.as_str())?;
    put_workflow(&mut record, stands_at)?;
    Ok(record)
}

pub(crate) fn read_entry(mut record: Bytes) -> Read<ProcessIdentity> {
    const BAD_ID: BadRecord = BadRecord::Malformed("an id in it cannot be");
    start(&mut record)?;
    let tenant = TenantId::new(take_text(&mut record)?).map_err(|_| BAD_ID)?;
    let process = ProcessId::new(take_text(&mut record)?).map_err(|_| BAD_ID)?;
    let workflow_id = take_workflow(&mut record)?;
    end(&record)?;
    Ok(ProcessIdentity::new(process, tenant, workflow_id))
}

/// A row whose key says it all: a registry key of a process, the presence of
/// a version, a note to a process registry elsewhere.
pub(crate) fn mark() -> Vec<u8> {
    vec![FORMAT]
}

/// Checks a row whose key says it all.
pub(crate) fn check_mark(mut record: Bytes) -> Read<()> {
    start(&mut record)?;
    end(&record)
}

/// A row of the index of versions: format, which decision, and what it says.
pub(crate) fn write_decision(decision: &Decision) -> Result<Vec<u8>, Error> {
    let mut record = vec![FORMAT];
    match decision {
        Decision::None => record.push(UNDECIDED),
        Decision::Finished => record.push(LEFT_AS_FINISHED),
        Decision::Skipped { who, why } => {
            record.push(SKIPPED);
            put_text(&mut record, who)?;
            put_text(&mut record, why)?;
        }
    }
    Ok(record)
}

pub(crate) fn read_decision(mut record: Bytes) -> Read<Decision> {
    start(&mut record)?;
    let decision = match take_u8(&mut record)? {
        UNDECIDED => Decision::None,
        LEFT_AS_FINISHED => Decision::Finished,
        SKIPPED => Decision::Skipped {
            who: take_text(&mut record)?,
            why: take_text(&mut record)?,
        },
        _ => return Err(BadRecord::Malformed("its decision is none of those known")),
    };
    end(&record)?;
    Ok(decision)
}

/// Why bookkeeping that is written as JSON cannot be read.
#[derive(Debug)]
pub(crate) enum BadJson {
    Record(BadRecord),
    Json(serde_json::Error),
}

impl BadJson {
    pub(crate) fn of(self, what: impl std::fmt::Display) -> Error {
        match self {
            Self::Record(bad) => bad.of(what),
            Self::Json(error) => BadRecord::Malformed("it is not the JSON expected")
                .of(what)
                .with_source(error),
        }
    }
}

/// A record that is written rarely and read by people: format, JSON.
pub(crate) fn write_json(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    let mut record = vec![FORMAT];
    serde_json::to_writer(&mut record, value)
        .map_err(|e| Error::invalid("a record of a run cannot be serialized").with_source(e))?;
    Ok(record)
}

/// Reads it, if all that it says was understood: a field whose name is not known
/// is none that may be left out, since it may be one whose name was damaged.
pub(crate) fn read_json<T>(mut record: Bytes) -> Result<T, BadJson>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    start(&mut record).map_err(BadJson::Record)?;
    let read = serde_json::from_slice(&record).map_err(BadJson::Json)?;
    let again = serde_json::to_vec(&read).map_err(BadJson::Json)?;
    // Else it may be one of an earlier version, which had fewer fields.
    if again != record {
        let said = serde_json::from_slice(&record).map_err(BadJson::Json)?;
        let understood = serde_json::to_value(&read).map_err(BadJson::Json)?;
        if !holds(&understood, &said) {
            return Err(BadJson::Record(BadRecord::Malformed(
                "it says what this version of the crate does not know; upgrade state-migration if a newer one wrote it",
            )));
        }
    }
    Ok(read)
}

/// Whether all that a value says is in another one.
fn holds(all: &serde_json::Value, part: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Object};
    match (all, part) {
        (Object(all), Object(part)) => part
            .iter()
            .all(|(name, part)| all.get(name).is_some_and(|all| holds(all, part))),
        (Array(all), Array(part)) => {
            all.len() == part.len() && all.iter().zip(part).all(|(all, part)| holds(all, part))
        }
        _ => all == part,
    }
}

/// The format of the store as a whole.
pub(crate) fn store_format() -> Vec<u8> {
    vec![FORMAT]
}

/// Checks the format of the store as a whole.
pub(crate) fn check_store_format(record: Bytes) -> Read<()> {
    check_mark(record)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order() -> WorkflowId {
        WorkflowId::from_static("order", "v1")
    }

    fn stream() -> StreamId {
        StreamId::new("process/t/p").unwrap()
    }

    fn event() -> NewEvent {
        NewEvent::new(order(), "Placed", 3, "{\"a\":1}")
            .unwrap()
            .with_event_id(EventId::from_uuid(Uuid::from_u128(0x0102)))
            .finishing(true)
    }

    #[test]
    fn the_records_on_disk_are_these() {
        let mut expected = vec![1, 1];
        expected.extend([0; 14]);
        expected.extend([1, 2]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 9]);
        expected.extend([0, 0, 0, 3]);
        expected.extend(b"\0\x05order\0\x02v1\0\x06Placed{\"a\":1}");
        assert_eq!(
            write_event(&event(), Timestamp::from_micros(9)).unwrap(),
            expected
        );

        let head = Head {
            sequence: 7,
            workflow_id: order(),
            baseline: Some(5),
            finished: false,
            held: false,
        };
        let mut expected = vec![1, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 5];
        expected.extend(b"\0\x05order\0\x02v1");
        assert_eq!(write_head(&head).unwrap(), expected);

        let entry = write_entry(
            &TenantId::new("t").unwrap(),
            &ProcessId::new("p").unwrap(),
            &order(),
        );
        assert_eq!(entry.unwrap(), b"\x01\0\x01t\0\x01p\0\x05order\0\x02v1");

        let snapshot = Snapshot {
            stream_id: stream(),
            sequence: 7,
            workflow_id: order(),
            state_schema_version: 2,
            state: Bytes::from_static(b"{}"),
        };
        let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2];
        expected.extend(b"\0\x05order\0\x02v1{}");
        assert_eq!(write_snapshot(&snapshot).unwrap(), expected);
        assert_eq!((mark(), store_format()), (vec![1], vec![1]));

        let decisions = [
            (Decision::None, vec![1, 0]),
            (Decision::Finished, vec![1, 1]),
            (
                Decision::Skipped {
                    who: "me".into(),
                    why: "ask".into(),
                },
                b"\x01\x02\0\x02me\0\x03ask".to_vec(),
            ),
        ];
        for (decision, expected) in decisions {
            assert_eq!(write_decision(&decision).unwrap(), expected);
            assert_eq!(read_decision(expected.into()).unwrap(), decision);
        }
        assert!(read_decision(Bytes::from_static(&[1, 4])).is_err());
        assert!(read_decision(Bytes::from_static(&[1, 0, 0])).is_err());
        assert_eq!(write_json(&7).unwrap(), b"\x017");
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let record: Bytes = write_event(&event(), Timestamp::from_micros(9))
            .unwrap()
            .into();
        let read = read_event(record.clone(), &stream(), 4).unwrap();
        assert_eq!(read, event().record(stream(), 4, Timestamp::from_micros(9)));
        let other = WorkflowId::from_static("order", "v2");
        assert!(read_chunk_event(record.clone(), 4, &other).is_err());
        let view = read_chunk_event(record, 4, &order()).unwrap();
        assert_eq!(
            (view.sequence, &*view.event_type, view.schema_version),
            (4, "Placed", 3)
        );
        assert_eq!(&view.payload[..], b"{\"a\":1}");
        for (baseline, finished) in [(None, true), (Some(2), false)] {
            let head = Head {
                sequence: 2,
                workflow_id: order(),
                baseline,
                finished,
                held: !finished,
            };
            assert_eq!(read_head(write_head(&head).unwrap().into()).unwrap(), head);
        }
    }

    #[test]
    fn a_newer_record_is_refused_and_not_guessed() {
        let head = Head {
            sequence: 2,
            workflow_id: order(),
            baseline: None,
            finished: false,
            held: false,
        };
        let mut record = write_head(&head).unwrap();
        record[0] = 2;
        let error = read_head(record.into()).unwrap_err();
        assert_eq!(error, BadRecord::Newer(2));
        let error = error.of("the head of stream s");
        assert_eq!(error.kind(), &ErrorKind::NewerFormat);
        assert_eq!(
            error.to_string(),
            "the head of stream s has format 2, and this version of the crate reads up to 1; upgrade state-migration"
        );
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        let long = WorkflowId::new("x".repeat(70_000), "1");
        let error =
            NewEvent::new(long, "Placed", 1, "{}").and_then(|e| write_event(&e, Timestamp::now()));
        assert_eq!(error.unwrap_err().kind(), &ErrorKind::Invalid);
    }

    proptest! {
        #[test]
        fn cut_records_are_errors_and_any_bytes_are_no_panic(
            cut in 0usize..40,
            noise in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let whole = write_event(&event(), Timestamp::from_micros(9)).unwrap();
            let fixed = whole.len() - event().payload().len();
            if cut < fixed {
                prop_assert!(read_event(Bytes::copy_from_slice(&whole[..cut]), &stream(), 1).is_err());
                prop_assert!(read_chunk_event(Bytes::copy_from_slice(&whole[..cut]), 1, &order()).is_err());
            }
            let noise = Bytes::from(noise);
            let _ = read_event(noise.clone(), &stream(), 1);
            let _ = read_chunk_event(noise.clone(), 1, &order());
            let _ = read_head(noise.clone());
            let _ = read_snapshot(noise.clone(), &stream());
            let _ = read_decision(noise.clone());
            let _ = read_json::<Vec<u64>>(noise.clone());
            let _ = read_entry(noise);
        }
    }
}
