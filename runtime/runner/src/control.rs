//! Control and progress of a run, within the program that runs it.

use std::fmt;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};
use state_migration_core::{MigrationError, RunId, Timestamp, TransactionalStore};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::limits::in_progress::{ChunkGuard, InProgress};
use crate::run::counts::Count;
use crate::run::{Action, RunAction, RunCounts, RunState, is_zero};

/// Maximum number of requests that are kept until the run records them.
const MOST_ACTIONS: usize = 1_000;

/// Time without progress after which it is reported.
const IDLE: Duration = Duration::from_secs(5);

/// Progress of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// The run; `None` before the first one.
    pub run: Option<RunId>,
    /// Whether this is a dry run. A dry run leaves no record and cannot be resumed.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether it is the run of a rehearsal, on a copy of the store. Such a run counts as a dry
    /// run, since it leaves no record in the store.
    #[serde(default)]
    pub rehearsal: bool,
    /// The state of the run. A run is paused when no chunk is in progress and
    /// everything done is counted.
    pub state: RunState,
    /// What the run has done so far, durably.
    pub counts: RunCounts,
    /// Number of processes that the run is for, if they were counted. Excludes
    /// processes that are not selected.
    pub expected: Option<u64>,
    /// Number of heads that the run has passed, of any version.
    #[serde(default)]
    pub passed: u64,
    /// Approximate number of heads to pass, if known.
    #[serde(default)]
    pub heads: Option<u64>,
    /// Recent rate, in processes per second.
    pub per_second: f64,
    /// Estimated remaining time at that rate, if known.
    pub time_left: Option<Duration>,
    /// Time since the run last visited a process or passed a head, if that is long. Rate
    /// and remaining time are not known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// What is wrong with the storage of a run without progress, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What stopped the run before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<MigrationError>,
    /// Number of processes still to be tried alone, because they were in user code when a
    /// program ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suspects: u64,
    /// Progress per workflow, sorted by name; empty over separate stores.
    #[serde(default)]
    pub workflows: Vec<WorkflowProgress>,
}

impl Default for Progress {
    /// The progress before any run.
    fn default() -> Self {
        Self {
            run: None,
            dry_run: false,
            rehearsal: false,
            state: RunState::Planned,
            counts: RunCounts::default(),
            expected: None,
            passed: 0,
            heads: None,
            per_second: 0.0,
            time_left: None,
            idle: None,
            trouble: None,
            stopped_by: None,
            suspects: 0,
            workflows: Vec::new(),
        }
    }
}

impl Progress {
    /// What changes when the run makes progress.
    fn visited(&self) -> (u64, u64, u64) {
        (self.passed, self.counts.processes(), self.suspects)
    }

    /// Adds the time without progress, if it is long.
    fn idle_for(mut self, idle: Duration) -> Self {
        let idle = self.idle.map_or(idle, |before| before.max(idle));
        let is_active = matches!(self.state, RunState::Planned | RunState::Running);
        if idle < IDLE || !is_active {
            self.idle = None;
            return self;
        }
        self.idle = Some(idle);
        (self.per_second, self.time_left) = (0.0, None);
        for workflow in &mut self.workflows {
            (workflow.per_second, workflow.time_left) = (0.0, None);
        }
        self
    }

    /// The completed part of the run, from 0 to 1, if known: by counted processes, or
    /// else by heads.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn share(&self) -> Option<f64> {
        let (done, all) = match self.expected {
            Some(expected) => (self.counts.selected(), expected),
            None => (self.passed, self.heads?),
        };
        (all > 0).then(|| (done as f64 / all as f64).min(1.0))
    }
}

