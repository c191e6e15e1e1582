//! What a runner needs: the index of versions, chunks, and notes to a process
//! registry elsewhere.

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::id::{StreamId, WorkflowId};
use crate::store::key::{self, PerStream};
use crate::store::kv::{Kv, KvTxn};
use crate::store::records::chunk::RecordChunk;
use crate::store::records::events::mark_present;
use crate::store::records::rows::Rows;
use crate::store::records::{ROW, RecordStore};
use crate::store::{
    AtVersion, Chunk, ChunkRequest, Split, StoreId, StreamRange, Traffic, TransactionalStore,
    record,
};

/// How many streams `split` keeps while it looks for even ranges.
const SAMPLES: usize = 1_024;

/// How much is read at a time where removed rows are to be expected.
const REMOVED: usize = 256 << 10;

/// So many streams are read one by one to split them, and no more if files tell.
const FEW: usize = 8_192;

#[async_trait]
impl<K: Kv> TransactionalStore for RecordStore<K> {
    fn store_id(&self) -> StoreId {
        self.kv().store_id()
    }

    async fn versions(&self, name: &str) -> Result<Vec<WorkflowId>, Error> {
        let presences = key::presences(name);
        let view = self.kv().view()?;
        let mut rows = Rows::scan(&view, presences, ROW).await?;
        let mut versions = Vec::new();
        while let Some((row_key, row)) = rows.next().await? {
            let version = key::presence_version(&row_key)?;
            record::check_mark(row)
                .map_err(|bad| bad.of(format_args!("the note that {version} is in use")))?;
            versions.push(version);
        }
        versions.sort();
        Ok(versions)
    }

    async fn split(
        &self,
        versions: &[WorkflowId],
        parts: usize,
        at_least: usize,
    ) -> Result<Split, Error> {
        let mut exact = Samples::default();
        // Asked once: that is dear, and what they do not tell now they do not tell later.
        let mut may_ask_files = true;
        for version in versions {
            let before = exact.rows;
            let all = key::versions(version, &StreamRange::default());
            let view = self.kv().view()?;
            let mut rows = Rows::scan(&view, all, FEW * ROW).await?;
            while let Some((row_key, _)) = rows.next().await? {
                let stream = key::version_stream(&row_key, version)?;
                exact.add(1, || Some(stream));
                if exact.rows > FEW as u64
                    && std::mem::take(&mut may_ask_files)
                    && let Some(about) = self.sample_files(versions).await?
                {
                    return Ok(about.split(parts, at_least));
                }
            }
            exact.of_each.push(exact.rows - before);
        }
        Ok(exact.split(parts, at_least))
    }

    async fn streams_at(
        &self,
        version: &WorkflowId,
        range: &StreamRange,
        limit: usize,
    ) -> Result<Vec<AtVersion>, Error> {
        let view = self.kv().view()?;
        let range = key::versions(version, range);
        let mut rows = Rows::scan(&view, range, limit.saturating_mul(ROW)).await?;
        let mut processes = Vec::new();
        while processes.len() < limit {
            let Some((row_key, row)) = rows.next().await? else {
                break;
            };
            let stream = key::version_stream(&row_key, version)?;
            let decision = record::read_decision(row).map_err(|bad| {
                bad.of(format_args!(
                    "the entry of {stream} in the index of {version}"
                ))
            })?;
            processes.push(AtVersion { stream, decision });
        }
        Ok(processes)
    }

    async fn begin(&self, request: ChunkRequest) -> Result<Box<dyn Chunk>, Error> {
        Ok(Box::new(RecordChunk::read(self, request).await?))
    }

    async fn announce(&self, versions: &[WorkflowId]) -> Result<(), Error> {
        let Some(last) = versions.last() else {
            return Ok(());
        };
        let what = last.to_string();
        self.transact("the announcement of", &what, |mut txn| async move {
            for version in versions {
                mark_present(&mut txn, version).await?;
            }
            Ok((txn, ()))
        })
        .await
    }

