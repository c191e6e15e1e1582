//! The rows of format 1, written and read without the crate: what is made
//! for the cases, and what the floors read. `data::check` compares them with
//! what the store itself writes.

use state_migration::WorkflowId;

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

pub const MARK: &[u8] = &[1];
pub const UNDECIDED: &[u8] = &[1, 0];

pub fn event_key(stream: &str, sequence: u64) -> Vec<u8> {
    let mut key = key(b'e', &[stream]);
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// The key of an event without its sequence number: one for each stream.
pub fn stream_of(event_key: &[u8]) -> &[u8] {
    &event_key[..event_key.len() - 8]
}

pub fn head_key(stream: &str) -> Vec<u8> {
    key(b'h', &[stream])
}

pub fn snapshot_key(stream: &str) -> Vec<u8> {
    key(b's', &[stream])
}

pub fn version_key(at: &WorkflowId, stream: &str) -> Vec<u8> {
    key(b'v', &[at.name(), at.version(), stream])
}

pub fn presence_key(at: &WorkflowId) -> Vec<u8> {
    key(b'w', &[at.name(), at.version()])
}

/// The key of an entry of the process registry; `kind` is `p` for the process,
/// `r` for a correlation.
pub fn entry_key(tenant: &str, kind: char, with: &str) -> Vec<u8> {
    let mut key = key(b'r', &[tenant]);
    key.push(kind as u8);
    id(&mut key, with);
    key
}

/// That the registry has a key for a process.
pub fn key_of_key(stream: &str, kind: char, with: &str) -> Vec<u8> {
    let mut key = key(b'k', &[stream]);
    key.push(kind as u8);
    id(&mut key, with);
    key
}

pub fn event(event_id: u128, time: u64, at: &WorkflowId, kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(80 + payload.len());
    row.extend_from_slice(&[1, 0]);
    row.extend_from_slice(&event_id.to_be_bytes());
    row.extend_from_slice(&time.to_be_bytes());
    row.extend_from_slice(&1u32.to_be_bytes());
    text(&mut row, at.name());
    text(&mut row, at.version());
    text(&mut row, kind);
    row.extend_from_slice(payload);
    row
}

/// The payload of an event.
pub fn payload(event: &[u8]) -> &[u8] {
    let mut at = 2 + 16 + 8 + 4;
    for _ in 0..3 {
        at += 2 + usize::from(u16::from_be_bytes([event[at], event[at + 1]]));
    }
    &event[at..]
}

pub fn head(sequence: u64, at: &WorkflowId) -> Vec<u8> {
    let mut row = vec![1, 0];
    row.extend_from_slice(&sequence.to_be_bytes());
    row.extend_from_slice(&0u64.to_be_bytes());
    text(&mut row, at.name());
    text(&mut row, at.version());
    row
}

pub fn entry(tenant: &str, process: &str, at: &WorkflowId) -> Vec<u8> {
    let mut row = vec![1];
    text(&mut row, tenant);
    text(&mut row, process);
    text(&mut row, at.name());
    text(&mut row, at.version());
    row
}

pub fn snapshot(sequence: u64, schema_version: u32, at: &WorkflowId, state: &[u8]) -> Vec<u8> {
    let mut row = vec![1];
    row.extend_from_slice(&sequence.to_be_bytes());
    row.extend_from_slice(&schema_version.to_be_bytes());
    text(&mut row, at.name());
    text(&mut row, at.version());
    row.extend_from_slice(state);
    row
}
