//! Records on disk, format 2: the values of the keys in `key`.
//!
//! Every record starts with a format byte. Numbers are big endian; a string is
//! its length in two bytes and its UTF-8. A payload or state is last and takes
//! the rest.

use std::ops::RangeInclusive;

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use state_migration_core::store_api::row::{BadRecord, FORMAT, UNRELEASED, start};
use state_migration_core::{
    ChunkEvent, DurableStoreId, Error, Event, EventId, Fingerprint, Head, Hold, Metadata, NewEvent,
    ProcessId, RunId, Snapshot, StreamId, TenantId, Timestamp, WorkflowId,
};
use uuid::Uuid;

const FINISHES: u8 = 1;
const HAS_METADATA: u8 = 2;

const FINISHED: u8 = 1;
const HAS_BASELINE: u8 = 2;
const HELD: u8 = 4;
const FINISHED_BY: u8 = 8;
const UNDONE: u8 = 16;

const OPEN: u8 = 0;
const CLOSING: u8 = 1;

type Read<T> = Result<T, BadRecord>;

/// Rejects unknown flags: a bit that this crate never sets means that other
/// code wrote the record or that it is damaged.
fn check_flags(flags: u8, known: u8) -> Read<()> {
    match flags & !known {
        0 => Ok(()),
        _ => Err(BadRecord::Malformed("unknown flag")),
    }
}

const NOT_UTF8: BadRecord = BadRecord::Malformed("a string is not UTF-8");
const SHORT: BadRecord = BadRecord::Malformed("too short");

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

/// Shares the id of the previous record, because most adjacent records have the
/// same workflow.
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
        Err(BadRecord::Malformed("too long"))
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

/// Format, flags, event id, time, schema version, workflow, type, metadata if
/// any (its size, then each name and value), payload.
pub fn write_event(event: &NewEvent, time: Timestamp) -> Result<Vec<u8>, Error> {
    let mut record = Vec::with_capacity(128 + event.payload().len());
    record.push(FORMAT);
    let finishes = if event.finishes() { FINISHES } else { 0 };
    let metadata = match event.metadata().is_empty() {
        true => 0,
        false => HAS_METADATA,
    };
    record.push(finishes | metadata);
    record.extend_from_slice(event.event_id().as_uuid().as_bytes());
    record.extend_from_slice(&time.as_micros().to_be_bytes());
    record.extend_from_slice(&event.schema_version().to_be_bytes());
    put_workflow(&mut record, event.workflow_id())?;
    put_text(&mut record, event.event_type())?;
    if metadata > 0 {
        let many = |_| Error::invalid("an event has more than 65,535 entries of metadata");
        let entries = u16::try_from(event.metadata().len()).map_err(many)?;
        record.extend_from_slice(&entries.to_be_bytes());
        for (name, value) in event.metadata() {
            put_text(&mut record, name)?;
            put_text(&mut record, value)?;
        }
    }
    record.extend_from_slice(event.payload());
    Ok(record)
}

/// The metadata of an event; its names are in ascending order.
fn take_metadata(record: &mut Bytes) -> Read<Metadata> {
    const BAD: BadRecord = BadRecord::Malformed("its metadata is not in canonical form");
    let entries = record.try_get_u16().map_err(|_| SHORT)?;
    let mut metadata = Metadata::new();
    for _ in 0..entries {
        let (name, value) = (take_text(record)?, take_text(record)?);
        if metadata
            .last_key_value()
            .is_some_and(|(last, _)| **last >= *name)
        {
            return Err(BAD);
        }
        metadata.insert(name.into(), value.into());
    }
    match metadata.is_empty() {
        true => Err(BAD),
        false => Ok(metadata),
    }
}

