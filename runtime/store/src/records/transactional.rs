//! The operations that a runner needs: pages of due processes, batches, the
//! presence of versions, and notes for a separate process registry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use state_migration_core::{
    Batch, Commit, DueFilter, DuePage, DueRequest, Error, Head, Hold, Partitioning, Presence,
    ReadPoint, Rehearsal, RehearsalNeeds, RowWrite, RunId, StoreId, StreamId, StreamRange,
    TransactionalStore, Verdict, WorkflowId, WriteActivity,
};

use crate::key::{self, KeyRange, PerStream};
use crate::kv::{Kv, KvTxn};
use crate::record;
use crate::records::rows::Rows;
use crate::records::{ROW, RecordStore, closing, decode_head, read_head, rounds_of};

/// The number of streams that `split` samples to find even ranges.
const SAMPLES: usize = 1_024;

/// Up to this number, heads are read to split them exactly.
const FEW: usize = 8_192;

impl<K: Kv> RecordStore<K> {
    /// The versions, of any workflow, at which a process may be.
    ///
    /// # Errors
    /// The store could not be read.
    #[doc(hidden)]
    pub async fn present_versions(&self) -> Result<Vec<WorkflowId>, Error> {
        let view = self.kv().view()?;
        let mut rows = Rows::scan(&view, key::all_presences(), ROW).await?;
        let mut versions = Vec::new();
        while let Some((row_key, _)) = rows.next().await? {
            versions.push(key::presence_version(&row_key)?);
        }
        Ok(versions)
    }
}

#[async_trait]
impl<K: Kv> TransactionalStore for RecordStore<K> {
    fn store_id(&self) -> StoreId {
        self.kv().store_id()
    }

    fn scratch_folder(&self) -> Option<PathBuf> {
        self.kv().scratch_folder()
    }

    fn trouble(&self) -> Option<String> {
        self.kv().trouble()
    }

    async fn versions(&self, name: &str) -> Result<Vec<Presence>, Error> {
        let presences = key::presences(name);
        let view = self.kv().view()?;
        let mut rows = Rows::scan(&view, presences, ROW).await?;
        let mut versions = Vec::new();
        while let Some((row_key, row)) = rows.next().await? {
            let version = key::presence_version(&row_key)?;
            let closing = closing(row, &version)?.map(|it| it.run);
            versions.push(Presence { version, closing });
        }
        versions.sort_by(|a, b| a.version.cmp(&b.version));
        Ok(versions)
    }

    async fn split(
        &self,
        within: &[StreamRange],
        filter: &dyn DueFilter,
        parts: usize,
        at_least: usize,
    ) -> Result<Partitioning, Error> {
        if let Some((heads, due)) = self.count_few(within, filter).await? {
            return Ok(heads.split(within, parts, at_least, Some(due)));
        }
        let mut heads = Samples::default();
        // One request for all ranges: a live store first writes its memory to a file.
        let ranges = within.iter().map(|range| PerStream::Head.within(range));
        let marks = self.kv().marks(&ranges.collect::<Vec<_>>()).await?;
        for (start, rows) in marks.into_iter().flatten() {
            heads.add(rows, || PerStream::Head.mark(&start));
        }
        Ok(heads.split(within, parts, at_least, None))
    }

    async fn read_due(&self, request: DueRequest) -> Result<DuePage, Error> {
        crate::records::due::read(self, request).await
    }

    async fn commit_unflushed(&self, batch: &Batch, read: ReadPoint) -> Result<Commit, Error> {
        crate::records::commit::batch(self, batch, read).await
    }

    async fn births(&self, version: &WorkflowId, limit: usize) -> Result<Vec<StreamId>, Error> {
        let rounds = rounds_of(&self.kv().view()?, version).await?;
        let rows = self.page(key::births(version, rounds), limit).await?;
        let stream = |(row_key, row): (Bytes, Bytes)| {
            let (_, stream) = key::read_birth(&row_key, version)?;
            record::check_mark(row).map_err(|bad| {
                bad.of(format_args!(
                    "the note that {stream} was created at {version}"
                ))
            })?;
            Ok(stream)
        };
        // A stream may have births in more than one round.
        let streams: Result<BTreeSet<_>, Error> = rows.into_iter().map(stream).collect();
        Ok(streams?.into_iter().collect())
    }

