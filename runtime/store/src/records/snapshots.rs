//! The snapshot store.

use async_trait::async_trait;
use state_migration_core::{Error, Snapshot, SnapshotStore, StoreId, StreamId};

use crate::key::PerStream;
use crate::kv::{Kv, KvTxn};
use crate::record;
use crate::records::rows::Rows;
use crate::records::{ROW, RecordStore, read_head};

impl<K: Kv> RecordStore<K> {
    /// Deletes all snapshots and returns their number. No data is lost, because
    /// every state can be folded again.
    ///
    /// # Errors
    /// The store could not be read or written.
    pub async fn delete_all_snapshots(&self) -> Result<u64, Error> {
        const PAGE: usize = 1_000;
        let _write = self.write();
        let mut deleted = 0;
        let mut after: Option<StreamId> = None;
        loop {
            let view = self.kv().view()?;
            let range = PerStream::Snapshot.range("", after.as_ref());
            let mut rows = Rows::scan(&view, range, PAGE * ROW).await?;
            let mut page = Vec::new();
            while page.len() < PAGE {
                let Some((key, _)) = rows.next().await? else {
                    break;
                };
                page.push(PerStream::Snapshot.stream(&key)?);
            }
            let Some(last) = page.last() else { break };
            let streams = &page;
            self.transact(
                "the removal of snapshots up to",
                last.as_str(),
                |mut txn| async move {
                    for stream in streams {
                        txn.delete(PerStream::Snapshot.key(stream))?;
                    }
                    Ok((txn, ()))
                },
            )
            .await?;
            deleted += page.len() as u64;
            after = Some(last.clone());
        }
        self.flush().await?;
        Ok(deleted)
    }
}

#[async_trait]
impl<K: Kv> SnapshotStore for RecordStore<K> {
    async fn save(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let _write = self.write();
        let stream = &snapshot.stream_id;
        self.transact("a snapshot of", stream.as_str(), |mut txn| async move {
            // The head decides, and is not written.
            txn.mark_read(&PerStream::Head.key(stream))?;
            // If the events are in another store, there is no head to check.
            if let Some(head) = read_head(&txn, stream).await? {
                head.check_version(stream, &snapshot.workflow_id)?;
                if snapshot.sequence > head.sequence {
                    return Err(Error::invalid(format!(
                        "a snapshot of {stream} at {} is ahead of the stream, which ends at {}",
                        snapshot.sequence, head.sequence
                    )));
                }
            }
            txn.put(
                PerStream::Snapshot.key(stream),
                record::write_snapshot(snapshot)?,
            )?;
            Ok((txn, ()))
        })
        .await?;
        self.flush().await
    }

    async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, Error> {
        let row = self
            .kv()
            .view()?
            .get(&PerStream::Snapshot.key(stream))
            .await?;
        row.map(|row| {
            record::read_snapshot(row, stream)
                .map_err(|bad| bad.of(format_args!("the snapshot of stream {stream}")))
        })
        .transpose()
    }

    async fn delete(&self, stream: &StreamId) -> Result<(), Error> {
        let _write = self.write();
        self.transact(
            "the removal of a snapshot of",
            stream.as_str(),
            |mut txn| async move {
                txn.delete(PerStream::Snapshot.key(stream))?;
                Ok((txn, ()))
            },
        )
        .await?;
        self.flush().await
    }

    fn store_id(&self) -> Option<StoreId> {
        Some(self.kv().store_id())
    }
}
