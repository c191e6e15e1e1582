//! The command `run`.

use state_migration_control_socket::protocol::{self, ForecastRequest, Request};
use state_migration_core::{EventStore as _, Fingerprint, MigrationRegistry, RunId};
use state_migration_runner::run::{Confirmation, Unconfirmed};
use state_migration_runner::{Plan, RunKind};

use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::goal::Goal;
use crate::history::History;
use crate::local::{AuditArgs, ExecutionArgs, drive};
use crate::remote::{self, ServiceClient, service};
use crate::selection::{PlanArgs, number};
use crate::store::Claim;
use crate::take_over::TakeOver;
use crate::view::format::counted;

/// Migrate outdated processes to the newest version
///
/// Requires --plan FINGERPRINT (printed by `plan` for the same options) or
/// --yes. Ctrl-C finishes the chunks in progress and prints how to resume; a
/// second Ctrl-C stops at once. In both cases nothing committed is lost. A dry
/// run writes nothing and does not fence a writer.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  run --store ./loans --yes\n  run --store ./loans --dry-run\n  run --store ./loans --yes --percent 5 --reason 'canary'\n  run --store ./loans --yes --throttle 500 --json\n  run --store ./loans --yes --or-resume"
)]
pub(crate) struct Run {
    /// Run only if the plan of this store still has this fingerprint
    #[arg(long, value_name = "FINGERPRINT", conflicts_with_all = ["yes", "dry_run"])]
    plan: Option<Confirmation>,
    /// Run without confirming the plan
    #[arg(long)]
    yes: bool,
    /// Do everything except write; also checks that user code is deterministic
    #[arg(long)]
    dry_run: bool,
    /// Resume the last run with the same plan if it has not come to its end;
    /// for jobs that are started again until they succeed
    #[arg(long, conflicts_with = "dry_run")]
    or_resume: bool,
    /// Refuse to run if more than N processes are due, before --matching and
    /// --leave-out-failed
    #[arg(long, value_name = "N", value_parser = number::<u64>)]
    at_most: Option<u64>,
    /// Migrate although an undo has closed a route and its code is the same
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    take_over: TakeOver,
    #[command(flatten)]
    planned: PlanArgs,
    #[command(flatten)]
    execution: ExecutionArgs,
}

impl Run {
    pub(crate) async fn run(mut self, context: &Context) -> Result<Exit, Failure> {
        context.be_patient(self.execution.patience());
        self.planned.find_run(context).await?;
        if let Some(client) = context.client() {
            return self.through(context, client).await;
        }
        let migrations = context.migrations()?;
        self.planned.check(context, &migrations)?;
        if !self.yes && !self.dry_run && self.plan.is_none() {
            return Err(self.look_again(context, unmeant()));
        }
        let plan = self.plan_now(context, migrations.clone())?;
        if !self.dry_run {
            context.target()?.check_writable()?;
        }
        let reader = match context.reader().await {
            Ok(reader) => reader,
            // The command that opens the store for writing has the same problem.
            Err(_) if self.yes && self.at_most.is_none() => {
                return self.write(context, &plan).await;
            }
            Err(failure) => return Err(failure),
        };
        if let Some(most) = self.at_most {
            let runner = self
                .planned
                .apply(context.runner(migrations.clone(), &reader));
            let runner = runner.again(self.again);
            let forecast = runner.forecast(runner.run_options(), &plan, None, 0).await;
            self.are_at_most(context, forecast?.due, most)?;
        }
        if self.dry_run {
            let confirmation = plan.confirmation(reader.durable_id().await?);
            let again = if self.again { " --again" } else { "" };
            let planned = self.planned.arguments();
            let command = format!("run{planned}{again} --plan {confirmation}");
            let set = |runner| self.planned.apply(runner).again(self.again);
            let in_use = reader.in_use().await?;
            let is_alive = in_use.is_some_and(|in_use| in_use.appears_alive());
            let command =
                match !is_alive && is_blocked(context, "a run with this plan", None).await? {
                    // The plan says what to do about the other run.
                    true => format!("plan{}", self.planned.arguments()),
                    false => command,
                };
            let runner = self.planned.apply(context.runner(migrations, &reader));
            let is_idle = runner.check_heads(true).would_be_idle().await;
            let is_of_use = !is_alive && !is_idle.unwrap_or(false);
            let goal = Goal::DryRun(Some(command).filter(|_| is_of_use));
            return drive(context, async { Ok(reader) }, set, goal, &self.execution).await;
        }
        // Check before the store is opened for writing, which fences other writers.
        if let Some(confirmed) = &self.plan {
            let now = plan.confirmation(reader.durable_id().await?);
            let checked = confirmed.check(&now);
            checked.map_err(|unconfirmed| self.look_again(context, unaccepted(unconfirmed)))?;
        }
        let runner = self.planned.apply(context.runner(migrations, &reader));
        let runner = runner.check_heads(true);
        if runner.would_be_idle().await.unwrap_or(false) {
            // Not opened for writing, which would leave files and fence a writer.
            let set = |runner| self.planned.apply(runner).check_heads(false);
            return drive(
                context,
                async { Ok(reader) },
                set,
                Goal::Run,
                &self.execution,
            )
            .await;
        }
        reader.close().await?;
        self.write(context, &plan).await
    }

