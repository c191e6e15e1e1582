//! Estimates of the rate and of the remaining time of a run.
//!
//! Progress is measured by the heads that the run has passed. The number of processes
//! to migrate is known only where they were counted; progress is then measured by
//! processes.

use std::collections::VecDeque;
use std::time::Duration;

use state_migration_core::{RunId, StreamId, StreamRange};
use tokio::time::Instant;

use crate::control::{Progress, WorkflowProgress};
use crate::run::counts::CountsByWorkflow;
use crate::run::{RunCounts, RunState};

/// Window over which the rate is measured.
const WINDOW: Duration = Duration::from_secs(10);

/// The same for heads. A range of processes that are up to date is passed in an instant, and
/// says nothing of those that are due.
const WINDOW_OF_HEADS: Duration = Duration::from_secs(3);

/// Minimum interval between two samples. Processes that arrive together are one sample, so
/// that the memory of a gauge does not depend on the rate.
const APART: Duration = Duration::from_millis(100);

/// Minimum duration for a rate: the first processes arrive in a burst, whatever the
/// rate.
const SHORTEST: Duration = Duration::from_secs(1);

/// Measures the progress of a run.
pub(crate) struct Meter {
    progress: Progress,
    all: Gauge,
    /// Gauge of the heads that the run passes.
    heads: Gauge,
    /// Gauges of the workflows, in the order of `progress.workflows`.
    of_each: Vec<Gauge>,
    milestones: Milestones,
}

/// Evenly spaced ends in the ranges that were left when an execution began.
///
/// A store may count a head for each file that has a revision of it. So progress is
/// measured by the ends that were passed, and the number of heads by those between them.
#[derive(Default)]
struct Milestones {
    /// Sorted; `None`, the last one, is the end of all streams.
    ends: Vec<Option<StreamId>>,
    /// Number of ends passed.
    passed: usize,
    /// Number of heads that earlier executions have passed.
    before: u64,
    /// Number of heads before each end, as the store estimated it.
    each: f64,
}

/// Number of milestones that the estimate of the store counts for.
const ESTIMATED: usize = 4;

impl Milestones {
    /// Number of ends in a range.
    fn count(&self, range: &StreamRange) -> usize {
        let up_to = |bound: &StreamId| {
            let is_before = |end: &Option<StreamId>| end.as_ref().is_some_and(|end| end <= bound);
            self.ends.partition_point(is_before)
        };
        let from = range.after.as_ref().map_or(0, up_to);
        let to = range.through.as_ref().map_or(self.ends.len(), up_to);
        to.saturating_sub(from)
    }

    /// Number of heads of the run, of which `seen` are passed.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss
    )]
    fn heads(&self, seen: u64) -> u64 {
        let own = seen.saturating_sub(self.before) as f64;
        let estimated = ESTIMATED as f64;
        let each = (own + estimated * self.each) / (self.passed as f64 + estimated);
        let left = self.ends.len().saturating_sub(self.passed) as f64;
        // The cast saturates.
        seen + (left * each) as u64
    }
}

impl Meter {
    pub(crate) fn new(run: RunId, dry_run: bool, counts: RunCounts) -> Self {
        Self::new_at(Instant::now(), run, dry_run, counts)
    }

    fn new_at(now: Instant, run: RunId, dry_run: bool, counts: RunCounts) -> Self {
        let mut all = Gauge {
            seen: counts.selected(),
            ..Gauge::default()
        };
        all.begin(now);
        let mut heads = Gauge {
            window: WINDOW_OF_HEADS,
            ..Gauge::default()
        };
        heads.begin(now);
        Self {
            heads,
            progress: Progress {
                run: Some(run),
                dry_run,
                counts,
                ..Progress::default()
            },
            all,
            of_each: Vec::new(),
            milestones: Milestones::default(),
        }
    }

    /// The same for the run of a rehearsal.
    pub(crate) fn rehearsing(mut self, rehearses: bool) -> Self {
        self.progress.dry_run |= rehearses;
        self.progress.rehearsal = rehearses;
        self
    }

    pub(crate) fn is(&self, state: RunState) -> bool {
        self.progress.state == state
    }

    /// Sets the state of the run. A paused run has no rate.
    pub(crate) fn state(&mut self, state: RunState) -> Progress {
        self.state_at(Instant::now(), state)
    }

    fn state_at(&mut self, now: Instant, state: RunState) -> Progress {
        let progress = &mut self.progress;
        if state == RunState::Paused || progress.state == RunState::Paused {
            self.all.begin(now);
            self.heads.begin(now);
            self.of_each.iter_mut().for_each(|gauge| gauge.begin(now));
        }
        if state == RunState::Paused {
            (progress.per_second, progress.time_left) = (0.0, None);
            for of_it in &mut progress.workflows {
                (of_it.per_second, of_it.time_left) = (0.0, None);
            }
        }
        progress.state = state;
        progress.clone()
    }

