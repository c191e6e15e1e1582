//! A page of processes in one store, folded, converted and committed together.
//!
//! Only processes that changed after they were read are read and converted again. The
//! page is committed as a whole, once no process in it has changed since it was read.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use state_migration_core::{
    DueOf, DuePage, Error, FailureClass, Finished, Head, MigrationError, Passed, ReadPoint, Route,
    SkippedBy, Stage, StreamId, WorkflowId,
};

use crate::chunk::context::ChunkContext;
use crate::chunk::large_process;
use crate::observe;
use crate::restrictions::Selected;
use crate::retry::{ATTEMPTS, back_off};
use crate::run::bookkeeping::Bookkeeping;
use crate::run::counts::CountsByWorkflow;
use crate::run::run_log::Range;
use crate::stages::commit::{self, AttemptResult, ChunkOutcome};
use crate::stages::done::{Done, Failed};
use crate::stages::history::{self, HistoryRun};
use crate::stages::scan::{self, ScanResult, Scanned, StageError};
use crate::stages::{convert, fold};
use crate::user_code::round_trip;
use crate::user_code::threads::{EndOfRun, NoResult, Watchdog, never_returned};

/// Time after which user code on a page makes the store drop the read point of the
/// page.
const READ_POINT: Duration = Duration::from_millis(150);

/// Counts of skipped processes.
#[derive(Clone, Default)]
pub(crate) struct SkipCounts {
    pub(crate) by: SkippedBy,
    pub(crate) by_workflow: CountsByWorkflow,
    /// Number of processes that the run is for and whose heads alone were read.
    pub(crate) passed_over: u64,
}

impl SkipCounts {
    pub(crate) fn add(&mut self, at: Option<&WorkflowId>, skipped: &SkippedBy) {
        self.by.add(skipped);
        if let Some(at) = at {
            let count = self.by_workflow.of(at.name());
            count.not_selected += skipped.not_selected as u64;
            count.skipped += (skipped.total() - skipped.not_selected) as u64;
        }
    }

    /// Adds the counts of the filter. Processes that are up to date or of another
    /// workflow are counted in the total only, not per workflow.
    fn pass(&mut self, at: &WorkflowId, skipped: &SkippedBy) {
        let counted = skipped.already_there + skipped.other_workflow > 0;
        self.add(Some(at).filter(|_| !counted), skipped);
        let passed_over = (skipped.total() - skipped.not_selected) as u64;
        self.passed_over += passed_over;
        if !counted {
            self.by_workflow.of(at.name()).passed_over += passed_over;
        }
    }
}

/// Processes that a worker is to migrate together.
pub(crate) struct Page {
    pub(crate) read: DuePage,
    /// The births that the page covers.
    pub(crate) births: Vec<(WorkflowId, StreamId)>,
}

/// Outcome of a page.
pub(crate) struct PageResult {
    pub(crate) done: Done,
    /// Whether the page held a process that is too large for a page.
    pub(crate) large: bool,
}

/// A process of a page, and how far it is.
struct Slot {
    stream: StreamId,
    /// The version that the process is at, if known.
    at: Option<WorkflowId>,
    passed: Passed,
    scanned: Option<Arc<Scanned>>,
    result: Option<Converted>,
    /// Number of commits that failed because this process had changed.
    conflicts: usize,
}

impl Slot {
    /// Whether only a part of the events to be removed are.
    fn has_events_left(&self) -> bool {
        matches!(&self.result, Some(Converted::Erased(erased)) if !erased.is_complete)
    }
}

/// Result of user code on one process.
#[derive(Clone)]
enum Converted {
    Migrated(Box<convert::Converted>),
    Finished(Finished),
    /// The process is up to date, to be compared with a registry in another store.
    UpToDate(Head),
    /// The migrations of the process were verified.
    Verified,
    /// Events of the process are to be removed.
    Erased(history::Erased),
    /// The process has no route in this run and needs none.
    Skipped(SkippedBy),
    Failed(MigrationError),
}

impl Slot {
    fn fail(&mut self, error: MigrationError) {
        self.result = Some(Converted::Failed(error));
    }

    fn take(&mut self, result: ScanResult) -> Option<()> {
        match result {
            ScanResult::Scanned(scanned) => {
                self.at = Some(scanned.head.workflow_id.clone());
                self.scanned = Some(Arc::new(scanned));
            }
            ScanResult::Failed(error) => self.fail(error),
            ScanResult::TooLarge => return None,
        }
        Some(())
    }
}

