//! The summary of a run that has ended.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;
use state_migration_core::{
    FailureClass, MigrationError, MigrationWarning, RunId, SkippedBy, Stage, Subject,
};
use state_migration_runner::{MigrationReport, Rehearsed, RunControl, RunCounts, RunState};

use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::goal::{Goal, RESUME};
use crate::history::History;
use crate::view::format::{self, count};
use crate::view::output::{Answer, BAD, BOLD, DIM, GOOD, WARN, plain, to_type};
use crate::view::progress::{rate, rounded};
use crate::view::totals::Total;

/// Maximum number of failures and warnings shown, and of failures in a text; `show` lists
/// all failures.
const SHOWN: usize = 10;
const SHORT: usize = 3;

/// Number of failures read at a time.
const PAGE: usize = 1_000;

/// The summary of a run.
#[derive(Debug, Serialize)]
pub(crate) struct RunSummary {
    #[serde(skip)]
    exit: Exit,
    /// The name of the kind of the run.
    #[serde(skip)]
    kind: &'static str,
    /// Whether the run was cancelled because too many processes failed.
    too_many_failures: bool,
    /// The name of the command.
    command: &'static str,
    dry_run: bool,
    /// `None` for a dry run and where no process was due, which leave no record.
    run: Option<String>,
    number: Option<u64>,
    /// `None` for a complete dry run.
    state: Option<RunState>,
    /// The error that stopped the run before its end.
    stopped_by: Option<String>,
    /// Counts of the whole run, even if it was resumed. Each process counts once.
    migrated: u64,
    /// How often the run took a process further that it had migrated before.
    migrated_further: u64,
    /// Migrated by this execution, without processes that were taken further.
    migrated_by_execution: u64,
    verified: u64,
    /// Of a rehearsal: the copy of the store.
    rehearsed: Option<Rehearsed>,
    /// Of an erasure: the events that were removed.
    erased: u64,
    /// Undone by undo functions.
    by_function: u64,
    totals: Vec<Total>,
    /// Of a redo: where the new states differ, most frequent first.
    differences: Vec<Difference>,
    failed: u64,
    skipped: u64,
    skipped_by: SkippedBy,
    /// Most frequent first. For a dry run, only the first 1,000 failures are counted by
    /// class.
    failed_by_class: Vec<ClassCount>,
    /// The first failures.
    failures: Vec<FailureLine>,
    warning_count: u64,
    /// The first warnings.
    warnings: Vec<WarningLine>,
    workflows: Vec<WorkflowSummary>,
    /// Duration of this execution.
    took_ms: u64,
    /// Rate of this execution, in processes per second.
    per_second: f64,
    next: Vec<String>,
}

/// A place where new states differ.
#[derive(Debug, Serialize)]
struct Difference {
    place: String,
    count: u64,
}

#[derive(Debug, Serialize)]
struct ClassCount {
    class: FailureClass,
    count: u64,
}

#[derive(Debug, Serialize)]
struct FailureLine {
    subject: Subject,
    stage: Stage,
    class: FailureClass,
    /// The event that failed, if known.
    sequence: Option<u64>,
    message: String,
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Serialize)]
struct WarningLine {
    subject: Subject,
    message: String,
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Serialize)]
struct WorkflowSummary {
    workflow: String,
    migrated: u64,
    failed: u64,
    skipped: u64,
}

impl FailureLine {
    fn of(error: &MigrationError) -> Self {
        Self {
            subject: error.subject.clone(),
            stage: error.stage,
            class: error.class,
            sequence: error.sequence,
            message: error.message.clone(),
            text: error.to_string(),
        }
    }
}

impl WarningLine {
    fn of(warning: &MigrationWarning) -> Self {
        Self {
            subject: warning.subject.clone(),
            message: warning.message.clone(),
            text: warning.to_string(),
        }
    }
}

