//! The claim of a run on a store: written by runs, and read when a store is
//! opened.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;
use crate::id::RunId;
use crate::store_api::{TransactionalStore, row};

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
    /// Unique for each process of the operating system.
    pub program: Uuid,
}

/// The record that the writer of an epoch closed the store: while the database
/// is at that epoch, no program has it open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    pub epoch: u64,
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
        let claim = Claim {
            holder: Some(Holder {
                run: RunId::from_uuid(Uuid::from_u128(0x0102)),
                execution: Uuid::from_u128(4),
                program: Uuid::from_u128(5),
            }),
        };
        assert_eq!(
            text(row::write(&claim).unwrap()),
            r#"{"holder":{"run":"00000000-0000-0000-0000-000000000102","execution":"00000000-0000-0000-0000-000000000004","program":"00000000-0000-0000-0000-000000000005"}}"#
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
