//! The commands `verify`, `undo` and `redo`, which are about the history of processes.

use state_migration_control_socket::protocol::{self, HistoryRequest, Request};
use state_migration_core::RunId;
use state_migration_runner::{MigrationRunner, RunKind, RunRecord};

use crate::commands::run::is_blocked;
use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::goal::{Goal, HistoryGoal};
use crate::local::{AuditArgs, ExecutionArgs, drive};
use crate::remote;
use crate::run_selector::WhichRun;
use crate::selection::PlanArgs;
use crate::store::Claim;
use crate::take_over::TakeOver;

/// Compute the states that a run has recorded again, and compare
///
/// Each migrated state is computed from the events below it with the code of
/// this program, and compared as a JSON value. A difference is shown with its
/// path, without values. Writes nothing, and fences no writer.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  verify last --store ./loans\n  verify --all --store ./loans --workflow loan"
)]
pub(crate) struct Verify {
    /// Verify this run: a number, an id, the start of an id, or `last`
    #[arg(value_name = "RUN", required_unless_present = "all")]
    run: Option<WhichRun>,
    /// Verify all runs
    #[arg(long, conflicts_with = "run")]
    all: bool,
    #[command(flatten)]
    planned: PlanArgs,
    #[command(flatten)]
    execution: ExecutionArgs,
}

/// Take the processes that a run has migrated back to their old versions
///
/// A process without events since the run gets exactly the state that it had;
/// others are converted back by undo functions that are linked into this
/// program. What is impossible is listed with the reason. Neither a run nor a
/// service migrates the processes again until the code changes: see `run
/// --again`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  undo 1 --store ./loans --dry-run\n  undo 1 --store ./loans --yes --reason 'wrong amounts'"
)]
pub(crate) struct Undo {
    #[command(flatten)]
    change: Change,
}

/// Compute the states of the processes that a run has migrated again
///
/// For a conversion that was corrected: the history of each process is folded
/// from its first event, with the migrations of this program where they
/// happened. If the state differs, it becomes the new state of the process,
/// at the version that it has. Later events are kept.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  redo 1 --store ./loans --dry-run\n  redo 1 --store ./loans --yes --reason 'amounts corrected'"
)]
pub(crate) struct Redo {
    #[command(flatten)]
    change: Change,
}

/// The options that undo and redo share.
#[derive(Debug, clap::Args)]
struct Change {
    /// The run that migrated the processes: a number, an id, the start of an
    /// id, or `last`
    #[arg(value_name = "RUN")]
    run: WhichRun,
    /// Do it; without this option, confirmation is missing
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Do everything except write, and list what would fail
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    take_over: TakeOver,
    #[command(flatten)]
    planned: PlanArgs,
    #[command(flatten)]
    execution: ExecutionArgs,
}

impl Verify {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.be_patient(self.execution.patience());
        self.planned.is_by_stream("verify")?;
        let record = match &self.run {
            Some(run) => Some(find(context, run).await?),
            None => None,
        };
        let number = record.as_ref().map(|record| record.number);
        let next = number.map(|number| format!("show {number}"));
        let migrates =
            |record: &&RunRecord| matches!(record.kind, RunKind::Migrate | RunKind::Retry { .. });
        let correct = record.as_ref().filter(migrates);
        let correct = correct.map(|record| format!("redo {} --dry-run", record.number));
        let correct = correct.or_else(|| next.clone());
        let goal = HistoryGoal {
            kind: RunKind::Verify {
                of: record.map(|record| record.id),
            },
            is_dry: true,
            next: next.into_iter().collect(),
            next_on_errors: correct.into_iter().collect(),
        };
        if let Some(client) = context.client() {
            let options = options(&self.planned, None, &self.execution);
            let request = request(goal.kind.clone(), options);
            let goal = Goal::History(goal);
            return remote::drive(context, client, request, goal, &self.execution).await;
        }
        self.planned.check(context, &context.migrations()?)?;
        let set = |runner| self.planned.apply(runner);
        let goal = Goal::History(goal);
        drive(context, context.reader(), set, goal, &self.execution).await
    }
}

impl Undo {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        self.change
            .run(context, "undo", |of| RunKind::Undo { of })
            .await
    }
}

impl Redo {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        self.change
            .run(context, "redo", |of| RunKind::Redo { of })
            .await
    }
}

impl Change {
    async fn run(
        self,
        context: &Context,
        command: &str,
        kind: impl FnOnce(RunId) -> RunKind,
    ) -> Result<Exit, Failure> {
        context.be_patient(self.execution.patience());
        self.planned.is_by_stream(command)?;
        let record = find(context, &self.run).await?;
        let line = |option: &str| {
            let (number, planned) = (record.number, self.planned.arguments());
            format!("{command} {number}{planned} {option}")
        };
        if !self.yes && !self.dry_run {
            let failure = Failure::refused(
                Reason::ConfirmationNeeded,
                format!(
                    "`{command}` changes the store and needs confirmation; look at the dry run, and give --yes"
                ),
            );
            return Err(failure.next(context.command_line(&line("--dry-run"))));
        }
        let next = match self.dry_run {
            true => line("--yes"),
            false => "status".to_owned(),
        };
        let goal = HistoryGoal {
            kind: kind(record.id),
            is_dry: self.dry_run,
            next: vec![next.clone()],
            next_on_errors: vec![next],
        };
        if let Some(client) = context.client() {
            let mut options = options(&self.planned, Some(&self.audit), &self.execution);
            options.dry_run = self.dry_run;
            options.take_over = self.take_over.is_meant();
            let request = request(goal.kind.clone(), options);
            let goal = Goal::History(goal);
            return remote::drive(context, client, request, goal, &self.execution).await;
        }
        self.planned.check(context, &context.migrations()?)?;
        // A run that was interrupted may be undone as it is.
        let undone = match goal.kind {
            RunKind::Undo { of } => Some(of),
            _ => None,
        };
        let goal = Goal::History(goal);
        if self.dry_run {
            is_blocked(context, &format!("`{}`", line("--yes")), undone).await?;
            let set = |runner| self.planned.apply(runner);
            return drive(context, context.reader(), set, goal, &self.execution).await;
        }
        let set = |runner: MigrationRunner<_, _, _>| {
            self.planned
                .apply(runner)
                .actor(self.audit.actor())
                .reason(self.audit.reason())
                .take_over(self.take_over.is_meant())
        };
        let store = context.writer(self.take_over, Claim::Of(undone));
        drive(context, store, set, goal, &self.execution).await
    }
}

/// The run of a command line.
async fn find(context: &Context, run: &WhichRun) -> Result<RunRecord, Failure> {
    let runs = context.history().await?;
    let record = run.find(&runs, context).await?;
    runs.close().await?;
    Ok(record)
}

pub(crate) fn options(
    planned: &PlanArgs,
    audit: Option<&AuditArgs>,
    execution: &ExecutionArgs,
) -> protocol::Run {
    protocol::Run {
        which: planned.run_options(),
        actor: audit.map(AuditArgs::actor),
        reason: audit.map_or_else(String::new, |audit| audit.reason().to_owned()),
        allow_newer: execution.allow_newer(),
        max_failures: execution.max_failures(),
        per_second: execution.limit(),
        ..protocol::Run::default()
    }
}

fn request(kind: RunKind, options: protocol::Run) -> Request {
    let (run, options) = (kind.of(), options);
    let history = HistoryRequest { run, options };
    match kind {
        RunKind::Undo { .. } => Request::Undo(history),
        RunKind::Redo { .. } => Request::Redo(history),
        _ => Request::Verify(history),
    }
}
