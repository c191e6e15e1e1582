//! The command `resume`.

use state_migration_control_socket::protocol::Request;
use state_migration_runner::{MigrationRunner, RunKind, RunRecord};

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::local::{Goal, Pace, drive};
use crate::remote;
use crate::run_selector::WhichRun;
use crate::store::Claim;

/// Resume an interrupted run
///
/// Uses the options that the run was started with, and repeats no work. A run
/// that was killed still claims the store: add --take-over to resume it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  resume last --store ./loans\n  resume 3 --store ./loans --take-over --throttle 500"
)]
pub(crate) struct Resume {
    /// Resume this run: a number, an id, the start of an id, or `last`
    #[arg(value_name = "RUN")]
    run: WhichRun,
    /// Resume even if the migrations differ from those the run was started with
    #[arg(long)]
    force: bool,
    /// Take over the store from an interrupted run, or from a program that has
    /// the store open; that program can no longer write to the store
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    pace: Pace,
}

impl Resume {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        // Check before the store is opened for writing, which fences other writers.
        let runs = context.history().await?;
        let record = self.run.find(&runs, context).await?;
        self.can(context, &record)?;
        let before = runs.counts(record.id).await?.selected();
        runs.close().await?;
        if let Some(via) = context.via() {
            let goal = Goal::Resume(record.id, before);
            let request = Request::Resume {
                run: record.id,
                force: self.force,
                take_over: self.take_over,
                per_second: self.pace.throttle,
            };
            return remote::drive(context, via, request, goal, &self.pace).await;
        }
        let set =
            |runner: MigrationRunner<_, _, _>| runner.force(self.force).take_over(self.take_over);
        let goal = Goal::Resume(record.id, before);
        let store = context.writer(self.take_over, Claim::Of(Some(record.id)));
        drive(context, store, set, goal, &self.pace).await
    }

    fn can(&self, context: &Context, record: &RunRecord) -> Result<(), Failure> {
        let number = record.number;
        if record.state.is_done() {
            let failure = Failure::environment(format!(
                "run {number} is {}, so there is nothing to resume; retry its failures, or start a new run",
                record.state
            ));
            return Err(failure.next(context.again(&format!("show {number}"))));
        }
        if record.kind == RunKind::Lazy {
            let failure = Failure::environment(format!(
                "run {number} migrates processes as they are opened and cannot be resumed; start a run for the other processes"
            ));
            return Err(failure.next(context.again("plan")));
        }
        // The service compares with its own migrations.
        if context.global.socket.is_some() {
            return Ok(());
        }
        let began = &record.plan;
        let runner = MigrationRunner::new(context.migrations()?, (), ())
            .select(began.selection.clone())
            .count_up_to_date(began.options.count_up_to_date)
            .check_determinism(began.options.check_determinism)
            .deadline(std::time::Duration::from_millis(began.options.deadline_ms));
        let plan = runner
            .plan()
            .map_err(|error| Failure::refused(error.to_string()))?;
        if plan.fingerprint != began.fingerprint && !self.force {
            let failure = Failure::refused(format!(
                "run {number} was started with plan {}, but the migrations of this program give plan {}; resume the run with the original program, start a new run, or use --force",
                began.fingerprint, plan.fingerprint
            ));
            return Err(failure.next(context.again(&format!("show {number}"))));
        }
        Ok(())
    }
}