/// Progress of a run for one workflow: part of [`Progress`].
///
/// Three kinds are counted in the total only: streams visited because of a [full
/// count](crate::MigrationRunner::count_up_to_date), processes that are not selected, and
/// processes migrated when they were opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkflowProgress {
    /// The name of the workflow.
    pub workflow: String,
    /// Processes migrated, or verified.
    pub migrated: u64,
    /// Processes that the run had migrated before, and migrated further.
    #[serde(default)]
    pub migrated_further: u64,
    /// Processes that failed.
    pub failed: u64,
    /// Processes skipped.
    pub skipped: u64,
    /// Approximate number of processes of this workflow that the run is for, if known.
    pub expected: Option<u64>,
    /// Recent rate, in processes per second.
    pub per_second: f64,
    /// Estimated remaining time at that rate, if known.
    pub time_left: Option<Duration>,
}

impl WorkflowProgress {
    #[doc(hidden)]
    pub fn new(workflow: &str) -> Self {
        Self {
            workflow: workflow.to_owned(),
            migrated: 0,
            migrated_further: 0,
            failed: 0,
            skipped: 0,
            expected: None,
            per_second: 0.0,
            time_left: None,
        }
    }

    /// Number of processes visited.
    #[must_use]
    pub fn processes(&self) -> u64 {
        self.migrated + self.migrated_further + self.failed + self.skipped
    }

    pub(crate) fn add(&mut self, count: &Count) {
        self.migrated += count.migrated;
        self.migrated_further += count.migrated_further;
        self.failed += count.failed;
        self.skipped += count.skipped;
    }
}

/// The state that the holder of the handle requests.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Requested {
    paused: bool,
    cancelled: bool,
    /// The limit of the run in progress, or of the next one.
    per_second: Option<NonZeroU32>,
    /// The limit that was requested for all runs.
    standing: Option<NonZeroU32>,
    /// Whether a limit was requested since the last run ended.
    is_new: bool,
}

impl Requested {
    fn slows(&self) -> bool {
        self.paused || self.cancelled || self.per_second.is_some()
    }
}

/// A handle that controls the runs of one [`MigrationRunner`](crate::MigrationRunner),
/// for use from another task while a run is in progress.
///
/// The handle works only in the program that runs. SlateDB allows one writer, so
/// another program could only take over the store; it can read the progress of a run
/// ([`Runs`](crate::Runs) over a `SlateDbReader`).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::num::NonZeroU32;
///
/// # use state_migration::{IdentityMigration, MemoryStore, MigrationRegistry, MigrationRunner, WorkflowId};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed }
/// # impl state_migration::EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct State { total: u64 }
/// # struct OrderV2;
/// # impl state_migration::Workflow for OrderV2 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v2";
/// #     type State = State; type Event = OrderEvent;
/// #     fn apply(s: State, _: &OrderEvent) -> State { s }
/// # }
/// # let migration = IdentityMigration::<OrderV2>::new(
/// #     WorkflowId::new("order", "v1"), WorkflowId::new("order", "v2"));
/// # let store = MemoryStore::new();
/// let runner = MigrationRunner::new(migration, store.clone(), store);
/// let control = runner.control();
/// control.throttle(NonZeroU32::new(500));
/// let run = tokio::spawn(async move { runner.run().await });
/// // From anywhere: control.pause(), control.unpause(), control.cancel().
/// let report = run.await?;
/// assert_eq!(control.progress().counts.migrated as usize, report.migrated);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RunControl {
    inner: Arc<Inner>,
    /// Who makes the requests, and the reason.
    by: Arc<(String, String)>,
}

struct Inner {
    requested: watch::Sender<Requested>,
    progress: watch::Sender<Progress>,
    /// How often the last run in progress has ended, in any state.
    ended: watch::Sender<u64>,
    /// Number of runs in progress. The store admits one of them; the others are
    /// refused.
    in_progress: AtomicUsize,
    /// Held while a run begins or ends.
    border: Mutex<()>,
    /// Requests that are not recorded yet.
    actions: Mutex<Actions>,
    /// Earliest time at which the next process may start.
    next: Mutex<Option<Instant>>,
    /// When the progress last advanced.
    advanced: Mutex<Instant>,
    /// The store of the last run.
    store: Mutex<Option<Weak<dyn TransactionalStore>>>,
}

