//! Rows of a range up to its end, and knowing that it was the end.
//!
//! What a scan leaves out because it ended early, nobody would miss: SlateDB's
//! iterators do that where a future of theirs was dropped, without an error. So
//! where a scan says that a range is over, another one that starts after the last
//! row has to say so too. Events in a page need no second scan: the head has their
//! number.

use bytes::Bytes;

use crate::key::{self, KeyRange};
use crate::kv::{KvScan, KvTxn};
use crate::records::ROW;
use state_migration_core::{Error, ErrorKind};

/// The rows of a range, in order, all of them.
pub(crate) struct Rows<'a, T: KvTxn> {
    txn: &'a T,
    scan: T::Scan,
    end: Vec<u8>,
    /// Where what is left starts: at the start of the range, or after a row.
    start: Vec<u8>,
    last: Option<Bytes>,
}

impl<'a, T: KvTxn> Rows<'a, T> {
    /// For one who will read about so many bytes of the range.
    pub(crate) async fn scan(txn: &'a T, range: KeyRange, bytes: usize) -> Result<Self, Error> {
        Ok(Self {
            txn,
            scan: txn.scan_part(range.clone(), bytes).await?,
            end: range.end,
            start: range.start,
            last: None,
        })
    }

    /// The next row; `None` where there is none for certain.
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
        // It may have been written since the first scan began.
        self.scan = again;
        self.last = Some(row.0.clone());
        Ok(Some(row))
    }
}

/// A scan that left out a row.
pub(crate) fn ended_early(last: Option<&[u8]>, next: &[u8]) -> Error {
    let after = last.map(|last| format!(" after {}", key::name(last)));
    let after = after.unwrap_or_default();
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "a scan of the store ended early{after}, although {} is there; nothing was concluded from it, so read again, or resume the run",
            key::name(next)
        ),
    )
}
