//! Every format of what a store holds, for tests that decode damaged bytes, and
//! for `fuzz/`. A format that is added to the store is added here, and to a
//! frozen store; tests find either missing.
//!
//! A decoder accepts only records that it understands completely: encoded again, they
//! are the same bytes or, for JSON, contain at least the same. A damaged record that is
//! accepted is then another valid record of this crate, and only the checksum of the
//! block around it can detect that.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use state_migration_control_socket::protocol;
use state_migration_core::event::BASELINE_SCHEMA;
use state_migration_core::store_api::claim::{Claim, Closed};
use state_migration_core::store_api::row::{self, BadRecord};
use state_migration_core::{NewEvent, StreamId, WorkflowId, baseline};
use state_migration_runner::run::rows::{FailureRow, Number, RangeRow};
use state_migration_runner::run::suspects::SuspectRow;
use state_migration_runner::run::undone::UndoneRow;
use state_migration_runner::{Execution, HoldAction, RunAction, RunCounts, RunRecord};
use state_migration_store::{key, record};

/// A format of records, and where they are.
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// What the keys of its records start with; of bookkeeping, with its table.
    pub table: &'static [u8],
    /// Decodes bytes; whether they were accepted, or what was accepted wrongly.
    pub decode: fn(&[u8]) -> Result<bool, String>,
}

/// All formats.
pub const FORMATS: &[Format] = &[
    Format {
        name: "birth",
        table: b"b",
        decode: mark,
    },
    Format {
        name: "event",
        table: b"e",
        decode: event,
    },
    Format {
        name: "head",
        table: b"h",
        decode: |bytes| binary(bytes, record::read_head, |head| record::write_head(&head)),
    },
    Format {
        name: "note of a registry key",
        table: b"k",
        decode: mark,
    },
    Format {
        name: "format of the store",
        table: b"mformat",
        decode: |bytes| {
            binary(bytes, record::check_store_format, |()| {
                Ok(record::store_format())
            })
        },
    },
    Format {
        name: "id of the store",
        table: b"mid",
        decode: |bytes| {
            binary(bytes, record::read_store_id, |id| {
                Ok(record::write_store_id(id))
            })
        },
    },
    Format {
        name: "note for a process registry elsewhere",
        table: b"p",
        decode: mark,
    },
    Format {
        name: "hold",
        table: b"o",
        decode: |bytes| binary(bytes, record::read_hold, |hold| record::write_hold(&hold)),
    },
    Format {
        name: "registry entry",
        table: b"r",
        decode: |bytes| {
            binary(bytes, record::read_entry, |(tenant, processes)| {
                record::write_entry(&tenant, &processes)
            })
        },
    },
    Format {
        name: "snapshot",
        table: b"s",
        decode: |bytes| {
            let read = |bytes| record::read_snapshot(bytes, &StreamId::literal("s"));
            binary(bytes, read, |snapshot| record::write_snapshot(&snapshot))
        },
    },
    Format {
        name: "claim",
        table: b"uc",
        decode: json::<Claim>,
    },
    Format {
        name: "request to a run",
        table: b"ua",
        decode: json::<RunAction>,
    },
    Format {
        name: "hold or release",
        table: b"uh",
        decode: json::<HoldAction>,
    },
    Format {
        name: "suspect",
        table: b"ud",
        decode: json::<SuspectRow>,
    },
    Format {
        name: "mark of the last writer",
        table: b"ue",
        decode: json::<Closed>,
    },
    Format {
        name: "failure",
        table: b"uf",
        decode: json::<FailureRow>,
    },
    Format {
        name: "range",
        table: b"ug",
        decode: json::<RangeRow>,
    },
    Format {
        name: "count of processes migrated as they were opened",
        table: b"ul",
        decode: json::<RunCounts>,
    },
    Format {
        name: "number of runs",
        table: b"un",
        decode: json::<Number>,
    },
    Format {
        name: "undone routes",
        table: b"uu",
        decode: json::<UndoneRow>,
    },
    Format {
        name: "execution of a run",
        table: b"ux",
        decode: json::<Execution>,
    },
    Format {
        name: "run",
        table: b"ur",
        decode: json::<RunRecord>,
    },
    Format {
        name: "presence of a version",
        table: b"w",
        decode: |bytes| {
            binary(bytes, record::read_presence, |closing| {
                Ok(record::write_presence(closing))
            })
        },
    },
];

impl Format {
    /// The format of the record under a key.
    pub fn of(key: &[u8]) -> Option<&'static Self> {
        FORMATS.iter().find(|format| key.starts_with(format.table))
    }
}

fn binary<T>(
    bytes: &[u8],
    read: impl FnOnce(Bytes) -> Result<T, BadRecord>,
    write: impl FnOnce(T) -> Result<Vec<u8>, state_migration_core::Error>,
) -> Result<bool, String> {
    let Ok(read) = read(Bytes::copy_from_slice(bytes)) else {
        return Ok(false);
    };
    match write(read) {
        Ok(again) if again == bytes => Ok(true),
        Ok(again) => Err(format!("written again it is {again:?}")),
        Err(error) => Err(format!("it cannot be written again: {error}")),
    }
}