    async fn end_closing(
        &self,
        version: &WorkflowId,
        run: RunId,
        empty: bool,
    ) -> Result<bool, Error> {
        crate::records::commit::close(self, version, run, empty).await
    }

    async fn hold(
        &self,
        stream: &StreamId,
        hold: Option<Hold>,
        record: RowWrite,
    ) -> Result<Option<Head>, Error> {
        let (hold, row) = (&hold, &record);
        let what = match hold {
            Some(_) => "the hold of",
            None => "the release of",
        };
        let head = self
            .transact(what, stream.as_str(), |mut txn| async move {
                let Some(head) = read_head(&txn, stream).await? else {
                    return Ok((txn, None));
                };
                let head = head.after_hold(hold.is_some());
                txn.put(PerStream::Head.key(stream), record::write_head(&head)?)?;
                let key = PerStream::Hold.key(stream);
                match hold {
                    Some(hold) => txn.put(key, record::write_hold(hold)?)?,
                    None => txn.delete(key)?,
                }
                crate::records::commit::write_row(&mut txn, row)?;
                Ok((txn, Some(head)))
            })
            .await?;
        RecordStore::flush(self).await?;
        Ok(head)
    }

    async fn held(&self, stream: &StreamId) -> Result<Option<Hold>, Error> {
        let view = self.kv().view()?;
        if !read_head(&view, stream)
            .await?
            .is_some_and(|head| head.held)
        {
            return Ok(None);
        }
        let row = view.get(&PerStream::Hold.key(stream)).await?;
        let Some(row) = row else {
            return Err(Error::corrupt(format!(
                "the head of stream {stream} is marked as held, but the hold is missing; release the process, or restore the row from a backup"
            )));
        };
        let hold = record::read_hold(row);
        hold.map(Some)
            .map_err(|bad| bad.of(format_args!("the hold of stream {stream}")))
    }

    async fn pending_registry_updates(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error> {
        let range = PerStream::PendingRegistryUpdate.range("", after);
        let rows = self.page(range, limit).await?;
        let stream = |(row_key, row): (Bytes, Bytes)| {
            let stream = PerStream::PendingRegistryUpdate.stream(&row_key)?;
            record::check_mark(row).map_err(|bad| {
                bad.of(format_args!(
                    "the note to update a separate process registry for {stream}"
                ))
            })?;
            Ok(stream)
        };
        rows.into_iter().map(stream).collect()
    }

    async fn forget(&self, streams: &[StreamId]) -> Result<(), Error> {
        let last = streams.last().map_or("", StreamId::as_str);
        self.transact("the removal of notes up to", last, |mut txn| async move {
            for stream in streams {
                txn.delete(PerStream::PendingRegistryUpdate.key(stream))?;
            }
            Ok((txn, ()))
        })
        .await?;
        RecordStore::flush(self).await
    }

    async fn rows(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut page = self.page(key::run_rows(prefix, after), limit).await?;
        for (row_key, _) in &mut page {
            // The runner's key follows the table byte.
            *row_key = row_key.split_off(1);
        }
        Ok(page)
    }

    async fn rehearsal(&self, needs: RehearsalNeeds) -> Result<Box<dyn Rehearsal>, Error> {
        self.kv().rehearsal(needs).await
    }

    fn is_single_writer(&self) -> bool {
        self.kv().is_single_writer()
    }

    fn write_activity(&self) -> WriteActivity {
        self.inner.activity.write_activity()
    }
}

impl<K: Kv> RecordStore<K> {
    /// The first `limit` rows of a range.
    async fn page(&self, range: KeyRange, limit: usize) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let view = self.kv().view()?;
        let mut rows = Rows::scan(&view, range, limit.saturating_mul(ROW)).await?;
        let mut page = Vec::new();
        while page.len() < limit {
            let Some(row) = rows.next().await? else {
                break;
            };
            page.push(row);
        }
        Ok(page)
    }

