//! Measures how far a run is, how fast it goes, and how long it will take.
//!
//! Done is what was selected and looked at. What a run comes by and leaves
//! alone because it is not selected only says how much is left to come by.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::id::RunId;
use crate::run::tally::Tally;
use crate::run::{RunCounts, RunState};
use crate::runner::control::{Progress, WorkflowProgress};

/// Over how long the rate is measured.
const WINDOW: Duration = Duration::from_secs(10);

/// What was done in less time counts as done in this: the first few come at once,
/// whatever the rate is.
const SHORTEST: Duration = Duration::from_secs(1);

/// What is still to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum More {
    /// So many processes that are selected.
    Selected(u64),
    /// So many of which only a share is selected, and at most so many.
    ShareOf(u64, f64, Option<u64>),
}

/// How many processes had been looked at, selected or not.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    selected: u64,
    others: u64,
}

/// Measures how far a run is.
pub(super) struct Meter {
    progress: Progress,
    all: Gauge,
    /// In the order of the workflows in the progress.
    of_each: Vec<Gauge>,
}

impl Meter {
    pub(super) fn new(run: RunId, dry_run: bool, counts: RunCounts) -> Self {
        Self::new_at(Instant::now(), run, dry_run, counts)
    }

    fn new_at(now: Instant, run: RunId, dry_run: bool, counts: RunCounts) -> Self {
        let mut all = Gauge {
            seen: seen(&counts),
            ..Gauge::default()
        };
        all.begin(now);
        Self {
            progress: Progress {
                run: Some(run),
                dry_run,
                counts,
                ..Progress::default()
            },
            all,
            of_each: Vec::new(),
        }
    }

    pub(super) fn is(&self, state: RunState) -> bool {
        self.progress.state == state
    }

    /// The run is in a state from now on. While it is paused it has no rate.
    pub(super) fn state(&mut self, state: RunState) -> Progress {
        self.state_at(Instant::now(), state)
    }

    fn state_at(&mut self, now: Instant, state: RunState) -> Progress {
        let progress = &mut self.progress;
        if state == RunState::Paused || progress.state == RunState::Paused {
            self.all.begin(now);
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

    /// So many more are to come, in all and of each workflow.
    pub(super) fn expect(
        &mut self,
        more: Option<More>,
        of_each: impl IntoIterator<Item = (String, Option<More>)>,
    ) {
        self.progress.expected = self.all.expect(more);
        for (workflow, more) in of_each {
            let at = self.place_of(&workflow);
            self.progress.workflows[at].expected = self.of_each[at].expect(more);
        }
    }

    /// Adds what was done before.
    pub(super) fn count(&mut self, tally: &Tally) {
        for count in tally.iter() {
            let at = self.place_of(&count.workflow);
            self.progress.workflows[at].add(count);
            let gauge = &mut self.of_each[at];
            gauge.seen.selected += count.processes();
            gauge.seen.others += count.not_selected;
            gauge.begin(Instant::now());
        }
    }

    pub(super) fn add(&mut self, counts: &RunCounts, tally: &Tally) -> Progress {
        self.add_at(Instant::now(), counts, tally)
    }

    fn add_at(&mut self, now: Instant, counts: &RunCounts, tally: &Tally) -> Progress {
        let progress = &mut self.progress;
        progress.counts.add(counts);
        self.all.seen = seen(&progress.counts);
        self.all.measure(
            now,
            &mut progress.expected,
            &mut progress.per_second,
            &mut progress.time_left,
        );
        for count in tally.iter() {
            let at = self.place_of(&count.workflow);
            let of_it = &mut self.progress.workflows[at];
            of_it.add(count);
            let gauge = &mut self.of_each[at];
            gauge.seen.selected += count.processes();
            gauge.seen.others += count.not_selected;
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
            // It is measured for as long as the run.
            let mut gauge = Gauge::default();
            gauge
                .lately
                .extend(self.all.lately.front().map(|(at, _)| (*at, 0)));
            self.of_each.insert(at, gauge);
            at
        })
    }
}

fn seen(counts: &RunCounts) -> Seen {
    let selected = counts.selected();
    Seen {
        selected,
        others: counts.processes() - selected,
    }
}

/// The run as a whole, or one workflow of it.
#[derive(Default)]
struct Gauge {
    seen: Seen,
    /// What was to come, and what had been seen by then.
    ahead: Option<(More, Seen)>,
    /// How many selected ones had been looked at when.
    lately: VecDeque<(Instant, u64)>,
}

impl Gauge {
    /// Measures the rate from here on.
    fn begin(&mut self, now: Instant) {
        self.lately.clear();
        self.lately.push_back((now, self.seen.selected));
    }

    fn expect(&mut self, more: Option<More>) -> Option<u64> {
        self.ahead = more.map(|more| (more, self.seen));
        self.expected()
    }

    /// How many selected ones there are, as far as is known by now.
    fn expected(&self) -> Option<u64> {
        let (more, then) = self.ahead?;
        let done = self.seen.selected - then.selected;
        let left = match more {
            More::Selected(all) => all.saturating_sub(done),
            More::ShareOf(all, share, at_most) => {
                let others = self.seen.others - then.others;
                let left = share_of(all.saturating_sub(done + others), share);
                at_most.map_or(left, |most| left.min(most.saturating_sub(done)))
            }
        };
        Some(self.seen.selected + left)
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
        *time_left = left(*expected, self.seen.selected, *per_second);
    }

