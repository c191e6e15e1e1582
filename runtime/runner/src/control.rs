//! Control of a run from inside of the program, and what it says of itself.

use std::fmt;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::run::counts::Count;
use crate::run::{RunCounts, RunState};
use crate::workers::in_progress::{AtWork, Hand};
use state_migration_core::RunId;

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// The run; `None` before the first one.
    pub run: Option<RunId>,
    /// Whether it is a dry run, of which nothing is kept: it cannot be resumed.
    #[serde(default)]
    pub dry_run: bool,
    /// Its state. A run is paused when all that it had in hand is counted.
    pub state: RunState,
    /// What it has done so far, durably.
    pub counts: RunCounts,
    /// How many processes it is for, if they were counted: those that it passes
    /// and that are not selected are not among them.
    pub expected: Option<u64>,
    /// How many heads it has passed, of whatever version.
    #[serde(default)]
    pub passed: u64,
    /// About how many heads there are to pass, if that is known.
    #[serde(default)]
    pub heads: Option<u64>,
    /// How many processes a second it looked at lately.
    pub per_second: f64,
    /// How long it will take at that rate, if that can be told.
    pub time_left: Option<Duration>,
    /// The same of each workflow, sorted by name; none over separate handles.
    #[serde(default)]
    pub workflows: Vec<WorkflowProgress>,
}

impl Default for Progress {
    /// That of no run.
    fn default() -> Self {
        Self {
            run: None,
            dry_run: false,
            state: RunState::Planned,
            counts: RunCounts::default(),
            expected: None,
            passed: 0,
            heads: None,
            per_second: 0.0,
            time_left: None,
            workflows: Vec::new(),
        }
    }
}

impl Progress {
    /// Which part of the run is done, from 0 to 1, if that can be told: of the
    /// processes that were counted, or else of the heads.
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

/// How far a run is with the processes of one workflow: part of [`Progress`].
///
/// Streams that a [full count](crate::MigrationRunner::full_count) came by,
/// processes that are not selected, and those that were migrated as they were
/// opened, are counted in all only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkflowProgress {
    /// The name of the workflow.
    pub workflow: String,
    /// Processes migrated.
    pub migrated: u64,
    /// Processes that failed.
    pub failed: u64,
    /// Processes left alone.
    pub skipped: u64,
    /// About how many processes of it the run is for, if that is known.
    pub expected: Option<u64>,
    /// How many processes of it a second it looked at lately.
    pub per_second: f64,
    /// How long it will take at that rate, if that can be told.
    pub time_left: Option<Duration>,
}

impl WorkflowProgress {
    #[doc(hidden)]
    pub fn new(workflow: &str) -> Self {
        Self {
            workflow: workflow.to_owned(),
            migrated: 0,
            failed: 0,
            skipped: 0,
            expected: None,
            per_second: 0.0,
            time_left: None,
        }
    }

    /// How many processes were looked at.
    #[must_use]
    pub fn processes(&self) -> u64 {
        self.migrated + self.failed + self.skipped
    }

    pub(crate) fn add(&mut self, count: &Count) {
        self.migrated += count.migrated;
        self.failed += count.failed;
        self.skipped += count.skipped;
    }
}

/// What the holder of the handle wants.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Wanted {
    paused: bool,
    cancelled: bool,
    per_second: Option<NonZeroU32>,
}

impl Wanted {
    fn slows(&self) -> bool {
        self.paused || self.cancelled || self.per_second.is_some()
    }
}

/// A handle on the runs of one [`MigrationRunner`](crate::MigrationRunner), to
/// be used from another task while one is under way.
///
/// It works in the program that runs, and in no other: SlateDB has one writer, so
/// another program could only take the store over. That one can read how far a
/// run is ([`Runs`](crate::Runs) over a `SlateDbReader`).
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
/// // From anywhere: control.pause(), control.resume(), control.cancel().
/// let report = run.await?;
/// assert_eq!(control.progress().counts.migrated as usize, report.migrated);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RunControl {
    inner: Arc<Inner>,
}

struct Inner {
    wanted: watch::Sender<Wanted>,
    progress: watch::Sender<Progress>,
    /// Whether the last run is over, in whatever state it ended.
    over: watch::Sender<bool>,
    /// How many runs are under way, of which the store lets one go on.
    under_way: AtomicUsize,
    /// When the next process may be begun.
    next: Mutex<Option<Instant>>,
}

impl fmt::Debug for RunControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunControl")
            .field("wanted", &*self.inner.wanted.borrow())
            .field("progress", &*self.inner.progress.borrow())
            .finish()
    }
}

impl RunControl {
    #[doc(hidden)]
    pub fn new() -> Self {
        let wanted = Wanted {
            paused: false,
            cancelled: false,
            per_second: None,
        };
        Self {
            inner: Arc::new(Inner {
                wanted: watch::Sender::new(wanted),
                progress: watch::Sender::new(Progress::default()),
                over: watch::Sender::new(false),
                under_way: AtomicUsize::new(0),
                next: Mutex::default(),
            }),
        }
    }

