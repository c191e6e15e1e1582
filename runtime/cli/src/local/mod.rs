//! A run driven by this program from its beginning to its end: the common part of `run`,
//! `resume` and `retry`.
//!
//! The first signal cancels the run, which finishes the chunks in progress. The second
//! signal drops the run, which is as safe as a kill.

pub(crate) mod program_fit;

use std::fmt::Write as _;
use std::future::Future;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use clap::builder::NonEmptyStringValueParser;
use slatedb::CloseReason;
use state_migration_control_socket::protocol::By;

use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::goal::{Goal, HistoryGoal};
use crate::history::History;
use crate::selection::{Limit, duration, limit};
use crate::signals::Signals;
use crate::view::output::is_a_screen;
use crate::view::progress::ProgressDisplay;
use crate::view::summary::RunSummary;
use state_migration_core::{
    Error, EventStore, FailureClass, MigrationRegistry, SnapshotStore, WorkflowId,
};
use state_migration_runner::{MigrationReport, MigrationRunner, Plan, RunControl, RunKind, Runs};
use state_migration_store::{SlateDbReader, SlateDbStore};

/// Options of one execution, which are not part of the plan.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExecutionArgs {
    /// Limit the run to N processes per second; `off` removes the limit
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = throttle, help_heading = "Execution")]
    throttle: Option<Limit>,
    /// Wait this long for a store that does not answer, and then interrupt the
    /// run
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m", help_heading = "Execution")]
    patience: Duration,
    /// Cancel the run after more than N failures; it can be resumed
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = failures, help_heading = "Execution")]
    max_failures: Option<u64>,
    /// Run although processes of the store are newer than this program; these
    /// processes fail
    #[arg(long, help_heading = "Execution")]
    allow_newer: bool,
    /// Print progress this often, where no progress bar is drawn
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s", help_heading = "Output")]
    progress_interval: Duration,
}

/// Parses the limit of a run.
pub(crate) fn throttle(text: &str) -> Result<Limit, String> {
    limit(text).map_err(|_| {
        "expected a positive integer or `off`; correct the value, or omit the option".to_owned()
    })
}

/// Parses a number of failures, which may be 0.
fn failures(text: &str) -> Result<u64, String> {
    let number = text.parse();
    number.map_err(|_| "expected a number, such as 0 or 100".to_owned())
}

impl ExecutionArgs {
    /// The requested limit; `None` keeps the current limit, and `Some(None)` removes it.
    pub(crate) fn limit(&self) -> Option<Option<NonZeroU32>> {
        self.throttle.map(|limit| limit.0)
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn max_failures(&self) -> Option<u64> {
        self.max_failures
    }

    pub(crate) fn allow_newer(&self) -> bool {
        self.allow_newer
    }

    pub(crate) fn every(&self) -> Duration {
        self.progress_interval
    }
}

/// Who makes a request, and why: kept in the record of the run.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AuditArgs {
    /// Record who makes the request [default: the name of the user]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    actor: Option<String>,
    /// Record the reason for the request
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,
}

impl AuditArgs {
    pub(crate) fn actor(&self) -> String {
        self.actor.clone().unwrap_or_else(user)
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// The same for a request to a service.
    pub(crate) fn by(&self) -> By {
        By {
            actor: Some(self.actor()),
            reason: self.reason.clone(),
        }
    }
}

/// The user name according to the system, since cron sets no variable.
pub(crate) fn user() -> String {
    let of_variable = |name| std::env::var(name).ok().filter(|name| !name.is_empty());
    if let Some(name) = of_variable("SUDO_USER") {
        return name;
    }
    whoami::username()
        .ok()
        .filter(|name| !name.is_empty())
        .or_else(|| of_variable("USER"))
        .or_else(|| of_variable("LOGNAME"))
        .or_else(number_of_user)
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Formats the user id as `user 1001`; in a container a user may have no name.
fn number_of_user() -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let own = std::fs::metadata("/proc/self").ok()?;
        Some(format!("user {}", own.uid()))
    }
    #[cfg(not(unix))]
    None
}