    /// How many a second there were lately.
    #[allow(clippy::cast_precision_loss)]
    fn rate(&mut self, now: Instant) -> f64 {
        let (lately, done) = (&mut self.lately, self.seen.selected);
        lately.push_back((now, done));
        let is_old = |(at, _): &(Instant, u64)| now.duration_since(*at) > WINDOW;
        while lately.len() > 2 && lately.front().is_some_and(is_old) {
            lately.pop_front();
        }
        let (since, before) = lately.front().copied().unwrap_or((now, done));
        let measured = now.duration_since(since).max(SHORTEST);
        (done - before) as f64 / measured.as_secs_f64()
    }
}

/// A share of so many; none of them only if it is of none.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn share_of(all: u64, share: f64) -> u64 {
    (all as f64 * share).round() as u64
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

    fn counts(migrated: u64, not_selected: usize) -> RunCounts {
        let mut counts = RunCounts {
            migrated,
            ..RunCounts::default()
        };
        counts.skipped_by.not_selected = not_selected;
        counts
    }

    fn tally(migrated: u64, not_selected: u64) -> Tally {
        let mut tally = Tally::default();
        tally.of("loan").migrated = migrated;
        tally.of("loan").not_selected = not_selected;
        tally
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn meter(now: Instant, counts: RunCounts) -> Meter {
        Meter::new_at(now, RunId::random(), true, counts)
    }

    #[test]
    fn a_share_is_measured_by_what_is_selected_and_ends_at_all_of_it() {
        let began = Instant::now();
        let mut meter = meter(began, RunCounts::default());
        let more = Some(More::ShareOf(1_000, 0.1, None));
        meter.expect(more, [("loan".to_owned(), more)]);
        assert_eq!(meter.state(RunState::Running).expected, Some(100));
        let half = meter.add_at(began + SECOND * 2, &counts(40, 460), &tally(40, 460));
        assert_eq!(half.expected, Some(90));
        assert_eq!(half.per_second, 20.0);
        assert_eq!(half.time_left, Some(SECOND * 5 / 2));
        let loan = &half.workflows[0];
        assert_eq!((loan.processes(), loan.expected), (40, Some(90)));
        assert_eq!((loan.per_second, loan.time_left), (20.0, half.time_left));
        let all = meter.add_at(began + SECOND * 3, &counts(43, 457), &tally(43, 457));
        assert_eq!(
            (all.expected, all.workflows[0].expected),
            (Some(83), Some(83))
        );
        assert_eq!(all.time_left, Some(Duration::ZERO));
    }

    #[test]
    fn the_first_so_many_of_a_share_are_no_more_than_that() {
        let mut meter = meter(Instant::now(), counts(3, 17));
        meter.expect(Some(More::ShareOf(1_000, 0.5, Some(10))), []);
        assert_eq!(meter.state(RunState::Running).expected, Some(13));
        let more = meter.add(&counts(4, 900), &Tally::default());
        assert_eq!((more.expected, more.dry_run), (Some(13), true));
    }

    #[test]
    fn a_paused_run_has_no_rate_and_begins_anew_when_it_goes_on() {
        let began = Instant::now();
        let mut meter = meter(began, RunCounts::default());
        let more = Some(More::Selected(100));
        meter.expect(more, [("loan".to_owned(), more)]);
        let first = meter.add_at(began + SECOND, &counts(10, 0), &tally(10, 0));
        assert_eq!(first.per_second, 10.0);
        let paused = meter.state_at(began + SECOND, RunState::Paused);
        assert_eq!((paused.per_second, paused.time_left), (0.0, None));
        let loan = &paused.workflows[0];
        assert_eq!((loan.per_second, loan.time_left), (0.0, None));
        let later = began + SECOND * 3_600;
        meter.state_at(later, RunState::Running);
        let again = meter.add_at(later + SECOND, &counts(30, 0), &tally(30, 0));
        assert_eq!(
            (again.per_second, again.time_left),
            (30.0, Some(SECOND * 2))
        );
        assert_eq!(again.workflows[0].per_second, 30.0);
    }

    #[test]
    fn the_first_few_are_no_rate_when_a_run_begins_or_goes_on() {
        let (began, soon) = (Instant::now(), Duration::from_millis(2));
        let mut meter = meter(began, RunCounts::default());
        let more = Some(More::Selected(100));
        meter.expect(more, [("loan".to_owned(), more)]);
        let first = meter.add_at(began + soon, &counts(4, 0), &tally(4, 0));
        assert_eq!(
            (first.per_second, first.workflows[0].per_second),
            (4.0, 4.0)
        );
        assert_eq!(first.time_left, Some(SECOND * 24));
        meter.state_at(began + SECOND, RunState::Paused);
        let later = began + SECOND * 60;
        meter.state_at(later, RunState::Running);
        for at in [later, later + soon] {
            let again = meter.add_at(at, &counts(1, 0), &tally(1, 0));
            assert!(again.per_second <= 2.0, "{again:?}");
            assert!(again.workflows[0].per_second <= 2.0, "{again:?}");
        }
    }
}