impl ChunkContext {
    /// Migrates the processes of a page, which is not empty, and commits them together
    /// with the progress of the range.
    pub(crate) async fn migrate_page(
        &self,
        page: Page,
        range: &mut Range,
    ) -> Result<PageResult, Error> {
        let failed = scan::failed(&self.store, self.failed_before(), &page.read).await?;
        let left_out = match &self.restrictions.left_out {
            Some(left_out) => left_out.of_page(&self.store, &page.read).await?,
            None => BTreeSet::new(),
        };
        let mut left = BTreeSet::new();
        let DuePage {
            processes,
            passed,
            up_to,
            at_end,
            mut read_point,
        } = page.read;
        let mut end = PageEnd {
            passed,
            up_to,
            at_end,
            births: page.births,
            left: BTreeSet::new(),
        };
        if self.committer.bookkeeping.is_dry() {
            read_point = ReadPoint::none();
        }
        let mut slots: Vec<Slot> = Vec::with_capacity(processes.len());
        let mut before = Passed::default();
        for mut process in processes {
            let at = process.head.as_ref().map(|head| head.workflow_id.clone());
            if failed.contains(&process.stream) {
                left.extend(at);
                before.add(&process.passed);
                continue;
            }
            let mut passed = std::mem::take(&mut before);
            passed.add(&std::mem::take(&mut process.passed));
            let mut slot = Slot {
                stream: process.stream.clone(),
                at,
                passed,
                scanned: None,
                result: None,
                conflicts: 0,
            };
            let decided = self.decided(&slot.stream, process.head.as_ref());
            if left_out.contains(&slot.stream) {
                slot.result = Some(Converted::Skipped(not_selected()));
            } else if let Some(failure) = decided {
                slot.fail(failure);
            } else if slot.take(ScanResult::of(process)).is_none() {
                end.left = left;
                return self.migrate_large(slot, end, range).await;
            }
            slots.push(slot);
        }
        end.passed.add(&before);
        end.left = left;
        self.migrate_slots(slots, end, read_point, range).await
    }

    async fn migrate_slots(
        &self,
        mut slots: Vec<Slot>,
        mut end: PageEnd,
        mut read_point: ReadPoint,
        range: &mut Range,
    ) -> Result<PageResult, Error> {
        let mut conflicts = 0;
        loop {
            let mut again = BTreeSet::new();
            let mut snapshots = self.snapshots();
            if let Some(bad) = self.convert(&mut slots, &mut end, &mut read_point).await? {
                self.bad_snapshots.fetch_add(1, Ordering::Relaxed);
                snapshots = snapshots.none();
                again.insert(bad);
            } else if slots.iter().all(|slot| slot.result.is_some()) {
                let outcome = self.outcome(&slots, &end);
                let read_point = std::mem::take(&mut read_point);
                match commit::attempt(&self.committer, outcome, read_point, range).await? {
                    AttemptResult::Done(mut done) => {
                        done.conflicts = conflicts as u64;
                        return Ok(PageResult {
                            done: *done,
                            large: false,
                        });
                    }
                    AttemptResult::Stale(streams) => {
                        conflicts += 1;
                        if let Some(first) = streams.first() {
                            self.observer.conflict(first, streams.len());
                        }
                        for stream in streams {
                            let slot = slots.iter_mut().find(|slot| slot.stream == stream);
                            let Some(slot) = slot else { continue };
                            slot.conflicts += 1;
                            if slot.conflicts < ATTEMPTS {
                                again.insert(stream);
                            } else {
                                slot.result = Some(self.give_up(&stream).await?);
                            }
                        }
                        // The interval between two concurrent writes may be shorter
                        // than the time that a page takes. Half of the page takes less.
                        if conflicts > 1 && slots.len() > 1 {
                            slots.truncate(slots.len() / 2);
                            end.end_after(&slots);
                            again.retain(|it| slots.iter().any(|slot| slot.stream == *it));
                        }
                        // Let the other writers finish; they have priority.
                        if conflicts > 1 && !again.is_empty() {
                            back_off(conflicts).await;
                        }
                    }
                }
            }
            if again.is_empty() {
                continue;
            }
            if let Some(grown) = self.read_again(&mut slots, again, snapshots).await? {
                // Commit the processes before it first.
                match slots.iter().position(|slot| slot.stream == grown) {
                    Some(0) | None => {
                        slots.truncate(1);
                        end.end_after(&slots);
                        return match slots.pop() {
                            Some(slot) => self.migrate_large(slot, end, range).await,
                            None => Err(scan::no_head(&grown)),
                        };
                    }
                    Some(before) => {
                        slots.truncate(before);
                        end.end_after(&slots);
                    }
                }
            }
        }
    }

