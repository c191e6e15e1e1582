//! The records of the frozen stores, whole and damaged.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeFull;
use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;
use state_migration_core::{FailureClass, MIGRATED, NewEvent, Stage, StreamId};
use state_migration_runner::run::rows::Part;
use state_migration_runner::run::suspects::Verdict;
use state_migration_runner::{RunKind, RunState};
use state_migration_store::{SlateDbStore, record};

use crate::{FORMATS, Format, baseline, keys};

/// The stores of this format that are frozen.
const FROZEN: [&str; 4] = [
    "format-2",
    "format-2-executions",
    "format-2-runs",
    "format-2-words",
];

/// How many records of a format are damaged.
const SAMPLES: usize = 4;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

async fn rows_of(frozen: &str) -> Vec<(Bytes, Bytes)> {
    let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures"));
    let folder = tempfile::tempdir().unwrap();
    copy(&fixtures.join(frozen), folder.path());
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    let mut rows = store.db().scan::<RangeFull>(..).await.unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next().await.unwrap() {
        all.push((row.key, row.value));
    }
    all
}

/// All rows of all frozen stores.
fn frozen() -> &'static [(Bytes, Bytes)] {
    static ROWS: OnceLock<Vec<(Bytes, Bytes)>> = OnceLock::new();
    ROWS.get_or_init(|| {
        // Tests of one program share them, each with a runtime of its own or none.
        let read = std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let mut rows = Vec::new();
                for name in FROZEN {
                    rows.extend(rows_of(name).await);
                }
                rows
            })
        });
        read.join().unwrap()
    })
}

/// Some records of each format: the shortest, the longest, and others.
fn samples() -> &'static BTreeMap<&'static str, Vec<Bytes>> {
    static SAMPLES_OF: OnceLock<BTreeMap<&'static str, Vec<Bytes>>> = OnceLock::new();
    SAMPLES_OF.get_or_init(|| {
        let mut all: BTreeMap<&str, BTreeSet<(usize, Bytes)>> = BTreeMap::new();
        for (key, row) in frozen() {
            let name = Format::of(key).unwrap().name;
            all.entry(name)
                .or_default()
                .insert((row.len(), row.clone()));
        }
        let some = |rows: BTreeSet<(usize, Bytes)>| {
            let step = rows.len().div_ceil(SAMPLES).max(1);
            let mut some: Vec<Bytes> = rows.iter().step_by(step).map(|row| row.1.clone()).collect();
            some.extend(rows.last().map(|row| row.1.clone()));
            some
        };
        all.into_iter()
            .map(|(name, rows)| (name, some(rows)))
            .collect()
    })
}

/// The baselines in the frozen stores.
fn baselines() -> &'static [Bytes] {
    static BASELINES: OnceLock<Vec<Bytes>> = OnceLock::new();
    BASELINES.get_or_init(|| {
        let of_row = |(key, row): &(Bytes, Bytes)| {
            let (key, row) = (key.clone(), row.clone());
            let at = row
                .windows(MIGRATED.len())
                .position(|at| at == MIGRATED.as_bytes())?;
            (key[0] == b'e').then(|| row.slice(at + MIGRATED.len()..))
        };
        let all: BTreeSet<Bytes> = frozen().iter().filter_map(of_row).collect();
        all.into_iter().step_by(3).collect()
    })
}

/// To see it fail: add a table to `key.rs` or a row to `rows.rs`.
#[test]
fn every_table_and_every_row_of_bookkeeping_is_a_format() {
    let tables: BTreeSet<u8> = FORMATS.iter().map(|format| format.table[0]).collect();
    let rows: BTreeSet<u8> = FORMATS
        .iter()
        .filter(|format| format.table[0] == b'u')
        .map(|format| format.table[1])
        .collect();
    let byte_after = |line: &str, mark: &str| Some(line.split_once(mark)?.1.as_bytes()[0]);
    let in_code: BTreeSet<u8> = include_str!("../../../runtime/store/src/key.rs")
        .lines()
        .filter(|line| line.starts_with("const "))
        .filter_map(|line| byte_after(line, ": u8 = b'"))
        .collect();
    assert_eq!(tables, in_code);
    let code = [
        include_str!("../../../runtime/core/src/store_api/claim.rs"),
        include_str!("../../../runtime/runner/src/run/rows.rs"),
    ]
    .map(|code| code.split_once("#[cfg(test)]").unwrap().0);
    let in_code: BTreeSet<u8> = code
        .iter()
        .flat_map(|code| code.lines())
        .filter_map(|line| byte_after(line, "of_run(b'").or(byte_after(line, ": &[u8] = b\"")))
        .collect();
    assert_eq!(rows, in_code);
}