    async fn retire(&self, version: &WorkflowId, left: Option<u64>) -> Result<bool, Error> {
        let what = version.to_string();
        let empty = self
            .transact("the retirement of", &what, |mut txn| async move {
                let all = key::versions(version, &StreamRange::default());
                // Asked after the transaction began: who came before is counted,
                // and who comes later conflicts with the scan.
                let none_came = left.is_some() && self.arrivals(version) == left;
                let bytes = if none_came { ROW } else { REMOVED };
                let mut rows = Rows::scan(&txn, all, bytes).await?;
                let empty = none_came || rows.next().await?.is_none();
                drop(rows);
                if empty {
                    txn.delete(key::presence(version))?;
                }
                Ok((txn, empty))
            })
            .await?;
        self.kv().flush().await?;
        Ok(empty)
    }

    fn arrivals(&self, version: &WorkflowId) -> Option<u64> {
        let here = self.kv().is_single_writer();
        here.then(|| self.inner.activity.arrivals(version))?
    }

    async fn remembered(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error> {
        let range = PerStream::Remembered.range("", after);
        let bytes = limit.saturating_mul(ROW);
        let view = self.kv().view()?;
        let mut rows = Rows::scan(&view, range, bytes).await?;
        let mut streams = Vec::new();
        while streams.len() < limit {
            let Some((row_key, row)) = rows.next().await? else {
                break;
            };
            let stream = PerStream::Remembered.stream(&row_key)?;
            record::check_mark(row).map_err(|bad| {
                bad.of(format_args!(
                    "the note that a process registry elsewhere is to be told of {stream}"
                ))
            })?;
            streams.push(stream);
        }
        Ok(streams)
    }

    async fn forget(&self, streams: &[StreamId]) -> Result<(), Error> {
        let last = streams.last().map_or("", StreamId::as_str);
        self.transact("the removal of notes up to", last, |mut txn| async move {
            for stream in streams {
                txn.delete(PerStream::Remembered.key(stream))?;
            }
            Ok((txn, ()))
        })
        .await?;
        self.kv().flush().await
    }

    async fn rows(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let range = key::run_rows(prefix, after);
        let bytes = limit.saturating_mul(ROW);
        let view = self.kv().view()?;
        let mut rows = Rows::scan(&view, range, bytes).await?;
        let mut page = Vec::new();
        while page.len() < limit {
            let Some((mut row_key, row)) = rows.next().await? else {
                break;
            };
            // The runner's key is what follows the name of the table.
            page.push((row_key.split_off(1), row));
        }
        Ok(page)
    }

    fn is_single_writer(&self) -> bool {
        self.kv().is_single_writer()
    }

    fn traffic(&self) -> Traffic {
        self.inner.activity.traffic()
    }
}

impl<K: Kv> RecordStore<K> {
    /// Samples of the streams at versions, from where they stand in files;
    /// `None` if that cannot be told.
    async fn sample_files(&self, versions: &[WorkflowId]) -> Result<Option<Samples>, Error> {
        let mut about = Samples::default();
        for version in versions {
            let before = about.rows;
            let all = key::versions(version, &StreamRange::default());
            let Some(marks) = self.kv().marks(&all).await? else {
                return Ok(None);
            };
            for (start, rows) in marks {
                about.add(rows, || key::version_mark(&start, version));
            }
            about.of_each.push(about.rows - before);
        }
        // Where most is not in files yet, they do not tell.
        Ok(Some(about).filter(|about| about.rows > FEW as u64))
    }
}

/// Some of many streams, in even steps: every `stride`-th one. When there are
/// too many, every second of them goes and the stride doubles, so that memory
/// stays flat.
struct Samples {
    streams: Vec<StreamId>,
    stride: u64,
    rows: u64,
    /// The rows of each version.
    of_each: Vec<u64>,
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            stride: 1,
            rows: 0,
            of_each: Vec::new(),
        }
    }
}

impl Samples {
    /// Passes so many rows, the first of which is of a stream.
    fn add(&mut self, rows: u64, stream: impl FnOnce() -> Option<StreamId>) {
        let before = self.rows / self.stride;
        self.rows += rows;
        if self.rows / self.stride == before {
            return;
        }
        self.streams.extend(stream());
        if self.streams.len() == SAMPLES {
            let mut keep = false;
            self.streams.retain(|_| {
                keep = !keep;
                !keep
            });
            self.stride *= 2;
        }
    }

    fn split(mut self, parts: usize, at_least: usize) -> Split {
        self.streams.sort();
        self.streams.dedup();
        let most = usize::try_from(self.rows).unwrap_or(usize::MAX) / at_least.max(1);
        Split {
            ranges: cut(&self.streams, parts.min(most)),
            processes: self.rows,
            of_each: self.of_each,
        }
    }
}

