//! Control of a run from inside of the program, and what it says of itself.

use std::collections::VecDeque;
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

use crate::id::RunId;
use crate::run::tally::{Count, Tally};
use crate::run::{RunCounts, RunState};

/// Over how long the rate is measured.
const WINDOW: Duration = Duration::from_secs(10);

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// The run; `None` before the first one.
    pub run: Option<RunId>,
    /// Its state.
    pub state: RunState,
    /// What it has done so far, durably.
    pub counts: RunCounts,
    /// About how many processes it is for, if that is known.
    pub expected: Option<u64>,
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
            state: RunState::Planned,
            counts: RunCounts::default(),
            expected: None,
            per_second: 0.0,
            time_left: None,
            workflows: Vec::new(),
        }
    }
}

/// How far a run is with the processes of one workflow: part of [`Progress`].
///
/// Streams that a [full count](crate::MigrationRunner::full_count) came by, and
/// processes that were migrated as they were opened, are counted in all only.
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
    pub(crate) fn new(workflow: &str) -> Self {
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

    fn add(&mut self, count: &Count) {
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
    pub(crate) fn new() -> Self {
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
        self.inner.wanted.send_modify(|wanted| wanted.paused = true);
    }

    /// Lets the run go on.
    pub fn resume(&self) {
        self.inner
            .wanted
            .send_modify(|wanted| wanted.paused = false);
    }

    /// Lets the run finish the chunks in hand and end then. It can be resumed.
    pub fn cancel(&self) {
        self.inner
            .wanted
            .send_modify(|wanted| wanted.cancelled = true);
    }

    /// Looks at no more than so many processes a second from now on; `None`:
    /// as many as it can.
    pub fn throttle(&self, per_second: Option<NonZeroU32>) {
        self.inner
            .wanted
            .send_modify(|wanted| wanted.per_second = per_second);
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
    #[cfg_attr(not(feature = "control-socket"), allow(dead_code))]
    pub(crate) fn pause_this(&self, paused: bool) -> bool {
        self.tell_this(|wanted| wanted.paused = paused)
    }

    /// Cancels the run that is under way; `false`: none is, and the next one is
    /// not cancelled either.
    #[cfg_attr(not(feature = "control-socket"), allow(dead_code))]
    pub(crate) fn cancel_this(&self) -> bool {
        self.tell_this(|wanted| wanted.cancelled = true)
    }

    fn tell_this(&self, tell: impl FnOnce(&mut Wanted)) -> bool {
        // What a run leaves behind when it ends is taken back under the same lock.
        self.inner.wanted.send_if_modified(|wanted| {
            let is_under_way = self.is_under_way();
            if is_under_way {
                tell(wanted);
            }
            is_under_way
        })
    }

    /// A watch of whether the run is wanted to be paused.
    pub(super) fn changes(&self) -> Changes {
        let mut changes = self.inner.wanted.subscribe();
        if changes.borrow_and_update().paused {
            // It was paused before it came so far: that is to be told too.
            changes.mark_changed();
        }
        Changes(changes)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.inner.wanted.borrow().cancelled
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.inner.wanted.borrow().paused
    }

    /// Whether a worker may be made to wait before its next chunk.
    pub(super) fn is_slowed(&self) -> bool {
        let wanted = *self.inner.wanted.borrow();
        wanted.paused || wanted.cancelled || wanted.per_second.is_some()
    }

    /// A run begins; it ends when what this returns is dropped.
    pub(crate) fn begin(&self) -> UnderWay {
        self.inner.under_way.fetch_add(1, Ordering::SeqCst);
        self.inner.over.send_replace(false);
        UnderWay(self.clone())
    }

    /// Forgets how far the last run came, for the sake of one that begins.
    #[cfg_attr(not(feature = "control-socket"), allow(dead_code))]
    pub(crate) fn forget(&self) {
        self.publish(Progress::default());
    }

    /// A run has ended; the next one is neither cancelled nor paused by what
    /// was wanted of this one.
    fn end(&self) {
        if self.inner.under_way.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        self.inner.over.send_replace(true);
        self.inner.wanted.send_modify(|wanted| {
            wanted.cancelled = false;
            wanted.paused = false;
        });
        *self
            .inner
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How many processes a chunk may hold, so that a throttled run moves in
    /// small steps.
    pub(super) fn chunk_limit(&self) -> usize {
        match self.inner.wanted.borrow().per_second {
            Some(rate) => (rate.get() as usize / 10).max(1),
            None => usize::MAX,
        }
    }

    /// Waits until so many processes may be looked at.
    pub(super) async fn may_go_on(&self, processes: usize) -> Go {
        let mut changes = self.inner.wanted.subscribe();
        let mut go = Go::On;
        loop {
            let wanted = *changes.borrow_and_update();
            if wanted.cancelled {
                return Go::Nowhere;
            }
            if wanted.paused {
                go = Go::OnAfterAPause;
                // The sender lives as long as this does.
                let _ = changes.changed().await;
                continue;
            }
            let Some(rate) = wanted.per_second else {
                return go;
            };
            let turn = self.turn(rate, processes);
            if timeout_at(turn, changes.changed()).await.is_err() {
                return go;
            }
            // At another rate the turns are dealt out anew.
            *self
                .inner
                .next
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = None;
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

    pub(crate) fn publish(&self, progress: Progress) {
        self.inner.progress.send_replace(progress);
    }
}

/// A run that is under way.
pub(crate) struct UnderWay(RunControl);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What a worker may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Go {
    On,
    /// Go on; the processes may have been decided about in the meantime.
    OnAfterAPause,
    /// The run was cancelled.
    Nowhere,
}

/// Tells when the run is to be paused or to go on.
pub(super) struct Changes(watch::Receiver<Wanted>);

impl Changes {
    /// The next change: whether it is to be paused now.
    pub(super) async fn paused(&mut self) -> bool {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.0.borrow_and_update().paused
    }
}

/// Measures how fast a run goes.
pub(super) struct Meter {
    progress: Progress,
    rate: Rate,
    /// In the order of the workflows in the progress.
    rates: Vec<Rate>,
}

impl Meter {
    pub(super) fn new(run: RunId, counts: RunCounts) -> Self {
        Self {
            progress: Progress {
                run: Some(run),
                counts,
                ..Progress::default()
            },
            rate: Rate::from(counts.processes()),
            rates: Vec::new(),
        }
    }

    pub(super) fn state(&mut self, state: RunState) -> Progress {
        self.progress.state = state;
        self.progress.clone()
    }

    /// So many more are to come, in all and of each workflow.
    pub(super) fn expect(&mut self, more: Option<u64>, of_each: Vec<(String, Option<u64>)>) {
        self.progress.expected = more.map(|more| self.progress.counts.processes() + more);
        for (workflow, more) in of_each {
            let at = self.place_of(&workflow);
            let of_it = &mut self.progress.workflows[at];
            of_it.expected = more.map(|more| of_it.processes() + more);
        }
    }

    /// Adds what was done before.
    pub(super) fn count(&mut self, tally: &Tally) {
        for count in tally.iter() {
            let at = self.place_of(&count.workflow);
            self.progress.workflows[at].add(count);
            self.rates[at] = Rate::from(self.progress.workflows[at].processes());
        }
    }

    pub(super) fn add(&mut self, counts: &RunCounts, tally: &Tally) -> Progress {
        let now = Instant::now();
        self.progress.counts.add(counts);
        let done = self.progress.counts.processes();
        if let Some(per_second) = self.rate.at(now, done) {
            self.progress.per_second = per_second;
        }
        self.progress.time_left = time_left(self.progress.expected, done, self.progress.per_second);
        for count in tally.iter() {
            let at = self.place_of(&count.workflow);
            let of_it = &mut self.progress.workflows[at];
            of_it.add(count);
            let done = of_it.processes();
            if let Some(per_second) = self.rates[at].at(now, done) {
                of_it.per_second = per_second;
            }
            of_it.time_left = time_left(of_it.expected, done, of_it.per_second);
        }
        self.progress.clone()
    }

    fn place_of(&mut self, workflow: &str) -> usize {
        let workflows = &mut self.progress.workflows;
        let found = workflows.binary_search_by(|of_it| of_it.workflow.as_str().cmp(workflow));
        found.unwrap_or_else(|at| {
            workflows.insert(at, WorkflowProgress::new(workflow));
            self.rates.insert(at, Rate::from(0));
            at
        })
    }
}

/// How many processes had been looked at when.
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    fn from(done: u64) -> Self {
        Self(VecDeque::from([(Instant::now(), done)]))
    }

    /// How many a second there were lately, if that can be told.
    #[allow(clippy::cast_precision_loss)]
    fn at(&mut self, now: Instant, done: u64) -> Option<f64> {
        let lately = &mut self.0;
        lately.push_back((now, done));
        let is_old = |(at, _): &(Instant, u64)| now.duration_since(*at) > WINDOW;
        while lately.len() > 2 && lately.front().is_some_and(is_old) {
            lately.pop_front();
        }
        let (since, before) = lately.front()?;
        let seconds = now.duration_since(*since).as_secs_f64();
        (seconds > 0.0).then(|| (done - before) as f64 / seconds)
    }
}

#[allow(clippy::cast_precision_loss)]
fn time_left(expected: Option<u64>, done: u64, per_second: f64) -> Option<Duration> {
    let left = expected?.saturating_sub(done) as f64;
    (per_second > 0.0)
        .then(|| Duration::try_from_secs_f64(left / per_second).ok())
        .flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
        *control.inner.next.lock().unwrap() = Instant::now().checked_sub(WINDOW);
        assert!(control.turn(rate(10), 1) + WINDOW / 2 > Instant::now());
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
        let control = RunControl::new();
        let under_way = control.begin();
        // Another one of the same runner ends, which is nothing to this one.
        drop(control.begin());
        assert_eq!(control.may_go_on(1).await, Go::On);
        control.throttle(Some(rate(1)));
        assert_eq!(control.may_go_on(3_600).await, Go::On);
        // The next turn is in an hour.
        let waits = tokio::spawn({
            let control = control.clone();
            async move { control.may_go_on(1).await }
        });
        tokio::task::yield_now().await;
        control.pause();
        control.throttle(None);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        control.resume();
        assert_eq!(waits.await.unwrap(), Go::OnAfterAPause);
        control.pause();
        control.cancel();
        assert_eq!(control.may_go_on(1).await, Go::Nowhere);
        drop(under_way);
        assert_eq!(control.may_go_on(1).await, Go::On);
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