    /// Lets the run finish the chunks in hand and wait then. The store stays
    /// claimed, and says that the run is paused.
    pub fn pause(&self) {
        self.want(|wanted| wanted.paused = true);
    }

    /// Lets the run go on.
    pub fn resume(&self) {
        self.want(|wanted| wanted.paused = false);
    }

    /// Lets the run finish the chunks in hand and end then. It can be resumed.
    pub fn cancel(&self) {
        self.want(|wanted| wanted.cancelled = true);
    }

    /// Looks at no more than so many processes a second from now on; `None`:
    /// as many as it can.
    pub fn throttle(&self, per_second: Option<NonZeroU32>) {
        self.want(|wanted| wanted.per_second = per_second);
    }

    fn want(&self, want: impl FnOnce(&mut Wanted)) {
        self.inner.wanted.send_modify(|wanted| {
            want(wanted);
            self.deal_anew();
        });
    }

    /// Forgets the turns that were dealt out: whoever waits for one asks again.
    fn deal_anew(&self) {
        *self
            .inner
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How far the run is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.inner.progress.borrow().clone()
    }

    /// How far the run is, now and after each change, until it ends, also when
    /// it is refused or broken off. One who is slow to look misses changes, and
    /// never the last one.
    #[must_use]
    pub fn watch(&self) -> BoxStream<'static, Progress> {
        let progress = self.inner.progress.subscribe();
        let over = self.inner.over.subscribe();
        stream::unfold(Some((progress, over, true)), |watching| async move {
            let (mut progress, mut over, first) = watching?;
            if !first {
                let (changed, ended) = (pin!(progress.changed()), pin!(over.wait_for(|o| *o)));
                match select(changed, ended).await {
                    Either::Left((changed, _)) => changed.ok()?,
                    Either::Right((ended, _)) => drop(ended.ok()?),
                }
            }
            // What is published is published before the run is over.
            let is_over = *over.borrow();
            let now = progress.borrow_and_update().clone();
            Some((now, (!is_over).then_some((progress, over, false))))
        })
        .boxed()
    }

    /// Whether a run is under way, paused or not.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.inner.under_way.load(Ordering::SeqCst) > 0
    }

    /// How many processes a second a run looks at at most.
    #[must_use]
    pub fn throttled(&self) -> Option<NonZeroU32> {
        self.inner.wanted.borrow().per_second
    }

    /// Pauses the run that is under way, or lets it go on; `false`: none is,
    /// and the next one is not told either.
    #[doc(hidden)]
    pub fn pause_this(&self, paused: bool) -> bool {
        self.tell_this(|wanted| wanted.paused = paused)
    }

    /// Cancels the run that is under way; `false`: none is, and the next one is
    /// not cancelled either.
    #[doc(hidden)]
    pub fn cancel_this(&self) -> bool {
        self.tell_this(|wanted| wanted.cancelled = true)
    }

    fn tell_this(&self, tell: impl FnOnce(&mut Wanted)) -> bool {
        // What a run leaves behind when it ends is taken back under the same lock.
        self.inner.wanted.send_if_modified(|wanted| {
            let is_under_way = self.is_under_way();
            if is_under_way {
                tell(wanted);
                self.deal_anew();
            }
            is_under_way
        })
    }

    /// A watch of what is wanted of the run.
    pub(crate) fn changes(&self) -> Changes {
        let mut changes = self.inner.wanted.subscribe();
        if changes.borrow_and_update().paused {
            // It was paused before it came so far: that is to be told too.
            changes.mark_changed();
        }
        Changes(changes)
    }

    /// The state of a run that goes on: paused when that is wanted and nobody
    /// has anything in hand; `None` as long as somebody finishes it.
    pub(crate) fn state(&self, at_work: &AtWork) -> Option<RunState> {
        match self.is_paused() {
            false => Some(RunState::Running),
            // Who takes something in hand looks first whether it is paused.
            true => at_work.is_nobody().then_some(RunState::Paused),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.inner.wanted.borrow().cancelled
    }

    #[doc(hidden)]
    pub fn is_paused(&self) -> bool {
        self.inner.wanted.borrow().paused
    }

    /// Whether a worker may be made to wait before its next chunk.
    pub(crate) fn is_slowed(&self) -> bool {
        self.inner.wanted.borrow().slows()
    }

    /// A run begins; it ends when what this returns is dropped.
    #[doc(hidden)]
    pub fn begin(&self) -> UnderWay {
        self.inner.under_way.fetch_add(1, Ordering::SeqCst);
        self.inner.over.send_replace(false);
        UnderWay(self.clone())
    }

    /// Forgets how far the last run came, for the sake of one that begins.
    #[doc(hidden)]
    pub fn forget(&self) {
        self.publish(Progress::default());
    }

    /// A run has ended; the next one is neither cancelled nor paused by what
    /// was wanted of this one.
    fn end(&self) {
        if self.inner.under_way.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        self.inner.over.send_replace(true);
        self.want(|wanted| {
            wanted.cancelled = false;
            wanted.paused = false;
        });
    }

    /// How many processes a chunk may hold, so that a throttled run moves in
    /// small steps.
    pub(crate) fn chunk_limit(&self) -> usize {
        match self.inner.wanted.borrow().per_second {
            Some(rate) => (rate.get() as usize / 10).max(1),
            None => usize::MAX,
        }
    }

    /// Waits until so many processes may be looked at.
    pub(crate) async fn may_go_on(&self, processes: usize, at_work: &AtWork) -> Go {
        let mut changes = self.inner.wanted.subscribe();
        let mut paused = false;
        loop {
            let wanted = *changes.borrow_and_update();
            if wanted.cancelled {
                return Go::Nowhere;
            }
            if wanted.paused {
                paused = true;
                // The sender lives as long as this does.
                let _ = changes.changed().await;
                continue;
            }
            if paused {
                return Go::AfterAPause;
            }
            if let Some(rate) = wanted.per_second {
                let turn = self.turn(rate, processes);
                if timeout_at(turn, changes.changed()).await.is_ok() {
                    match self.is_paused() {
                        true => continue,
                        false => return Go::AtAnotherPace,
                    }
                }
            }
            let hand = at_work.begin();
            // Whoever pauses it from here on sees the hand.
            if !self.is_paused() {
                return Go::On(hand);
            }
        }
    }

    /// When so many processes have their turn.
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
        self.inner.progress.send_replace(progress);
    }
}