    /// Reads the heads of the ranges, and counts the due ones by version;
    /// `None` if there are more than [`FEW`].
    async fn count_few(
        &self,
        within: &[StreamRange],
        filter: &dyn DueFilter,
    ) -> Result<Option<(Samples, BTreeMap<WorkflowId, u64>)>, Error> {
        let (mut heads, mut due) = (Samples::default(), BTreeMap::new());
        let view = self.kv().view()?;
        for range in within {
            let all = PerStream::Head.within(range);
            let mut rows = Rows::scan(&view, all, FEW * ROW).await?;
            while let Some((row_key, row)) = rows.next().await? {
                let stream = PerStream::Head.stream(&row_key)?;
                let head = decode_head(row, &stream);
                if let Ok(head) = head
                    && filter
                        .versions()
                        .is_none_or(|all| all.contains(&head.workflow_id))
                    && !matches!(filter.verdict(&stream, &head), Verdict::Pass(_))
                {
                    *due.entry(head.workflow_id).or_default() += 1;
                }
                heads.add(1, || Some(stream));
                if heads.rows > FEW as u64 {
                    return Ok(None);
                }
            }
        }
        Ok(Some((heads, due)))
    }
}

/// Evenly spaced samples of many streams: every `stride`-th one. When there are
/// too many, every second sample is dropped and the stride doubles, so that
/// memory stays constant.
struct Samples {
    streams: Vec<StreamId>,
    stride: u64,
    rows: u64,
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            stride: 1,
            rows: 0,
        }
    }
}