    /// Sets the number of suspects to be tried.
    pub(crate) fn suspects(&mut self, left: usize) -> Progress {
        self.progress.suspects = left as u64;
        self.progress.clone()
    }

    /// Sets the number of heads passed before, and the approximate number to come, spread
    /// evenly over these ranges.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn expect_heads(&mut self, passed: u64, more: u64, over: &[StreamRange]) {
        self.heads.seen = passed;
        self.heads.begin(Instant::now());
        self.progress.passed = passed;
        self.progress.heads = self.heads.expect(Some(more));
        let mut ends: Vec<_> = over.iter().map(|range| range.through.clone()).collect();
        ends.sort_by(|a, b| (a.is_none(), a).cmp(&(b.is_none(), b)));
        self.milestones = Milestones {
            each: more as f64 / ends.len().max(1) as f64,
            ends,
            passed: 0,
            before: passed,
        };
    }

    /// Counts a range of streams as passed.
    pub(crate) fn pass(&mut self, range: &StreamRange) {
        self.milestones.passed += self.milestones.count(range);
    }

    /// Sets the number of processes to come, in total and per workflow.
    pub(crate) fn expect(
        &mut self,
        more: Option<u64>,
        of_each: impl IntoIterator<Item = (String, Option<u64>)>,
    ) {
        self.progress.expected = self.all.expect(more);
        for (workflow, more) in of_each {
            let at = self.place_of(&workflow);
            self.progress.workflows[at].expected = self.of_each[at].expect(more);
        }
    }

    /// Adds what an earlier execution did.
    pub(crate) fn count(&mut self, by_workflow: &CountsByWorkflow) {
        for count in by_workflow.iter() {
            let at = self.place_of(&count.workflow);
            self.progress.workflows[at].add(count);
            let gauge = &mut self.of_each[at];
            gauge.seen += count.processes();
            gauge.begin(Instant::now());
        }
    }

    /// Adds what was done, with the number of heads passed, and of those that were passed
    /// over: skipped without having been expected.
    pub(crate) fn add(
        &mut self,
        counts: &RunCounts,
        by_workflow: &CountsByWorkflow,
        heads: (u64, u64),
    ) -> Progress {
        self.add_at(Instant::now(), counts, by_workflow, heads)
    }

    fn add_at(
        &mut self,
        now: Instant,
        counts: &RunCounts,
        by_workflow: &CountsByWorkflow,
        (heads, passed_over): (u64, u64),
    ) -> Progress {
        let progress = &mut self.progress;
        progress.counts.add(counts);
        self.all.seen = progress.counts.selected();
        self.all.pass_over(passed_over);
        self.all.measure(
            now,
            &mut progress.expected,
            &mut progress.per_second,
            &mut progress.time_left,
        );
        self.heads.seen += heads;
        if !self.milestones.ends.is_empty() {
            self.heads.all = Some(self.milestones.heads(self.heads.seen));
        }
        progress.passed = self.heads.seen;
        let mut by_heads = None;
        self.heads
            .measure(now, &mut progress.heads, &mut 0.0, &mut by_heads);
        // Estimate by heads where the processes were not counted.
        progress.time_left = progress.time_left.or(by_heads);
        for count in by_workflow.iter() {
            let at = self.place_of(&count.workflow);
            let of_it = &mut self.progress.workflows[at];
            of_it.add(count);
            let gauge = &mut self.of_each[at];
            gauge.seen += count.processes();
            gauge.pass_over(count.passed_over);
            gauge.measure(
                now,
                &mut of_it.expected,
                &mut of_it.per_second,
                &mut of_it.time_left,
            );
        }
        self.progress.clone()
    }

    fn place_of(&mut self, workflow: &str) -> usize {
        let workflows = &mut self.progress.workflows;
        let found = workflows.binary_search_by(|of_it| of_it.workflow.as_str().cmp(workflow));
        found.unwrap_or_else(|at| {
            workflows.insert(at, WorkflowProgress::new(workflow));
            // The workflow is measured from the same start as the run.
            let mut gauge = Gauge::default();
            gauge
                .lately
                .extend(self.all.lately.front().map(|(at, _)| (*at, 0)));
            self.of_each.insert(at, gauge);
            at
        })
    }
}

/// Rate and expected total of the run, of one workflow, or of the heads.
struct Gauge {
    /// Window over which the rate is measured.
    window: Duration,
    /// Number visited.
    seen: u64,
    /// Expected total, as estimated when it was determined.
    all: Option<u64>,
    /// Recent samples: time and number visited.
    lately: VecDeque<(Instant, u64)>,
}

