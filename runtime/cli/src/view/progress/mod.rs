//! Progress of a run in progress: bars on a terminal, otherwise lines at intervals.
//!
//! Progress is shown by its own thread, so that a slow, stopped or closed terminal does
//! not affect the run.

mod bars;
pub(crate) mod idle;

use std::fmt::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use state_migration_runner::{Progress, RunControl, RunState, WorkflowProgress};

use crate::view::format::{self, count};
use crate::view::output::{Answer, Output};
use bars::Bars;

/// Interval between frames of the bars.
const FRAME: Duration = Duration::from_millis(100);

/// Time of the first line, unless the interval is shorter.
const FIRST: Duration = Duration::from_secs(1);

/// Maximum time to clear the terminal at the end of the run.
const PATIENCE: Duration = Duration::from_secs(1);

/// A message to the thread.
enum DisplayMessage {
    /// A note to show until the run ends.
    Note(String),
    End,
}

/// The display of a run.
pub(crate) struct ProgressDisplay {
    sender: mpsc::Sender<DisplayMessage>,
    /// Closed or notified when the display has ended.
    over: mpsc::Receiver<()>,
}

impl ProgressDisplay {
    /// Shows the progress of a run until `end`. Lines are printed at intervals of
    /// `every`.
    pub(crate) fn new(output: Output, bars: bool, every: Duration, control: RunControl) -> Self {
        let (sender, messages) = mpsc::channel();
        let (gone, over) = mpsc::channel();
        let show = move || {
            if bars {
                draw(output, &control, &messages);
            } else {
                print(output, every, &control, &messages);
            }
            let _ = gone.send(());
        };
        // Without the thread, progress is not shown; the run does not need it.
        let _ = thread::Builder::new().name("progress".into()).spawn(show);
        Self { sender, over }
    }

    /// Shows a note until the run ends.
    pub(crate) fn note(&self, note: String) {
        let _ = self.sender.send(DisplayMessage::Note(note));
    }

    /// Ends the display and clears the terminal.
    pub(crate) fn end(self) {
        let _ = self.sender.send(DisplayMessage::End);
        let _ = self.over.recv_timeout(PATIENCE);
    }
}

fn draw(output: Output, control: &RunControl, messages: &mpsc::Receiver<DisplayMessage>) {
    let mut bars = Bars::new(output.colors_errors());
    let mut note = None;
    loop {
        let progress = control.progress();
        let waits = idle::text(&progress);
        let below = note.as_deref().or(waits.as_deref());
        bars.draw(&progress, control.throttled(), below);
        match messages.recv_timeout(FRAME) {
            Ok(DisplayMessage::Note(said)) => note = Some(said),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(DisplayMessage::End) | Err(RecvTimeoutError::Disconnected) => {
                bars.clear();
                // A signal leaves a trace.
                if let Some(note) = note {
                    output.say(&note);
                }
                return;
            }
        }
    }
}

fn print(
    output: Output,
    every: Duration,
    control: &RunControl,
    messages: &mpsc::Receiver<DisplayMessage>,
) {
    let mut next = Instant::now() + every.min(FIRST);
    loop {
        let wait = next.saturating_duration_since(Instant::now());
        match messages.recv_timeout(wait) {
            Ok(DisplayMessage::Note(said)) => output.say(&said),
            Err(RecvTimeoutError::Timeout) => {
                next += every;
                let line = ProgressLine::of(&control.progress());
                if output.is_json() {
                    // The reader may be gone, which does not affect the run.
                    let _ = output.answer(&line);
                } else {
                    let mut text = String::new();
                    let _ = line.text(&mut text);
                    output.to_stderr(&text);
                }
            }
            Ok(DisplayMessage::End) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A progress line.
#[derive(Debug, Serialize)]
struct ProgressLine {
    run: Option<String>,
    state: RunState,
    migrated: u64,
    failed: u64,
    /// Excludes processes that are not selected.
    skipped: u64,
    /// Approximate number of processes that the run is for, if known.
    expected: Option<u64>,
    per_second: f64,
    time_left_ms: Option<u64>,
    /// The time without progress, if it is long.
    idle_ms: Option<u64>,
    /// What the run waits for.
    waits_for: Option<String>,
    /// The completed part of the run, in percent.
    #[serde(skip)]
    percent: Option<u64>,
    workflows: Vec<WorkflowLine>,
}

/// Progress of one workflow.
#[derive(Debug, Serialize)]
struct WorkflowLine {
    workflow: String,
    migrated: u64,
    failed: u64,
    skipped: u64,
    expected: Option<u64>,
    per_second: f64,
    time_left_ms: Option<u64>,
}

impl ProgressLine {
    fn of(progress: &Progress) -> Self {
        Self {
            run: progress.run.map(|run| run.to_string()),
            state: progress.state,
            migrated: progress.counts.migrated,
            failed: progress.counts.failed,
            skipped: progress.counts.skipped(),
            expected: progress.expected,
            per_second: rounded(progress.per_second),
            time_left_ms: progress.time_left.map(format::millis),
            idle_ms: progress.idle.map(format::millis),
            waits_for: idle::text(progress),
            percent: share(progress),
            workflows: progress.workflows.iter().map(WorkflowLine::of).collect(),
        }
    }
}

impl WorkflowLine {
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

/// Rounds to one decimal, which exceeds the accuracy of the measurement.
pub(crate) fn rounded(per_second: f64) -> f64 {
    (per_second * 10.0).round() / 10.0
}

/// Formats a rate: `1,234/s`, or `0.4/s` below 10.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        return format!("{per_second:.1}/s");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let per_second = per_second.round() as u64;
    format!("{}/s", count(per_second))
}

/// The completed part of a run in percent, if known.
fn share(progress: &Progress) -> Option<u64> {
    // The cast saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    progress.share().map(|share| (share * 100.0) as u64)
}

/// Percentage, rounded down so that 100 is shown only at the end.
fn percent(done: u64, expected: u64) -> u64 {
    (done.min(expected) * 100)
        .checked_div(expected)
        .unwrap_or(100)
}

impl Answer for ProgressLine {
    const KIND: &'static str = "progress";

    fn text(&self, out: &mut String) -> fmt::Result {
        let waits = self.waits_for.as_deref();
        if self.workflows.is_empty() {
            let text = waits.unwrap_or("reading the store");
            return writeln!(out, "{}: {text}", self.state);
        }
        // Where the processes were not counted, the heads tell how far the run is.
        let is_one = self.workflows.len() == 1;
        let percent_of_run = self.percent.filter(|_| is_one);
        let left_of_run = self.time_left_ms.filter(|_| is_one);
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
            if let (None, Some(percent)) = (of_it.expected, percent_of_run) {
                write!(out, " ({percent} % of the store)")?;
            }
            write!(out, ", {} failed", count(of_it.failed))?;
            if let Some(waits) = waits {
                writeln!(out, "; {waits}")?;
                continue;
            }
            write!(out, ", {}", rate(of_it.per_second))?;
            if let Some(left) = of_it.time_left_ms.or(left_of_run) {
                let left = format::duration(Duration::from_millis(left));
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
