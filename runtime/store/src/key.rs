//! Keys on disk, format 2.
//!
//! The first byte names the table. Ids are escaped: a zero byte becomes
//! `00 FF`, and `00 01` ends the id. Ids therefore keep their order, no id is a
//! prefix of another, and none can leave its table, whatever bytes it contains.
//!
//! | table | key | holds |
//! |---|---|---|
//! | `b` | workflow name, version, round, stream | a birth at this version while a run closed it |
//! | `d` | | reserved for deadlines |
//! | `e` | stream, sequence (8 bytes, big endian) | an event |
//! | `h` | stream | the head of a stream |
//! | `k` | stream, kind, registry key | a key of the process in the registry |
//! | `m` | name | facts about the store: its format and its id |
//! | `o` | stream | the operator's record of a hold |
//! | `p` | stream | a note that a separate process registry must still be updated |
//! | `r` | tenant, kind, registry key | an entry of the process registry |
//! | `s` | stream | a snapshot |
//! | `u` | chosen by the runner | bookkeeping of runs |
//! | `w` | workflow name, version | the presence of a version: processes may be at it |
//! | `x` | | reserved for an outbox |

use std::ops::{Range, RangeInclusive};

use state_migration_core::{
    ConversationId, CorrelationId, Error, ProcessId, RegistryKey, StreamId, StreamRange, TenantId,
    WorkflowId,
};

/// A half-open range of keys.
pub(crate) type KeyRange = Range<Vec<u8>>;

const BIRTHS: u8 = b'b';
const EVENTS: u8 = b'e';
const HEADS: u8 = b'h';
const KEYS: u8 = b'k';
const META: u8 = b'm';
const HOLDS: u8 = b'o';
const PENDING_REGISTRY_UPDATES: u8 = b'p';
const ENTRIES: u8 = b'r';
const SNAPSHOTS: u8 = b's';
const RUNS: u8 = b'u';
const PRESENCE: u8 = b'w';

/// A table with one row per stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerStream {
    Head,
    Snapshot,
    PendingRegistryUpdate,
    Hold,
}

impl PerStream {
    fn table(self) -> u8 {
        match self {
            Self::Head => HEADS,
            Self::Snapshot => SNAPSHOTS,
            Self::PendingRegistryUpdate => PENDING_REGISTRY_UPDATES,
            Self::Hold => HOLDS,
        }
    }

    pub fn key(self, stream: &StreamId) -> Vec<u8> {
        with_id(start(self.table()), stream.as_str())
    }

    /// The rows of all streams whose ids start with `prefix`, after `after`.
    pub(crate) fn range(self, prefix: &str, after: Option<&StreamId>) -> KeyRange {
        let mut start = vec![self.table()];
        escape(&mut start, prefix);
        let end = after_prefix(start.clone());
        if let Some(after) = after {
            start = start.max(after_prefix(self.key(after)));
        }
        start..end
    }

    /// The rows of a range of streams.
    pub(crate) fn within(self, range: &StreamRange) -> KeyRange {
        let start = match &range.after {
            Some(after) => after_prefix(self.key(after)),
            None => vec![self.table()],
        };
        let end = match &range.through {
            Some(through) => after_prefix(self.key(through)),
            None => vec![self.table() + 1],
        };
        // A range may end before it starts; then it is empty.
        start..end
    }

    /// The stream at the start of a key: the complete part of its id, which
    /// need not be the id of an existing stream.
    pub(crate) fn mark(self, start: &[u8]) -> Option<StreamId> {
        let rest = start.strip_prefix(&[self.table()])?;
        let plain = rest.split(|byte| *byte == 0).next()?;
        let text = match std::str::from_utf8(plain) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&plain[..error.valid_up_to()]).ok()?,
        };
        StreamId::new(text).ok()
    }

    /// The stream of a key.
    pub fn stream(self, key: &[u8]) -> Result<StreamId, Error> {
        read_whole(key, 1).and_then(|id| stream_id(key, id))
    }
}