impl Default for Gauge {
    fn default() -> Self {
        Self {
            window: WINDOW,
            seen: 0,
            all: None,
            lately: VecDeque::new(),
        }
    }
}

impl Gauge {
    /// Starts measuring the rate.
    fn begin(&mut self, now: Instant) {
        self.lately.clear();
        self.lately.push_back((now, self.seen));
    }

    fn expect(&mut self, more: Option<u64>) -> Option<u64> {
        self.all = more.map(|more| self.seen + more);
        self.all
    }

    /// Expects processes that were skipped, and not expected before.
    fn pass_over(&mut self, passed_over: u64) {
        self.all = self.all.map(|all| all + passed_over);
    }

    /// The expected total, which is at least the number visited.
    fn expected(&self) -> Option<u64> {
        self.all.map(|all| all.max(self.seen))
    }

    fn measure(
        &mut self,
        now: Instant,
        expected: &mut Option<u64>,
        per_second: &mut f64,
        time_left: &mut Option<Duration>,
    ) {
        *expected = self.expected();
        *per_second = self.rate(now);
        *time_left = left(*expected, self.seen, *per_second);
    }

    /// The recent rate per second.
    #[allow(clippy::cast_precision_loss)]
    fn rate(&mut self, now: Instant) -> f64 {
        let (lately, done, window) = (&mut self.lately, self.seen, self.window);
        // The last sample but one stays `APART` before the last, which moves on until then.
        let before_last = lately.len().checked_sub(2).map(|at| lately[at].0);
        let is_close = before_last.is_some_and(|before| now.duration_since(before) < APART);
        if is_close {
            lately.pop_back();
        }
        lately.push_back((now, done));
        let is_old = |(at, _): &(Instant, u64)| now.duration_since(*at) > window;
        while lately.len() > 2 && lately.front().is_some_and(is_old) {
            lately.pop_front();
        }
        let (since, before) = lately.front().copied().unwrap_or((now, done));
        let measured = now.duration_since(since).max(SHORTEST);
        (done - before) as f64 / measured.as_secs_f64()
    }
}

