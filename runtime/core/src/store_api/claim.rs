//! The claim of a run on a store: written by runs, and read when a store is
//! opened.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;
use crate::id::RunId;
use crate::store_api::{Program, TransactionalStore, row};
use crate::time::Timestamp;

/// The key of the claim row.
pub const CLAIM: &[u8] = b"c";

/// The key of the row that records that the last writer closed the store.
pub const CLOSED: &[u8] = b"e";

/// The right to write to a store as its runner.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Claim {
    pub holder: Option<Holder>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub run: RunId,
    /// Unique for each time that a run is started or resumed.
    pub execution: Uuid,
    /// The program that executes the run.
    pub program: Program,
}

impl Holder {
    /// Whether the program of the run is not known to have ended.
    #[must_use]
    pub fn may_be_alive(&self) -> bool {
        !self.program.has_ended()
    }
}

/// The record that the writer of an epoch closed the store: while the database
/// is at that epoch, no program has it open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    pub epoch: u64,
}

/// The mark of a program that opens, or has opened, a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    pub epoch: u64,
    pub program: Program,
    /// The location, so that a copy of a store does not count as open.
    pub place: String,
    /// The identity of the folder, which has one under all of its paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    pub opened: Timestamp,
    /// Whether the attempt failed.
    #[serde(default)]
    pub failed: bool,
    /// Number of the file of the log that SlateDB wrote for this opening, an empty one.
    /// All later files of the log are of this program, and none of them is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
}

/// Decodes the claim row; without a row the store is unclaimed.
pub fn read(row: Option<Bytes>) -> Result<Claim, Error> {
    row.map_or_else(
        || Ok(Claim::default()),
        |row| row::read(row, "the claim of a run on the store"),
    )
}

/// The holder of the claim on a store.
pub async fn holder(store: &dyn TransactionalStore) -> Result<Option<Holder>, Error> {
    let row = store.rows(CLAIM, None, 1).await?;
    Ok(read(row.into_iter().next().map(|(_, row)| row))?.holder)
}

/// The message for a new run while another run is interrupted.
pub fn interrupted_by(run: RunId) -> String {
    format!(
        "run {run} was interrupted and claims the store until it is resumed; resume the run, or take over the store for a new run"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_on_disk_are_these() {
        assert_eq!((CLAIM, CLOSED), (&b"c"[..], &b"e"[..]));
        let text = |row: Vec<u8>| {
            assert_eq!(row[0], 2);
            String::from_utf8(row[1..].to_vec()).unwrap()
        };
        let program = r#"{"id":"00000000-0000-0000-0000-000000000005","name":"loans","pid":7,"host":"db3","user":"ann","machine":"boot pid:[1]","start":9}"#;
        let program: Program = serde_json::from_str(program).unwrap();
        let claim = Claim {
            holder: Some(Holder {
                run: RunId::from_uuid(Uuid::from_u128(0x0102)),
                execution: Uuid::from_u128(4),
                program: program.clone(),
            }),
        };
        assert_eq!(
            text(row::write(&claim).unwrap()),
            r#"{"holder":{"run":"00000000-0000-0000-0000-000000000102","execution":"00000000-0000-0000-0000-000000000004","program":{"id":"00000000-0000-0000-0000-000000000005","name":"loans","pid":7,"host":"db3","user":"ann","machine":"boot pid:[1]","start":9}}}"#
        );
        let mut opening = Opening {
            epoch: 7,
            program,
            place: "/data/loans".to_owned(),
            folder: None,
            opened: Timestamp::from_micros(8),
            failed: false,
            fence: None,
        };
        assert_eq!(
            text(row::write(&opening).unwrap()),
            r#"{"epoch":7,"program":{"id":"00000000-0000-0000-0000-000000000005","name":"loans","pid":7,"host":"db3","user":"ann","machine":"boot pid:[1]","start":9},"place":"/data/loans","opened":8,"failed":false}"#
        );
        opening.fence = Some(31);
        let written = text(row::write(&opening).unwrap());
        assert!(
            written.ends_with(r#","failed":false,"fence":31}"#),
            "{written}"
        );
        let closed = Closed { epoch: 7 };
        assert_eq!(text(row::write(&closed).unwrap()), r#"{"epoch":7}"#);
    }

    #[test]
    fn a_row_of_a_newer_format_is_refused() {
        let error = read(Some(Bytes::from_static(b"\x03{}"))).unwrap_err();
        assert_eq!(error.kind(), &crate::ErrorKind::NewerFormat);
        let error = read(Some(Bytes::from_static(b"\x02{"))).unwrap_err();
        assert_eq!(error.kind(), &crate::ErrorKind::Corrupt);
        assert!(
            error
                .to_string()
                .starts_with("the claim of a run on the store cannot be read")
        );
    }
}