    /// Whether the page is part of a run, which can be cancelled and resumed.
    pub(super) fn is_of_run(&self) -> bool {
        !matches!(self.committer.bookkeeping, Bookkeeping::OnOpen(_))
    }

    /// Reads some processes of a page again. Returns the first that no longer fits into
    /// a page.
    async fn read_again(
        &self,
        slots: &mut [Slot],
        streams: BTreeSet<StreamId>,
        snapshots: scan::Snapshots,
    ) -> Result<Option<StreamId>, Error> {
        let mut left: Vec<StreamId> = streams.into_iter().collect();
        while !left.is_empty() {
            let filter = Arc::new(scan::FoundBefore(self.filter.clone()));
            let of = DueOf::Streams(left.clone());
            let turn = self.backpressure.turn(&self.store).await;
            let page = scan::page(&self.store, of, filter, left.len(), snapshots.clone()).await?;
            drop(turn);
            let covered = page.up_to;
            let mut found = page.processes.into_iter().peekable();
            let ends = |stream: &StreamId| covered.as_ref().is_some_and(|end| stream <= end);
            let (now, later): (Vec<_>, Vec<_>) = left.into_iter().partition(ends);
            if now.is_empty() {
                return Err(Error::corrupt(
                    "the store returned a page that covers none of the requested streams; check the store",
                ));
            }
            left = later;
            for stream in now {
                let Some(slot) = slots.iter_mut().find(|slot| slot.stream == stream) else {
                    continue;
                };
                slot.result = None;
                match found.next_if(|process| process.stream == stream) {
                    Some(process) => {
                        if slot.take(ScanResult::of(process)).is_none() {
                            return Ok(Some(stream));
                        }
                    }
                    None => slot.fail(scan::unreadable(&stream, &scan::no_head(&stream))),
                }
            }
        }
        Ok(None)
    }

