//! Scans that verify the end of their range.
//!
//! A row that a scan omits because it ended early would go unnoticed: SlateDB's
//! iterators end early without an error after one of their futures was dropped.
//! Therefore the end of a range is confirmed by a second scan that starts after
//! the last row. Events on a page need no second scan, because the head has
//! their number.

use bytes::Bytes;
use state_migration_core::{Error, ErrorKind};

use crate::key::{self, KeyRange};
use crate::kv::{KvScan, KvTxn};
use crate::records::ROW;

/// All rows of a range, in order.
pub(crate) struct Rows<'a, T: KvTxn> {
    txn: &'a T,
    scan: T::Scan,
    end: Vec<u8>,
    /// The start of the remaining range: the start of the range, or after a
    /// row.
    start: Vec<u8>,
    last: Option<Bytes>,
}

impl<'a, T: KvTxn> Rows<'a, T> {
    /// Scans a range of which about `bytes` will be read.
    pub(crate) async fn scan(txn: &'a T, range: KeyRange, bytes: usize) -> Result<Self, Error> {
        Ok(Self {
            txn,
            scan: txn.scan_part(range.clone(), bytes).await?,
            end: range.end,
            start: range.start,
            last: None,
        })
    }

    /// The next row; `None` only at the confirmed end.
    pub(crate) async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        if let Some(row) = self.scan.next().await? {
            self.last = Some(row.0.clone());
            return Ok(Some(row));
        }
        let mut rest = std::mem::take(&mut self.start);
        if let Some(last) = &self.last {
            rest.clear();
            rest.extend_from_slice(last);
            rest.push(0);
        }
        let rest = rest..self.end.clone();
        if rest.is_empty() {
            return Ok(None);
        }
        self.start.clone_from(&rest.start);
        let mut again = self.txn.scan_part(rest, ROW).await?;
        let Some(row) = again.next().await? else {
            return Ok(None);
        };
        if self.txn.is_of_one_instant() {
            return Err(ended_early(self.last.as_deref(), &row.0));
        }
        // The row may have been written since the first scan began.
        self.scan = again;
        self.last = Some(row.0.clone());
        Ok(Some(row))
    }
}

/// The error for a scan that omitted a row.
pub(crate) fn ended_early(last: Option<&[u8]>, next: &[u8]) -> Error {
    let after = last.map(|last| format!(" after {}", key::name(last)));
    let after = after.unwrap_or_default();
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "a scan of the store ended early{after}, although {} follows; read again, or resume the run",
            key::name(next)
        ),
    )
}