struct Actions {
    pending: Vec<RunAction>,
    /// Time of the last request.
    last: Timestamp,
}

impl Default for Actions {
    fn default() -> Self {
        Self {
            pending: Vec::new(),
            last: Timestamp::from_micros(0),
        }
    }
}

impl fmt::Debug for RunControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunControl")
            .field("requested", &*self.inner.requested.borrow())
            .field("progress", &*self.inner.progress.borrow())
            .finish()
    }
}

impl RunControl {
    #[doc(hidden)]
    pub fn new() -> Self {
        let requested = Requested {
            paused: false,
            cancelled: false,
            per_second: None,
            standing: None,
            is_new: false,
        };
        Self {
            inner: Arc::new(Inner {
                requested: watch::Sender::new(requested),
                progress: watch::Sender::new(Progress::default()),
                ended: watch::Sender::new(0),
                in_progress: AtomicUsize::new(0),
                border: Mutex::default(),
                actions: Mutex::default(),
                next: Mutex::default(),
                advanced: Mutex::new(Instant::now()),
                store: Mutex::default(),
            }),
            by: Arc::default(),
        }
    }

    /// A handle of the same runs whose requests are recorded with this actor and reason.
    #[must_use]
    pub fn on_behalf_of(&self, actor: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            inner: self.inner.clone(),
            by: Arc::new((actor.into(), reason.into())),
        }
    }

    /// Pauses the run after the chunks in progress. The run keeps its claim on the
    /// store, and its record says that it is paused.
    pub fn pause(&self) {
        self.request(Action::Pause);
    }

    /// Unpauses the run.
    pub fn unpause(&self) {
        self.request(Action::Unpause);
    }

    /// Cancels the run after the chunks in progress. It can be resumed.
    pub fn cancel(&self) {
        self.request(Action::Cancel);
    }

    /// Limits the run and later ones to this many processes per second from now on;
    /// `None` removes the limit.
    ///
    /// The record of the run keeps the limit. A run that is resumed or retried has it
    /// again, unless this was called since the last run ended.
    pub fn throttle(&self, per_second: Option<NonZeroU32>) {
        self.request(Action::Throttle(per_second));
    }

    /// Limits the next run, but no later one.
    #[doc(hidden)]
    pub fn throttle_next(&self, per_second: Option<NonZeroU32>) {
        self.change(|requested| {
            requested.per_second = per_second;
            requested.is_new = true;
        });
    }

    /// Limits a run that follows an earlier one, unless another limit was requested for
    /// it. Of the limit of that run and the one for all runs, the lower one is used.
    pub(crate) fn throttle_again(&self, per_second: Option<NonZeroU32>) {
        self.change(|requested| {
            if !requested.is_new {
                let limits = [per_second, requested.standing];
                requested.per_second = limits.into_iter().flatten().min();
            }
        });
    }

    /// Makes a request, and keeps it for the record of the run.
    fn request(&self, action: Action) {
        self.change(|requested| self.apply(requested, action));
    }

    fn apply(&self, requested: &mut Requested, action: Action) {
        match action {
            Action::Pause => requested.paused = true,
            Action::Unpause => requested.paused = false,
            Action::Cancel => requested.cancelled = true,
            Action::Throttle(limit) => {
                (requested.per_second, requested.standing) = (limit, limit);
                requested.is_new = true;
            }
        }
        let mut actions = self.actions();
        // Requests are recorded in the order of their times.
        let later = actions.last.as_micros() + 1;
        actions.last = Timestamp::now().max(Timestamp::from_micros(later));
        if actions.pending.len() < MOST_ACTIONS {
            let time = actions.last;
            actions.pending.push(RunAction {
                action,
                actor: self.by.0.clone(),
                reason: self.by.1.clone(),
                time,
            });
        }
    }

    fn actions(&self) -> MutexGuard<'_, Actions> {
        let actions = self.inner.actions.lock();
        actions.unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the requests that are not recorded yet.
    pub(crate) fn take_actions(&self) -> Vec<RunAction> {
        std::mem::take(&mut self.actions().pending)
    }

    fn change(&self, change: impl FnOnce(&mut Requested)) {
        self.inner.requested.send_modify(|requested| {
            change(requested);
            self.reset_turns();
        });
    }

    /// Clears the schedule of turns, so that every waiting worker requests a new turn.
    fn reset_turns(&self) {
        *self
            .inner
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The current progress of the run.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let progress = self.inner.progress.borrow().clone();
        self.as_of_now(progress)
    }

    /// Adds what time and storage say of a run.
    fn as_of_now(&self, progress: Progress) -> Progress {
        let advanced = *self.advanced();
        let mut progress = progress.idle_for(advanced.elapsed());
        if progress.idle.is_some() && progress.trouble.is_none() {
            let store = self.inner.store.lock();
            let store = store.unwrap_or_else(PoisonError::into_inner);
            let store = store.as_ref().and_then(Weak::upgrade);
            progress.trouble = store.and_then(|store| store.trouble());
        }
        progress
    }

    fn advanced(&self) -> MutexGuard<'_, Instant> {
        let advanced = self.inner.advanced.lock();
        advanced.unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the store of a run, whose storage may be in trouble.
    pub(crate) fn runs_over(&self, run_store: &Arc<dyn TransactionalStore>) {
        let mut store = self
            .inner
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *store = Some(Arc::downgrade(run_store));
    }

    /// A stream of the progress of the run: now, and after each change until the run
    /// ends.
    ///
    /// If no run is in progress, the stream begins with the progress of the last run and
    /// waits for the next one, so watch a run before it is started. The stream also ends
    /// when the run is refused or interrupted. A slow receiver may miss intermediate
    /// updates, but always sees the last one.
    #[must_use]
    pub fn watch(&self) -> BoxStream<'static, Progress> {
        let progress = self.inner.progress.subscribe();
        let ended = self.inner.ended.subscribe();
        let before = *ended.borrow();
        stream::unfold(Some((progress, ended, true)), move |watching| async move {
            let (mut progress, mut ended, first) = watching?;
            if !first {
                let end = ended.wait_for(|ended| *ended != before);
                match select(pin!(progress.changed()), pin!(end)).await {
                    Either::Left((changed, _)) => changed.ok()?,
                    Either::Right((ended, _)) => drop(ended.ok()?),
                }
            }
            // The last progress is published before the end.
            let is_over = *ended.borrow() != before;
            let now = progress.borrow_and_update().clone();
            Some((now, (!is_over).then_some((progress, ended, false))))
        })
        .boxed()
    }

    /// Whether a run is in progress, paused or not.
    #[must_use]
    pub fn is_in_progress(&self) -> bool {
        self.inner.in_progress.load(Ordering::SeqCst) > 0
    }

    /// The limit in processes per second, if there is one.
    #[must_use]
    pub fn throttled(&self) -> Option<NonZeroU32> {
        self.inner.requested.borrow().per_second
    }

    /// Pauses or unpauses the run in progress. Returns `false` and has no effect, not
    /// even on the next run, if no run is in progress.
    #[doc(hidden)]
    pub fn pause_this(&self, paused: bool) -> bool {
        self.request_if_in_progress(match paused {
            true => Action::Pause,
            false => Action::Unpause,
        })
    }

    /// Cancels the run in progress. Returns `false` and has no effect, not even on the
    /// next run, if no run is in progress.
    #[doc(hidden)]
    pub fn cancel_this(&self) -> bool {
        self.request_if_in_progress(Action::Cancel)
    }

    fn request_if_in_progress(&self, action: Action) -> bool {
        // The end of a run resets the requested state under the same lock.
        self.inner.requested.send_if_modified(|requested| {
            let is_in_progress = self.is_in_progress();
            if is_in_progress {
                self.apply(requested, action);
                self.reset_turns();
            }
            is_in_progress
        })
    }

    /// A receiver of changes to the requested state.
    pub(crate) fn changes(&self) -> Changes {
        let mut changes = self.inner.requested.subscribe();
        if changes.borrow_and_update().paused {
            // The run was paused before this point; report that as a change.
            changes.mark_changed();
        }
        Changes(changes)
    }

    /// The state of a run in progress: paused if a pause is requested and no chunk is
    /// in progress; `None` while the last chunks finish.
    pub(crate) fn state(&self, in_progress: &InProgress) -> Option<RunState> {
        match self.is_paused() {
            false => Some(RunState::Running),
            // A worker checks for a pause after it has registered a chunk.
            true => in_progress.is_empty().then_some(RunState::Paused),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.inner.requested.borrow().cancelled
    }

    #[doc(hidden)]
    pub fn is_paused(&self) -> bool {
        self.inner.requested.borrow().paused
    }

    /// Whether a worker may have to wait before its next chunk.
    pub(crate) fn is_slowed(&self) -> bool {
        self.inner.requested.borrow().slows()
    }

    /// Begins a run, which ends when the returned value is dropped.
    #[doc(hidden)]
    pub fn begin(&self) -> RunGuard {
        let _border = self.border();
        self.inner.in_progress.fetch_add(1, Ordering::SeqCst);
        RunGuard(self.clone())
    }

    /// Clears the progress of the last run before a new one begins.
    #[doc(hidden)]
    pub fn forget(&self) {
        self.publish(Progress::default());
    }

    /// Ends a run, and resets the requested state so that the next run is neither
    /// cancelled nor paused.
    fn end(&self) {
        // A run that begins meanwhile is neither told that it has ended, nor loses what
        // is requested of it.
        let _border = self.border();
        if self.inner.in_progress.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        self.inner.ended.send_modify(|ended| *ended += 1);
        self.change(|requested| {
            requested.cancelled = false;
            requested.paused = false;
            // A limit of one run ends with it.
            requested.per_second = requested.standing;
            requested.is_new = false;
            self.actions().pending.clear();
        });
    }

    fn border(&self) -> MutexGuard<'_, ()> {
        let border = self.inner.border.lock();
        border.unwrap_or_else(PoisonError::into_inner)
    }

    /// Maximum number of processes per chunk, so that a throttled run advances in small
    /// steps.
    pub(crate) fn chunk_limit(&self) -> usize {
        match self.inner.requested.borrow().per_second {
            Some(rate) => (rate.get() as usize / 10).max(1),
            None => usize::MAX,
        }
    }

    /// Waits until this many processes may start.
    pub(crate) async fn permit_chunk(
        &self,
        processes: usize,
        in_progress: &InProgress,
    ) -> ChunkPermit {
        let mut changes = self.inner.requested.subscribe();
        let mut paused = false;
        loop {
            let requested = *changes.borrow_and_update();
            if requested.cancelled {
                return ChunkPermit::Cancelled;
            }
            if requested.paused {
                paused = true;
                // Cannot fail: the sender lives as long as `self`.
                let _ = changes.changed().await;
                continue;
            }
            if paused {
                return ChunkPermit::AfterPause;
            }
            if let Some(rate) = requested.per_second {
                let turn = self.turn(rate, processes);
                if timeout_at(turn, changes.changed()).await.is_ok() {
                    match self.is_paused() {
                        true => continue,
                        false => return ChunkPermit::RateChanged,
                    }
                }
            }
            let guard = in_progress.begin();
            // A pause that is requested after this check sees the registered chunk.
            if !self.is_paused() {
                return ChunkPermit::Granted(guard);
            }
        }
    }

    /// Reserves the next turn for this many processes, and returns its start.
    fn turn(&self, rate: NonZeroU32, processes: usize) -> Instant {
        let mut next = self
            .inner
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let turn = next.map_or(now, |next| next.max(now));
        #[allow(clippy::cast_precision_loss)]
        let takes = processes as f64 / f64::from(rate.get());
        *next = Some(turn + Duration::from_secs_f64(takes));
        turn
    }

    #[doc(hidden)]
    pub fn publish(&self, progress: Progress) {
        let has_advanced = {
            let before = self.inner.progress.borrow();
            before.visited() != progress.visited() || before.state != progress.state
        };
        if has_advanced {
            *self.advanced() = Instant::now();
        }
        self.inner.progress.send_replace(progress);
    }
}