pub fn read_event(mut record: Bytes, stream: &StreamId, sequence: u64) -> Read<Event> {
    start(&mut record)?;
    let flags = take_u8(&mut record)?;
    check_flags(flags, FINISHES | HAS_METADATA)?;
    if record.len() < 16 {
        return Err(SHORT);
    }
    let event_id = EventId::from_uuid(Uuid::from_u128(record.get_u128()));
    let time = Timestamp::from_micros(take_u64(&mut record)?);
    let schema_version = take_u32(&mut record)?;
    let workflow_id = take_workflow(&mut record)?;
    let event_type = take_text(&mut record)?;
    let metadata = match flags & HAS_METADATA {
        0 => Metadata::new(),
        _ => take_metadata(&mut record)?,
    };
    Ok(Event {
        event_id,
        stream_id: stream.clone(),
        sequence,
        time,
        workflow_id,
        event_type,
        schema_version,
        payload: record,
        metadata,
        finishes: flags & FINISHES != 0,
    })
}

/// The parts of an event that a fold needs, without copying any of them.
///
/// The event must have version `at`, if one is given: that of its stream's head, as all
/// events from the baseline on do. Head and events are checked against each other.
pub fn read_chunk_event(
    mut record: Bytes,
    sequence: u64,
    at: Option<&WorkflowId>,
) -> Read<ChunkEvent> {
    const FLAGS_ID_AND_TIME: usize = 1 + 16 + 8;
    start(&mut record)?;
    let flags = record.first().copied().ok_or(SHORT)?;
    check_flags(flags, FINISHES | HAS_METADATA)?;
    // The end of the text that starts at `from`.
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
    let differs = |at: &WorkflowId| {
        !is_of(name, version_text, at.name()) || !is_of(version_text, kind, at.version())
    };
    if at.is_some_and(differs) {
        return Err(BadRecord::Malformed(
            "its version differs from the head of its stream",
        ));
    }
    let event_type = ByteString::try_from(record.slice(kind + 2..end)).map_err(|_| NOT_UTF8)?;
    record.advance(end);
    if flags & HAS_METADATA != 0 {
        take_metadata(&mut record)?;
    }
    Ok(ChunkEvent {
        sequence,
        event_type,
        schema_version: u32::from_be_bytes(version),
        payload: record,
    })
}

/// Format, flags, last sequence number, revision, baseline (0: none), first
/// sequence number kept, fingerprint of the code that marked the process as
/// finished if any, workflow.
pub fn write_head(head: &Head) -> Result<Vec<u8>, Error> {
    let mut record = Vec::with_capacity(96);
    record.push(FORMAT);
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    record.push(
        flag(head.finished, FINISHED)
            | flag(head.baseline.is_some(), HAS_BASELINE)
            | flag(head.held, HELD)
            | flag(head.finished_by.is_some(), FINISHED_BY)
            | flag(head.undone, UNDONE),
    );
    record.extend_from_slice(&head.sequence.to_be_bytes());
    record.extend_from_slice(&head.revision.to_be_bytes());
    record.extend_from_slice(&head.baseline.unwrap_or(0).to_be_bytes());
    record.extend_from_slice(&head.first_kept.to_be_bytes());
    if let Some(code) = head.finished_by {
        record.extend_from_slice(&code.get().to_be_bytes());
    }
    put_workflow(&mut record, &head.workflow_id)?;
    Ok(record)
}

pub fn read_head(record: Bytes) -> Read<Head> {
    read_head_like(record, None)
}

/// The versions of the heads before, which are tried first, because adjacent heads mostly
/// have the same.
#[derive(Default)]
pub(crate) struct LastVersions {
    /// The version that matched last.
    found: usize,
    /// The name and version of the head that matched none last.
    other: Vec<u8>,
}

/// Whether a head may be at one of the given versions. An unreadable head may be at any
/// version.
pub(crate) fn head_is_of<'a>(
    record: &[u8],
    versions: &'a [WorkflowId],
    last: &mut LastVersions,
) -> Option<Option<&'a WorkflowId>> {
    const FIXED: usize = 2 + 4 * 8;
    let at = match record {
        [FORMAT, flags, ..] if flags & FINISHED_BY != 0 => FIXED + 8,
        [FORMAT, ..] => FIXED,
        _ => return Some(None),
    };
    let Some(names) = record.get(at..) else {
        return Some(None);
    };
    let is = |version: &WorkflowId| {
        let (name, of) = (version.name().as_bytes(), version.version().as_bytes());
        let end = 2 + name.len();
        names.len() == end + 2 + of.len()
            && names[2..end] == *name
            && names[end + 2..] == *of
            && usize::from(u16::from_be_bytes([names[0], names[1]])) == name.len()
    };
    if versions.get(last.found).is_some_and(is) {
        return versions.get(last.found).map(Some);
    }
    if !names.is_empty() && *names == last.other[..] {
        return None;
    }
    match versions.iter().position(is) {
        Some(found) => {
            last.found = found;
            versions.get(found).map(Some)
        }
        // The head is at another version, if it is readable.
        None if is_two_texts(names) => {
            last.other.clear();
            last.other.extend_from_slice(names);
            None
        }
        None => Some(None),
    }
}

