//! The writes of a floor: the rows that a migration writes for each process, of the
//! same average size, and finally the remaining rows.

use std::sync::Mutex;

use slatedb::{Db, DbTransaction, WriteBatch};

use crate::layout::Row;
use crate::wal_rows::Written;

/// The new state of a stream: its key without the table, and JSON.
pub type State = (Vec<u8>, Vec<u8>);

pub struct Write {
    target: Written,
    event: usize,
    head: usize,
    /// Keys and bytes written.
    done: Mutex<(u64, u64)>,
}

impl Write {
    pub fn new(target: &Written, processes: usize) -> Self {
        assert_eq!(target.table(b'e').keys, processes as u64);
        Self {
            event: target.value(b'e'),
            head: target.value(b'h'),
            target: target.clone(),
            done: Mutex::default(),
        }
    }

    pub async fn batch(&self, db: &Db, states: &[State]) {
        if states.is_empty() {
            return;
        }
        let mut batch = WriteBatch::new();
        self.rows(states, |(key, value)| {
            batch.put_bytes(key.into(), value.into());
        });
        db.write(batch).await.expect("a write");
    }

    pub fn put(&self, txn: &DbTransaction, states: &[State]) {
        self.rows(states, |(key, value)| {
            txn.put(key, value).expect("a write");
        });
    }

    /// The rows of some states.
    fn rows(&self, states: &[State], mut row: impl FnMut(Row)) {
        let (mut keys, mut bytes) = (0, 0);
        let mut row = |key: Vec<u8>, value: Vec<u8>| {
            keys += 1;
            bytes += (key.len() + value.len()) as u64;
            row((key, value));
        };
        for (stream, state) in states {
            let mut event = vec![b' '; self.event.saturating_sub(state.len())];
            event.extend_from_slice(state);
            event.truncate(self.event);
            let key = [b"e", &stream[..], &11u64.to_be_bytes()].concat();
            row(key, event);
            row([b"h", &stream[..]].concat(), vec![1; self.head]);
        }
        let mut done = self.done.lock().expect("a lock");
        done.0 += keys;
        done.1 += bytes;
    }

    /// Writes the remaining rows, which a run writes for its bookkeeping.
    pub async fn rest(&self, db: &Db) {
        let (keys, bytes) = *self.done.lock().expect("a lock");
        let (all_keys, all_bytes) = (self.target.keys(), self.target.bytes());
        assert!(
            keys <= all_keys && bytes <= all_bytes,
            "the floor writes too much: {keys} of {all_keys} keys, {bytes} of {all_bytes} bytes"
        );
        let (keys, mut bytes) = (all_keys - keys, all_bytes - bytes);
        let mut batch = WriteBatch::new();
        for left in (1..=keys).rev() {
            let key = format!("u{left:08}").into_bytes();
            let value = (bytes / left).saturating_sub(key.len() as u64);
            bytes -= key.len() as u64 + value;
            batch.put_bytes(key.into(), vec![b'-'; value as usize].into());
        }
        assert!(keys == 0 || bytes == 0, "{bytes} bytes are left");
        if keys > 0 {
            db.write(batch).await.expect("a write");
        }
    }
}