impl RunSummary {
    pub(crate) async fn new(
        context: &Context,
        kept: Option<History>,
        goal: &Goal,
        report: MigrationReport,
        control: &RunControl,
        took: Duration,
    ) -> Result<Self, Failure> {
        let run = report.run;
        // A run that found no due process has ended, and leaves no record.
        if run.is_none() && report.state.is_none() {
            return Err(refused(context, &report));
        }
        let progress = control.progress();
        let stopped_by = report.errors.iter();
        let stopped_by = stopped_by.filter(|error| error.subject.stream().is_none());
        let failed = report.error_count - stopped_by.count();
        let exit = match report.state {
            Some(_) if report.too_many_failures => Exit::DoneWithErrors,
            Some(state) if !state.is_done() => Exit::of_open_run(state, report.stopped_by()),
            _ if report.is_ok() => Exit::Done,
            _ => Exit::DoneWithErrors,
        };
        let known = RecordedDetails::of(kept, run, &report).await;
        let before = match goal {
            Goal::Resume(_, before) => *before,
            _ => RunCounts::default(),
        };
        let looked_at = progress.counts.selected().saturating_sub(before.selected());
        let number = known.number.map(|number| number.to_string());
        let id = run.map(|run| run.to_string());
        let name = number.or_else(|| id.clone()).unwrap_or_default();
        let next = match (exit, goal) {
            (Exit::Done, Goal::DryRun(command)) => command.iter().cloned().collect(),
            (Exit::Done, Goal::Rehearse { .. }) if report.migrated == 0 => {
                vec!["status".to_owned()]
            }
            (Exit::Done, Goal::Rehearse { next, .. }) => vec![next.clone()],
            (_, Goal::DryRun(_) | Goal::Rehearse { .. }) => Vec::new(),
            _ if report.too_many_failures && !goal.is_dry() => {
                vec![format!("show {name}"), format!("resume {name}")]
            }
            (Exit::Done, Goal::History(history))
                if history.is_dry && !history.is_verify() && report.migrated == 0 =>
            {
                vec!["status".to_owned()]
            }
            (Exit::Done, Goal::History(history)) => history.next.clone(),
            (Exit::DoneWithErrors, Goal::History(history))
                if history.is_verify() && !has_difference(&known.failed_by_class) =>
            {
                history.next.clone()
            }
            (Exit::DoneWithErrors, Goal::History(history))
                if history.is_dry && (history.is_verify() || report.migrated > 0) =>
            {
                history.next_on_errors.clone()
            }
            (Exit::DoneWithErrors, Goal::History(history)) if history.is_dry => Vec::new(),
            // The service is to be restarted first, which the error says.
            (Exit::Environment, _) if context.global.socket.is_some() => {
                vec![format!("show {name}")]
            }
            (Exit::Interrupted | Exit::Environment, _) => vec![format!("resume {name}")],
            (Exit::DoneWithErrors, Goal::History(_)) => vec![format!("show {name}")],
            // No process failed, but a total differs.
            (Exit::DoneWithErrors, _) if failed == 0 => {
                vec![format!("show {name}"), format!("undo {name} --dry-run")]
            }
            // What an undo, a redo or an erasure has left is for another one.
            (Exit::DoneWithErrors, _) if matches!(known.kind, "undo" | "redo" | "erase") => {
                vec![format!("show {name}")]
            }
            (Exit::DoneWithErrors, _) => {
                let classes = known.failed_by_class.iter().map(|failed| failed.class);
                let retry = retry(&name, classes, true);
                [Some(format!("show {name}")), retry]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            _ => vec!["status".to_owned()],
        };
        #[allow(clippy::cast_precision_loss)]
        let per_second = looked_at as f64 / took.as_secs_f64().max(0.001);
        Ok(Self {
            exit,
            too_many_failures: report.too_many_failures,
            kind: match goal {
                Goal::Resume(..) => known.kind,
                _ => goal.command(),
            },
            command: goal.command(),
            dry_run: goal.is_dry(),
            run: id.filter(|_| !goal.is_dry()),
            number: known.number,
            state: report.state,
            stopped_by: report.stopped_by().map(ToString::to_string),
            migrated: report.migrated as u64,
            migrated_further: report.migrated_further as u64,
            verified: report.verified as u64,
            rehearsed: report.rehearsed.clone(),
            by_function: report.by_function as u64,
            erased: report.erased as u64,
            totals: Total::all(&report.totals),
            differences: differences(&report),
            migrated_by_execution: (report.migrated as u64).saturating_sub(before.migrated),
            failed: failed as u64,
            skipped: report.skipped as u64,
            skipped_by: report.skipped_by,
            failed_by_class: known.failed_by_class,
            failures: failures(&report, goal),
            warning_count: report.warning_count as u64,
            warnings: report
                .warnings
                .iter()
                .take(SHOWN)
                .map(WarningLine::of)
                .collect(),
            workflows: progress
                .workflows
                .into_iter()
                .map(|of_it| WorkflowSummary {
                    workflow: of_it.workflow,
                    migrated: of_it.migrated,
                    failed: of_it.failed,
                    skipped: of_it.skipped,
                })
                .collect(),
            took_ms: format::millis(took),
            per_second: rounded(per_second),
            next: next.iter().map(|next| context.command_line(next)).collect(),
        })
    }

    /// Adds a warning that concerns no stream.
    pub(crate) fn warn(&mut self, message: String) {
        let warning = MigrationWarning {
            subject: Subject::Store,
            message,
        };
        self.warnings.insert(0, WarningLine::of(&warning));
        self.warning_count += 1;
    }

    pub(crate) fn print(self, context: &Context) -> Result<Exit, Failure> {
        match (context.output.answer(&self), self.number) {
            (Ok(()), _) => Ok(self.exit),
            (Err(failure), Some(number)) => Err(failure
                .and("; the run has ended, and its result is recorded")
                .next(context.command_line(&format!("show {number}")))),
            (Err(failure), None) => Err(failure),
        }
    }

    /// Whether `show` lists all failures.
    fn is_recorded(&self) -> bool {
        self.run.is_some()
    }

    /// The outcome as text.
    fn outcome(&self) -> String {
        let (style, text) = match (self.state, self.dry_run) {
            _ if self.too_many_failures && self.dry_run => {
                (BAD, "cancelled, because too many processes failed")
            }
            _ if self.too_many_failures => (
                BAD,
                "cancelled, because too many processes failed; what was committed is kept, and the run can be resumed",
            ),
            (Some(RunState::Cancelled | RunState::Paused), false) => (
                WARN,
                "cancelled; what was committed is kept, and the run can be resumed",
            ),
            (Some(RunState::Cancelled | RunState::Paused), true) => (WARN, "cancelled"),
            (Some(RunState::Planned | RunState::Running), true) => (
                BAD,
                "stopped by an error before its end; nothing was written",
            ),
            (Some(RunState::Planned | RunState::Running), false) => (
                BAD,
                "stopped by an error; what was committed is kept, and the run can be resumed",
            ),
            _ if self.command == "verify" => match self.failed {
                0 if self.verified == 0 => (WARN, "done; no state was recorded by such a run"),
                0 => (GOOD, "done; all states are as recorded"),
                _ if has_difference(&self.failed_by_class) => (BAD, "done; some states differ"),
                _ => (BAD, "done; some states were not verified"),
            },
            _ if self.command == "rehearse" => match self.failed {
                0 if self.state == Some(RunState::Done) => {
                    (GOOD, "rehearsed on a copy; the store is as it was")
                }
                0 => (BAD, "rehearsed on a copy; the run would not be done"),
                _ => (BAD, "rehearsed on a copy; some processes would fail"),
            },
            (_, true) if self.failed > 0 => {
                (BAD, "dry run, nothing written; some processes would fail")
            }
            (Some(RunState::DoneWithErrors), true) => {
                (BAD, "dry run, nothing written; the run would not be done")
            }
            (_, true) => (GOOD, "dry run, nothing written"),
            (Some(RunState::DoneWithErrors), false) => (BAD, "done with errors"),
            _ => (GOOD, "done"),
        };
        format!("{style}{text}{style:#}")
    }
}

/// Whether a state differs from what a verify has computed again.
fn has_difference(failed: &[ClassCount]) -> bool {
    let mut classes = failed.iter();
    classes.any(|failed| failed.class == FailureClass::VerifiesDifferently)
}

/// The first failures by stream; of a run that may leave no record, all that are known.
fn failures(report: &MigrationReport, goal: &Goal) -> Vec<FailureLine> {
    let stopped_by = report.stopped_by();
    let failures = report.errors.iter();
    let mut failures: Vec<&MigrationError> = failures
        .filter(|error| Some(*error) != stopped_by)
        .collect();
    failures.sort_by(|a, b| a.subject.cmp(&b.subject));
    if !goal.is_history() {
        failures.truncate(SHOWN);
    }
    failures.into_iter().map(FailureLine::of).collect()
}

/// Where the new states of a redo differ, most frequent first.
fn differences(report: &MigrationReport) -> Vec<Difference> {
    let all = report.differences.iter().map(|(place, count)| Difference {
        place: place.clone(),
        count: *count as u64,
    });
    let mut all: Vec<Difference> = all.collect();
    all.sort_by_key(|difference| std::cmp::Reverse(difference.count));
    all
}

/// The command that retries the failures of a run; `None` if every one of them would fail
/// again, because the code is the same.
pub(crate) fn retry(
    run: &str,
    failed: impl Iterator<Item = FailureClass> + Clone,
    same_code: bool,
) -> Option<String> {
    let again = |class: &FailureClass| same_code && class.needs_other_code();
    if !failed.clone().any(|class| again(&class)) {
        return Some(format!("retry {run}"));
    }
    let mut line = format!("retry {run}");
    let mut rest = failed.filter(|class| !again(class)).peekable();
    rest.peek()?;
    for class in rest {
        let _ = write!(line, " --class {class}");
    }
    Some(line)
}

/// Details from the history of the store.
#[derive(Default)]
struct RecordedDetails {
    number: Option<u64>,
    /// The name of its kind.
    kind: &'static str,
    failed_by_class: Vec<ClassCount>,
}

impl RecordedDetails {
    /// Reads as much as possible: the run itself has ended and is recorded.
    async fn of(runs: Option<History>, run: Option<RunId>, report: &MigrationReport) -> Self {
        let by_class = report.failed_by_class.iter();
        let mut by_class: BTreeMap<FailureClass, u64> = by_class
            .map(|(class, count)| (*class, *count as u64))
            .collect();
        // An error that stopped the run does not count as a failure of a process.
        for error in report
            .errors
            .iter()
            .filter(|error| error.subject.stream().is_none())
        {
            if let Some(count) = by_class.get_mut(&error.class) {
                *count -= 1;
            }
        }
        by_class.retain(|_, count| *count > 0);
        let mut known = Self::default();
        if let (Some(runs), Some(run)) = (runs, run) {
            if let Ok(Some(record)) = runs.get(run).await {
                known.number = Some(record.number);
                known.kind = record.kind.name();
            }
            // The report of a resumed run has the first failures of earlier executions only.
            if report.error_count > report.errors.len()
                && let Ok(all) = count_by_class(&runs, run).await
            {
                by_class = all;
            }
        }
        known.failed_by_class = by_class
            .into_iter()
            .map(|(class, count)| ClassCount { class, count })
            .collect();
        let classes = &mut known.failed_by_class;
        classes.sort_by_key(|of_it| std::cmp::Reverse(of_it.count));
        known
    }
}

async fn count_by_class(
    runs: &History,
    run: RunId,
) -> Result<BTreeMap<FailureClass, u64>, Failure> {
    let (mut counts, mut after) = (BTreeMap::new(), None);
    loop {
        let page = runs.failures(run, &[], after.as_ref(), PAGE).await?;
        for failure in &page {
            *counts.entry(failure.error.class).or_default() += 1;
        }
        if page.len() < PAGE {
            return Ok(counts);
        }
        after = page
            .into_iter()
            .next_back()
            .and_then(|f| f.stream().cloned());
    }
}

/// The failure of a run that did not start.
fn refused(context: &Context, report: &MigrationReport) -> Failure {
    let Some(error) = report.errors.first() else {
        return Failure::environment(
            Reason::RunRefused,
            "the run did not begin; check the runs of the store",
        )
        .next(context.command_line("runs"));
    };
    let message = format!("the run did not begin: {}", error.message);
    match error.class {
        FailureClass::Run => Failure::refused(Reason::RunRefused, message),
        FailureClass::Undone => Failure::refused(Reason::RouteUndone, message),
        FailureClass::Corrupt => Failure::environment(Reason::StoreDamaged, message),
        FailureClass::NewerFormat => Failure::environment(Reason::NewerFormat, message),
        FailureClass::Unavailable => Failure::environment(Reason::StoreUnavailable, message),
        _ => Failure::environment(Reason::RunRefused, message),
    }
    .next(context.command_line(match error.class {
        FailureClass::Undone => "status",
        _ => "runs",
    }))
}

impl Answer for RunSummary {
    const KIND: &'static str = "run";