impl Samples {
    /// Counts rows, the first of which is of the given stream.
    fn add(&mut self, rows: u64, stream: impl FnOnce() -> Option<StreamId>) {
        // A stride of fewer rows than come at once would keep a sample each time, and
        // each halving would thin out the streams before it and not those after.
        self.stride = self.stride.max(rows.next_power_of_two());
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

    fn split(
        mut self,
        within: &[StreamRange],
        parts: usize,
        at_least: usize,
        due: Option<BTreeMap<WorkflowId, u64>>,
    ) -> Partitioning {
        self.streams.sort();
        self.streams.dedup();
        let stride = usize::try_from(self.stride).unwrap_or(usize::MAX);
        Partitioning {
            ranges: cut(&self.streams, within, parts, at_least.div_ceil(stride)),
            heads: self.rows,
            due,
        }
    }
}

/// Splits ranges so that the samples are spread evenly, without parts of fewer
/// than `least` samples.
fn cut(
    samples: &[StreamId],
    within: &[StreamRange],
    parts: usize,
    least: usize,
) -> Vec<StreamRange> {
    // Each given range becomes at least one part.
    let cuts = parts.saturating_sub(within.len());
    let all = samples.len().max(1);
    let (mut left, mut ranges) = (cuts, Vec::with_capacity(parts));
    for range in within {
        let before = |end: &StreamId| samples.partition_point(|sample| sample <= end);
        let from = range.after.as_ref().map_or(0, before);
        let to = range.through.as_ref().map_or(samples.len(), before);
        let here = &samples[from..to.max(from)];
        let share = (here.len() * cuts + all / 2) / all;
        let most = (here.len() / least.max(1)).max(1);
        let pieces = (share.min(left) + 1).min(most);
        left -= pieces - 1;
        let mut after = range.after.clone();
        for piece in 1..pieces {
            let through = here[piece * here.len() / pieces - 1].clone();
            ranges.push(StreamRange {
                after: after.replace(through.clone()),
                through: Some(through),
            });
        }
        ranges.push(StreamRange {
            after,
            through: range.through.clone(),
        });
    }
    ranges
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The assumption of `close`: a row put into a range conflicts with a
    /// serializable transaction that scanned the range, whether or not the scan
    /// read any row; and with other transactions only if the key is marked,
    /// even if it is absent.
    async fn scans_and_marks_conflict(kv: impl Kv) {
        let range = || b"a".to_vec()..b"c".to_vec();
        for marks in [None, Some(b"b")] {
            for serializable in [true, false] {
                let mut reads = match serializable {
                    true => kv.begin_serializable().unwrap(),
                    false => kv.begin().unwrap(),
                };
                drop(reads.scan_part(range(), ROW).await.unwrap());
                if let Some(key) = marks {
                    reads.mark_read(key).unwrap();
                }
                reads.put(b"z".to_vec(), b"1".to_vec()).unwrap();
                let mut puts = kv.begin().unwrap();
                puts.put(b"b".to_vec(), b"1".to_vec()).unwrap();
                puts.commit().await.unwrap();
                let conflicts = reads.commit().await.is_err_and(|e| e.is_conflict());
                assert_eq!(conflicts, serializable || marks.is_some());
                let mut removes = kv.begin().unwrap();
                removes.delete(b"b".to_vec()).unwrap();
                removes.commit().await.unwrap();
            }
        }
    }

    #[test]
    fn ranges_are_even_however_many_rows_a_sample_stands_for() {
        for rows_at_once in [1, 64, 150] {
            for streams in [20_000, 100_000, 1_000_000_u64] {
                let mut samples = Samples::default();
                let mut first = 0;
                while first < streams {
                    let stream = || Some(StreamId::new(format!("{first:08}")).unwrap());
                    samples.add(rows_at_once, stream);
                    first += rows_at_once;
                }
                let all = [StreamRange::default()];
                let ranges = samples.split(&all, 32, 1_024, None).ranges;
                let end = |id: &Option<StreamId>, or| {
                    id.as_ref()
                        .map_or(or, |id| id.as_str().parse::<u64>().unwrap())
                };
                let mut sizes: Vec<u64> = ranges
                    .iter()
                    .map(|range| end(&range.through, streams) - end(&range.after, 0))
                    .collect();
                sizes.sort_unstable();
                let (median, largest) = (sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
                assert!(
                    largest <= 2 * median && sizes.len() >= 8,
                    "{streams} streams, {rows_at_once} rows at once: {sizes:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn scans_and_marks_of_memory_conflict() {
        scans_and_marks_conflict(crate::MemoryStore::new().kv().clone()).await;
    }

    #[cfg(feature = "slatedb")]
    #[tokio::test]
    async fn scans_and_marks_of_slatedb_conflict() {
        let memory = Arc::new(slatedb::object_store::memory::InMemory::new());
        let store = crate::SlateDbStore::builder("/s", memory)
            .open()
            .await
            .unwrap();
        scans_and_marks_conflict(store.kv().clone()).await;
    }

    /// A sweep must not step over the tombstones of births that were swept
    /// before.
    #[tokio::test]
    async fn births_that_are_left_begin_a_round_and_old_rounds_are_not_read() {
        use crate::records::closing_of;
        use state_migration_core::{EventStore, ExpectedSequence, NewEvent};
        let store = crate::MemoryStore::new();
        let (run, version) = (RunId::random(), WorkflowId::new("order", "v1"));
        let commit = async |batch: Batch| {
            let committed = store.commit(&batch).await.unwrap();
            assert_eq!(committed, Commit::Written);
        };
        commit(Batch {
            present: vec![version.clone()],
            closing: Some((run, vec![version.clone()])),
            ..Batch::default()
        })
        .await;
        let stream = |n: u32| StreamId::new(format!("s{n}")).unwrap();
        let rounds = async || {
            let closing = closing_of(&store.kv().view().unwrap(), &version).await;
            closing.unwrap().map(|it| (it.first, it.round))
        };
        assert_eq!(rounds().await, Some((0, 0)));
        for n in 0..5 {
            let event = NewEvent::new(version.clone(), "Placed", 1, "{}").unwrap();
            let none = ExpectedSequence::NoStream;
            store.append(&stream(n), none, vec![event]).await.unwrap();
            let born = store.births(&version, 10).await.unwrap();
            assert_eq!(born, [stream(n)]);
            let ended = store.end_closing(&version, run, true).await.unwrap();
            assert!(!ended);
            assert_eq!(rounds().await, Some((n, n + 1)));
            commit(Batch {
                births: vec![(version.clone(), stream(n))],
                ..Batch::default()
            })
            .await;
        }
        // Another run that closes the version keeps the births that are left.
        let event = NewEvent::new(version.clone(), "Placed", 1, "{}").unwrap();
        let none = ExpectedSequence::NoStream;
        store.append(&stream(9), none, vec![event]).await.unwrap();
        let other = RunId::random();
        commit(Batch {
            closing: Some((other, vec![version.clone()])),
            ..Batch::default()
        })
        .await;
        assert_eq!(store.births(&version, 10).await.unwrap(), [stream(9)]);
        assert!(!store.end_closing(&version, other, true).await.unwrap());
        commit(Batch {
            births: vec![(version.clone(), stream(9))],
            ..Batch::default()
        })
        .await;
        assert!(store.end_closing(&version, other, true).await.unwrap());
        assert_eq!(rounds().await, None);
    }

    /// A filter by which every process is due.
    struct All;

    impl DueFilter for All {
        fn versions(&self) -> Option<&BTreeSet<WorkflowId>> {
            None
        }
        fn verdict(&self, _: &StreamId, _: &Head) -> Verdict {
            Verdict::Due
        }
    }

    #[tokio::test]
    async fn few_heads_are_counted_and_many_are_not_read() {
        let store = crate::MemoryStore::new();
        let version = WorkflowId::new("order", "v1");
        let put = async |from: u64, to: u64| {
            let mut txn = store.kv().begin().unwrap();
            for n in from..to {
                let stream = StreamId::new(format!("s{n:06}")).unwrap();
                let head = record::write_head(&Head::of(1, version.clone())).unwrap();
                txn.put(PerStream::Head.key(&stream), head).unwrap();
            }
            txn.commit().await.unwrap();
        };
        put(0, 100).await;
        let all = [StreamRange::default()];
        let split = store.split(&all, &All, 8, 1).await.unwrap();
        assert_eq!((split.heads, split.ranges.len()), (100, 8));
        assert_eq!(split.due, Some([(version.clone(), 100)].into()));
        put(100, 50_000).await;
        let before = store.rows_read();
        let split = store.split(&all, &All, 8, 1).await.unwrap();
        assert!(store.rows_read() - before <= FEW as u64 + 1);
        assert!((50_000..50_100).contains(&split.heads), "{}", split.heads);
        assert_eq!((split.due, split.ranges.len()), (None, 8));
        let part = [StreamRange {
            after: Some(StreamId::new("s009999").unwrap()),
            through: Some(StreamId::new("s029999").unwrap()),
        }];
        let split = store.split(&part, &All, 4, 1).await.unwrap();
        assert_eq!(split.ranges.len(), 4);
        assert_eq!(split.ranges[0].after, part[0].after);
        assert_eq!(split.ranges[3].through, part[0].through);
    }

    #[test]
    fn ranges_follow_each_other_and_cover_everything() {
        let samples: Vec<_> = (10..30)
            .map(|n| StreamId::new(format!("s{n}")).unwrap())
            .collect();
        let all = [StreamRange::default()];
        for parts in [0, 1, 2, 3, 7, 20, 50] {
            let ranges = cut(&samples, &all, parts, 1);
            assert_eq!(ranges.len(), parts.clamp(1, 20));
            assert_eq!(ranges[0].after, None);
            assert_eq!(ranges[ranges.len() - 1].through, None);
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].through, pair[1].after);
                assert!(pair[0].after < pair[0].through);
            }
        }
        assert_eq!(cut(&[], &all, 4, 1), [StreamRange::default()]);
        // Disjoint ranges stay disjoint.
        let bound = |n: u32| StreamId::new(format!("s{n}")).ok();
        let apart = [(10, 15), (20, 25)].map(|(after, through)| StreamRange {
            after: bound(after),
            through: bound(through),
        });
        let ranges = cut(&samples, &apart, 4, 1);
        let covers = |n: u32| {
            let holds = |range: &&StreamRange| bound(n) > range.after && bound(n) <= range.through;
            ranges.iter().filter(holds).count()
        };
        for n in 10..30 {
            let expected = usize::from((11..=15).contains(&n) || (21..=25).contains(&n));
            assert_eq!(covers(n), expected, "{n}: {ranges:?}");
        }
    }
}
