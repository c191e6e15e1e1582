//! Stage one: finds the processes to migrate and reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use state_migration_core::{
    ChunkEvent, ChunkProblem, DueFilter, DueOf, DuePage, DueProcess, DueRequest, Error, Event,
    FailureClass, Head, MigrationError, MigrationRegistry, RunId, Selection, SkippedBy, Snapshot,
    Stage, StreamId, StreamRange, Verdict, VersionStatus, WorkflowId,
};

use crate::run::{SnapshotUse, Store, history};
use crate::stages::convert::Planned;
use crate::stages::history::HistoryRun;

/// Maximum bytes of events in a page.
pub(crate) const CHUNK_BYTES: usize = 2 << 20;

/// Maximum bytes of events of a process in a page; a process with more is large.
const PROCESS_BYTES: usize = 512 << 10;

/// Maximum number of processes in a page.
pub(crate) const CHUNK_PROCESSES: usize = 512;

/// Maximum number of heads that a page passes, which a killed run has to read again.
const CHUNK_HEADS: usize = 32_768;

/// A process that was read.
pub(crate) struct Scanned {
    pub(crate) stream: StreamId,
    pub(crate) head: Head,
    /// The snapshot, if there is one. The events start after it, unless they are to be
    /// compared with it.
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) events: Vec<ChunkEvent>,
}

impl Scanned {
    /// Whether a fold of the events needs no snapshot.
    pub(crate) fn has_all_events(&self) -> bool {
        let replayed = self.head.sequence - self.head.replay_after();
        self.events.len() as u64 == replayed
    }

    /// Bytes that were read of the process.
    pub(crate) fn bytes(&self) -> usize {
        let events = self.events.iter().map(|event| event.payload.len());
        let snapshot = self.snapshot.as_ref().map_or(0, |it| it.state.len());
        events.sum::<usize>() + snapshot
    }
}

/// Result of reading a process.
pub(crate) enum ScanResult {
    Scanned(Scanned),
    TooLarge,
    Failed(MigrationError),
}

impl ScanResult {
    pub(crate) fn of(process: DueProcess) -> Self {
        let (class, message) = match (process.problem, process.head) {
            (None, Some(head)) => {
                return Self::Scanned(Scanned {
                    stream: process.stream,
                    head,
                    snapshot: process.snapshot,
                    events: process.events,
                });
            }
            (Some(ChunkProblem::TooLarge), _) => return Self::TooLarge,
            (Some(ChunkProblem::Corrupt(message)), _) => (FailureClass::Corrupt, message),
            (Some(ChunkProblem::NewerFormat(message)), _) => (FailureClass::NewerFormat, message),
            (None, None) => (
                FailureClass::Corrupt,
                "the store returned a process without its head; check the store".to_owned(),
            ),
        };
        Self::Failed(MigrationError::new(
            Stage::Reading,
            class,
            &process.stream,
            message,
        ))
    }
}

/// The filter of a run.
pub(crate) struct Filter {
    /// Versions whose processes are returned; `None`: all versions, for counting.
    pub(crate) versions: Option<BTreeSet<WorkflowId>>,
    pub(crate) routes: Arc<BTreeMap<WorkflowId, Arc<Planned>>>,
    pub(crate) migrations: Arc<MigrationRegistry>,
    pub(crate) selection: Arc<Selection>,
    /// The versions whose undone processes stay there.
    pub(crate) undone: Arc<BTreeSet<WorkflowId>>,
    /// `None` if the run migrates.
    pub(crate) history: Option<Arc<HistoryRun>>,
    /// Whether to return processes that are up to date, to compare them with a process
    /// registry in another store.
    pub(crate) compares: bool,
    /// The versions that the store lists, if processes at other versions are passed.
    pub(crate) listed: Option<BTreeSet<WorkflowId>>,
    /// The source versions of routes at which such processes were.
    pub(crate) unlisted: Unlisted,
}

/// Versions with outdated processes that the store does not list.
pub(crate) type Unlisted = Arc<Mutex<BTreeSet<WorkflowId>>>;

impl Filter {
    /// Whether a process is outdated, at a version that the store does not list. Such a
    /// process was created after the run began, or the store is damaged.
    fn is_unlisted(&self, version: &WorkflowId) -> bool {
        let is_listed = self.listed.as_ref().is_none_or(|all| all.contains(version));
        if is_listed || !self.routes.contains_key(version) {
            return false;
        }
        let mut unlisted = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
        unlisted.insert(version.clone());
        true
    }