    /// Opens the store for writing and executes the run.
    async fn write(&self, context: &Context, plan: &Plan) -> Result<Exit, Failure> {
        let set = |runner| {
            self.planned
                .apply(runner)
                .actor(self.audit.actor())
                .reason(self.audit.reason())
                .again(self.again)
                .take_over(self.take_over.is_meant())
        };
        let (goal, claim) = match self.or_resume {
            true => (
                self.interrupted(context, plan.fingerprint).await?,
                Claim::Interrupted,
            ),
            false => (Goal::Run, Claim::Of(None)),
        };
        let store = context.writer(self.take_over, claim);
        drive(context, store, set, goal, &self.execution).await
    }

    /// Resumes the run that claims the store, if it has this plan, or else the last run
    /// with this plan, if it has not come to its end. A signal cancels a run, as when a
    /// container is stopped.
    async fn interrupted(&self, context: &Context, plan: Fingerprint) -> Result<Goal, Failure> {
        let runs = context.history().await?;
        let (records, claim) = runs.list_claimed().await?;
        let mut goal = Goal::Run;
        let claimed = claim.and_then(|claim| records.iter().find(|it| it.id == claim.run));
        let candidates = records.iter().rev();
        let candidates = candidates.filter(|record| match claimed {
            Some(claimed) => record.id == claimed.id,
            None => true,
        });
        for record in candidates.filter(|record| record.kind == RunKind::Migrate) {
            let executions = match record.executions {
                1 => Vec::new(),
                _ => runs.executions(record.id).await?,
            };
            if record.last_plan(&executions).fingerprint == plan {
                if !record.state.is_done() && runs.undo_of(record.id, &records).await?.is_none() {
                    goal = Goal::Resume(record.id, runs.counts(record.id).await?);
                }
                break;
            }
        }
        if let (Some(claimed), Goal::Run) = (claimed, &goal) {
            let number = claimed.number;
            let is_alive = match (&runs, context.client()) {
                (_, Some(client)) => client.send(Request::Status).await?.in_progress,
                (History::Store(_, Some(reader)), None) => {
                    let in_use = reader.in_use().await?;
                    in_use.is_some_and(|in_use| in_use.appears_alive())
                }
                _ => false,
            };
            match &claimed.kind {
                _ if is_alive => {}
                // Half of the processes would be left as they are, and forgotten.
                RunKind::Undo { .. } | RunKind::Redo { .. } | RunKind::Erase => {
                    runs.close().await?;
                    let kind = claimed.kind.name();
                    let failure = Failure::refused(
                        Reason::InterruptedRun,
                        format!(
                            "run {number}, of kind {kind}, was interrupted and claims the store; resume run {number} first"
                        ),
                    );
                    let resume = context.command_line(&format!("resume {number}"));
                    return Err(failure.run(claimed.id).next(resume));
                }
                kind => {
                    let what = match kind {
                        RunKind::Migrate => "has another plan".to_owned(),
                        kind => format!("is of kind {}", kind.name()),
                    };
                    context.output.warn(&format!(
                        "run {number} was interrupted and {what}, so a new run begins"
                    ));
                }
            }
        }
        runs.close().await?;
        Ok(goal)
    }