/// To see it fail: take a folder out of `FROZEN`.
#[test]
fn every_format_is_frozen_and_read() {
    let mut seen = BTreeSet::new();
    for (key, row) in frozen() {
        let format =
            Format::of(key).unwrap_or_else(|| panic!("\"{}\" is of no format", key.escape_ascii()));
        let read = (format.decode)(row);
        assert_eq!(read, Ok(true), "{}: {row:?}", format.name);
        seen.insert(format.name);
        let read = keys(key);
        assert!(read.is_ok(), "\"{}\": {read:?}", key.escape_ascii());
    }
    let all: BTreeSet<&str> = FORMATS.iter().map(|format| format.name).collect();
    assert_eq!(seen, all, "freeze a store with the others");
    assert!(!baselines().is_empty());
}

/// The names of the variants of an enum, which serde lists in its error for an
/// unknown name.
fn words<T: DeserializeOwned>() -> BTreeSet<String> {
    let Err(refused) = serde_json::from_str::<T>("\"\"") else {
        panic!("an empty word is a variant")
    };
    let refused = refused.to_string();
    let (_, expected) = refused.split_once("expected ").unwrap();
    let words = expected.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// The values in frozen rows of bookkeeping at the end of each path, by the name
/// of the format and the path; of a variant with fields, its name.
fn said() -> BTreeMap<(&'static str, String), BTreeSet<String>> {
    fn look(
        at: (&'static str, String),
        value: &Value,
        said: &mut BTreeMap<(&'static str, String), BTreeSet<String>>,
    ) {
        let below = |name: &str| (at.0, format!("{}/{name}", at.1));
        let word = match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    look(below(name), value, said);
                }
                fields.keys().next().cloned().unwrap_or_default()
            }
            Value::Array(values) => {
                for value in values {
                    look(below("*"), value, said);
                }
                "[]".to_owned()
            }
            Value::String(word) => word.clone(),
            other => other.to_string(),
        };
        said.entry(at).or_default().insert(word);
    }
    let mut all = BTreeMap::new();
    for (key, row) in frozen().iter().filter(|(key, _)| key[0] == b'u') {
        let value = serde_json::from_slice(&row[1..]).unwrap();
        look(
            (Format::of(key).unwrap().name, String::new()),
            &value,
            &mut all,
        );
    }
    all
}

/// A variant that no frozen row has could be renamed, and no test that reads
/// what earlier versions wrote would notice.
///
/// To see it fail: rename a variant of one of them.
#[test]
fn every_word_that_bookkeeping_can_say_is_frozen() {
    let said = said();
    let classes = words::<FailureClass>();
    assert_eq!(classes.len(), FailureClass::ALL.len());
    for (format, path, words) in [
        ("run", "/state", words::<RunState>()),
        ("run", "/kind", words::<RunKind>()),
        ("run", "/kind/retry/classes/*", classes),
        ("failure", "/error/class", words::<FailureClass>()),
        ("failure", "/error/stage", words::<Stage>()),
        ("range", "/part", words::<Part>()),
        ("suspect", "/verdict", words::<Verdict>()),
    ] {
        let frozen = &said[&(format, path.to_owned())];
        assert_eq!(frozen, &words, "{format} at {path}");
    }
    // A field that is `null` in all frozen rows would have no test of its content.
    for ((format, path), words) in &said {
        let is_null = words.len() == 1 && words.contains("null");
        assert!(!is_null, "{path} of a {format} is null in all frozen rows");
    }
    // These are left out where they are empty.
    for (format, path) in [
        ("run", "/plan/steps/*/note"),
        ("run", "/plan/stays/*/reason"),
        ("range", "/by_workflow/*/workflow"),
        ("range", "/by_workflow/*/not_selected"),
        ("range", "/stays/*/name"),
        ("range", "/unread"),
        ("run", "/throttle"),
        ("run", "/program/host"),
        ("run", "/plan/selection/matching"),
        ("run", "/plan/selection/except_failed_in"),
        ("run", "/plan/predicate/*/code"),
        ("request to a run", "/reason"),
        ("request to a run", "/action/throttle"),
        ("hold or release", "/reason"),
        ("execution of a run", "/plan/fingerprint"),
        ("execution of a run", "/took_over"),
        ("execution of a run", "/before/migrated"),
        ("execution of a run", "/decided_again"),
        ("range", "/counts/migrated_further"),
        ("range", "/totals/before/amount"),
        ("range", "/by_workflow/*/migrated_further"),
        ("execution of a run", "/ended"),
    ] {
        let at = (format, path.to_owned());
        assert!(said.contains_key(&at), "{path} of a {format} is not frozen");
    }
}