pub(crate) fn event(stream: &StreamId, sequence: u64) -> Vec<u8> {
    let mut key = with_id(start(EVENTS), stream.as_str());
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// The common prefix of the keys of a stream's events.
pub(crate) fn event_prefix(stream: &StreamId) -> Vec<u8> {
    with_id(start(EVENTS), stream.as_str())
}

/// The events of a stream above a sequence number.
pub(crate) fn events_after(stream: &StreamId, after: u64) -> KeyRange {
    let end = after_prefix(event_prefix(stream));
    match after.checked_add(1) {
        Some(first) => event(stream, first)..end,
        None => end.clone()..end,
    }
}

/// The events of all streams from one to another, both included.
pub(crate) fn events_between(first: &StreamId, last: &StreamId) -> KeyRange {
    event_prefix(first)..after_prefix(event_prefix(last))
}

/// The sequence number of an event's key, if it belongs to the stream of `prefix`.
pub(crate) fn sequence_in(key: &[u8], prefix: &[u8]) -> Option<u64> {
    let rest: [u8; 8] = key.strip_prefix(prefix)?.try_into().ok()?;
    Some(u64::from_be_bytes(rest))
}

/// The names of the facts about a store.
#[cfg(any(test, feature = "slatedb"))]
pub(crate) const STORE_FORMAT: &str = "format";
pub(crate) const STORE_ID: &str = "id";

pub(crate) fn meta(name: &str) -> Vec<u8> {
    with_id(start(META), name)
}

/// A bookkeeping row of runs. The runner's keys are not escaped: they are the
/// only ones in the table, and cannot leave it.
pub(crate) fn run_row(row: &[u8]) -> Vec<u8> {
    [&[RUNS], row].concat()
}

/// The bookkeeping rows of runs that start with `prefix`, after `after`.
pub(crate) fn run_rows(prefix: &[u8], after: Option<&[u8]>) -> KeyRange {
    let start = run_row(prefix);
    let end = after_prefix(start.clone());
    match after {
        // The least key above `after`.
        Some(after) => start.max([&run_row(after)[..], &[0]].concat())..end,
        None => start..end,
    }
}

fn version_prefix(table: u8, id: &WorkflowId) -> Vec<u8> {
    with_id(with_id(start(table), id.name()), id.version())
}

/// The record of a birth at a version, in a round of the run that closed it.
pub fn birth(id: &WorkflowId, round: u32, stream: &StreamId) -> Vec<u8> {
    with_id(birth_round(id, round), stream.as_str())
}

fn birth_round(id: &WorkflowId, round: u32) -> Vec<u8> {
    let mut key = version_prefix(BIRTHS, id);
    key.extend_from_slice(&round.to_be_bytes());
    key
}

/// The births at a version in some rounds.
pub(crate) fn births(id: &WorkflowId, rounds: RangeInclusive<u32>) -> KeyRange {
    birth_round(id, *rounds.start())..after_prefix(birth_round(id, *rounds.end()))
}

/// The round and the stream in a key of [`birth`].
pub fn read_birth(key: &[u8], id: &WorkflowId) -> Result<(u32, StreamId), Error> {
    let rest = key.strip_prefix(&version_prefix(BIRTHS, id)[..]);
    let round = rest.and_then(|rest| rest.first_chunk::<4>().copied());
    let Some(round) = round else {
        return Err(bad_key(key));
    };
    let from = birth_round(id, 0).len();
    let stream = read_whole(key, from).and_then(|stream| stream_id(key, stream))?;
    Ok((u32::from_be_bytes(round), stream))
}

/// The record that processes may be at a version.
pub fn presence(id: &WorkflowId) -> Vec<u8> {
    version_prefix(PRESENCE, id)
}

/// The presence rows of all versions of a workflow.
pub(crate) fn presences(name: &str) -> KeyRange {
    let start = with_id(start(PRESENCE), name);
    let end = after_prefix(start.clone());
    start..end
}

/// The presence rows of all workflows.
pub(crate) fn all_presences() -> KeyRange {
    let start = start(PRESENCE);
    let end = after_prefix(start.clone());
    start..end
}

/// The version in a key of [`presence`].
pub fn presence_version(key: &[u8]) -> Result<WorkflowId, Error> {
    let (name, rest) = read_id(key, 1)?;
    let version = read_whole(key, key.len() - rest.len())?;
    Ok(WorkflowId::new(name, version))
}

fn with_registry_key(key: Vec<u8>, registry_key: &RegistryKey) -> Vec<u8> {
    let (kind, _, id) = registry_key.parts();
    let mut key = key;
    key.push(kind);
    with_id(key, id)
}

/// An entry of the process registry.
pub(crate) fn entry(tenant: &TenantId, key: &RegistryKey) -> Vec<u8> {
    with_registry_key(with_id(start(ENTRIES), tenant.as_str()), key)
}

fn keys_prefix(stream: &StreamId) -> Vec<u8> {
    with_id(start(KEYS), stream.as_str())
}

/// The record that the process registry has a key for the process of a stream.
pub fn key_of(stream: &StreamId, key: &RegistryKey) -> Vec<u8> {
    with_registry_key(keys_prefix(stream), key)
}

/// All registry keys of a process.
pub(crate) fn keys_of(stream: &StreamId) -> KeyRange {
    keys_prefix(stream)..after_prefix(keys_prefix(stream))
}

/// The stream and the registry key in a key of [`key_of`].
pub fn key_of_parts(key: &[u8]) -> Result<(StreamId, RegistryKey), Error> {
    let (stream, rest) = read_id(key, 1)?;
    let stream = stream_id(key, stream)?;
    let kind = rest.first().copied();
    let id = read_whole(key, key.len() - rest.len() + 1)?;
    let bad = |_| bad_key(key);
    let registry_key = match kind {
        Some(b'p') => RegistryKey::Process(ProcessId::new(id).map_err(bad)?),
        Some(b'v') => RegistryKey::Conversation(ConversationId::new(id).map_err(bad)?),
        Some(b'r') => RegistryKey::Correlation(CorrelationId::new(id).map_err(bad)?),
        _ => return Err(bad_key(key)),
    };
    Ok((stream, registry_key))
}

fn escape(key: &mut Vec<u8>, id: &str) {
    for byte in id.bytes() {
        key.push(byte);
        if byte == 0 {
            key.push(0xFF);
        }
    }
}

/// The start of a key, with capacity for most keys.
fn start(table: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(128);
    key.push(table);
    key
}

fn with_id(mut key: Vec<u8>, id: &str) -> Vec<u8> {
    key.reserve(id.len() + 2);
    escape(&mut key, id);
    key.extend_from_slice(&[0, 1]);
    key
}

/// The first key after all that start with `prefix`. The prefix must not be
/// empty and must contain a byte other than `FF`, which is true of all prefixes
/// here.
fn after_prefix(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.last_mut() {
        if *last < 0xFF {
            *last += 1;
            break;
        }
        prefix.pop();
    }
    prefix
}

/// Reads the id that starts at `from`; returns it and the bytes after it.
fn read_id(key: &[u8], from: usize) -> Result<(String, &[u8]), Error> {
    let mut rest = key.get(from..).ok_or_else(|| bad_key(key))?;
    let mut id = Vec::with_capacity(rest.len());
    loop {
        match rest {
            [0, 0xFF, tail @ ..] => {
                id.push(0);
                rest = tail;
            }
            [0, 1, tail @ ..] => {
                let id = String::from_utf8(id).map_err(|_| bad_key(key))?;
                return Ok((id, tail));
            }
            [0, ..] | [] => return Err(bad_key(key)),
            [byte, tail @ ..] => {
                id.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Reads the id that starts at `from` and extends to the end of the key.
fn read_whole(key: &[u8], from: usize) -> Result<String, Error> {
    match read_id(key, from)? {
        (id, []) => Ok(id),
        _ => Err(bad_key(key)),
    }
}

fn stream_id(key: &[u8], id: String) -> Result<StreamId, Error> {
    StreamId::new(id).map_err(|_| bad_key(key))
}

/// A description of the row of a key, for people.
pub fn name(key: &[u8]) -> String {
    named(key).unwrap_or_else(|| format!("the key \"{}\"", key.escape_ascii()))
}

fn named(key: &[u8]) -> Option<String> {
    let stream = |table: PerStream| table.stream(key).ok();
    Some(match *key.first()? {
        EVENTS => {
            let (stream, rest) = read_id(key, 1).ok()?;
            let sequence = u64::from_be_bytes(rest.try_into().ok()?);
            format!("event {sequence} of stream {stream}")
        }
        HEADS => format!("the head of stream {}", stream(PerStream::Head)?),
        SNAPSHOTS => format!("the snapshot of stream {}", stream(PerStream::Snapshot)?),
        PENDING_REGISTRY_UPDATES => format!(
            "the note to update a separate process registry for {}",
            stream(PerStream::PendingRegistryUpdate)?
        ),
        KEYS => {
            let (stream, key) = key_of_parts(key).ok()?;
            format!("the note that {stream} is registered under {key}")
        }
        ENTRIES => {
            let (tenant, rest) = read_id(key, 1).ok()?;
            let (id, _) = read_id(rest, 1).ok()?;
            format!("the registry entry of tenant {tenant} under {id:?}")
        }
        HOLDS => format!("the hold of stream {}", stream(PerStream::Hold)?),
        BIRTHS => {
            let (name, rest) = read_id(key, 1).ok()?;
            let (version, rest) = read_id(rest, 0).ok()?;
            let (stream, _) = read_id(rest, 4).ok()?;
            format!("the note that {stream} was created at {name}@{version}")
        }
        PRESENCE => {
            let version = presence_version(key).ok()?;
            format!("the note that {version} is in use")
        }
        META => format!("the {} of the store", read_whole(key, 1).ok()?),
        RUNS => format!(
            "the row \"{}\" of the records of runs",
            key[1..].escape_ascii()
        ),
        _ => return None,
    })
}

fn bad_key(key: &[u8]) -> Error {
    Error::corrupt(format!(
        "the store contains a key that this crate did not write: \"{}\"; remove the row if another program wrote it, or restore the store from a backup",
        key.escape_ascii()
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(id: &str) -> StreamId {
        StreamId::new(id).unwrap()
    }

    #[test]
    fn the_keys_on_disk_are_these() {
        let s = stream("process/t/p");
        let order = WorkflowId::from_static("order", "v1");
        let tenant = TenantId::new("t").unwrap();
        let process = RegistryKey::Process(ProcessId::new("p").unwrap());
        let reply = RegistryKey::Correlation(CorrelationId::new("c").unwrap());
        let conversation = RegistryKey::Conversation(ConversationId::new("c").unwrap());
        assert_eq!(event(&s, 258), b"eprocess/t/p\0\x01\0\0\0\0\0\0\x01\x02");
        assert_eq!(PerStream::Head.key(&s), b"hprocess/t/p\0\x01");
        assert_eq!(PerStream::Snapshot.key(&s), b"sprocess/t/p\0\x01");
        assert_eq!(
            PerStream::PendingRegistryUpdate.key(&s),
            b"pprocess/t/p\0\x01"
        );
        assert_eq!(meta("format"), b"mformat\0\x01");
        assert_eq!(run_row(b"c"), b"uc");
        assert_eq!(PerStream::Hold.key(&s), b"oprocess/t/p\0\x01");
        let born = b"border\0\x01v1\0\x01\0\0\0\x02process/t/p\0\x01";
        assert_eq!(birth(&order, 2, &s), born);
        assert_eq!(presence(&order), b"worder\0\x01v1\0\x01");
        assert_eq!(entry(&tenant, &process), b"rt\0\x01pp\0\x01");
        assert_eq!(entry(&tenant, &reply), b"rt\0\x01rc\0\x01");
        assert_eq!(entry(&tenant, &conversation), b"rt\0\x01vc\0\x01");
        assert_eq!(key_of(&s, &reply), b"kprocess/t/p\0\x01rc\0\x01");
    }

    #[test]
    fn ranges_hold_what_they_name_and_nothing_else() {
        let (a, ab, b) = (stream("a"), stream("ab"), stream("b"));
        let heads = PerStream::Head;
        let in_range = |range: &KeyRange, key: &Vec<u8>| range.contains(key);
        let all = heads.range("", None);
        assert!([&a, &ab, &b].iter().all(|s| in_range(&all, &heads.key(s))));
        let with_a = heads.range("a", None);
        assert!(in_range(&with_a, &heads.key(&a)) && in_range(&with_a, &heads.key(&ab)));
        assert!(!in_range(&with_a, &heads.key(&b)));
        let after_a = heads.range("", Some(&a));
        assert!(!in_range(&after_a, &heads.key(&a)) && in_range(&after_a, &heads.key(&ab)));
        let of_a = events_after(&a, 3);
        assert!(!in_range(&of_a, &event(&a, 3)) && in_range(&of_a, &event(&a, 4)));
        assert!(!in_range(&of_a, &event(&ab, 1)));
        assert!(events_after(&a, u64::MAX).is_empty());
        let rows = run_rows(b"f", Some(b"fa"));
        assert!(!in_range(&rows, &run_row(b"fa")) && !in_range(&rows, &run_row(b"g")));
        assert!(in_range(&rows, &run_row(b"fa\0")) && in_range(&rows, &run_row(b"fab")));
        assert!(in_range(&run_rows(b"", None), &run_row(b"\xFE")));
        let v1 = WorkflowId::from_static("w", "1");
        let v10 = WorkflowId::from_static("w", "10");
        let of_v1 = births(&v1, 2..=3);
        assert!(!in_range(&of_v1, &birth(&v10, 2, &a)));
        for (round, is_in) in [(1, false), (2, true), (3, true), (4, false)] {
            assert_eq!(in_range(&of_v1, &birth(&v1, round, &a)), is_in);
        }
        let born = read_birth(&birth(&v1, 258, &ab), &v1).unwrap();
        assert_eq!(born, (258, ab.clone()));
        assert_eq!(heads.mark(&heads.key(&ab)), Some(ab.clone()));
        assert_eq!(heads.mark(b"ha"), Some(a.clone()));
        assert_eq!(heads.mark(b"ea"), None);
        assert!(
            presences("w").contains(&presence(&v10)) && !presences("wx").contains(&presence(&v10))
        );
    }

    #[test]
    fn a_key_that_is_cut_or_foreign_is_an_error() {
        for key in [
            &b"h"[..],
            b"habc",
            b"habc\0",
            b"habc\0\x02",
            b"habc\0\x01x",
            b"h\xFF\0\x01",
        ] {
            assert!(PerStream::Head.stream(key).is_err(), "{key:?}");
        }
        assert!(key_of_parts(b"ka\0\x01").is_err());
        assert!(key_of_parts(b"ka\0\x01qb\0\x01").is_err());
    }

    /// A stream with an id that is not validated.
    fn unchecked(id: &str) -> StreamId {
        StreamId::literal(Box::leak(id.to_owned().into_boxed_str()))
    }

    fn unchecked_key(id: &str) -> Vec<u8> {
        with_id(with_id(start(ENTRIES), "t"), id)
    }

    /// Two similar ids: one may be a prefix of the other, and both contain the
    /// bytes that end and escape ids in keys.
    fn pair_of_ids() -> impl Strategy<Value = (String, String)> {
        let piece = prop_oneof![
            Just("\0"),
            Just("\u{1}"),
            Just("\0\u{1}"),
            Just("\u{ff}"),
            Just("\u{10ffff}"),
            Just("/"),
            Just(".."),
            Just("a"),
            Just("b"),
            Just("process/"),
            Just(""),
        ];
        let text = || proptest::collection::vec(piece.clone(), 0..5).prop_map(|it| it.concat());
        let (start, ends) = (text(), (text(), text()));
        (start, ends).prop_map(|(start, (a, b))| (format!("{start}{a}"), format!("{start}{b}")))
    }

    proptest! {
        #[test]
        fn escaping_keeps_order_and_keeps_ids_apart(a in any::<String>(), b in any::<String>()) {
            let (x, y) = (with_id(vec![b'x'], &a), with_id(vec![b'x'], &b));
            prop_assert_eq!(a.as_bytes().cmp(b.as_bytes()), x.cmp(&y));
            if a != b {
                prop_assert!(!x.starts_with(&y) && !y.starts_with(&x));
            }
            prop_assert_eq!(read_whole(&x, 1).unwrap(), a);
        }

        #[test]
        fn what_is_read_for_one_id_holds_no_key_of_another(
            (a, b) in pair_of_ids(),
            (name, version) in pair_of_ids(),
            sequence in any::<u64>(),
        ) {
            prop_assume!(a != b);
            let [s, t] = [&a, &b].map(|id| unchecked(id));
            let [v, w] = [&name, &version].map(|id| WorkflowId::new("w".to_owned(), id.clone()));
            let of_s = StreamRange { after: None, through: Some(s.clone()) };
            let beyond_s = StreamRange { after: Some(s.clone()), through: None };
            let (first, last) = (s.clone().min(t.clone()), s.clone().max(t.clone()));
            for table in [PerStream::Head, PerStream::Snapshot, PerStream::PendingRegistryUpdate, PerStream::Hold] {
                prop_assert!(!table.key(&t).starts_with(&table.key(&s)));
                prop_assert_eq!(table.within(&of_s).contains(&table.key(&t)), t < s);
                prop_assert_eq!(table.within(&beyond_s).contains(&table.key(&t)), t > s);
                prop_assert!(!table.range("", Some(&last)).contains(&table.key(&first)));
                prop_assert_eq!(table.range(&a, None).contains(&table.key(&t)), b.starts_with(&a));
            }
            // The sequence number after an id cannot turn it into another id.
            prop_assert!(!events_after(&s, 0).contains(&event(&t, sequence)));
            prop_assert!(!events_between(&s, &s).contains(&event(&t, sequence)));
            prop_assert_eq!(sequence_in(&event(&t, sequence), &event_prefix(&s)), None);
            prop_assert!(!keys_of(&s).contains(&with_id(with_id(start(KEYS), &b), &name)));
            prop_assert!(unchecked_key(&a) != unchecked_key(&b));
            prop_assert!(!unchecked_key(&b).starts_with(&unchecked_key(&a)));
            // Names, versions and streams, in adjacent positions of a key.
            prop_assert!(births(&v, 7..=7).contains(&birth(&v, 7, &t)));
            if name != version {
                prop_assert!(!births(&v, 0..=u32::MAX).contains(&birth(&w, 7, &s)));
                prop_assert!(presence(&v) != presence(&w));
            }
            let other = WorkflowId::new(name.clone(), "1".to_owned());
            prop_assert_eq!(presences(&version).contains(&presence(&other)), name == version);
            // No table contains a key of another one.
            let tables = [EVENTS, HEADS, KEYS, META, PENDING_REGISTRY_UPDATES, ENTRIES, SNAPSHOTS, RUNS, BIRTHS, HOLDS, PRESENCE];
            for table in tables {
                let whole = vec![table]..vec![table + 1];
                for key in [event(&t, sequence), PerStream::Head.key(&t), presence(&v), birth(&v, 7, &t), PerStream::Hold.key(&t), meta(&b), run_row(b.as_bytes())] {
                    prop_assert_eq!(whole.contains(&key), key[0] == table);
                }
            }
        }

        #[test]
        fn reading_any_bytes_as_a_key_never_panics(key in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = PerStream::Head.stream(&key);
            let _ = key_of_parts(&key);
            let _ = presence_version(&key);
            let _ = read_birth(&key, &WorkflowId::from_static("a", "1"));
            let _ = PerStream::Head.mark(&key);
        }
    }
}