/// Whether the rest of a record is exactly a name and a version.
fn is_two_texts(mut rest: &[u8]) -> bool {
    for _ in 0..2 {
        let [a, b, texts @ ..] = rest else {
            return false;
        };
        let length = usize::from(u16::from_be_bytes([*a, *b]));
        let Some((text, more)) = texts.split_at_checked(length) else {
            return false;
        };
        if std::str::from_utf8(text).is_err() {
            return false;
        }
        rest = more;
    }
    rest.is_empty()
}

/// Reads a head that probably has the same workflow and version as another one.
pub(crate) fn read_head_like(mut record: Bytes, like: Option<&WorkflowId>) -> Read<Head> {
    start(&mut record)?;
    let flags = take_u8(&mut record)?;
    check_flags(flags, FINISHED | HAS_BASELINE | HELD | FINISHED_BY | UNDONE)?;
    let sequence = take_u64(&mut record)?;
    let revision = take_u64(&mut record)?;
    let baseline = take_u64(&mut record)?;
    let first_kept = take_u64(&mut record)?;
    let finished_by = match flags & FINISHED_BY {
        0 => None,
        _ => Some(Fingerprint::new(take_u64(&mut record)?)),
    };
    let workflow_id = take_workflow_like(&mut record, like)?;
    end(&record)?;
    let (finished, has_baseline) = (flags & FINISHED != 0, flags & HAS_BASELINE != 0);
    let numbers = sequence > 0
        && revision > 0
        && baseline <= sequence
        && has_baseline == (baseline > 0)
        && (1..=sequence).contains(&first_kept);
    let undone = flags & UNDONE != 0;
    if !numbers || finished_by.is_some() && !finished || undone && !has_baseline {
        return Err(BadRecord::Malformed("its numbers contradict each other"));
    }
    Ok(Head {
        sequence,
        revision,
        workflow_id,
        baseline: has_baseline.then_some(baseline),
        first_kept,
        finished,
        finished_by,
        held: flags & HELD != 0,
        undone,
    })
}

/// Format, sequence number, state schema version, workflow, state.
pub fn write_snapshot(snapshot: &Snapshot) -> Result<Vec<u8>, Error> {
    let mut record = Vec::with_capacity(48 + snapshot.state.len());
    record.push(FORMAT);
    record.extend_from_slice(&snapshot.sequence.to_be_bytes());
    record.extend_from_slice(&snapshot.state_schema_version.to_be_bytes());
    put_workflow(&mut record, &snapshot.workflow_id)?;
    record.extend_from_slice(&snapshot.state);
    Ok(record)
}

