//! The command `resume`.

use state_migration_control_socket::protocol::Request;
use state_migration_runner::{MigrationRunner, Plan, RunKind, RunRecord};

use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::goal::Goal;
use crate::local::{AuditArgs, ExecutionArgs, drive, planned_again};
use crate::other_code::{fits, ways_on};
use crate::remote;
use crate::run_selector::WhichRun;
use crate::store::Claim;
use crate::take_over::TakeOver;

/// Resume an interrupted run
///
/// Uses the options of the run, its throttle included, and repeats no work. If
/// the run was killed on another machine, add --take-over.
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
    #[command(flatten)]
    take_over: TakeOver,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    execution: ExecutionArgs,
}

impl Resume {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.be_patient(self.execution.patience());
        // Check before the store is opened for writing, which fences other writers.
        let runs = context.history().await?;
        let record = self.run.find(&runs, context).await?;
        let executions = runs.executions(record.id).await?;
        let claim = runs.list_claimed().await?.1;
        let claims_store = claim.is_some_and(|claim| claim.run == record.id);
        let older = match self.execution.allow_newer() {
            true => None,
            false => runs.check_program(context).await.err(),
        };
        let last = record.last_plan(&executions);
        self.can(context, &record, last, claims_store, older)?;
        let before = runs.counts(record.id).await?;
        runs.close().await?;
        if let Some(client) = context.client() {
            let goal = Goal::Resume(record.id, before);
            let request = Request::Resume {
                run: record.id,
                actor: Some(self.audit.actor()),
                reason: self.audit.reason().to_owned(),
                force: self.force,
                take_over: self.take_over.is_meant(),
                allow_newer: self.execution.allow_newer(),
                max_failures: self.execution.max_failures(),
                per_second: self.execution.limit(),
            };
            return remote::drive(context, client, request, goal, &self.execution).await;
        }
        let set = |runner: MigrationRunner<_, _, _>| {
            runner
                .actor(self.audit.actor())
                .reason(self.audit.reason())
                .force(self.force)
                .take_over(self.take_over.is_meant())
        };
        let goal = Goal::Resume(record.id, before);
        let store = context.writer(self.take_over, Claim::Of(Some(record.id)));
        drive(context, store, set, goal, &self.execution).await
    }

    fn can(
        &self,
        context: &Context,
        record: &RunRecord,
        last: &Plan,
        claims_store: bool,
        older: Option<Failure>,
    ) -> Result<(), Failure> {
        let number = record.number;
        if record.state.is_done() {
            let failure = Failure::environment(
                Reason::NothingToDo,
                format!(
                    "run {number} is {}, so there is nothing to resume; retry its failures, or start a new run",
                    record.state
                ),
            );
            return Err(failure
                .run(record.id)
                .next(context.command_line(&format!("show {number}"))));
        }
        if record.kind == RunKind::Lazy {
            let failure = Failure::environment(
                Reason::NothingToDo,
                format!(
                    "run {number} migrates processes as they are opened and cannot be resumed; start a run for the other processes"
                ),
            );
            return Err(failure.run(record.id).next(context.command_line("plan")));
        }
        // The service compares with its own migrations.
        if context.global.socket.is_some() {
            return Ok(());
        }
        let plan = planned_again(context, &record.plan)?;
        if !fits(context, record, last) && !self.force {
            // An older program can neither resume the run nor start another one.
            if let Some(older) = older {
                return Err(older.run(record.id));
            }
            let failure = Failure::refused(
                Reason::OtherCode,
                format!(
                    "run {number} was last executed with plan {}, but the migrations of this program give plan {}; resume the run with the original program, start a new run, or use --force",
                    last.fingerprint, plan.fingerprint
                ),
            );
            let ways = ways_on(context, (number, record.kind.name()), claims_store);
            return Err(failure.run(record.id).either(ways));
        }
        Ok(())
    }
}