    /// Runs user code on all processes that have no result yet. Returns a process whose
    /// snapshot is unusable.
    async fn convert(
        &self,
        slots: &mut Vec<Slot>,
        end: &mut PageEnd,
        read_point: &mut ReadPoint,
    ) -> Result<Option<StreamId>, Error> {
        loop {
            let todo: Vec<(usize, Arc<Scanned>)> = slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| slot.result.is_none())
                .filter_map(|(at, slot)| Some((at, slot.scanned.clone()?)))
                .collect();
            if todo.is_empty() {
                return Ok(None);
            }
            let (processes, all) = (todo.len(), todo.iter());
            let read: usize = all.map(|(_, scanned)| scanned.bytes()).sum();
            let mut inner = self.clone();
            // Code that never returns must not keep the execution registered as live.
            inner.committer.bookkeeping = Bookkeeping::DryRun;
            // What was converted counts, even if the code does not return for the next.
            let converted = Arc::new(Mutex::new(Results::default()));
            let results = converted.clone();
            let may_stop = self.is_of_run();
            let code = self
                .code
                .run(move |watchdog| convert_all(&inner, todo, watchdog, &results, may_stop));
            let worked = match select(pin!(code), pin!(tokio::time::sleep(READ_POINT))).await {
                Either::Left((worked, _)) => worked,
                Either::Right((_, code)) => {
                    *read_point = ReadPoint::none();
                    code.await
                }
            };
            let all = {
                let mut all = converted.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *all)
            };
            let done = all.results.len();
            self.sizes.record(done, read / processes * done + all.bytes);
            for (at, result) in all.results {
                slots[at].result = Some(result);
            }
            let stop = match worked {
                Ok(stop) => stop,
                Err(NoResult::Stuck(stream)) => {
                    *read_point = ReadPoint::none();
                    let slot = slots.iter_mut().find(|slot| slot.stream == stream);
                    // The code may have returned at the last moment.
                    if let Some(slot) = slot.filter(|slot| slot.result.is_none()) {
                        slot.fail(never_returned(stream));
                    }
                    None
                }
                Err(NoResult::EndOfRun(reason)) => {
                    *read_point = ReadPoint::none();
                    if slots[0].result.is_none() {
                        return Err(reason.error());
                    }
                    Some(StopReason::Cut)
                }
                Err(NoResult::Ended(error)) => return Err(error),
            };
            match stop {
                None => {}
                Some(StopReason::BadSnapshot(stream)) => return Ok(Some(stream)),
                Some(StopReason::Cut) => {
                    let done = slots.iter().position(|slot| slot.result.is_none());
                    slots.truncate(done.unwrap_or(slots.len()));
                    let left = slots.iter().position(Slot::has_events_left);
                    slots.truncate(left.map_or(slots.len(), |left| left + 1));
                    end.end_after(slots);
                }
            }
        }
    }

    /// The outcome of a page, to be committed.
    fn outcome(&self, slots: &[Slot], end: &PageEnd) -> ChunkOutcome {
        let mut outcome = ChunkOutcome {
            converted: Vec::with_capacity(slots.len()),
            up_to: end.up_to.clone(),
            at_end: end.at_end,
            births: end.births.clone(),
            stays: end.left.clone(),
            ..ChunkOutcome::default()
        };
        let mut skips = SkipCounts::default();
        // What is left of a process is removed by the next page, which begins with it, and
        // with the heads passed before it.
        let (whole, is_left) = match slots.split_last() {
            Some((last, before)) if last.has_events_left() => (before, true),
            _ => (slots, false),
        };
        let passed = whole.iter().map(|slot| &slot.passed);
        let passed_at_end = [&end.passed].into_iter().filter(|_| !is_left);
        for passed in passed.chain(passed_at_end) {
            outcome.heads += passed.heads;
            for (version, skipped) in &passed.counted {
                let mut stays = *skipped;
                stays.already_there = 0;
                stays.other_workflow = 0;
                if stays.total() > 0 {
                    outcome.stays.insert(version.clone());
                }
                skips.pass(version, skipped);
            }
        }
        for slot in slots {
            outcome.counts.bytes += slot.scanned.as_ref().map_or(0, |it| it.bytes() as u64);
            let stays = |outcome: &mut ChunkOutcome| match &slot.at {
                Some(at) => drop(outcome.stays.insert(at.clone())),
                None => outcome.unread = true,
            };
            match &slot.result {
                None => {}
                Some(Converted::Migrated(converted)) => {
                    outcome.converted.push((**converted).clone());
                }
                Some(Converted::Finished(finished)) => {
                    stays(&mut outcome);
                    skips.by.finished += 1;
                    outcome.finished.push(finished.clone());
                }
                Some(Converted::UpToDate(head)) => {
                    skips.by.already_there += 1;
                    let up_to_date = (slot.stream.clone(), head.clone());
                    outcome.up_to_date.push(up_to_date);
                }
                Some(Converted::Verified) => {
                    outcome.counts.verified += 1;
                    if let Some(at) = &slot.at {
                        skips.by_workflow.of(at.name()).migrated += 1;
                    }
                }
                Some(Converted::Erased(erased)) => outcome.erased.push(erased.clone()),
                Some(Converted::Skipped(skipped)) => {
                    if skipped.held + skipped.undone + skipped.not_selected > 0 {
                        stays(&mut outcome);
                    }
                    skips.add(slot.at.as_ref(), skipped);
                }
                Some(Converted::Failed(error)) => {
                    stays(&mut outcome);
                    outcome.failed.push(Failed {
                        error: error.clone(),
                        at: slot.at.clone(),
                    });
                }
            }
        }
        if is_left {
            outcome.up_to = whole.last().map(|slot| slot.stream.clone());
            outcome.at_end = false;
        }
        // A sweep reads processes again that the run has already counted.
        if !self.committer.sweeps {
            outcome.counts.skipped_by.add(&skips.by);
            outcome.by_workflow = skips.by_workflow;
            outcome.passed_over = skips.passed_over;
        }
        outcome
    }

    /// Migrates a process that does not fit into a page.
    async fn migrate_large(
        &self,
        slot: Slot,
        end: PageEnd,
        range: &mut Range,
    ) -> Result<PageResult, Error> {
        let mut fold = large_process::LargeFold::default();
        let mut slots = vec![slot];
        loop {
            let slot = &mut slots[0];
            let stream = &slot.stream;
            let result = if slot.conflicts < ATTEMPTS {
                let convert = fold.convert(self, stream);
                large_result(match &slot.at {
                    Some(version) => observe::process_during(stream, version, convert).await,
                    None => convert.await,
                })?
            } else {
                self.give_up(stream).await?
            };
            let is_moved = matches!(result, Converted::Migrated(_));
            slot.result = Some(result);
            let mut outcome = self.outcome(&slots, &end);
            outcome.counts.large = u64::from(is_moved);
            outcome.counts.bytes = fold.bytes();
            match commit::attempt(&self.committer, outcome, ReadPoint::none(), range).await? {
                AttemptResult::Done(done) => {
                    return Ok(PageResult {
                        done: *done,
                        large: true,
                    });
                }
                AttemptResult::Stale(_) => {
                    let slot = &mut slots[0];
                    self.observer.conflict(&slot.stream, 1);
                    // Let the other writer finish; it has priority.
                    back_off(slot.conflicts).await;
                    slot.conflicts += 1;
                }
            }
        }
    }

    /// The result of a process that others changed in each attempt. The last change may
    /// have been a hold, or a migration elsewhere.
    async fn give_up(&self, stream: &StreamId) -> Result<Converted, Error> {
        let head = self.store.head(stream).await;
        let head = match head.and_then(|head| head.ok_or_else(|| scan::no_head(stream))) {
            Ok(head) => head,
            Err(error) => return large_result(Err(StageError::of_read(stream, error))),
        };
        if let Some(history) = &self.history {
            return Ok(match history.skips(&head) {
                Some(skipped) => Converted::Skipped(skipped),
                None => Converted::Failed(commit::busy(stream, ATTEMPTS)),
            });
        }
        Ok(if let Some(kept) = self.filter.keeps(&head) {
            Converted::Skipped(kept)
        } else if self.routes.contains_key(&head.workflow_id) {
            Converted::Failed(commit::busy(stream, ATTEMPTS))
        } else {
            match self.without_route(stream, &head.workflow_id) {
                Ok(skipped) => Converted::Skipped(skipped),
                Err(error) => Converted::Failed(error),
            }
        })
    }
}

