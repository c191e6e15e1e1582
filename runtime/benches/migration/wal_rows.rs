//! The rows written to a store, read from its write-ahead log.

use slatedb::{ValueDeletable, WalReader};

use crate::location::Place;

/// The tables with the bookkeeping of the runner and the store.
const BOOKKEEPING: &[u8] = b"muw";

/// Number and bytes of rows written to, or removed from, a table.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows {
    pub keys: u64,
    pub key_bytes: u64,
    pub value_bytes: u64,
}

/// The rows written to a store, by table.
#[derive(Debug, Clone)]
pub struct Written {
    put: [Rows; 256],
    removed: [Rows; 256],
}

impl Default for Written {
    fn default() -> Self {
        Self {
            put: [Rows::default(); 256],
            removed: [Rows::default(); 256],
        }
    }
}

impl Written {
    fn all(&self) -> impl Iterator<Item = (u8, &Rows)> {
        let put = (0..=u8::MAX).zip(&self.put);
        put.chain((0..=u8::MAX).zip(&self.removed))
    }

    pub fn keys(&self) -> u64 {
        self.all().map(|(_, rows)| rows.keys).sum()
    }

    pub fn bytes(&self) -> u64 {
        let bytes = |(_, rows): (u8, &Rows)| rows.key_bytes + rows.value_bytes;
        self.all().map(bytes).sum()
    }

    /// The number of keys outside of the bookkeeping.
    pub fn keys_of_processes(&self) -> u64 {
        let theirs = self.all().filter(|(table, _)| !BOOKKEEPING.contains(table));
        theirs.map(|(_, rows)| rows.keys).sum()
    }

    /// The rows put into a table.
    pub fn table(&self, table: u8) -> Rows {
        self.put[usize::from(table)]
    }

    /// Average length of the values put into a table.
    pub fn value(&self, table: u8) -> usize {
        let rows = self.table(table);
        rows.value_bytes.checked_div(rows.keys).unwrap_or(0) as usize
    }

    fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        let tables = if value.is_some() {
            &mut self.put
        } else {
            &mut self.removed
        };
        let rows = &mut tables[usize::from(key[0])];
        rows.keys += 1;
        rows.key_bytes += key.len() as u64;
        rows.value_bytes += value.map_or(0, |value| value.len() as u64);
    }
}

/// The id of the newest file of the write-ahead log.
pub async fn log_position(place: &Place) -> u64 {
    let log = WalReader::new(place.path(), place.object_store());
    let files = log.list(..).await.expect("a list");
    files.last().map_or(0, |file| file.id)
}

/// The rows in the write-ahead log after a position.
pub async fn written_after(place: &Place, position: u64) -> Written {
    let log = WalReader::new(place.path(), place.object_store());
    let mut written = Written::default();
    for file in log.list(position + 1..).await.expect("a list") {
        let mut rows = file.iterator().await.expect("a file");
        while let Some(row) = rows.next().await.expect("a row") {
            let value = match &row.value {
                ValueDeletable::Value(value) => Some(&value[..]),
                ValueDeletable::Merge(_) => unreachable!("nothing is merged"),
                ValueDeletable::Tombstone => None,
            };
            written.add(&row.key, value);
        }
    }
    written
}