pub fn read_snapshot(mut record: Bytes, stream: &StreamId) -> Read<Snapshot> {
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

/// Format, tenant, number of processes, and for each: the process, and the
/// version at which it is born if it has no events yet.
pub fn write_entry(
    tenant: &TenantId,
    processes: &[(ProcessId, WorkflowId)],
) -> Result<Vec<u8>, Error> {
    let mut record = Vec::with_capacity(128);
    record.push(FORMAT);
    put_text(&mut record, tenant.as_str())?;
    let many = |_| Error::invalid("a registry key names more than 65,535 processes");
    let count = u16::try_from(processes.len()).map_err(many)?;
    record.extend_from_slice(&count.to_be_bytes());
    for (process, version) in processes {
        put_text(&mut record, process.as_str())?;
        put_workflow(&mut record, version)?;
    }
    Ok(record)
}

pub fn read_entry(mut record: Bytes) -> Read<(TenantId, Vec<(ProcessId, WorkflowId)>)> {
    const BAD_ID: BadRecord = BadRecord::Malformed("an id is invalid");
    start(&mut record)?;
    let tenant = TenantId::new(take_text(&mut record)?).map_err(|_| BAD_ID)?;
    let count = record.try_get_u16().map_err(|_| SHORT)?;
    let mut processes = Vec::new();
    for _ in 0..count {
        let process = ProcessId::new(take_text(&mut record)?).map_err(|_| BAD_ID)?;
        processes.push((process, take_workflow(&mut record)?));
    }
    end(&record)?;
    match processes.is_empty() {
        true => Err(BadRecord::Malformed("no process is named")),
        false => Ok((tenant, processes)),
    }
}

/// The record that a run closes a version. Births are recorded in rounds, so
/// that reading recent births does not step over the tombstones of earlier
/// ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    pub(crate) run: RunId,
    /// The round of births from now on.
    pub(crate) round: u32,
    /// All births of rounds before this one were removed.
    pub(crate) first: u32,
}

impl Closing {
    /// The rounds that may hold births.
    pub(crate) fn rounds(self) -> RangeInclusive<u32> {
        self.first..=self.round
    }
}

/// Format, whether a run closes the version, run, round, first round.
pub fn write_presence(closing: Option<Closing>) -> Vec<u8> {
    let Some(Closing { run, round, first }) = closing else {
        return vec![FORMAT, OPEN];
    };
    let mut record = vec![FORMAT, CLOSING];
    record.extend_from_slice(run.as_uuid().as_bytes());
    record.extend_from_slice(&round.to_be_bytes());
    record.extend_from_slice(&first.to_be_bytes());
    record
}

pub fn read_presence(mut record: Bytes) -> Read<Option<Closing>> {
    start(&mut record)?;
    let closing = match take_u8(&mut record)? {
        OPEN => None,
        CLOSING if record.len() >= 24 => Some(Closing {
            run: RunId::from_uuid(Uuid::from_u128(record.get_u128())),
            round: record.get_u32(),
            first: record.get_u32(),
        }),
        CLOSING => return Err(SHORT),
        _ => return Err(BadRecord::Malformed("unknown flag")),
    };
    end(&record)?;
    Ok(closing)
}

/// Format, time, actor, reason.
pub fn write_hold(hold: &Hold) -> Result<Vec<u8>, Error> {
    let mut record = vec![FORMAT];
    record.extend_from_slice(&hold.time.as_micros().to_be_bytes());
    put_text(&mut record, &hold.actor)?;
    put_text(&mut record, &hold.reason)?;
    Ok(record)
}

pub fn read_hold(mut record: Bytes) -> Read<Hold> {
    start(&mut record)?;
    let time = Timestamp::from_micros(take_u64(&mut record)?);
    let (actor, reason) = (take_text(&mut record)?, take_text(&mut record)?);
    end(&record)?;
    Ok(Hold {
        actor,
        reason,
        time,
    })
}

/// A row with all its information in the key: a registry key of a process, a
/// birth, a note for a separate process registry.
pub fn mark() -> Vec<u8> {
    vec![FORMAT]
}

/// Checks a row with all its information in the key.
pub fn check_mark(mut record: Bytes) -> Read<()> {
    start(&mut record)?;
    end(&record)
}

/// The format of the whole store.
pub fn store_format() -> Vec<u8> {
    vec![FORMAT]
}

/// Checks the format of the whole store.
pub fn check_store_format(record: Bytes) -> Read<()> {
    match record[..] == [UNRELEASED] {
        true => Err(BadRecord::Unreleased),
        false => check_mark(record),
    }
}

/// The id of the whole store.
pub fn write_store_id(id: DurableStoreId) -> Vec<u8> {
    [&[FORMAT], &id.as_uuid().as_bytes()[..]].concat()
}