fn mark(bytes: &[u8]) -> Result<bool, String> {
    binary(bytes, record::check_mark, |()| Ok(record::mark()))
}

/// An event, as it is read whole and as a chunk reads it; of a `$migrated` one
/// also the baseline in it.
fn event(bytes: &[u8]) -> Result<bool, String> {
    let stream = StreamId::literal("s");
    let read = |bytes| record::read_event(bytes, &stream, 1);
    let accepted = binary(bytes, read, |event| {
        let time = event.time;
        record::write_event(&NewEvent::of_record(event), time)
    })?;
    let Ok(event) = read(Bytes::copy_from_slice(bytes)) else {
        return Ok(accepted);
    };
    let stands_at = &event.workflow_id;
    let view = record::read_chunk_event(Bytes::copy_from_slice(bytes), 1, Some(stands_at))
        .map_err(|bad| format!("a chunk does not read it: {bad:?}"))?;
    let same = view.event_type == event.event_type
        && view.schema_version == event.schema_version
        && view.payload == event.payload;
    if !same {
        return Err("a chunk reads it as another event".to_owned());
    }
    if event.event_type == state_migration_core::MIGRATED {
        return baseline(&event.payload);
    }
    Ok(true)
}

/// The payload of a `$migrated` event.
///
/// # Errors
/// What was accepted wrongly.
pub fn baseline(bytes: &[u8]) -> Result<bool, String> {
    let whole = baseline::parse(BASELINE_SCHEMA, bytes);
    let Ok(whole) = whole else {
        return Ok(false);
    };
    let state = baseline::state_of(BASELINE_SCHEMA, bytes, whole.state_schema_version);
    if state.ok() != Some(whole.state.get()) {
        return Err("a replay reads another state in it".to_owned());
    }
    let again = whole.to_payload().map_err(|error| error.to_string())?;
    says_all(bytes, &again)?;
    Ok(true)
}

fn json<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<bool, String> {
    let Ok(read) = row::read::<T>(Bytes::copy_from_slice(bytes), "it") else {
        return Ok(false);
    };
    let again = row::write(&read).map_err(|error| error.to_string())?;
    says_all(&bytes[1..], &again[1..])?;
    Ok(true)
}

/// Checks that all that one JSON text says, the other one says too.
fn says_all(said: &[u8], again: &[u8]) -> Result<(), String> {
    let parse = |json| serde_json::from_slice::<Value>(json).map_err(|error| error.to_string());
    let (said, again) = (parse(said)?, parse(again)?);
    let mut facts = Vec::new();
    collect(&said, "", &mut facts);
    match facts
        .iter()
        .find(|(path, value)| again.pointer(path) != Some(value))
    {
        None => Ok(()),
        Some((path, _)) => Err(format!("{path:?} was not understood")),
    }
}

/// The leaves of a JSON value, each with the way to it.
fn collect(value: &Value, path: &str, facts: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect(value, &format!("{path}/{name}"), facts);
            }
        }
        Value::Array(values) if !values.is_empty() => {
            for (number, value) in values.iter().enumerate() {
                collect(value, &format!("{path}/{number}"), facts);
            }
        }
        leaf => facts.push((path.to_owned(), leaf.clone())),
    }
}

/// Keys, of every table.
///
/// # Errors
/// What was accepted wrongly.
pub fn keys(bytes: &[u8]) -> Result<bool, String> {
    let _ = key::name(bytes);
    let mut accepted = false;
    let mut same = |again: Vec<u8>| {
        accepted = true;
        match again == bytes {
            true => Ok(()),
            false => Err(format!("made again it is {again:?}")),
        }
    };
    for (table, start) in [
        (key::PerStream::Head, b'h'),
        (key::PerStream::Snapshot, b's'),
        (key::PerStream::PendingRegistryUpdate, b'p'),
    ] {
        if bytes.first() == Some(&start)
            && let Ok(stream) = table.stream(bytes)
        {
            same(table.key(&stream))?;
        }
    }
    if bytes.first() == Some(&b'k')
        && let Ok((stream, registry_key)) = key::key_of_parts(bytes)
    {
        same(key::key_of(&stream, &registry_key))?;
    }
    if bytes.first() == Some(&b'w')
        && let Ok(version) = key::presence_version(bytes)
    {
        same(key::presence(&version))?;
    }
    let version = WorkflowId::from_static("order", "v1");
    if bytes.starts_with(
        &key::birth(&version, 0, &StreamId::literal("s"))[..b"border\0\x01v1\0\x01".len()],
    ) && let Ok((round, stream)) = key::read_birth(bytes, &version)
    {
        same(key::birth(&version, round, &stream))?;
    }
    Ok(accepted)
}

/// A line that a client of the control socket sends.
#[must_use]
pub fn request(line: &[u8]) -> bool {
    protocol::request(line).is_ok()
}

#[cfg(test)]
mod tests;