/// The plan of an earlier run with the migrations of this program.
pub(crate) fn planned_again(context: &Context, plan: &Plan) -> Result<Plan, Failure> {
    context
        .runner(context.migrations()?, &())
        .select(plan.selection.clone())
        .count_up_to_date(plan.options.count_up_to_date)
        .check_determinism(plan.options.check_determinism)
        .deadline(Duration::from_millis(plan.options.deadline_ms))
        .snapshots(plan.options.snapshots)
        .plan()
        .map_err(|error| Failure::refused(Reason::MigrationsInvalid, error.to_string()))
}

/// An open store that a run uses, and that is closed afterwards.
pub(crate) trait Opened: EventStore + SnapshotStore + Clone {
    async fn close(&self) -> Result<(), Error>;

    /// The versions, of any workflow, at which a process may be.
    async fn present_versions(&self) -> Result<Vec<WorkflowId>, Error>;

    /// Whether another program has taken over the store.
    fn is_fenced(&self) -> bool;
}

impl Opened for SlateDbStore {
    async fn present_versions(&self) -> Result<Vec<WorkflowId>, Error> {
        Self::present_versions(self).await
    }

    async fn close(&self) -> Result<(), Error> {
        Self::close(self).await
    }

    fn is_fenced(&self) -> bool {
        self.db().status().close_reason == Some(CloseReason::Fenced)
    }
}

impl Opened for SlateDbReader {
    async fn present_versions(&self) -> Result<Vec<WorkflowId>, Error> {
        Self::present_versions(self).await
    }

    async fn close(&self) -> Result<(), Error> {
        Self::close(self).await
    }

    fn is_fenced(&self) -> bool {
        false
    }
}

type Runner<S> = MigrationRunner<MigrationRegistry, S, S>;

