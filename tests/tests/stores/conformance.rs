//! Every store that ships runs the suite that a user's own store runs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use state_migration::{
    Appended, Batch, Commit, DueFilter, DueOf, DuePage, DueRequest, Error, ErrorKind, Event,
    EventStore, Expected, ExpectedSequence, Head, Hold, MemoryStore, NewEvent, Partitioning,
    Presence, ProcessId, ProcessIdentity, ProcessRegistry, ReadPoint, RegistryKey, RowWrite, RunId,
    Snapshot, SnapshotStore, Stale, StoreId, StreamId, StreamRange, TenantId, TransactionalStore,
    WorkflowId, conformance, is_reserved,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::stores::OnDisk;

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_conforms() {
    let store = MemoryStore::new();
    conformance::event_store(&store).await.unwrap();
    conformance::snapshot_store(&store).await.unwrap();
    conformance::process_registry(&store).await.unwrap();
    conformance::transactional_store(&store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slatedb_store_conforms_on_the_local_disk() {
    let store = OnDisk::new().await.unwrap();
    conformance::event_store(&*store).await.unwrap();
    conformance::snapshot_store(&*store).await.unwrap();
    conformance::process_registry(&*store).await.unwrap();
    conformance::transactional_store(&*store).await.unwrap();
    // Once more over data that is on disk already.
    let store = store.reopen().await.unwrap();
    conformance::event_store(&*store).await.unwrap();
    conformance::transactional_store(&*store).await.unwrap();
}

/// As a user's test may be: a task of its own, on a runtime of one thread.
#[tokio::test]
async fn the_suite_runs_in_a_task_and_on_one_thread() {
    let store = MemoryStore::new();
    let suite = tokio::spawn(async move { conformance::transactional_store(&store).await });
    suite.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_users_own_store_without_transactions_conforms() {
    let store = Faulty::over(MemoryStore::new());
    assert!(store.transactional().is_none());
    conformance::event_store(&store).await.unwrap();
    conformance::snapshot_store(&store).await.unwrap();
    conformance::process_registry(&store).await.unwrap();
}

/// A store with one defect, to see that the suite notices.
#[derive(Clone)]
struct Defective {
    inner: MemoryStore,
    defect: Defect,
    entries: Arc<Mutex<HashMap<(TenantId, RegistryKey), ProcessIdentity>>>,
    snapshots: Arc<Mutex<HashMap<StreamId, Snapshot>>>,
    commits: Arc<AtomicBool>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    IgnoresExpectedSequence,
    ForgetsTheRecordOfAHold,
    LosesTheLastEventOfAPage,
    ListsOutOfOrder,
    HidesMigrations,
    SplitsWithAGap,
    EndsPagesTooEarly,
    SkipsWhatItDidNotRead,
    ReadsHeadsAfterEvents,
    ComparesSequenceAndVersion,
    CommitsWhatIsNotStale,
    HidesThatItIsStale,
    ForgetsABirth,
    ClosesWithoutALook,
    ClosesAfterALook,
    MovesWhatIsHeld,
    AppendsToWhatIsHeld,
    RemembersVersions,
    RemovesForOlderCode,
    SavesAfterALook,
    ChecksGuardsFirst,
    LetsOneCommitAtATime,
    ListsByPattern,
    SplitsUpToTheLastStream,
    WritesTheRowsOfAStaleBatch,
    SavesAtEveryVersion,
    UsesASnapshotAfterTheLastEvent,
    ForgetsAPresentVersion,
    KeepsTheKeysOfOthers,
    DoesNotFinishWhatIsHeld,
}

/// The record of a hold that no rule looks at.
fn no_record() -> RowWrite {
    RowWrite::put(b"defective".to_vec(), "")
}

impl Defective {
    fn with(defect: Defect) -> Self {
        Self {
            inner: MemoryStore::new(),
            defect,
            entries: Arc::default(),
            snapshots: Arc::default(),
            commits: Arc::default(),
        }
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// Puts the heads of a batch as they are now, where a look says that nothing
    /// has changed.
    async fn refresh(&self, batch: &mut Batch) -> Result<(), Error> {
        let moves = batch.moves.iter_mut().map(|it| (&it.stream, &mut it.head));
        let finished = batch.finished.iter_mut();
        let finished = finished.map(|it| (&it.stream, &mut it.head));
        for (stream, head) in moves.chain(finished) {
            let now = self.inner.head(stream).await?;
            if let Some(now) = now.filter(|now| {
                (now.sequence, &now.workflow_id) == (head.sequence, &head.workflow_id)
            }) {
                *head = now;
            }
        }
        Ok(())
    }

    /// Commits while the processes that are held are not.
    async fn commit_released(&self, mut batch: Batch) -> Result<Commit, Error> {
        let mut holds = Vec::new();
        for it in &mut batch.moves {
            let now = self.inner.head(&it.stream).await?;
            if it.head.held && now.as_ref() == Some(&it.head) {
                holds.push((it.stream.clone(), self.inner.held(&it.stream).await?));
                it.head = self
                    .inner
                    .hold(&it.stream, None, no_record())
                    .await?
                    .unwrap();
            }
        }
        let commit = self.inner.commit(&batch).await?;
        for (stream, hold) in holds {
            self.inner.hold(&stream, hold, no_record()).await?;
        }
        Ok(commit)
    }

    async fn commit_the_rest(&self, mut batch: Batch) -> Result<Commit, Error> {
        let commit = self.inner.commit(&batch).await?;
        if let Commit::Stale(Stale { streams, .. }) = &commit {
            batch.moves.retain(|it| !streams.contains(&it.stream));
            batch.finished.retain(|it| !streams.contains(&it.stream));
            (batch.present, batch.closing) = (vec![], None);
            let _ = self.inner.commit(&batch).await?;
        }
        Ok(commit)
    }

    /// Commits without the guards of which a look says that they hold.
    async fn check_guards_first(&self, mut batch: Batch) -> Result<Commit, Error> {
        for (key, held) in std::mem::take(&mut batch.guards) {
            let found = self.inner.rows(&key, None, 1).await?.pop();
            let found = found.filter(|(at, _)| *at == key[..]);
            if found.map(|(_, value)| value) != held {
                batch.guards.push((key, held));
            }
        }
        std::thread::sleep(MOMENT);
        self.inner.commit(&batch).await
    }

    async fn one_at_a_time(&self, batch: &Batch, read: ReadPoint) -> Result<Commit, Error> {
        if self.commits.swap(true, Ordering::SeqCst) {
            let streams = batch.moves.iter().map(|it| it.stream.clone()).collect();
            return Ok(Commit::Stale(Stale {
                streams,
                rows: vec![],
            }));
        }
        std::thread::sleep(MOMENT);
        let commit = self.inner.commit_unflushed(batch, read).await;
        self.commits.store(false, Ordering::SeqCst);
        commit
    }

    async fn forget_births(&self, version: &WorkflowId) -> Result<(), Error> {
        let births = self.inner.births(version, 1_000).await?;
        let births = births.into_iter().map(|it| (version.clone(), it));
        let batch = Batch {
            births: births.collect(),
            ..Batch::default()
        };
        self.inner.commit(&batch).await.map(drop)
    }
}

/// Whether a text matches `pattern%` as SQL's `LIKE` does by default.
fn is_like(text: &[u8], pattern: &[u8]) -> bool {
    match (pattern, text) {
        ([], _) => true,
        ([b'%', pattern @ ..], _) => (0..=text.len()).any(|from| is_like(&text[from..], pattern)),
        ([b'_', pattern @ ..], [_, text @ ..]) => is_like(text, pattern),
        ([a, pattern @ ..], [b, text @ ..]) => a.eq_ignore_ascii_case(b) && is_like(text, pattern),
        (_, []) => false,
    }
}

fn rows_only(rows: impl Iterator<Item = RowWrite>) -> Batch {
    Batch {
        rows: rows
            .map(|row| RowWrite {
                expected: Expected::Anything,
                ..row
            })
            .collect(),
        ..Batch::default()
    }
}

/// Long enough for others to write.
const MOMENT: Duration = Duration::from_micros(300);

#[async_trait]
impl EventStore for Defective {
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedSequence,
        events: Vec<NewEvent>,
    ) -> Result<Appended, Error> {
        let head = self.inner.head(stream).await?;
        let expected = match &head {
            Some(head) if self.has(Defect::IgnoresExpectedSequence) => {
                ExpectedSequence::Exact(head.sequence)
            }
            _ => expected,
        };
        let migrates = events.iter().any(|it| is_reserved(it.event_type()));
        let is_held = head.is_some_and(|head| head.held);
        if migrates && is_held && self.has(Defect::AppendsToWhatIsHeld) {
            self.inner.hold(stream, None, no_record()).await?;
        }
        self.inner.append(stream, expected, events).await
    }
    async fn read_all(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        let mut events = self.inner.read_all(stream, after, limit).await?;
        if self.has(Defect::LosesTheLastEventOfAPage) && events.len() > 200 {
            events.pop();
        }
        if self.has(Defect::HidesMigrations) {
            events.retain(|e| !is_reserved(&e.event_type));
        }
        Ok(events)
    }
    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, Error> {
        self.inner.head(stream).await
    }
    async fn list_streams(
        &self,
        prefix: Option<&str>,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error> {
        let pattern = prefix.filter(|_| self.has(Defect::ListsByPattern));
        if let Some(pattern) = pattern {
            let mut streams = self.inner.list_streams(None, after, usize::MAX).await?;
            streams.retain(|stream| is_like(stream.as_str().as_bytes(), pattern.as_bytes()));
            streams.truncate(limit);
            return Ok(streams);
        }
        let mut streams = self.inner.list_streams(prefix, after, limit).await?;
        if self.has(Defect::ListsOutOfOrder) {
            streams.reverse();
        }
        Ok(streams)
    }
    fn transactional(&self) -> Option<Arc<dyn TransactionalStore>> {
        Some(Arc::new(self.clone()))
    }
}

#[async_trait]
impl TransactionalStore for Defective {
    fn store_id(&self) -> StoreId {
        TransactionalStore::store_id(&self.inner)
    }
    async fn versions(&self, name: &str) -> Result<Vec<Presence>, Error> {
        self.inner.versions(name).await
    }
    async fn split(
        &self,
        within: &[StreamRange],
        filter: &dyn DueFilter,
        parts: usize,
        at_least: usize,
    ) -> Result<Partitioning, Error> {
        let mut split = self.inner.split(within, filter, parts, at_least).await?;
        if self.has(Defect::SplitsWithAGap) && split.ranges.len() > 2 {
            split.ranges.remove(1);
        }
        if self.has(Defect::SplitsUpToTheLastStream)
            && let Some(last) = split.ranges.last_mut().filter(|it| it.through.is_none())
        {
            last.through = self.inner.list_streams(None, None, usize::MAX).await?.pop();
        }
        Ok(split)
    }
    async fn read_due(&self, request: DueRequest) -> Result<DuePage, Error> {
        let range = match &request.of {
            DueOf::Range(range) => range.clone(),
            DueOf::Streams(_) => StreamRange::default(),
        };
        let wants_snapshots = !request.snapshots.is_empty();
        let mut page = self.inner.read_due(request).await?;
        match self.defect {
            Defect::UsesASnapshotAfterTheLastEvent if wants_snapshots => {
                let snapshots = self.snapshots.lock().unwrap();
                for process in &mut page.processes {
                    let saved = snapshots.get(&process.stream).cloned();
                    let head = process.head.as_ref().unwrap();
                    let is_after = |it: &Snapshot| it.sequence > head.sequence;
                    if let Some(saved) = saved.filter(is_after) {
                        process.events.clear();
                        process.snapshot = Some(saved);
                    }
                }
            }
            Defect::EndsPagesTooEarly => page.at_end = true,
            Defect::SkipsWhatItDidNotRead if !page.at_end && range.through.is_some() => {
                let next = self.inner.list_streams(None, page.up_to.as_ref(), 1);
                let next = next.await?.pop();
                page.up_to = next.filter(|next| Some(next) < range.through.as_ref());
                page.at_end = page.up_to.is_none();
            }
            Defect::ReadsHeadsAfterEvents => {
                std::thread::sleep(MOMENT);
                for process in &mut page.processes {
                    process.head = self.inner.head(&process.stream).await?;
                }
            }
            _ => {}
        }
        Ok(page)
    }
    async fn commit_unflushed(&self, batch: &Batch, read: ReadPoint) -> Result<Commit, Error> {
        let mut other = batch.clone();
        match self.defect {
            Defect::ComparesSequenceAndVersion => {
                self.refresh(&mut other).await?;
                self.inner.commit(&other).await
            }
            Defect::CommitsWhatIsNotStale => self.commit_the_rest(other).await,
            Defect::HidesThatItIsStale => self.inner.commit(batch).await.map(|_| Commit::Written),
            Defect::MovesWhatIsHeld => self.commit_released(other).await,
            Defect::ChecksGuardsFirst => self.check_guards_first(other).await,
            Defect::WritesTheRowsOfAStaleBatch => {
                let commit = self.inner.commit_unflushed(batch, read).await?;
                if matches!(&commit, Commit::Stale(stale) if stale.rows.is_empty()) {
                    let rows = batch.rows.iter().cloned();
                    let _ = self.inner.commit(&rows_only(rows)).await?;
                }
                Ok(commit)
            }
            Defect::DoesNotFinishWhatIsHeld if batch.finished.iter().any(|it| it.head.held) => {
                let held = batch.finished.iter().filter(|it| it.head.held);
                Ok(Commit::Stale(Stale {
                    streams: held.map(|it| it.stream.clone()).collect(),
                    rows: vec![],
                }))
            }
            Defect::ForgetsAPresentVersion => {
                other.present = vec![];
                self.inner.commit(&other).await
            }
            Defect::LetsOneCommitAtATime if !batch.guards.is_empty() => {
                self.one_at_a_time(batch, read).await
            }
            _ => self.inner.commit_unflushed(batch, read).await,
        }
    }
    async fn births(&self, version: &WorkflowId, limit: usize) -> Result<Vec<StreamId>, Error> {
        let mut births = self.inner.births(version, limit).await?;
        if self.has(Defect::ForgetsABirth) {
            births.retain(|stream| !stream.as_str().ends_with("/d"));
        }
        Ok(births)
    }
    async fn end_closing(
        &self,
        version: &WorkflowId,
        token: RunId,
        empty: bool,
    ) -> Result<bool, Error> {
        if self.has(Defect::ClosesAfterALook) && empty {
            if !self.inner.births(version, 1).await?.is_empty() {
                return Ok(false);
            }
            std::thread::sleep(MOMENT);
            self.forget_births(version).await?;
        }
        let ended = self.inner.end_closing(version, token, empty).await?;
        if !ended && self.has(Defect::ClosesWithoutALook) {
            self.forget_births(version).await?;
            return self.inner.end_closing(version, token, empty).await;
        }
        Ok(ended)
    }
    async fn hold(
        &self,
        stream: &StreamId,
        hold: Option<Hold>,
        record: RowWrite,
    ) -> Result<Option<Head>, Error> {
        let record = match self.has(Defect::ForgetsTheRecordOfAHold) {
            true => no_record(),
            false => record,
        };
        self.inner.hold(stream, hold, record).await
    }
    async fn held(&self, stream: &StreamId) -> Result<Option<Hold>, Error> {
        self.inner.held(stream).await
    }
    async fn pending_registry_updates(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<StreamId>, Error> {
        self.inner.pending_registry_updates(after, limit).await
    }
    async fn forget(&self, streams: &[StreamId]) -> Result<(), Error> {
        self.inner.forget(streams).await
    }
    async fn rows(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.inner.rows(prefix, after, limit).await
    }
}

#[async_trait]
impl SnapshotStore for Defective {
    async fn save(&self, snapshot: &Snapshot) -> Result<(), Error> {
        if self.has(Defect::SavesAtEveryVersion) {
            return match self.inner.save(snapshot).await {
                Err(error) if matches!(error.kind(), ErrorKind::WrongVersion { .. }) => Ok(()),
                saved => saved,
            };
        }
        if self.has(Defect::UsesASnapshotAfterTheLastEvent) {
            let mut snapshots = self.snapshots.lock().unwrap();
            snapshots.insert(snapshot.stream_id.clone(), snapshot.clone());
        }
        if !self.has(Defect::SavesAfterALook) {
            return self.inner.save(snapshot).await;
        }
        self.inner.save(snapshot).await?;
        if snapshot.workflow_id.version() == "v1" {
            tokio::time::sleep(10 * MOMENT).await;
        }
        let mut snapshots = self.snapshots.lock().unwrap();
        snapshots.insert(snapshot.stream_id.clone(), snapshot.clone());
        Ok(())
    }
    async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, Error> {
        if self.has(Defect::SavesAfterALook) {
            return Ok(self.snapshots.lock().unwrap().get(stream).cloned());
        }
        self.inner.load(stream).await
    }
    async fn delete(&self, stream: &StreamId) -> Result<(), Error> {
        self.inner.delete(stream).await
    }
    fn store_id(&self) -> Option<StoreId> {
        SnapshotStore::store_id(&self.inner)
    }
}

#[async_trait]
impl ProcessRegistry for Defective {
    async fn register(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        self.inner.register(tenant, key, identity).await?;
        let mut entries = self.entries.lock().unwrap();
        entries.insert((tenant.clone(), key.clone()), identity.clone());
        Ok(())
    }
    async fn lookup(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
    ) -> Result<Option<ProcessIdentity>, Error> {
        if self.has(Defect::RemembersVersions) {
            let entries = self.entries.lock().unwrap();
            return Ok(entries.get(&(tenant.clone(), key.clone())).cloned());
        }
        self.inner.lookup(tenant, key).await
    }
    async fn replace(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        expected: &ProcessIdentity,
        identity: &ProcessIdentity,
    ) -> Result<bool, Error> {
        self.inner.replace(tenant, key, expected, identity).await
    }
    async fn remove(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        let found = match self.has(Defect::RemovesForOlderCode) {
            true => self.inner.lookup(tenant, key).await?,
            false => None,
        };
        let identity = found.as_ref().unwrap_or(identity);
        self.inner.remove(tenant, key, identity).await
    }
    async fn keys_of(
        &self,
        tenant: &TenantId,
        process: &ProcessId,
    ) -> Result<Vec<RegistryKey>, Error> {
        if !self.has(Defect::KeepsTheKeysOfOthers) {
            return self.inner.keys_of(tenant, process).await;
        }
        let entries = self.entries.lock().unwrap();
        let of_it = entries.iter();
        let of_it = of_it.filter(|((of, _), it)| of == tenant && it.process_id() == process);
        Ok(of_it.map(|((_, key), _)| key.clone()).collect())
    }
    fn store_id(&self) -> Option<StoreId> {
        ProcessRegistry::store_id(&self.inner)
    }
}

#[tokio::test]
async fn the_suite_names_the_rule_that_a_defective_event_store_breaks() {
    for (defect, rule) in [
        (
            Defect::IgnoresExpectedSequence,
            "an append succeeds only at the expected sequence number",
        ),
        (Defect::LosesTheLastEventOfAPage, "events are read in pages"),
        (
            Defect::ListsOutOfOrder,
            "streams are listed in order, by prefix and in pages",
        ),
        (
            Defect::ListsByPattern,
            "streams are listed in order, by prefix and in pages",
        ),
        (
            Defect::HidesMigrations,
            "a `$migrated` event is stored like other events and changes the version in the head",
        ),
    ] {
        let store = Defective::with(defect);
        let violation = conformance::event_store(&store).await.unwrap_err();
        assert_eq!(violation.rule(), rule, "{defect:?}: {violation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_names_the_rule_that_a_defective_transactional_store_breaks() {
    use Defect::*;
    let pages = "consecutive pages have each process once, and count each head once";
    let instant = "a page shows the head and the events of a process at the same point in time";
    let rows = "a batch is written only if all rows and guards have the expected values";
    let changed = "a batch with a stale head writes nothing and returns the stream";
    let births = "births at a version are recorded while the version is closing, and only then";
    let closed = "a version is closed only with its token, and only if no birth is left";
    let stays = "a version with a process stays listed, even if the version is closed concurrently";
    let held = "a held process accepts events and is not migrated";
    let entry = "an entry always has the current version of its process";
    let old_code = "code of an older version cannot register or remove an entry or save a snapshot";
    let older =
        "an entry or a snapshot of an older version is rejected after the process is migrated";
    let snapshot = "a snapshot is used only if it is requested and of the requested version";
    let listed = "a version is listed after the first process is created at it or migrated to it";
    let guard = "nothing is committed after a guard has changed";
    let apart = "concurrent commits of different streams do not conflict";
    let cover = "the ranges of a split are sorted and disjoint, and cover exactly the given ranges";
    for (defect, rule) in [
        (
            ForgetsTheRecordOfAHold,
            "a hold is kept with its actor, reason and time until its release",
        ),
        (SplitsWithAGap, cover),
        (SplitsUpToTheLastStream, cover),
        (WritesTheRowsOfAStaleBatch, changed),
        (SavesAtEveryVersion, old_code),
        (UsesASnapshotAfterTheLastEvent, snapshot),
        (ForgetsAPresentVersion, listed),
        (KeepsTheKeysOfOthers, old_code),
        (
            DoesNotFinishWhatIsHeld,
            "a process that is marked as finished stays finished until its next event",
        ),
        (EndsPagesTooEarly, pages),
        (SkipsWhatItDidNotRead, pages),
        (ReadsHeadsAfterEvents, instant),
        (ComparesSequenceAndVersion, changed),
        (CommitsWhatIsNotStale, changed),
        (HidesThatItIsStale, rows),
        (ForgetsABirth, births),
        (ClosesWithoutALook, closed),
        (ClosesAfterALook, stays),
        (MovesWhatIsHeld, held),
        (AppendsToWhatIsHeld, held),
        (RemembersVersions, entry),
        (RemovesForOlderCode, old_code),
        (SavesAfterALook, older),
        (ChecksGuardsFirst, guard),
        (LetsOneCommitAtATime, apart),
    ] {
        let store = Defective::with(defect);
        let found = conformance::transactional_store(&store).await.unwrap_err();
        assert_eq!(found.rule(), rule, "{defect:?}: {found}");
    }
}