    /// Whether an operator keeps the process where it is: by a hold or an undo.
    pub(crate) fn keeps(&self, head: &Head) -> Option<SkippedBy> {
        if head.held {
            return Some(SkippedBy::with(|counts| counts.held = 1));
        }
        let is_undone = head.undone && self.undone.contains(&head.workflow_id);
        is_undone.then(|| SkippedBy::with(|counts| counts.undone = 1))
    }

    fn counted(&self, head: &Head) -> Option<Verdict> {
        let mut skipped = SkippedBy::default();
        match self.migrations.version_status(&head.workflow_id) {
            VersionStatus::OtherWorkflow => skipped.other_workflow = 1,
            VersionStatus::Newest | VersionStatus::Stays if self.compares => {
                return Some(Verdict::Head);
            }
            VersionStatus::Newest | VersionStatus::Stays => skipped.already_there = 1,
            VersionStatus::Behind(_) | VersionStatus::NoRoute => return None,
        }
        Some(Verdict::Pass(skipped))
    }
}

impl DueFilter for Filter {
    fn versions(&self) -> Option<&BTreeSet<WorkflowId>> {
        self.versions.as_ref()
    }

    fn verdict(&self, stream: &StreamId, head: &Head) -> Verdict {
        let mut skipped = SkippedBy::default();
        if !self.selection.selects(stream)
            || !self.selection.selects_workflow(head.workflow_id.name())
        {
            skipped.not_selected = 1;
            return Verdict::Pass(skipped);
        }
        if let Some(history) = &self.history {
            let due = match history.erases() {
                true => Verdict::Head,
                false => Verdict::Due,
            };
            return history.skips(head).map_or(due, Verdict::Pass);
        }
        if self.is_unlisted(&head.workflow_id) {
            return Verdict::Pass(skipped);
        }
        if self.versions.is_none()
            && let Some(counted) = self.counted(head)
        {
            return counted;
        }
        if let Some(kept) = self.keeps(head) {
            return Verdict::Pass(kept);
        }
        let Some(planned) = self.routes.get(&head.workflow_id) else {
            return Verdict::Head;
        };
        // Other code may decide differently.
        let is_finished = head.finished && head.finished_by == Some(planned.finished_by());
        if is_finished && !self.selection.selects_finished(true) {
            skipped.finished = 1;
            return Verdict::Pass(skipped);
        }
        Verdict::Due
    }

    fn wants_unreadable(&self, stream: &StreamId) -> bool {
        self.selection.selects(stream)
    }
}

/// A filter for processes found before, which returns them in any state.
pub(crate) struct FoundBefore(pub(crate) Arc<Filter>);

impl DueFilter for FoundBefore {
    fn versions(&self) -> Option<&BTreeSet<WorkflowId>> {
        None
    }

    fn verdict(&self, _: &StreamId, head: &Head) -> Verdict {
        let is_due = match &self.0.history {
            Some(history) => !history.erases() && history.skips(head).is_none(),
            None => self.0.keeps(head).is_none() && self.0.routes.contains_key(&head.workflow_id),
        };
        match is_due {
            true => Verdict::Due,
            false => Verdict::Head,
        }
    }
}

/// A filter that returns heads without events, to identify a process that cannot be
/// read.
pub(crate) struct HeadsOnly(pub(crate) Arc<Filter>);

impl DueFilter for HeadsOnly {
    fn versions(&self) -> Option<&BTreeSet<WorkflowId>> {
        self.0.versions()
    }

    fn verdict(&self, stream: &StreamId, head: &Head) -> Verdict {
        match self.0.verdict(stream, head) {
            Verdict::Due => Verdict::Head,
            other => other,
        }
    }
}

/// A filter that counts the selected processes at some versions.
pub(crate) struct CountOnly {
    pub(crate) versions: BTreeSet<WorkflowId>,
    pub(crate) selection: Arc<Selection>,
}

impl DueFilter for CountOnly {
    fn versions(&self) -> Option<&BTreeSet<WorkflowId>> {
        Some(&self.versions)
    }