/// A run that is under way.
pub struct UnderWay(RunControl);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What a worker may do.
pub(crate) enum Go {
    /// Look at the processes.
    On(Hand),
    /// Go on; the processes may have been decided about in the meantime.
    AfterAPause,
    /// Go on with as many processes as are right now.
    AtAnotherPace,
    /// The run was cancelled.
    Nowhere,
}

/// Tells when something else is wanted of the run.
pub(crate) struct Changes(watch::Receiver<Wanted>);

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

    /// Without `next` all have their turn at once.
    #[tokio::test]
    async fn turns_follow_each_other_at_the_rate() {
        let control = RunControl::new();
        let first = control.turn(rate(10), 5);
        let second = control.turn(rate(10), 1);
        let third = control.turn(rate(10), 1);
        assert!(first <= Instant::now());
        assert_eq!(second - first, Duration::from_millis(500));
        assert_eq!(third - second, Duration::from_millis(100));
        // What was not used is not saved up.
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
        let (control, at_work) = (RunControl::new(), AtWork::new());
        let under_way = control.begin();
        // Another one of the same runner ends, which is nothing to this one.
        drop(control.begin());
        let go = control.may_go_on(1, &at_work).await;
        assert!(matches!(go, Go::On(_)) && !at_work.is_nobody());
        drop(go);
        assert!(at_work.is_nobody());
        control.throttle(Some(rate(1)));
        assert!(matches!(
            control.may_go_on(3_600, &at_work).await,
            Go::On(_)
        ));
        // The next turn is in an hour.
        let waits = tokio::spawn({
            let (control, at_work) = (control.clone(), at_work.clone());
            async move { control.may_go_on(1, &at_work).await }
        });
        tokio::task::yield_now().await;
        control.pause();
        control.throttle(None);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished() && at_work.is_nobody());
        control.resume();
        assert!(matches!(waits.await.unwrap(), Go::AfterAPause));
        control.pause();
        control.cancel();
        let go = control.may_go_on(1, &at_work).await;
        assert!(matches!(go, Go::Nowhere));
        drop(under_way);
        let go = control.may_go_on(1, &at_work).await;
        assert!(matches!(go, Go::On(_)));
    }

    /// Each that waits used to deal out the turns anew, and to take the first:
    /// all of them went on at once, with chunks of the old size.
    #[tokio::test]
    async fn at_another_throttle_all_that_wait_take_turns_again() {
        const WAITING: usize = 8;
        let (control, at_work) = (RunControl::new(), AtWork::new());
        control.throttle(Some(rate(1)));
        // The next turn is in an hour.
        drop(control.may_go_on(3_600, &at_work).await);
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let (control, at_work) = (control.clone(), at_work.clone());
                tokio::spawn(async move { control.may_go_on(500, &at_work).await })
            })
            .collect();
        tokio::task::yield_now().await;
        control.throttle(Some(rate(2)));
        for waits in waiting {
            // They ask again, for as many as are right by now.
            assert!(matches!(waits.await.unwrap(), Go::AtAnotherPace));
        }
        assert!(at_work.is_nobody());
        let turns: Vec<_> = (0..WAITING).map(|_| control.turn(rate(2), 1)).collect();
        for pair in turns.windows(2) {
            assert_eq!(pair[1] - pair[0], Duration::from_millis(500));
        }
    }

    /// Who comes too late must not stop the next run.
    #[test]
    fn only_a_run_that_is_under_way_is_told() {
        let control = RunControl::new();
        assert!(!control.is_under_way());
        assert!(!control.pause_this(true) && !control.cancel_this());
        assert!(!control.is_paused() && !control.is_cancelled());
        let under_way = control.begin();
        assert!(control.is_under_way());
        assert!(control.pause_this(true) && control.cancel_this());
        assert!(control.is_paused() && control.is_cancelled());
        drop(under_way);
        assert!(!control.is_paused() && !control.is_cancelled());
    }
}