/// Reads a record of [`write_store_id`].
pub fn read_store_id(mut record: Bytes) -> Read<DurableStoreId> {
    start(&mut record)?;
    let id = record.try_get_u128().map_err(|_| SHORT)?;
    end(&record)?;
    Ok(DurableStoreId::from_uuid(Uuid::from_u128(id)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use state_migration_core::ErrorKind;

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
        let mut expected = vec![2, 1];
        expected.extend([0; 14]);
        expected.extend([1, 2]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 9]);
        expected.extend([0, 0, 0, 3]);
        expected.extend(b"\0\x05order\0\x02v1\0\x06Placed{\"a\":1}");
        assert_eq!(
            write_event(&event(), Timestamp::from_micros(9)).unwrap(),
            expected
        );

        let with_metadata = event().with_metadata("b", "2").with_metadata("a", "1");
        let mut with = expected.clone();
        with[1] = 3;
        let payload = with.len() - b"{\"a\":1}".len();
        with.splice(payload..payload, *b"\0\x02\0\x01a\0\x011\0\x01b\0\x012");
        assert_eq!(
            write_event(&with_metadata, Timestamp::from_micros(9)).unwrap(),
            with
        );

        let mut head = Head {
            sequence: 7,
            revision: 8,
            baseline: Some(5),
            first_kept: 2,
            ..Head::of(7, order())
        };
        let mut expected = vec![2, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8];
        expected.extend([0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2]);
        expected.extend(b"\0\x05order\0\x02v1");
        assert_eq!(write_head(&head).unwrap(), expected);
        head.finished = true;
        head.finished_by = Some(Fingerprint::new(3));
        expected[1] = 11;
        expected.splice(34..34, [0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(write_head(&head).unwrap(), expected);
        head.undone = true;
        expected[1] = 27;
        assert_eq!(write_head(&head).unwrap(), expected);

        let process = (ProcessId::new("p").unwrap(), order());
        let entry = write_entry(&TenantId::new("t").unwrap(), &[process]);
        assert_eq!(
            entry.unwrap(),
            b"\x02\0\x01t\0\x01\0\x01p\0\x05order\0\x02v1"
        );

        let snapshot = Snapshot {
            stream_id: stream(),
            sequence: 7,
            workflow_id: order(),
            state_schema_version: 2,
            state: Bytes::from_static(b"{}"),
        };
        let mut expected = vec![2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2];
        expected.extend(b"\0\x05order\0\x02v1{}");
        assert_eq!(write_snapshot(&snapshot).unwrap(), expected);
        assert_eq!((mark(), store_format()), (vec![2], vec![2]));
        let id = DurableStoreId::from_uuid(Uuid::from_u128(0x0102));
        assert_eq!(write_store_id(id), [&[2][..], &[0; 14], &[1, 2]].concat());

        let run = RunId::from_uuid(Uuid::from_u128(0x0102));
        assert_eq!(write_presence(None), [2, 0]);
        let closing = [&[2, 1][..], &[0; 14], &[1, 2, 0, 0, 0, 9, 0, 0, 0, 8]].concat();
        let (round, first) = (9, 8);
        assert_eq!(write_presence(Some(Closing { run, round, first })), closing);
        let hold = Hold {
            actor: "me".into(),
            reason: "ask".into(),
            time: Timestamp::from_micros(9),
        };
        let expected = b"\x02\0\0\0\0\0\0\0\x09\0\x02me\0\x03ask";
        assert_eq!(write_hold(&hold).unwrap(), expected);
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let record: Bytes = write_event(&event(), Timestamp::from_micros(9))
            .unwrap()
            .into();
        let read = read_event(record.clone(), &stream(), 4).unwrap();
        assert_eq!(read, event().record(stream(), 4, Timestamp::from_micros(9)));
        let other = WorkflowId::from_static("order", "v2");
        assert!(read_chunk_event(record.clone(), 4, Some(&other)).is_err());
        let view = read_chunk_event(record, 4, Some(&order())).unwrap();
        assert_eq!(
            (view.sequence, &*view.event_type, view.schema_version),
            (4, "Placed", 3)
        );
        assert_eq!(&view.payload[..], b"{\"a\":1}");
        let with = event().with_metadata("b", "2").with_metadata("a", "1");
        let record: Bytes = write_event(&with, Timestamp::from_micros(9))
            .unwrap()
            .into();
        let read = read_event(record.clone(), &stream(), 4).unwrap();
        assert_eq!(read.metadata.len(), 2);
        assert_eq!(read, with.record(stream(), 4, Timestamp::from_micros(9)));
        let view = read_chunk_event(record, 4, Some(&order())).unwrap();
        assert_eq!(&view.payload[..], b"{\"a\":1}");
        for (baseline, finished) in [(None, true), (Some(2), false)] {
            let head = Head {
                baseline,
                finished,
                finished_by: finished.then(|| Fingerprint::new(4)),
                held: !finished,
                undone: !finished,
                ..Head::of(2, order())
            };
            assert_eq!(read_head(write_head(&head).unwrap().into()).unwrap(), head);
        }
        let closing = Closing {
            run: RunId::random(),
            round: 258,
            first: 257,
        };
        for closing in [None, Some(closing)] {
            let record = write_presence(closing);
            assert_eq!(read_presence(record.into()).unwrap(), closing);
        }
        assert!(read_presence(Bytes::from_static(&[2, 1, 0])).is_err());
        assert!(read_presence(Bytes::from_static(&[2, 7])).is_err());
    }

    #[test]
    fn the_version_of_a_head_is_found_without_decoding_it() {
        let versions = ["v1", "v10", "v2"].map(|v| WorkflowId::new("order", v));
        let mut last = LastVersions::default();
        for (at, version) in versions.iter().enumerate() {
            for finished_by in [None, Some(Fingerprint::new(1))] {
                let head = Head {
                    finished: true,
                    finished_by,
                    ..Head::of(2, version.clone())
                };
                let record = write_head(&head).unwrap();
                assert_eq!(
                    head_is_of(&record, &versions, &mut last),
                    Some(Some(version))
                );
                assert_eq!(last.found, at);
            }
        }
        let other = write_head(&Head::of(2, WorkflowId::new("orde", "rv1"))).unwrap();
        let cut = &other[..other.len() - 1];
        let long = [&other[..], b"?"].concat();
        let nameless = &other[..2 + 4 * 8];
        for damaged in [&b""[..], b"\x03\0", b"\x02\0\0", nameless, cut, &long] {
            assert_eq!(head_is_of(damaged, &versions, &mut last), Some(None));
            for _ in 0..2 {
                assert_eq!(head_is_of(&other, &versions, &mut last), None);
            }
            assert_eq!(head_is_of(damaged, &versions, &mut last), Some(None));
        }
        let another = write_head(&Head::of(2, WorkflowId::new("orde", "rv2"))).unwrap();
        assert_eq!(head_is_of(&another, &versions, &mut last), None);
        let known = write_head(&Head::of(2, versions[0].clone())).unwrap();
        let found = head_is_of(&known, &versions, &mut last);
        assert_eq!(found, Some(Some(&versions[0])));
    }

    #[test]
    fn a_newer_record_is_refused_and_not_guessed() {
        let mut record = write_head(&Head::of(2, order())).unwrap();
        record[0] = 3;
        let error = read_head(record.into()).unwrap_err();
        assert_eq!(error, BadRecord::Newer(3));
        let error = error.of("the head of stream s");
        assert_eq!(error.kind(), &ErrorKind::NewerFormat);
        assert_eq!(
            error.to_string(),
            "the head of stream s has format 3, but this release reads formats up to 2; upgrade state-migration"
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
                prop_assert!(read_chunk_event(Bytes::copy_from_slice(&whole[..cut]), 1, Some(&order())).is_err());
            }
            let noise = Bytes::from(noise);
            let _ = read_event(noise.clone(), &stream(), 1);
            let _ = read_chunk_event(noise.clone(), 1, Some(&order()));
            let _ = read_head(noise.clone());
            let _ = read_snapshot(noise.clone(), &stream());
            let _ = read_presence(noise.clone());
            let _ = read_hold(noise.clone());
            let _ = head_is_of(&noise, &[order()], &mut LastVersions::default());
            let _ = read_entry(noise);
        }
    }
}
