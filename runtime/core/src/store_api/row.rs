//! The format byte at the start of every record, and rows with JSON after it.

use bytes::{Buf, Bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};

/// The format of every record that this version writes.
pub const FORMAT: u8 = 2;

/// The format of an earlier version, which was never released.
pub const UNRELEASED: u8 = 1;

/// A problem with a record, before its kind is known.
#[derive(Debug, PartialEq, Eq)]
pub enum BadRecord {
    Newer(u8),
    Unreleased,
    Malformed(&'static str),
}

impl BadRecord {
    /// The error for the record described by `what`, such as "the head of
    /// stream …".
    pub fn of(self, what: impl std::fmt::Display) -> Error {
        match self {
            Self::Newer(format) => Error::new(
                ErrorKind::NewerFormat,
                format!(
                    "{what} has format {format}, but this release reads formats up to {FORMAT}; upgrade state-migration"
                ),
            ),
            Self::Unreleased => Error::invalid(format!(
                "{what} has format {UNRELEASED}, which no release of this crate wrote; import its events into a new store"
            )),
            Self::Malformed(why) => Error::corrupt(format!(
                "{what} cannot be read: {why}; restore the record from a backup (nothing was changed)"
            )),
        }
    }
}

pub fn start(record: &mut Bytes) -> Result<(), BadRecord> {
    match record
        .try_get_u8()
        .map_err(|_| BadRecord::Malformed("too short"))?
    {
        FORMAT => Ok(()),
        0 => Err(BadRecord::Malformed("format 0 does not exist")),
        UNRELEASED => Err(BadRecord::Malformed("format 1 was never released")),
        newer => Err(BadRecord::Newer(newer)),
    }
}

/// Encodes a row that is rarely written and that people may read: the format
/// byte, then JSON.
pub fn write(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut record = vec![FORMAT];
    serde_json::to_writer(&mut record, value)
        .map_err(|e| Error::invalid("a record of a run cannot be serialized").with_source(e))?;
    Ok(record)
}

/// Decodes such a row; `what` describes it in the error. A field with an
/// unknown name is rejected, because the name may be damaged.
pub fn read<T: Serialize + DeserializeOwned>(
    mut record: Bytes,
    what: impl std::fmt::Display,
) -> Result<T, Error> {
    if let Err(bad) = start(&mut record) {
        return Err(bad.of(what));
    }
    match understood(&record) {
        Ok(Some(read)) => Ok(read),
        Ok(None) => Err(BadRecord::Malformed(
            "unknown content; upgrade state-migration if a newer release wrote it",
        )
        .of(what)),
        Err(error) => Err(BadRecord::Malformed("unexpected JSON")
            .of(what)
            .with_source(error)),
    }
}

/// The decoded value; `None` if the text contains more than the value.
fn understood<T: Serialize + DeserializeOwned>(
    json: &[u8],
) -> Result<Option<T>, serde_json::Error> {
    let read: T = serde_json::from_slice(json)?;
    // A row of an earlier version may have fewer fields.
    let all = serde_json::to_vec(&read)? == json
        || holds(
            &serde_json::to_value(&read)?,
            &serde_json::from_slice(json)?,
        );
    Ok(all.then_some(read))
}

/// Whether a value contains everything that another one does.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_row_is_its_format_and_json() {
        assert_eq!(write(&7).unwrap(), b"\x027");
        assert_eq!(read::<u64>(Bytes::from_static(b"\x027"), "it").unwrap(), 7);
    }

    proptest! {
        #[test]
        fn no_noise_makes_a_reader_panic(noise: Vec<u8>) {
            let _ = read::<Vec<u64>>(noise.into(), "it");
        }
    }
}