/// To see it fail: take a folder out of `FROZEN`, or give a flag another bit.
#[test]
fn every_flag_is_frozen() {
    let of = |table: u8| frozen().iter().filter(move |(key, _)| key[0] == table);
    let heads: Vec<_> = of(b'h')
        .map(|(_, row)| record::read_head(row.clone()).unwrap())
        .collect();
    assert!(heads.iter().any(|head| head.finished && !head.held));
    assert!(heads.iter().any(|head| head.held && !head.finished));
    assert!(heads.iter().any(|head| head.undone));
    assert!(heads.iter().any(|head| head.baseline.is_some()));
    assert!(heads.iter().any(|head| head.baseline.is_none()));
    let stream = StreamId::literal("s");
    let finishes = |(_, row): &(Bytes, Bytes)| {
        let event = record::read_event(row.clone(), &stream, 1).unwrap();
        NewEvent::of_record(event).finishes()
    };
    assert!(of(b'e').any(finishes) && !of(b'e').all(finishes));
    assert!(heads.iter().any(|head| head.finished_by.is_some()));
    let closing: BTreeSet<bool> = of(b'w')
        .map(|(_, row)| record::read_presence(row.clone()).unwrap().is_some())
        .collect();
    assert_eq!(closing, [false, true].into());
    let holds: Vec<_> = of(b'o')
        .map(|(_, row)| record::read_hold(row.clone()).unwrap())
        .collect();
    assert!(
        holds
            .iter()
            .any(|hold| hold.actor == "ann" && hold.reason == "in court")
    );
}

#[test]
fn a_record_of_a_newer_format_is_refused_whatever_it_is() {
    for format in FORMATS {
        for sample in &samples()[format.name] {
            for newer in [1, 3, 0xFF, 0] {
                let mut record = sample.to_vec();
                record[0] = newer;
                assert_eq!((format.decode)(&record), Ok(false), "{}", format.name);
            }
        }
    }
    let error = record::check_mark(Bytes::from_static(&[3])).unwrap_err();
    let error = error.of("the note that order@v1 is in use");
    assert_eq!(
        error.to_string(),
        "the note that order@v1 is in use has format 3, but this release reads formats up to \
         2; upgrade state-migration"
    );
}

/// What takes the rest of a record, where something does.
fn rest_of(format: &Format, bytes: &[u8]) -> Option<Bytes> {
    let (stream, bytes) = (StreamId::literal("s"), Bytes::copy_from_slice(bytes));
    match format.name {
        "event" => Some(record::read_event(bytes, &stream, 1).ok()?.payload),
        "snapshot" => Some(record::read_snapshot(bytes, &stream).ok()?.state),
        _ => None,
    }
}

#[test]
fn a_record_that_is_cut_is_refused_or_no_json_is_left() {
    for format in FORMATS {
        for sample in &samples()[format.name] {
            for end in 0..sample.len() {
                let cut = &sample[..end];
                if (format.decode)(cut).unwrap() {
                    let rest = rest_of(format, cut).unwrap_or_else(|| panic!("{}", format.name));
                    let json = serde_json::from_slice::<serde_json::Value>(&rest);
                    assert!(json.is_err(), "{} cut at {end}", format.name);
                }
            }
        }
    }
}