#[allow(clippy::cast_precision_loss)]
fn left(expected: Option<u64>, done: u64, per_second: f64) -> Option<Duration> {
    let left = expected?.saturating_sub(done) as f64;
    (per_second > 0.0)
        .then(|| Duration::try_from_secs_f64(left / per_second).ok())
        .flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn counts(migrated: u64) -> RunCounts {
        RunCounts {
            migrated,
            ..RunCounts::default()
        }
    }

    fn by_workflow(migrated: u64) -> CountsByWorkflow {
        let mut by_workflow = CountsByWorkflow::default();
        by_workflow.of("loan").migrated = migrated;
        by_workflow
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn meter(now: Instant, counts: RunCounts) -> Meter {
        Meter::new_at(now, RunId::random(), true, counts)
    }

    #[test]
    fn where_processes_were_not_counted_the_heads_tell_how_long_it_takes() {
        let began = Instant::now();
        let mut meter = meter(began, RunCounts::default());
        meter.expect(None, []);
        meter.expect_heads(100, 900, &[]);
        let half = meter.add_at(began + SECOND * 4, &counts(7), &by_workflow(7), (400, 0));
        assert_eq!((half.passed, half.heads), (500, Some(1_000)));
        assert_eq!(half.expected, None);
        let left = half.time_left.unwrap().as_secs_f64();
        assert!((4.9..5.1).contains(&left), "{left}");
        // There may be more heads than the metadata of the store said.
        let more = meter.add_at(began + SECOND * 8, &counts(7), &by_workflow(7), (600, 0));
        assert_eq!((more.passed, more.heads), (1_100, Some(1_100)));
    }

    /// A store that counts each head twice, and ranges of which the smallest end first. To
    /// see it fail: take the number of heads from the store, or from the ranges that ended.
    #[test]
    fn heads_that_a_store_counts_twice_and_uneven_ranges_are_measured_right() {
        let began = Instant::now();
        let stream = |n: u64| StreamId::new(format!("s{n:04}")).unwrap();
        let range = |after: u64, through: u64| StreamRange {
            after: (after > 0).then(|| stream(after)),
            through: (through < 1_000).then(|| stream(through)),
        };
        let mut meter = meter(began, RunCounts::default());
        meter.expect(None, []);
        let over: Vec<_> = (0..100).map(|n| range(n * 10, n * 10 + 10)).collect();
        meter.expect_heads(0, 2_000, &over);
        let mut shares = Vec::new();
        let passed = [(990, 1_000), (0, 40), (40, 500), (500, 505), (505, 990)];
        for (second, (after, through)) in (1..).zip(passed) {
            meter.pass(&range(after, through));
            let heads = through - after;
            let at = began + SECOND * second;
            let progress = meter.add_at(at, &counts(1), &by_workflow(1), (heads, 0));
            shares.push((progress.share().unwrap() * 100.0).round());
        }
        assert_eq!(shares, [1.0, 4.0, 49.0, 49.0, 100.0]);
        // A later execution does not know the part that is passed.
        let over: Vec<_> = (50..100).map(|n| range(n * 10, n * 10 + 10)).collect();
        meter.expect_heads(500, 1_000, &over);
        meter.pass(&range(500, 990));
        let at = began + SECOND * 9;
        let almost = meter.add_at(at, &counts(1), &by_workflow(1), (490, 0));
        let share = almost.share().unwrap();
        assert!((0.98..1.0).contains(&share), "{share}");
    }

    #[test]
    fn held_processes_do_not_count_towards_a_limit() {
        let began = Instant::now();
        let mut meter = meter(began, RunCounts::default());
        let more = Some(100);
        meter.expect(more, [("loan".to_owned(), more)]);
        let mut page = counts(58);
        page.skipped_by.held = 45;
        let mut of_each = by_workflow(58);
        of_each.of("loan").skipped = 45;
        of_each.of("loan").passed_over = 45;
        let progress = meter.add_at(began + SECOND, &page, &of_each, (103, 45));
        assert_eq!(progress.expected, Some(145));
        assert_eq!(progress.workflows[0].expected, Some(145));
        assert!(progress.share().is_some_and(|share| share < 0.72));
        let end = meter.add_at(began + SECOND * 2, &counts(42), &by_workflow(42), (42, 0));
        assert_eq!((end.expected, end.share()), (Some(145), Some(1.0)));
    }

    #[test]
    fn a_paused_run_has_no_rate_and_measures_again_when_unpaused() {
        let began = Instant::now();
        let mut meter = meter(began, RunCounts::default());
        let more = Some(100);
        meter.expect(more, [("loan".to_owned(), more)]);
        let first = meter.add_at(began + SECOND, &counts(10), &by_workflow(10), (0, 0));
        assert_eq!(first.per_second, 10.0);
        let paused = meter.state_at(began + SECOND, RunState::Paused);
        assert_eq!((paused.per_second, paused.time_left), (0.0, None));
        let loan = &paused.workflows[0];
        assert_eq!((loan.per_second, loan.time_left), (0.0, None));
        let later = began + SECOND * 3_600;
        meter.state_at(later, RunState::Running);
        let again = meter.add_at(later + SECOND, &counts(30), &by_workflow(30), (0, 0));
        assert_eq!(
            (again.per_second, again.time_left),
            (30.0, Some(SECOND * 2))
        );
        assert_eq!(again.workflows[0].per_second, 30.0);
    }

    #[test]
    fn a_fast_run_takes_no_more_memory_than_a_slow_one() {
        let (began, step) = (Instant::now(), Duration::from_micros(100));
        let mut meter = meter(began, RunCounts::default());
        let mut last = Progress::default();
        for n in 1..=300_000 {
            last = meter.add_at(began + step * n, &counts(1), &by_workflow(1), (1, 0));
        }
        assert!((9_900.0..10_100.0).contains(&last.per_second), "{last:?}");
        let of_it = &last.workflows[0];
        assert!((9_900.0..10_100.0).contains(&of_it.per_second), "{of_it:?}");
        for gauge in [&meter.all, &meter.heads, &meter.of_each[0]] {
            assert!(
                (25..=110).contains(&gauge.lately.len()),
                "{}",
                gauge.lately.len()
            );
        }
    }

    #[test]
    fn no_rate_is_shown_from_the_first_few_processes() {
        let (began, soon) = (Instant::now(), Duration::from_millis(2));
        let mut meter = meter(began, RunCounts::default());
        let more = Some(100);
        meter.expect(more, [("loan".to_owned(), more)]);
        let first = meter.add_at(began + soon, &counts(4), &by_workflow(4), (0, 0));
        assert_eq!(
            (first.per_second, first.workflows[0].per_second),
            (4.0, 4.0)
        );
        assert_eq!(first.time_left, Some(SECOND * 24));
        meter.state_at(began + SECOND, RunState::Paused);
        let later = began + SECOND * 60;
        meter.state_at(later, RunState::Running);
        for at in [later, later + soon] {
            let again = meter.add_at(at, &counts(1), &by_workflow(1), (0, 0));
            assert!(again.per_second <= 2.0, "{again:?}");
            assert!(again.workflows[0].per_second <= 2.0, "{again:?}");
        }
    }
}