/// The end of a page, after its last slot.
struct PageEnd {
    passed: Passed,
    up_to: Option<StreamId>,
    at_end: bool,
    births: Vec<(WorkflowId, StreamId)>,
    /// Versions of processes that failed earlier in this run.
    left: BTreeSet<WorkflowId>,
}

impl PageEnd {
    /// Ends the page after the last of these slots.
    fn end_after(&mut self, slots: &[Slot]) {
        self.passed = Passed::default();
        self.up_to = slots.last().map(|slot| slot.stream.clone());
        self.at_end = false;
        let up_to = self.up_to.as_ref();
        self.births
            .retain(|(_, stream)| up_to.is_some_and(|up_to| stream <= up_to));
    }
}

/// The result of a large process.
fn large_result(
    converted: Result<large_process::LargeResult, StageError>,
) -> Result<Converted, Error> {
    Ok(match converted {
        Ok(large_process::LargeResult::Converted(converted)) => Converted::Migrated(converted),
        Ok(large_process::LargeResult::Verified(_)) => Converted::Verified,
        Ok(large_process::LargeResult::Finished(finished)) => Converted::Finished(finished),
        Ok(large_process::LargeResult::NotMatching(_)) => Converted::Skipped(not_selected()),
        Ok(large_process::LargeResult::Gone(skipped)) => Converted::Skipped(skipped),
        Err(StageError::Process(error)) => match EndOfRun::behind_failure(&error) {
            Some(end) => return Err(end.error()),
            None => Converted::Failed(error),
        },
        Err(StageError::Store(error)) => return Err(error),
    })
}

/// Time in user code after which a page of a run ends. A program that is killed then loses
/// no more work.
const IN_CODE: Duration = Duration::from_secs(1);

/// What the removal of an event counts for in the size of a page, in bytes.
const ERASED_EVENT: usize = 128;

/// Results of user code on several processes.
#[derive(Default)]
struct Results {
    results: Vec<(usize, Converted)>,
    /// Bytes of the new states.
    bytes: usize,
}