/// What a record's own decoder tells, of all bits that can flip in it.
///
/// To see it fail: leave out the check of flags, or read JSON without a look at
/// what was not understood.
#[test]
fn a_bit_flip_is_refused_or_understood_as_a_whole() {
    let mut told = Vec::new();
    for format in FORMATS {
        let (mut flips, mut refused) = (0_u32, 0_u32);
        for sample in &samples()[format.name] {
            // Of a long one, not each: what is long in it is text.
            for bit in (0..sample.len() * 8).step_by(1 + sample.len() / 200) {
                let mut record = sample.to_vec();
                record[bit / 8] ^= 1 << (bit % 8);
                let accepted = (format.decode)(&record)
                    .unwrap_or_else(|why| panic!("{}, bit {bit}: {why}", format.name));
                flips += 1;
                refused += u32::from(!accepted);
            }
        }
        told.push((format.name, refused * 100 / flips));
    }
    for (name, percent) in &told {
        println!("{percent:>3} % of flipped bits are refused by the decoder: {name}");
    }
    // Where every bit is checked, none gets through.
    let whole: Vec<&str> = told
        .iter()
        .filter(|(_, p)| *p == 100)
        .map(|(n, _)| *n)
        .collect();
    for name in [
        "note of a registry key",
        "format of the store",
        "note for a process registry elsewhere",
        "birth",
    ] {
        assert!(whole.contains(&name), "{told:?}");
    }
}

#[test]
fn a_bit_flip_in_a_baseline_is_refused_or_understood_as_a_whole() {
    for payload in baselines() {
        for bit in 0..payload.len() * 8 {
            let mut damaged = payload.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = baseline(&damaged);
            assert!(read.is_ok(), "bit {bit}: {read:?}");
        }
    }
}

/// Bytes to put in place of others.
fn damage() -> impl Strategy<Value = Vec<(usize, usize, Vec<u8>)>> {
    let splice = (
        any::<usize>(),
        0_usize..6,
        proptest::collection::vec(any::<u8>(), 0..6),
    );
    proptest::collection::vec(splice, 1..4)
}

fn damaged(sample: &[u8], damage: &[(usize, usize, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for (at, len, with) in damage {
        let at = at % (bytes.len() + 1);
        let end = (at + len).min(bytes.len());
        bytes.splice(at..end, with.iter().copied());
    }
    bytes
}

proptest! {
    #[test]
    fn damaged_records_are_refused_or_understood_as_a_whole(
        format in 0..FORMATS.len(),
        sample in any::<proptest::sample::Index>(),
        damage in damage(),
    ) {
        let format = &FORMATS[format];
        let samples = &samples()[format.name];
        let bytes = damaged(&samples[sample.index(samples.len())], &damage);
        let read = (format.decode)(&bytes);
        prop_assert!(read.is_ok(), "{}: {read:?}", format.name);
        // A row of one table under a key of another one.
        for other in FORMATS {
            let read = (other.decode)(&bytes);
            prop_assert!(read.is_ok(), "{} as {}: {read:?}", format.name, other.name);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_understood_as_a_whole(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
        is_ours in any::<bool>(),
    ) {
        if is_ours && let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        for format in FORMATS {
            let read = (format.decode)(&bytes);
            prop_assert!(read.is_ok(), "{}: {read:?}", format.name);
        }
        prop_assert!(baseline(&bytes).is_ok());
    }

    #[test]
    fn damaged_keys_are_refused_or_understood_as_a_whole(
        row in any::<proptest::sample::Index>(),
        damage in damage(),
    ) {
        let (key, _) = row.get(frozen());
        let read = keys(&damaged(key, &damage));
        prop_assert!(read.is_ok(), "{read:?}");
    }

    #[test]
    fn damaged_baselines_are_refused_or_understood_as_a_whole(
        sample in any::<proptest::sample::Index>(),
        damage in damage(),
    ) {
        let baselines = baselines();
        let read = baseline(&damaged(&baselines[sample.index(baselines.len())], &damage));
        prop_assert!(read.is_ok(), "{read:?}");
    }
}