/// A run in progress; dropping it ends the run.
pub struct RunGuard(RunControl);

impl Drop for RunGuard {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What a worker may do next.
pub(crate) enum ChunkPermit {
    /// Migrate the processes.
    Granted(ChunkGuard),
    /// Read again: the run was paused, and the processes may have been held or released
    /// meanwhile.
    AfterPause,
    /// Read again with a page size that fits the new rate.
    RateChanged,
    /// Stop: the run was cancelled.
    Cancelled,
}

/// A receiver of changes to the requested state of the run.
pub(crate) struct Changes(watch::Receiver<Requested>);

impl Changes {
    /// Waits for the next change.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn rate(per_second: u32) -> NonZeroU32 {
        NonZeroU32::new(per_second).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_without_progress_has_no_rate_and_no_remaining_time() {
        let control = RunControl::new();
        let mut progress = Progress {
            state: RunState::Running,
            per_second: 14.0,
            time_left: Some(Duration::from_secs(12)),
            ..Progress::default()
        };
        control.publish(progress.clone());
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(control.progress(), progress);
        tokio::time::advance(Duration::from_secs(41)).await;
        control.publish(progress.clone());
        let idle = control.progress();
        assert_eq!(idle.idle, Some(Duration::from_secs(45)));
        assert_eq!((idle.per_second, idle.time_left), (0.0, None));
        progress.counts.migrated = 1;
        control.publish(progress.clone());
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(control.progress(), progress);
        // A client of a service adds its own time to that of the service.
        progress.idle = Some(Duration::from_secs(90));
        control.publish(progress.clone());
        assert_eq!(control.progress().idle, progress.idle);
        // A paused run is not idle.
        (progress.state, progress.idle) = (RunState::Paused, None);
        control.publish(progress.clone());
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(control.progress(), progress);
    }

