//! The command `erase`.

use state_migration_control_socket::protocol::{HistoryRequest, Request};
use state_migration_runner::{MigrationRunner, RunKind};

use crate::commands::history::options;
use crate::commands::run::is_blocked;
use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::goal::{Goal, HistoryGoal};
use crate::local::{AuditArgs, ExecutionArgs, drive};
use crate::remote;
use crate::selection::PlanArgs;
use crate::store::Claim;
use crate::take_over::TakeOver;

/// Remove the events of migrated processes that no replay reads any more
///
/// A replay of a migrated process starts at its last migration, so its earlier
/// events can be removed, such as for personal data in them. What is removed
/// cannot be brought back: the migrations of these events can then not be
/// undone, redone or verified. Processes that were never migrated, and held
/// ones, are left as they are.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  erase --before-baseline --store ./loans --dry-run --tenant bank\n  erase --before-baseline --store ./loans --yes --reason audit"
)]
pub(crate) struct Erase {
    /// Remove the events before the last migration of each process
    #[arg(long, required = true)]
    before_baseline: bool,
    /// Do it; without this option, confirmation is missing
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Count what would be removed, and write nothing
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

impl Erase {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.be_patient(self.execution.patience());
        self.planned.is_by_stream("erase")?;
        let line = |option: &str| {
            let planned = self.planned.arguments();
            format!("erase --before-baseline{planned} {option}")
        };
        if !self.yes && !self.dry_run {
            let failure = Failure::refused(
                Reason::ConfirmationNeeded,
                "`erase` removes events for good and needs confirmation; look at the dry run, and give --yes",
            );
            return Err(failure.next(context.command_line(&line("--dry-run"))));
        }
        let next = match self.dry_run {
            true => line("--yes"),
            false => "status".to_owned(),
        };
        let goal = Goal::History(HistoryGoal {
            kind: RunKind::Erase,
            is_dry: self.dry_run,
            next: vec![next.clone()],
            next_on_errors: vec![next],
        });
        if let Some(client) = context.client() {
            let mut options = options(&self.planned, Some(&self.audit), &self.execution);
            options.dry_run = self.dry_run;
            options.take_over = self.take_over.is_meant();
            let request = Request::Erase(HistoryRequest { run: None, options });
            return remote::drive(context, client, request, goal, &self.execution).await;
        }
        self.planned.check(context, &context.migrations()?)?;
        if self.dry_run {
            is_blocked(context, &format!("`{}`", line("--yes")), None).await?;
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
        let store = context.writer(self.take_over, Claim::Of(None));
        drive(context, store, set, goal, &self.execution).await
    }
}