/// Reason why the work stopped before the end.
enum StopReason {
    /// The code cannot read the snapshot that the fold of this process starts from.
    BadSnapshot(StreamId),
    /// The rest of the page is left to a later page: the new states are as large as a
    /// page may be, the code took as long as it may, or the run has to end.
    Cut,
}

/// Runs user code on the processes of a page. If the run was cancelled meanwhile, or the code
/// is slow, it `may_stop` after any process.
fn convert_all(
    context: &ChunkContext,
    processes: Vec<(usize, Arc<Scanned>)>,
    watchdog: &Watchdog,
    results: &Mutex<Results>,
    may_stop: bool,
) -> Option<StopReason> {
    let mut bytes = 0;
    let mut is_first = true;
    let began = Instant::now();
    for (at, scanned) in processes {
        // The first process is always decided, so that each page comes to an end.
        let is_over = || context.control.is_cancelled() || began.elapsed() >= IN_CODE;
        if bytes >= scan::CHUNK_BYTES || (may_stop && !is_first && is_over()) {
            return Some(StopReason::Cut);
        }
        is_first = false;
        let result = match convert_one(context, &scanned, watchdog) {
            Ok(result) => result,
            Err(BadSnapshot) => return Some(StopReason::BadSnapshot(scanned.stream.clone())),
        };
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        if watchdog.is_abandoned() {
            return None;
        }
        let is_cut = match &result {
            Converted::Migrated(converted) => {
                bytes += converted.state.len();
                false
            }
            Converted::Erased(erased) => {
                bytes += ERASED_EVENT * usize::try_from(erased.events()).unwrap_or(usize::MAX);
                !erased.is_complete
            }
            _ => false,
        };
        results.bytes = bytes;
        results.results.push((at, result));
        if is_cut {
            return Some(StopReason::Cut);
        }
    }
    None
}

/// The snapshot of a process is unusable.
struct BadSnapshot;

fn convert_one(
    context: &ChunkContext,
    scanned: &Scanned,
    watchdog: &Watchdog,
) -> Result<Converted, BadSnapshot> {
    let (stream, version) = (&scanned.stream, &scanned.head.workflow_id);
    if let Some(history) = &context.history {
        return Ok(match (history.erases(), history.skips(&scanned.head)) {
            (true, None) => match history.newer(stream, &scanned.head) {
                None => Converted::Erased(history.erasure(stream, &scanned.head)),
                Some(newer) => Converted::Failed(newer),
            },
            (true, Some(skipped)) => Converted::Skipped(skipped),
            (false, _) => replay(context, history, scanned, watchdog),
        });
    }
    if let Some(kept) = context.filter.keeps(&scanned.head) {
        return Ok(Converted::Skipped(kept));
    }
    let Some(planned) = context.routes.get(version) else {
        return Ok(match context.without_route(stream, version) {
            Ok(skipped) if context.filter.compares && skipped.already_there > 0 => {
                Converted::UpToDate(scanned.head.clone())
            }
            Ok(skipped) => Converted::Skipped(skipped),
            Err(error) => Converted::Failed(error),
        });
    };
    let deadline = context.code.deadline();
    let bad_snapshot = Cell::new(false);
    let has_all_events = context.snapshots.compared && scanned.has_all_events();
    let converted_from = |snapshot: bool| {
        fold_and_convert(context, planned, scanned, snapshot).map_err(|unfolded| match unfolded {
            fold::FoldFailure::Failed(error) => error,
            fold::FoldFailure::BadSnapshot => {
                bad_snapshot.set(true);
                scan::unreadable(stream, &Error::invalid("the snapshot cannot be used"))
            }
        })
    };
    let fold_and_convert = || converted_from(!has_all_events);
    let converted = observe::process(stream, version, || {
        let first = watchdog.run_on(stream, deadline, fold_and_convert)?;
        let first = match context.check_determinism {
            true => watchdog.run_on(stream, deadline, || {
                compare_results(&planned.route, stream, first, fold_and_convert())
            })?,
            false => first,
        };
        let first = match scanned.snapshot.as_ref().filter(|_| has_all_events) {
            Some(snapshot) => watchdog.run_on(stream, deadline, || {
                let second = converted_from(true);
                if bad_snapshot.take() {
                    // Opening the process ignores the snapshot, too.
                    return Ok(first);
                }
                let same = compare_results(&planned.route, stream, first, second);
                same.map_err(|_| snapshot_differs(stream, snapshot.sequence))
            })?,
            None => first,
        };
        if let Selected::Yes(converted) = &first {
            watchdog.run_on(stream, deadline, || {
                round_trip::check(&planned.route, stream, converted.json())
            })?;
        }
        Ok(first)
    });
    if bad_snapshot.get() {
        return Err(BadSnapshot);
    }
    Ok(match converted {
        Ok(Selected::Yes(converted)) => Converted::Migrated(Box::new(converted)),
        Ok(Selected::Finished) => Converted::Finished(Finished {
            stream: stream.clone(),
            head: scanned.head.clone(),
            by: planned.finished_by(),
        }),
        Ok(Selected::NotMatching) => Converted::Skipped(not_selected()),
        Err(error) => Converted::Failed(error),
    })
}

