//! The heads of many streams, read in one pass to inspect a whole store.

use state_migration_core::{Error, Head, StreamId, StreamRange};

use crate::key::PerStream;
use crate::kv::Kv;
use crate::records::rows::Rows;
use crate::records::{ROW, RecordStore, decode_head};

impl<K: Kv> RecordStore<K> {
    /// At most `limit` streams of a range, in order, each with its head or with
    /// the error of reading it. Fewer than `limit` means the end.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), state_migration::Error> {
    /// use state_migration::{MemoryStore, StreamRange};
    ///
    /// let store = MemoryStore::new();
    /// for (stream, head) in store.heads(&StreamRange::default(), 512).await? {
    ///     println!("{stream} is at {}", head?.workflow_id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn heads(
        &self,
        range: &StreamRange,
        limit: usize,
    ) -> Result<Vec<(StreamId, Result<Head, Error>)>, Error> {
        let range = PerStream::Head.within(range);
        let bytes = limit.saturating_mul(ROW);
        let view = self.kv().view()?;
        let mut rows = Rows::scan(&view, range, bytes).await?;
        let mut heads = Vec::new();
        while heads.len() < limit {
            let Some((row_key, row)) = rows.next().await? else {
                break;
            };
            let stream = PerStream::Head.stream(&row_key)?;
            let head = decode_head(row, &stream);
            heads.push((stream, head));
        }
        Ok(heads)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use crate::kv::KvTxn;
    use state_migration_core::{EventStore, ExpectedSequence, NewEvent, WorkflowId};

    fn stream(id: &str) -> StreamId {
        StreamId::new(id).unwrap()
    }

    #[tokio::test]
    async fn heads_are_paged_in_order_and_one_that_is_damaged_hides_no_other() {
        let store = MemoryStore::new();
        for id in ["a", "b", "b/1", "c"] {
            let event = |last: bool| {
                let version = WorkflowId::new("order", id.len().to_string());
                let event = NewEvent::new(version, "OrderPlaced", 1, "{}").unwrap();
                event.finishing(last && id == "b")
            };
            let events = vec![event(false), event(true)];
            store
                .append(&stream(id), ExpectedSequence::NoStream, events)
                .await
                .unwrap();
        }
        let mut txn = store.kv().begin().unwrap();
        txn.put(PerStream::Head.key(&stream("b/1")), vec![1, 2])
            .unwrap();
        txn.commit().await.unwrap();

        let mut seen = Vec::new();
        let mut range = StreamRange::default();
        loop {
            let page = store.heads(&range, 3).await.unwrap();
            let at_end = page.len() < 3;
            for (stream, head) in page {
                let stands = head.map(|head| (head.workflow_id.to_string(), head.finished));
                seen.push((stream.to_string(), stands.map_err(|e| e.kind().clone())));
                range.after = Some(stream);
            }
            if at_end {
                break;
            }
        }
        let at = |id: &str, version: &str, over| (id.into(), Ok((version.into(), over)));
        assert_eq!(
            seen,
            [
                at("a", "order@1", false),
                at("b", "order@1", true),
                ("b/1".into(), Err(state_migration_core::ErrorKind::Corrupt)),
                at("c", "order@1", false),
            ]
        );

        let range = StreamRange {
            after: Some(stream("a")),
            through: Some(stream("b/1")),
        };
        let within = store.heads(&range, 9).await.unwrap();
        let within: Vec<&str> = within.iter().map(|(stream, _)| stream.as_str()).collect();
        assert_eq!(within, ["b", "b/1"]);
        let none = StreamRange {
            after: Some(stream("c")),
            through: Some(stream("a")),
        };
        assert!(store.heads(&none, 9).await.unwrap().is_empty());
    }
}