    /// Executes the run inside the service, with the migrations of the service.
    async fn through(self, context: &Context, client: ServiceClient) -> Result<Exit, Failure> {
        let look = format!("plan{}", self.planned.arguments());
        if !self.yes && !self.dry_run && self.plan.is_none() {
            return Err(unmeant().next(context.command_line(&look)));
        }
        service::check(&client, &self.planned).await?;
        let planned = match self.at_most.is_some() || self.or_resume {
            true => Some(client.plan(self.forecast()).await?),
            false => None,
        };
        if let (Some(planned), Some(most)) = (&planned, self.at_most) {
            self.are_at_most(context, planned.forecast.due, most)?;
        }
        let goal = match planned.filter(|_| self.or_resume) {
            _ if self.dry_run => Goal::DryRun(Some(look)),
            Some(planned) => self.interrupted(context, planned.plan.fingerprint).await?,
            None => Goal::Run,
        };
        if let Goal::Resume(run, _) = goal {
            let request = Request::Resume {
                run,
                actor: Some(self.audit.actor()),
                reason: self.audit.reason().to_owned(),
                force: false,
                take_over: self.take_over.is_meant(),
                allow_newer: self.execution.allow_newer(),
                max_failures: self.execution.max_failures(),
                per_second: self.execution.limit(),
            };
            return remote::drive(context, client, request, goal, &self.execution).await;
        }
        let request = Request::Run(protocol::Run {
            which: self.planned.run_options(),
            actor: Some(self.audit.actor()),
            reason: self.audit.reason().to_owned(),
            plan: self.plan.clone(),
            dry_run: self.dry_run,
            // A program without the store open has begun no run that lives.
            take_over: self.take_over.is_meant() || self.or_resume,
            again: self.again,
            allow_newer: self.execution.allow_newer(),
            max_failures: self.execution.max_failures(),
            per_second: self.execution.limit(),
        });
        let is_dry = self.dry_run;
        let again = client.clone();
        let driven = remote::drive(context, client, request, goal, &self.execution).await;
        driven.map_err(|failure| match is_dry {
            true => again.tried(failure, "of the dry run", "status"),
            false => failure,
        })
    }

    /// The request for the plan of this run, without a sample.
    fn forecast(&self) -> ForecastRequest {
        ForecastRequest {
            which: self.planned.run_options(),
            ..ForecastRequest::default()
        }
    }

    /// Refuses a run that would migrate more processes than expected, as over the wrong
    /// store.
    fn are_at_most(&self, context: &Context, due: u64, most: u64) -> Result<(), Failure> {
        if due <= most {
            return Ok(());
        }
        let store = match (&context.global.socket, &context.global.store) {
            (Some(_), _) => "of the service",
            (None, store) => store.as_deref().unwrap_or_default(),
        };
        let failure = Failure::refused(
            Reason::TooManyDue,
            format!(
                "{} are due in the store {store}, more than --at-most {most}; check the store and the selection",
                counted(due, "process", "processes"),
            ),
        );
        Err(self.look_again(context, failure))
    }

    /// Suggests to look at the plan.
    fn look_again(&self, context: &Context, failure: Failure) -> Failure {
        let look = format!("plan{}", self.planned.arguments());
        failure.next(context.command_line(&look))
    }

    /// The current plan.
    fn plan_now(&self, context: &Context, migrations: MigrationRegistry) -> Result<Plan, Failure> {
        let runner = context.runner(migrations, &());
        let plan = self.planned.apply(runner).plan();
        plan.map_err(|error| Failure::refused(Reason::MigrationsInvalid, error.to_string()))
    }
}

fn unaccepted(unconfirmed: Unconfirmed) -> Failure {
    let (reason, why) = match unconfirmed {
        Unconfirmed::AnotherPlan(why) => (Reason::AnotherPlan, why),
        Unconfirmed::AnotherStore(why) => (Reason::AnotherStore, why),
    };
    Failure::refused(reason, format!("{why}; check the plan of this store"))
}

fn unmeant() -> Failure {
    Failure::refused(
        Reason::ConfirmationNeeded,
        "a run changes the store and needs confirmation; give --plan with the fingerprint that `plan` prints, or give --yes",
    )
}

/// Whether a run, except this one, claims the store, so that a command is refused. Warns of
/// it.
pub(crate) async fn is_blocked(
    context: &Context,
    what: &str,
    except: Option<RunId>,
) -> Result<bool, Failure> {
    let runs = context.history().await?;
    let (records, claim) = runs.list_claimed().await?;
    runs.close().await?;
    let Some(claim) = claim.filter(|claim| Some(claim.run) != except) else {
        return Ok(false);
    };
    let mut records = records.iter();
    if let Some(record) = records.find(|record| record.id == claim.run) {
        context.output.warn(&format!(
            "run {} claims the store, so {what} is refused until that run is resumed or taken over from",
            record.number
        ));
    }
    Ok(true)
}