/// Replays the history of a process.
fn replay(
    context: &ChunkContext,
    history: &HistoryRun,
    scanned: &Scanned,
    watchdog: &Watchdog,
) -> Converted {
    let (stream, head) = (&scanned.stream, &scanned.head);
    if let Some(skipped) = history.skips(head) {
        return Converted::Skipped(skipped);
    }
    let deadline = context.code.deadline();
    let once = || history.process(scanned);
    let outcome = observe::process(stream, &head.workflow_id, || {
        let first = watchdog.run_on(stream, deadline, once)?;
        match context.check_determinism {
            true => watchdog.run_on(stream, deadline, || history::compare(stream, first, once())),
            false => Ok(first),
        }
    });
    Converted::of(outcome)
}

impl Converted {
    fn of(outcome: Result<history::Outcome, MigrationError>) -> Self {
        match outcome {
            Ok(history::Outcome::Changed(converted)) => Self::Migrated(converted),
            Ok(history::Outcome::Verified) => Self::Verified,
            Ok(history::Outcome::Skipped(skipped)) => Self::Skipped(skipped),
            Err(error) => Self::Failed(error),
        }
    }
}

/// The failure of a process whose snapshot gives another state than its events.
fn snapshot_differs(stream: &StreamId, sequence: u64) -> MigrationError {
    MigrationError::new(
        Stage::Converting,
        FailureClass::SnapshotDiffers,
        stream,
        format!(
            "the snapshot at event {sequence} and the events give different states, because `apply` was changed after the snapshot was taken; if the events are right, use `--snapshots ignore`, and delete the snapshots"
        ),
    )
}

/// How two executions of a predicate differ.
pub(crate) const PREDICATE_DIFFERS: &str = "different answers of the predicate";

/// Checks that two executions of user code gave the same result.
pub(crate) fn compare_results(
    route: &Route,
    stream: &StreamId,
    first: Selected<convert::Converted>,
    second: Result<Selected<convert::Converted>, MigrationError>,
) -> Result<Selected<convert::Converted>, MigrationError> {
    use Selected::{Finished, NotMatching, Yes};
    match (&first, &second) {
        (Yes(first), Ok(Yes(second))) => convert::same(route, first, second)?,
        (Finished, Ok(Finished)) | (NotMatching, Ok(NotMatching)) => {}
        (_, Err(error)) => {
            let what = format!("a state and then an error ({})", error.message);
            return Err(convert::non_deterministic(stream, &what));
        }
        (Finished, _) | (_, Ok(Finished)) => {
            return Err(convert::non_deterministic(
                stream,
                "different answers to `is_finished`",
            ));
        }
        _ => return Err(convert::non_deterministic(stream, PREDICATE_DIFFERS)),
    }
    Ok(first)
}

fn fold_and_convert(
    context: &ChunkContext,
    planned: &convert::Planned,
    scanned: &Scanned,
    from_snapshot: bool,
) -> Result<Selected<convert::Converted>, fold::FoldFailure> {
    let restrictions = &context.restrictions;
    let folded = fold::process(&planned.route, scanned, from_snapshot, restrictions)?;
    Ok(folded.and_then(|folded| convert::process(planned, folded))?)
}

/// The count of a process that the selection leaves out.
pub(crate) fn not_selected() -> SkippedBy {
    SkippedBy::with(|counts| counts.not_selected = 1)
}