/// Ranges of about the same number of samples, which together cover all streams.
fn cut(samples: &[StreamId], parts: usize) -> Vec<StreamRange> {
    let parts = parts.clamp(1, samples.len().max(1));
    let mut ranges = Vec::with_capacity(parts);
    let mut after = None;
    for part in 1..parts {
        let through = samples[part * samples.len() / parts - 1].clone();
        ranges.push(StreamRange {
            after: after.replace(through.clone()),
            through: Some(through),
        });
    }
    ranges.push(StreamRange {
        after,
        through: None,
    });
    ranges
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::store::kv::RowsRead;

    /// What `retire` rests on: a row that is put into a range conflicts with its
    /// scan, whether or not anything of it was read.
    async fn a_scan_that_reads_nothing_conflicts(kv: impl Kv) {
        let range = || b"a".to_vec()..b"c".to_vec();
        let mut scans = kv.begin().unwrap();
        drop(scans.scan_part(range(), ROW).await.unwrap());
        scans.put(b"z".to_vec(), b"1".to_vec()).unwrap();
        let mut puts = kv.begin().unwrap();
        puts.put(b"b".to_vec(), b"1".to_vec()).unwrap();
        puts.commit().await.unwrap();
        assert!(scans.commit().await.unwrap_err().is_conflict());
    }

    #[tokio::test]
    async fn a_scan_of_memory_that_reads_nothing_conflicts() {
        a_scan_that_reads_nothing_conflicts(crate::MemoryStore::new().kv().clone()).await;
    }

    #[cfg(feature = "slatedb")]
    #[tokio::test]
    async fn a_scan_of_slatedb_that_reads_nothing_conflicts() {
        let memory = Arc::new(slatedb::object_store::memory::InMemory::new());
        let store = crate::SlateDbStore::builder("/s", memory)
            .open()
            .await
            .unwrap();
        a_scan_that_reads_nothing_conflicts(store.kv().clone()).await;
    }

    /// An engine whose files tell of a few rows only, and that counts who asks.
    #[derive(Clone)]
    struct MostInMemory(crate::store::memory::MemoryKv, Arc<AtomicUsize>);

    impl Kv for MostInMemory {
        type Txn = <crate::store::memory::MemoryKv as Kv>::Txn;

        fn store_id(&self) -> StoreId {
            self.0.store_id()
        }

        fn begin(&self) -> Result<Self::Txn, Error> {
            self.0.begin()
        }

        fn view(&self) -> Result<Self::Txn, Error> {
            self.0.view()
        }

        fn rows_read(&self) -> &RowsRead {
            self.0.rows_read()
        }

        fn is_single_writer(&self) -> bool {
            true
        }

        async fn marks(&self, range: &key::KeyRange) -> Result<Option<Vec<(Bytes, u64)>>, Error> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(Some(vec![(Bytes::copy_from_slice(&range.start), 9)]))
        }

        async fn flush(&self) -> Result<(), Error> {
            self.0.flush().await
        }
    }

    #[tokio::test]
    async fn files_that_do_not_tell_are_asked_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let kv = MostInMemory(crate::MemoryStore::new().kv().clone(), asked.clone());
        let version = WorkflowId::new("order", "v1");
        let processes = FEW as u64 + 100;
        let mut txn = kv.begin().unwrap();
        for process in 0..processes {
            let stream = StreamId::new(format!("s{process}")).unwrap();
            txn.put(key::version(&version, &stream), record::mark())
                .unwrap();
        }
        txn.commit().await.unwrap();
        let split = RecordStore::over(kv).split(&[version], 8, 1).await.unwrap();
        assert_eq!((split.processes, split.ranges.len()), (processes, 8));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn ranges_follow_each_other_and_cover_everything() {
        let samples: Vec<_> = (10..30)
            .map(|n| StreamId::new(format!("s{n}")).unwrap())
            .collect();
        for parts in [0, 1, 2, 3, 7, 20, 50] {
            let ranges = cut(&samples, parts);
            assert_eq!(ranges.len(), parts.clamp(1, 20));
            assert_eq!(ranges[0].after, None);
            assert_eq!(ranges[ranges.len() - 1].through, None);
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].through, pair[1].after);
                assert!(pair[0].after < pair[0].through);
            }
        }
        assert_eq!(cut(&[], 4), [StreamRange::default()]);
    }
}