    fn verdict(&self, stream: &StreamId, _: &Head) -> Verdict {
        let mut counted = SkippedBy::default();
        counted.not_selected = usize::from(self.selection.selects(stream));
        Verdict::Pass(counted)
    }

    fn wants_unreadable(&self, _: &StreamId) -> bool {
        false
    }
}

/// Heads for each of some streams from which on the streams are far apart: it is then
/// cheaper to get each of them than to scan everything in between.
pub(crate) const FAR_APART: usize = 8;

/// A filter for some of the streams of a range, at any version.
pub(crate) struct OnlyThese {
    pub(crate) filter: Arc<Filter>,
    pub(crate) streams: BTreeSet<StreamId>,
}

impl DueFilter for OnlyThese {
    fn versions(&self) -> Option<&BTreeSet<WorkflowId>> {
        None
    }

    fn verdict(&self, stream: &StreamId, head: &Head) -> Verdict {
        match self.streams.contains(stream) {
            true => self.filter.verdict(stream, head),
            false => Verdict::Pass(SkippedBy::default()),
        }
    }

    fn wants_unreadable(&self, stream: &StreamId) -> bool {
        self.streams.contains(stream) && self.filter.wants_unreadable(stream)
    }
}

/// The snapshots that a page may have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshots {
    /// The versions whose snapshots may be read, with their state schema versions.
    pub(crate) of: Arc<BTreeMap<WorkflowId, u32>>,
    /// Whether the events before a snapshot are read, too.
    pub(crate) compared: bool,
    /// Whether the events before the baseline are read, too.
    pub(crate) whole_history: bool,
}

impl Snapshots {
    /// The same without snapshots.
    pub(crate) fn none(&self) -> Self {
        Self {
            whole_history: self.whole_history,
            ..Self::default()
        }
    }

    /// What is left of these for a run that uses snapshots like this.
    pub(crate) fn used(self, used: SnapshotUse) -> Self {
        match used {
            SnapshotUse::Start => self,
            SnapshotUse::Ignore => Self::default(),
            SnapshotUse::Compare => Self {
                compared: true,
                ..self
            },
        }
    }
}

/// Reads a page of at most `max_processes` processes.
pub(crate) async fn page(
    store: &Store,
    of: DueOf,
    filter: Arc<dyn DueFilter>,
    max_processes: usize,
    snapshots: Snapshots,
) -> Result<DuePage, Error> {
    let request = request(of, filter, max_processes, snapshots);
    store.read_due(request).await
}

/// Reads a page of a range that passes at most `max_heads` heads.
pub(crate) async fn page_of(
    store: &Store,
    range: StreamRange,
    filter: Arc<dyn DueFilter>,
    max_processes: usize,
    max_heads: usize,
    snapshots: Snapshots,
) -> Result<DuePage, Error> {
    let mut request = request(DueOf::Range(range), filter, max_processes, snapshots);
    request.max_heads = max_heads;
    store.read_due(request).await
}

fn request(
    of: DueOf,
    filter: Arc<dyn DueFilter>,
    max_processes: usize,
    snapshots: Snapshots,
) -> DueRequest {
    DueRequest {
        of,
        filter,
        max_processes,
        max_heads: CHUNK_HEADS,
        max_bytes: CHUNK_BYTES,
        max_process_bytes: PROCESS_BYTES,
        events_after: None,
        snapshots: snapshots.of,
        all_events: snapshots.compared,
        whole_history: snapshots.whole_history,
    }
}

/// Counts the selected processes at some versions, in a scan of the heads of a selection.
/// A version without processes counts 0. The scan ends early once it has counted `enough`.
pub(crate) async fn count(
    store: &Store,
    versions: BTreeSet<WorkflowId>,
    selection: Arc<Selection>,
    enough: u64,
) -> Result<BTreeMap<WorkflowId, u64>, Error> {
    let mut counts: BTreeMap<_, u64> = versions.iter().map(|at| (at.clone(), 0)).collect();
    let ranges = selection.within(&[StreamRange::default()]);
    let filter = Arc::new(CountOnly {
        versions,
        selection,
    });
    for mut range in ranges {
        while !counts.is_empty() && counts.values().sum::<u64>() < enough {
            let (of, snapshots) = (DueOf::Range(range.clone()), Snapshots::default());
            let page = page(store, of, filter.clone(), 1, snapshots).await?;
            for (version, counted) in &page.passed.counted {
                if let Some(sum) = counts.get_mut(version) {
                    *sum += counted.total() as u64;
                }
            }
            if page.at_end {
                break;
            }
            range.after = page.up_to;
        }
    }
    Ok(counts)
}