    /// Fails without `next`: all turns start at once.
    #[tokio::test]
    async fn turns_follow_each_other_at_the_rate() {
        let control = RunControl::new();
        let first = control.turn(rate(10), 5);
        let second = control.turn(rate(10), 1);
        let third = control.turn(rate(10), 1);
        assert!(first <= Instant::now());
        assert_eq!(second - first, Duration::from_millis(500));
        assert_eq!(third - second, Duration::from_millis(100));
        // Unused turns do not accumulate.
        *control.inner.next.lock().unwrap() = Instant::now().checked_sub(LONG);
        assert!(control.turn(rate(10), 1) + LONG / 2 > Instant::now());
    }

    #[test]
    fn a_slow_run_moves_in_small_chunks() {
        let control = RunControl::new();
        for (throttle, chunk) in [
            (None, usize::MAX),
            (Some(rate(1)), 1),
            (Some(rate(19)), 1),
            (Some(rate(500)), 50),
        ] {
            control.throttle(throttle);
            assert_eq!(control.chunk_limit(), chunk);
        }
    }

    #[tokio::test]
    async fn a_worker_waits_for_its_turn_and_hears_of_changes() {
        let (control, in_progress) = (RunControl::new(), InProgress::new());
        let run = control.begin();
        // The end of another run of the same runner does not affect this run.
        drop(control.begin());
        let go = control.permit_chunk(1, &in_progress).await;
        assert!(matches!(go, ChunkPermit::Granted(_)) && !in_progress.is_empty());
        drop(go);
        assert!(in_progress.is_empty());
        control.throttle(Some(rate(1)));
        assert!(matches!(
            control.permit_chunk(3_600, &in_progress).await,
            ChunkPermit::Granted(_)
        ));
        // The next turn is in an hour.
        let waits = tokio::spawn({
            let (control, in_progress) = (control.clone(), in_progress.clone());
            async move { control.permit_chunk(1, &in_progress).await }
        });
        tokio::task::yield_now().await;
        control.pause();
        control.throttle(None);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished() && in_progress.is_empty());
        control.unpause();
        assert!(matches!(waits.await.unwrap(), ChunkPermit::AfterPause));
        control.pause();
        control.cancel();
        let go = control.permit_chunk(1, &in_progress).await;
        assert!(matches!(go, ChunkPermit::Cancelled));
        drop(run);
        let go = control.permit_chunk(1, &in_progress).await;
        assert!(matches!(go, ChunkPermit::Granted(_)));
    }