    fn text(&self, out: &mut String) -> fmt::Result {
        let short = if self.is_recorded() { SHORT } else { SHOWN };
        for failure in self.failures.iter().take(short) {
            writeln!(out, "{BAD}failed:{BAD:#} {}", plain(&failure.text))?;
        }
        let more = self.failed.saturating_sub(short as u64);
        if more > 0 && !self.failures.is_empty() {
            writeln!(out, "{BAD}failed:{BAD:#} … and {} more", count(more))?;
        }
        for warning in &self.warnings {
            writeln!(out, "{WARN}warning:{WARN:#} {}", plain(&warning.text))?;
        }
        let mut line = |name: &str, value: &str| writeln!(out, "{DIM}{name:10}{DIM:#} {value}");
        if let (Some(run), Some(number)) = (&self.run, self.number) {
            line("run", &format!("{BOLD}{number}{BOLD:#}  {run}"))?;
        }
        if self.run.is_none() && !self.dry_run {
            line("run", "not recorded, since no process was due")?;
        }
        line("state", &self.outcome())?;
        if let Some(error) = &self.stopped_by {
            line("stopped by", &plain(error))?;
        }
        let is_resumed = self.command == RESUME;
        let what = done_by(self.kind);
        let migrated = match is_resumed {
            false if what == "verified" => count(self.verified),
            false if self.by_function > 0 => format!(
                "{} ({} exactly, {} by undo functions)",
                count(self.migrated),
                count(self.migrated - self.by_function),
                count(self.by_function)
            ),
            false => count(self.migrated),
            true => format!(
                "{} by the run, {} by this execution",
                count(self.migrated),
                count(self.migrated_by_execution)
            ),
        };
        line(what, &migrated)?;
        if self.kind == "erase" {
            line("events", &count(self.erased))?;
        }
        if let Some(rehearsed) = &self.rehearsed {
            line("verified", &count(self.verified))?;
            if let Some(kept) = &rehearsed.kept {
                line("copy", &plain(kept))?;
            }
        }
        for difference in self.differences.iter().take(SHOWN) {
            let count = format::counted(difference.count, "state", "states");
            line("", &format!("{count}: {}", plain(&difference.place)))?;
        }
        let more = self.differences.len().saturating_sub(SHOWN) as u64;
        if more > 0 {
            line("", &format!("… and {} more places", count(more)))?;
        }
        if self.migrated_further > 0 {
            line("further", &further(self.migrated_further))?;
        }
        for total in &self.totals {
            line("total", &total.text())?;
        }
        let skipped = skipped_parts(&self.skipped_by).into_iter();
        line("skipped", &with_parts(self.skipped, skipped))?;
        let failed = self.failed_by_class.iter();
        let failed = failed.map(|of_it| format!("{} {}", count(of_it.count), of_it.class));
        line("failed", &with_parts(self.failed, failed))?;
        line("warnings", &count(self.warning_count))?;
        let of = if is_resumed { " (this execution)" } else { "" };
        let time = format::duration(Duration::from_millis(self.took_ms));
        line("time", &format!("{time}{of}"))?;
        line("rate", &format!("{}{of}", rate(self.per_second)))?;
        if self.workflows.len() > 1 {
            for of_it in &self.workflows {
                line(
                    "workflow",
                    &format!(
                        "{}: {} {what}, {} failed, {} skipped",
                        plain(&of_it.workflow),
                        count(of_it.migrated),
                        count(of_it.failed),
                        count(of_it.skipped)
                    ),
                )?;
            }
        }
        to_type(&self.next, out)
    }
}

/// How often a run took processes further that it had migrated before.
pub(crate) fn further(times: u64) -> String {
    format!(
        "{} (migrated before in this run, with other code)",
        count(times)
    )
}

/// A count with its parts in parentheses.
fn with_parts(all: u64, parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    match parts.is_empty() {
        true => count(all),
        false => format!("{} ({})", count(all), parts.join(", ")),
    }
}

/// What a run of a kind does to a process.
pub(crate) fn done_by(kind: &str) -> &'static str {
    match kind {
        "verify" => "verified",
        "undo" => "undone",
        "redo" => "redone",
        "erase" => "erased",
        _ => "migrated",
    }
}

/// The skipped processes by reason.
pub(crate) fn skipped_parts(skipped: &SkippedBy) -> Vec<String> {
    let by_reason = skipped.by_reason().into_iter();
    let by_reason = by_reason.filter(|(skipped, _)| *skipped > 0);
    let part = |(skipped, reason): (usize, &str)| {
        let reason = match reason {
            "already_there" => "up to date".to_owned(),
            reason => reason.replace('_', " "),
        };
        format!("{} {reason}", count(skipped as u64))
    };
    by_reason.map(part).collect()
}
