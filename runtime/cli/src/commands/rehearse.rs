//! The command `rehearse`.

use std::num::NonZeroUsize;

use state_migration_control_socket::protocol::{self, RehearsalRequest, Request};
use state_migration_core::EventStore as _;

use crate::commands::run::is_blocked;
use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::goal::Goal;
use crate::local::{ExecutionArgs, drive};
use crate::remote::{self, service};
use crate::selection::PlanArgs;
use crate::store::Claim;
use crate::take_over::TakeOver;

/// Execute the run on a copy of the store, verify it there, and delete the copy
///
/// The copy shares the data of the store, so it is made at once; the run on it
/// writes as much as the real one. The store stays as it is. If a program has
/// the store open, use --socket: that program makes the copy.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  rehearse --store ./loans\n  rehearse --store ./loans --sample 500\n  rehearse --store ./loans --keep\n  rehearse --socket ./control --json"
)]
pub(crate) struct Rehearse {
    /// Rehearse the first N processes only
    #[arg(long, value_name = "N", conflicts_with = "limit")]
    sample: Option<NonZeroUsize>,
    /// Keep the copy, and print where it is
    #[arg(long)]
    keep: bool,
    /// Migrate although an undo has closed a route and its code is the same
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    planned: PlanArgs,
    #[command(flatten)]
    execution: ExecutionArgs,
}

impl Rehearse {
    pub(crate) async fn run(mut self, context: &Context) -> Result<Exit, Failure> {
        context.be_patient(self.execution.patience());
        self.planned.find_run(context).await?;
        let again = if self.again { " --again" } else { "" };
        let look = format!("plan{}", self.planned.arguments());
        self.planned.limit = self.sample.or(self.planned.limit);
        if let Some(client) = context.client() {
            service::check(&client, &self.planned).await?;
            let goal = Goal::Rehearse {
                keep: self.keep,
                next: look,
            };
            let request = Request::Rehearse(RehearsalRequest {
                keep: self.keep,
                options: protocol::Run {
                    which: self.planned.run_options(),
                    again: self.again,
                    allow_newer: self.execution.allow_newer(),
                    max_failures: self.execution.max_failures(),
                    per_second: self.execution.limit(),
                    ..protocol::Run::default()
                },
            });
            return remote::drive(context, client, request, goal, &self.execution).await;
        }
        let migrations = context.migrations()?;
        self.planned.check(context, &migrations)?;
        context.target()?.check_writable()?;
        self.recover(context).await?;
        let reader = context.reader().await?;
        // The confirmation of the real run, which has no sample.
        if self.sample.is_some() {
            self.planned.limit = None;
        }
        let runner = self.planned.apply(context.runner(migrations, &()));
        let plan = runner
            .plan()
            .map_err(|error| Failure::refused(Reason::MigrationsInvalid, error.to_string()))?;
        let confirmation = plan.confirmation(reader.durable_id().await?);
        let planned = self.planned.arguments();
        let next = match is_blocked(context, "a run with this plan", None).await? {
            // The plan says what to do about the other run.
            true => look,
            false => format!("run{planned}{again} --plan {confirmation}"),
        };
        let goal = Goal::Rehearse {
            keep: self.keep,
            next,
        };
        self.planned.limit = self.sample.or(self.planned.limit);
        let set = |runner| self.planned.apply(runner).again(self.again);
        drive(context, async { Ok(reader) }, set, goal, &self.execution).await
    }

    /// Opens and closes a store whose last program was killed: until then, a copy would lack
    /// what is in its log alone.
    async fn recover(&self, context: &Context) -> Result<(), Failure> {
        let reader = context.reader().await?;
        let (was_closed, in_use) = (reader.was_closed().await?, reader.in_use().await?);
        reader.close().await?;
        if was_closed {
            return Ok(());
        }
        if let Some(in_use) = in_use.filter(|in_use| in_use.appears_alive()) {
            let failure = Failure::refused(
                Reason::StoreInUse,
                format!(
                    "{in_use}; only that program can copy the store: use `--socket PATH` to rehearse inside it"
                ),
            );
            return Err(failure.next(context.command_line("status")));
        }
        let store = context.writer(TakeOver::default(), Claim::Any).await?;
        store.close().await?;
        context.output.warn(
            "the last program did not close the store; the store was opened and closed, so that the copy has everything",
        );
        Ok(())
    }
}
