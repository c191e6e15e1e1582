//! Snapshots: one for each stream.

use async_trait::async_trait;
use rusqlite::named_params;
use state_migration::{Error, Snapshot, SnapshotStore, StoreId, StreamId};

use crate::SqliteStore;
use crate::convert::{self, integer, number, read_head};

#[async_trait]
impl SnapshotStore for SqliteStore {
    async fn save(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let snapshot = snapshot.clone();
        self.write(move |transaction| {
            let stream = &snapshot.stream_id;
            if let Some(head) = read_head(transaction, stream)? {
                head.check_version(stream, &snapshot.workflow_id)?;
            }
            transaction.execute(
                "INSERT OR REPLACE INTO snapshots \
                 VALUES (:stream, :sequence, :name, :version, :schema, :state)",
                named_params! {
                    ":stream": stream.as_str(),
                    ":sequence": integer(snapshot.sequence),
                    ":name": snapshot.workflow_id.name(),
                    ":version": snapshot.workflow_id.version(),
                    ":schema": snapshot.state_schema_version,
                    ":state": &snapshot.state[..],
                },
            )?;
            Ok(())
        })
        .await
    }

    async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, Error> {
        let stream = stream.clone();
        self.read(move |transaction| {
            let mut query =
                transaction.prepare_cached("SELECT * FROM snapshots WHERE stream = ?1")?;
            let mut rows = query.query([stream.as_str()])?;
            let Some(row) = rows.next()? else {
                return Ok(None);
            };
            let state: Vec<u8> = row.get("state")?;
            Ok(Some(Snapshot {
                stream_id: stream.clone(),
                sequence: number(row, "sequence")?,
                workflow_id: convert::version(row)?,
                state_schema_version: row.get("schema")?,
                state: state.into(),
            }))
        })
        .await
    }

    async fn delete(&self, stream: &StreamId) -> Result<(), Error> {
        let stream = stream.clone();
        self.write(move |transaction| {
            transaction.execute("DELETE FROM snapshots WHERE stream = ?1", [stream.as_str()])?;
            Ok(())
        })
        .await
    }

    fn store_id(&self) -> Option<StoreId> {
        Some(self.shared.id)
    }
}
