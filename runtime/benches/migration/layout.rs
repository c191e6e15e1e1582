//! The rows of format 2, written and read without the crate.
//!
//! They are used to generate stores and to read them in the floors. `check` compares
//! them with the rows that the store writes.

use state_migration::WorkflowId;

/// A row.
pub type Row = (Vec<u8>, Vec<u8>);

const FORMAT: u8 = 2;

/// Flags of a head: finished, or held.
const STAYS: u8 = 1 | 4;

/// Flag of a head: followed by the fingerprint of the code that found the process
/// finished.
const FINISHED_BY: u8 = 8;

/// Flag of an event: metadata follows.
const METADATA: u8 = 2;

const MARK: &[u8] = &[FORMAT];

fn text(row: &mut Vec<u8>, text: &str) {
    row.extend_from_slice(&(text.len() as u16).to_be_bytes());
    row.extend_from_slice(text.as_bytes());
}

fn id(key: &mut Vec<u8>, id: &str) {
    assert!(!id.contains('\0'));
    key.extend_from_slice(id.as_bytes());
    key.extend_from_slice(&[0, 1]);
}

fn key(table: u8, ids: &[&str]) -> Vec<u8> {
    let mut key = Vec::with_capacity(80);
    key.push(table);
    for part in ids {
        id(&mut key, part);
    }
    key
}

pub fn event_key(stream: &str, sequence: u64) -> Vec<u8> {
    let mut key = key(b'e', &[stream]);
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// The part of an event key between table and sequence number, which identifies the
/// stream.
pub fn stream_of_event(key: &[u8]) -> &[u8] {
    &key[1..key.len() - 8]
}

/// The same part of a head key.
pub fn stream_of_head(key: &[u8]) -> &[u8] {
    &key[1..]
}

pub fn head_key(stream: &str) -> Vec<u8> {
    key(b'h', &[stream])
}

pub fn snapshot_key(stream: &str) -> Vec<u8> {
    key(b's', &[stream])
}

/// The row that marks a version as present.
pub fn presence(at: &WorkflowId) -> Row {
    (key(b'w', &[at.name(), at.version()]), vec![FORMAT, 0])
}

/// The rows of a new process beside event and head: its registry keys, by process id
/// and by correlation id.
pub fn registered(stream: &str, tenant: &str, process: &str, at: &WorkflowId) -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, with) in [
        (b'p', process.to_owned()),
        (b'r', format!("order-{process}")),
    ] {
        let mut entry = key(b'r', &[tenant]);
        entry.push(kind);
        id(&mut entry, &with);
        let mut value = vec![FORMAT];
        text(&mut value, tenant);
        value.extend_from_slice(&1u16.to_be_bytes());
        text(&mut value, process);
        text(&mut value, at.name());
        text(&mut value, at.version());
        rows.push((entry, value));
        let mut back = key(b'k', &[stream]);
        back.push(kind);
        id(&mut back, &with);
        rows.push((back, MARK.to_vec()));
    }
    rows
}

pub fn event(event_id: u128, time: u64, at: &WorkflowId, kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(80 + payload.len());
    row.extend_from_slice(&[FORMAT, 0]);
    row.extend_from_slice(&event_id.to_be_bytes());
    row.extend_from_slice(&time.to_be_bytes());
    row.extend_from_slice(&1u32.to_be_bytes());
    text(&mut row, at.name());
    text(&mut row, at.version());
    text(&mut row, kind);
    row.extend_from_slice(payload);
    row
}

/// The end of a text that starts at a position.
fn after_text(row: &[u8], at: usize) -> usize {
    at + 2 + usize::from(u16::from_be_bytes([row[at], row[at + 1]]))
}

/// The payload of an event.
pub fn payload(event: &[u8]) -> &[u8] {
    let mut at = 2 + 16 + 8 + 4;
    for _ in 0..3 {
        at = after_text(event, at);
    }
    if event[1] & METADATA != 0 {
        let pairs = u16::from_be_bytes([event[at], event[at + 1]]);
        at += 2;
        for _ in 0..2 * pairs {
            at = after_text(event, at);
        }
    }
    &event[at..]
}

/// A head that was rewritten once for each event.
pub fn head(sequence: u64, at: &WorkflowId) -> Vec<u8> {
    let mut row = vec![FORMAT, 0];
    let (revision, baseline, first_kept) = (sequence, 0u64, 1u64);
    for number in [sequence, revision, baseline, first_kept] {
        row.extend_from_slice(&number.to_be_bytes());
    }
    text(&mut row, at.name());
    text(&mut row, at.version());
    row
}

/// Whether a head is of a process at this version that is neither finished nor held.
pub fn is_due(head: &[u8], at: &WorkflowId) -> bool {
    let flags = head[1];
    let name = 2 + 4 * 8 + if flags & FINISHED_BY == 0 { 0 } else { 8 };
    let version = after_text(head, name);
    flags & STAYS == 0
        && head[name + 2..version] == *at.name().as_bytes()
        && head[version + 2..after_text(head, version)] == *at.version().as_bytes()
}

pub fn snapshot(sequence: u64, schema_version: u32, at: &WorkflowId, state: &[u8]) -> Vec<u8> {
    let mut row = vec![FORMAT];
    row.extend_from_slice(&sequence.to_be_bytes());
    row.extend_from_slice(&schema_version.to_be_bytes());
    text(&mut row, at.name());
    text(&mut row, at.version());
    row.extend_from_slice(state);
    row
}