/// Reads the events of one process after event `after`.
pub(crate) async fn tail(
    store: &Store,
    stream: &StreamId,
    filter: Arc<dyn DueFilter>,
    after: u64,
) -> Result<DuePage, Error> {
    store
        .read_due(DueRequest {
            of: DueOf::Streams(vec![stream.clone()]),
            filter,
            max_processes: 1,
            max_heads: 1,
            max_bytes: PROCESS_BYTES,
            // The tail of a large process is bounded like any process.
            max_process_bytes: PROCESS_BYTES,
            events_after: Some(after),
            snapshots: Arc::default(),
            all_events: false,
            whole_history: false,
        })
        .await
}

/// Checks that a page of a range is in order and after the start of the range.
pub(crate) fn check_page(page: &DuePage, rest: &StreamRange) -> Result<(), Error> {
    let streams = page.processes.iter().map(|process| &process.stream);
    check_order(
        rest.after.as_ref(),
        streams.chain(page.up_to.iter().filter(|end| {
            page.processes
                .last()
                .is_none_or(|last| last.stream != **end)
        })),
    )
}

/// Reason why a stage did not succeed for a process.
pub(crate) enum StageError {
    /// The process failed.
    Process(MigrationError),
    /// The store failed. This says nothing about the process.
    Store(Error),
}

impl StageError {
    /// Only damaged records, and records of a newer format, are about the process.
    pub(crate) fn of_read(stream: &StreamId, error: Error) -> Self {
        match error.is_of_record() {
            true => Self::Process(unreadable(stream, &error)),
            false => Self::Store(error),
        }
    }
}

impl From<MigrationError> for StageError {
    fn from(error: MigrationError) -> Self {
        Self::Process(error)
    }
}

/// The failure of a process that could not be read.
pub(crate) fn unreadable(stream: &StreamId, error: &Error) -> MigrationError {
    MigrationError::of(Stage::Reading, stream, error)
}

/// Checks that streams are in ascending order and start after the last page.
///
/// A store that lists streams out of order could omit a stream without being noticed.
pub(crate) fn check_order<'a>(
    mut after: Option<&'a StreamId>,
    streams: impl IntoIterator<Item = &'a StreamId>,
) -> Result<(), Error> {
    for stream in streams {
        if let Some(before) = after.filter(|before| *before >= stream) {
            return Err(Error::corrupt(format!(
                "the store listed stream {stream} after {before}, out of order; check the store"
            )));
        }
        after = Some(stream);
    }
    Ok(())
}

/// The error for a stream that existed and has no head; streams are never removed.
pub(crate) fn no_head(stream: &StreamId) -> Error {
    Error::corrupt(format!(
        "the head of stream {stream} is missing; restore the head from a backup (nothing was changed)"
    ))
}

/// The leading events of a page with consecutive sequence numbers from `at + 1` to at
/// most `through`. Fails if there are none.
pub(crate) fn follow<'a>(
    stream: &StreamId,
    page: &'a [Event],
    at: u64,
    through: u64,
) -> Result<&'a [Event], MigrationError> {
    let count = page
        .iter()
        .zip(at + 1..=through)
        .take_while(|(event, expected)| event.sequence == *expected)
        .count();
    if count == 0 {
        return Err(unreadable(stream, &Error::missing_event(stream, at + 1)));
    }
    Ok(&page[..count])
}

/// The processes of a page that failed in a run; none if no run is given.
pub(crate) async fn failed(
    store: &Store,
    run: Option<RunId>,
    page: &DuePage,
) -> Result<BTreeSet<StreamId>, Error> {
    let (Some(run), Some(first), Some(last)) = (run, page.processes.first(), page.processes.last())
    else {
        return Ok(BTreeSet::new());
    };
    let before = state_migration_core::selection::before(first.stream.as_str());
    let through = Some(&last.stream);
    let failures = history::failures(store, run, &[], before.as_ref(), through, usize::MAX);
    let failures = failures.await?.into_iter();
    Ok(failures
        .filter_map(|failure| failure.stream().cloned())
        .collect())
}