/// Opens a store and executes the run until it ends or is interrupted; `set` configures
/// the runner.
///
/// The first signal cancels the run after the chunks in progress. The second signal
/// stops it immediately, which loses nothing either: work that is not committed is
/// repeated when the run is resumed.
pub(crate) async fn drive<S: Opened>(
    context: &Context,
    opening: impl Future<Output = Result<S, Failure>>,
    set: impl FnOnce(Runner<S>) -> Runner<S>,
    goal: Goal,
    execution: &ExecutionArgs,
) -> Result<Exit, Failure> {
    let migrations = context.migrations()?;
    let mut signals = context.signals()?;
    let store = match signals.or(opening).await {
        Ok(store) => store?,
        Err(signal) => {
            return Err(Failure::interrupted(format!(
                "{signal} arrived before the run began, so nothing was done; run the command again"
            )));
        }
    };
    let fits = async { program_fit::check(context, &store, &goal, execution.allow_newer).await };
    if let Err(refused) = fits.await {
        store.close().await?;
        return Err(refused);
    }
    // An operator who reads `done` relies on it, and a scan of the heads is little work.
    let runner = set(context.runner(migrations, &store).check_heads(true));
    let runner = match execution.max_failures {
        Some(most) => runner.max_failures(most),
        None => runner,
    };
    let control = runner.control();
    if let Some(limit) = execution.limit() {
        let actor = runner.run_options().actor.clone();
        control.on_behalf_of(actor, "").throttle(limit);
    }
    let bars = draws_bars(context);
    let shown = ProgressDisplay::new(
        context.output,
        bars,
        execution.progress_interval,
        control.clone(),
    );
    let begun = Instant::now();
    let reported = until_interrupted(&runner, &goal, &mut signals, &shown).await;
    let took = begun.elapsed();
    shown.end();
    let Some(report) = reported else {
        return Err(stopped(context, &goal, &control));
    };
    if store.is_fenced() {
        return Err(fenced(context, &control));
    }
    let is_idle = report.migrated + report.verified + report.error_count == 0;
    let unknown_names = match goal {
        _ if is_idle => {
            let unknown_names = signals
                .or(runner.unknown_names(&runner.run_options().selection))
                .await;
            // The result of the run is reported in any case.
            unknown_names.ok().and_then(Result::ok).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let history = Runs::of(&store)
        .filter(|_| !goal.is_dry())
        .map(History::from);
    let summary = RunSummary::new(context, history, &goal, report, &control, took);
    let Ok(summary) = signals.or(summary).await else {
        let failure = Failure::interrupted(
            "the run has ended, but its result was not read; check the runs of the store",
        );
        return Err(failure.next(context.command_line("runs")));
    };
    let closed = signals.or(store.close()).await;
    let mut summary = summary?;
    for message in unknown_names {
        summary.warn(message);
    }
    if let Ok(Err(error)) = closed
        && !goal.is_dry()
    {
        summary.warn(unclosed(&error));
    }
    summary.print(context)
}

/// Whether to draw progress bars, on a terminal that supports them.
pub(crate) fn draws_bars(context: &Context) -> bool {
    // Log lines go to the same terminal, and would be overwritten.
    context.output.is_watched() && context.global.log == "off" && is_a_screen()
}

/// Executes the run to its end, or until the second signal; then there is no report.
async fn until_interrupted<S: Opened>(
    runner: &Runner<S>,
    goal: &Goal,
    signals: &mut Signals,
    shown: &ProgressDisplay,
) -> Option<MigrationReport> {
    let mut running = Box::pin(async {
        match goal {
            Goal::Run => runner.run().await,
            Goal::DryRun(_) => runner.dry_run().await,
            Goal::Rehearse { keep: true, .. } => runner.rehearse_and_keep().await,
            Goal::Rehearse { keep: false, .. } => runner.rehearse().await,
            Goal::Resume(run, _) => runner.resume(*run).await,
            Goal::Retry(of, classes) => runner.retry(*of, classes).await,
            Goal::History(HistoryGoal { kind, is_dry, .. }) => match (kind, is_dry) {
                (RunKind::Undo { of }, true) => runner.dry_undo(*of).await,
                (RunKind::Undo { of }, false) => runner.undo(*of).await,
                (RunKind::Redo { of }, true) => runner.dry_redo(*of).await,
                (RunKind::Redo { of }, false) => runner.redo(*of).await,
                (RunKind::Erase, true) => runner.dry_erase().await,
                (RunKind::Erase, false) => runner.erase().await,
                (kind, _) => runner.verify(kind.of()).await,
            },
        }
    });
    let signal = match signals.or(&mut running).await {
        Ok(report) => return Some(report),
        Err(signal) => signal,
    };
    let control = runner.control();
    control.on_behalf_of(user(), signal).cancel();
    shown.note(format!(
        "{signal}: finishing the chunks in progress; send the signal again to stop at once"
    ));
    signals.or(running).await.ok()
}

/// The warning that the store could not be closed. All counted work is durable.
fn unclosed(error: &Error) -> String {
    format!(
        "{error}; what was committed is kept, but the next command that writes may require --take-over"
    )
}

/// The failure of a run whose store another program has taken over.
fn fenced(context: &Context, control: &RunControl) -> Failure {
    let Some(run) = control.progress().run else {
        return Failure::refused(Reason::StoreTakenOver,
            "another program took over the store before the run was recorded, so nothing was done; run the command again after that program has closed the store",
        )
        .next(context.command_line("runs"));
    };
    Failure::refused(Reason::StoreTakenOver, format!(
        "another program took over the store during run {run}, which keeps what it committed; resume the run after that program has closed the store"
    ))
    .run(run)
    .next(context.command_line(&format!("resume {run}")))
}

/// The failure of a run that was stopped immediately.
fn stopped(context: &Context, goal: &Goal, control: &RunControl) -> Failure {
    if goal.is_dry() {
        return Failure::interrupted("stopped at once; a dry run writes nothing");
    }
    let Some(run) = control.progress().run else {
        return Failure::interrupted(
            "stopped at once, probably before the run was recorded; check whether there is a run to resume",
        )
        .next(context.command_line("runs"));
    };
    // The claim was not released.
    Failure::interrupted(format!(
        "run {run} was stopped at once and still claims the store; what was committed is kept, so resume the run"
    ))
    .run(run)
    .next(context.command_line(&format!("resume {run}")))
}

/// Formats classes as ` --class panic --class refused`, with a leading space.
pub(crate) fn classes(classes: &[FailureClass]) -> String {
    let mut line = String::new();
    for class in classes {
        let _ = write!(line, " --class {class}");
    }
    line
}
