//! How far a run is, while it goes: bars where somebody watches a terminal,
//! lines at intervals where not.
//!
//! It is shown from a thread of its own, so that a terminal that is slow, stopped
//! or gone is nothing to the run.

mod bars;

use std::fmt::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::view::format::{self, count};
use crate::view::output::{Answer, Output};
use bars::Bars;
use state_migration_runner::{Progress, RunControl, RunState, WorkflowProgress};

/// How often bars are drawn.
const FRAME: Duration = Duration::from_millis(100);

/// When the first line is printed, if the others do not come faster.
const FIRST: Duration = Duration::from_secs(1);

/// How long a terminal may take to be told that the run is over.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the thread is told.
enum Told {
    /// To be shown as long as the run goes on.
    Note(String),
    Over,
}

/// A run, as it is shown.
pub(crate) struct Shown {
    sender: mpsc::Sender<Told>,
    /// Says that nothing is shown any more.
    over: mpsc::Receiver<()>,
}

impl Shown {
    /// Shows how far a run is until it is over; where it is printed, with so
    /// much time between lines.
    pub(crate) fn new(output: Output, bars: bool, every: Duration, control: RunControl) -> Self {
        let (sender, told) = mpsc::channel();
        let (gone, over) = mpsc::channel();
        let show = move || {
            if bars {
                draw(output, &control, &told);
            } else {
                print(output, every, &control, &told);
            }
            let _ = gone.send(());
        };
        // Without a thread for it, nothing is shown; the run does not need it.
        let _ = thread::Builder::new().name("progress".into()).spawn(show);
        Self { sender, over }
    }

    /// Says something, for as long as the run still goes on.
    pub(crate) fn note(&self, note: String) {
        let _ = self.sender.send(Told::Note(note));
    }

    /// Leaves a clean terminal.
    pub(crate) fn end(self) {
        let _ = self.sender.send(Told::Over);
        let _ = self.over.recv_timeout(PATIENCE);
    }
}

fn draw(output: Output, control: &RunControl, told: &mpsc::Receiver<Told>) {
    let mut bars = Bars::new(output.colors_errors());
    let mut note = None;
    loop {
        bars.draw(&control.progress(), note.as_deref());
        match told.recv_timeout(FRAME) {
            Ok(Told::Note(said)) => note = Some(said),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Told::Over) | Err(RecvTimeoutError::Disconnected) => return bars.clear(),
        }
    }
}

fn print(output: Output, every: Duration, control: &RunControl, told: &mpsc::Receiver<Told>) {
    let mut next = Instant::now() + every.min(FIRST);
    loop {
        let wait = next.saturating_duration_since(Instant::now());
        match told.recv_timeout(wait) {
            Ok(Told::Note(said)) => output.say(&said),
            Err(RecvTimeoutError::Timeout) => {
                next += every;
                let line = Line::of(&control.progress());
                if output.is_json() {
                    // Whoever reads it may be gone; the run is not for that.
                    let _ = output.answer(&line);
                } else {
                    let mut text = String::new();
                    let _ = line.text(&mut text);
                    output.to_stderr(&text);
                }
            }
            Ok(Told::Over) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A line of progress.
#[derive(Debug, Serialize)]
struct Line {
    run: Option<String>,
    state: RunState,
    migrated: u64,
    failed: u64,
    /// But for those that are not selected.
    skipped: u64,
    /// About how many processes the run is for, if that is known.
    expected: Option<u64>,
    per_second: f64,
    time_left_ms: Option<u64>,
    workflows: Vec<LineOfOne>,
}

/// The same of one workflow.
#[derive(Debug, Serialize)]
struct LineOfOne {
    workflow: String,
    migrated: u64,
    failed: u64,
    skipped: u64,
    expected: Option<u64>,
    per_second: f64,
    time_left_ms: Option<u64>,
}

impl Line {
    fn of(progress: &Progress) -> Self {
        Self {
            run: progress.run.map(|run| run.to_string()),
            state: progress.state,
            migrated: progress.counts.migrated,
            failed: progress.counts.failed,
            skipped: progress.counts.selected() - progress.counts.migrated - progress.counts.failed,
            expected: progress.expected,
            per_second: rounded(progress.per_second),
            time_left_ms: progress.time_left.map(format::millis),
            workflows: progress.workflows.iter().map(LineOfOne::of).collect(),
        }
    }
}

impl LineOfOne {
    fn of(progress: &WorkflowProgress) -> Self {
        Self {
            workflow: progress.workflow.clone(),
            migrated: progress.migrated,
            failed: progress.failed,
            skipped: progress.skipped,
            expected: progress.expected,
            per_second: rounded(progress.per_second),
            time_left_ms: progress.time_left.map(format::millis),
        }
    }
}

/// To a tenth, which is more than is known.
pub(crate) fn rounded(per_second: f64) -> f64 {
    (per_second * 10.0).round() / 10.0
}

/// A rate for people: `1,234/s`, and `0.4/s` for one that is slow.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        return format!("{per_second:.1}/s");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let per_second = per_second.round() as u64;
    format!("{}/s", count(per_second))
}

/// How many of a hundred that is; never all before it is.
fn percent(done: u64, expected: u64) -> u64 {
    (done.min(expected) * 100)
        .checked_div(expected)
        .unwrap_or(100)
}

impl Answer for Line {
    const KIND: &'static str = "progress";

    fn text(&self, out: &mut String) -> fmt::Result {
        if self.workflows.is_empty() {
            return writeln!(out, "{}: looking at the store", self.state);
        }
        for of_it in &self.workflows {
            let done = of_it.migrated + of_it.failed + of_it.skipped;
            write!(out, "{}: ", of_it.workflow)?;
            match of_it.expected {
                Some(expected) => write!(
                    out,
                    "{} of {} ({} %)",
                    count(done),
                    count(expected),
                    percent(done, expected)
                )?,
                None => write!(out, "{}", count(done))?,
            }
            write!(out, ", {} failed", count(of_it.failed))?;
            write!(out, ", {}", rate(of_it.per_second))?;
            if let Some(left) = of_it.time_left_ms {
                let left = format::took(Duration::from_millis(left));
                write!(out, ", {left} left")?;
            }
            if matches!(self.state, RunState::Paused | RunState::Cancelled) {
                write!(out, "; {}", self.state)?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