    /// Regression test: every waiting worker used to clear the schedule and take the
    /// first turn, so that all of them continued at once, with chunks of the old size.
    #[tokio::test]
    async fn at_another_throttle_all_that_wait_take_turns_again() {
        const WAITING: usize = 8;
        let (control, in_progress) = (RunControl::new(), InProgress::new());
        control.throttle(Some(rate(1)));
        // The next turn is in an hour.
        drop(control.permit_chunk(3_600, &in_progress).await);
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let (control, in_progress) = (control.clone(), in_progress.clone());
                tokio::spawn(async move { control.permit_chunk(500, &in_progress).await })
            })
            .collect();
        tokio::task::yield_now().await;
        control.throttle(Some(rate(2)));
        for waits in waiting {
            // The workers ask again, with the page size for the new rate.
            assert!(matches!(waits.await.unwrap(), ChunkPermit::RateChanged));
        }
        assert!(in_progress.is_empty());
        let turns: Vec<_> = (0..WAITING).map(|_| control.turn(rate(2), 1)).collect();
        for pair in turns.windows(2) {
            assert_eq!(pair[1] - pair[0], Duration::from_millis(500));
        }
    }

    /// The test fails without the lock in `begin` and `end`: the end of a run tells a run
    /// that begins meanwhile that it is over, and takes back what was requested of it.
    #[tokio::test]
    async fn the_end_of_a_run_does_not_end_the_next_one() {
        const TIMES: usize = 20_000;
        let control = RunControl::new();
        let ready = std::sync::Barrier::new(2);
        let first = Mutex::new(None);
        for _ in 0..TIMES {
            *first.lock().unwrap() = Some(control.begin());
            let next = std::thread::scope(|scope| {
                scope.spawn(|| {
                    ready.wait();
                    drop(first.lock().unwrap().take());
                });
                ready.wait();
                let next = control.begin();
                assert!(control.cancel_this());
                next
            });
            assert!(control.is_in_progress() && control.is_cancelled());
            let mut watched = control.watch();
            assert!(watched.next().await.is_some());
            control.forget();
            assert!(
                watched.next().await.is_some(),
                "the run was told that it is over"
            );
            drop(next);
            assert!(!control.is_in_progress() && !control.is_cancelled());
        }
    }

    /// A late request must not stop the next run.
    #[test]
    fn only_a_run_that_is_in_progress_is_told() {
        let control = RunControl::new();
        assert!(!control.is_in_progress());
        assert!(!control.pause_this(true) && !control.cancel_this());
        assert!(!control.is_paused() && !control.is_cancelled());
        let run = control.begin();
        assert!(control.is_in_progress());
        assert!(control.pause_this(true) && control.cancel_this());
        assert!(control.is_paused() && control.is_cancelled());
        drop(run);
        assert!(!control.is_paused() && !control.is_cancelled());
    }
}
