//! The command `retry`.

use std::time::Duration;

use state_migration_control_socket::protocol::{self, Request};
use state_migration_core::FailureClass;
use state_migration_runner::{MigrationRunner, RunKind, SnapshotUse};

use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::goal::Goal;
use crate::history::History;
use crate::local::{AuditArgs, ExecutionArgs, classes, drive};
use crate::remote;
use crate::run_selector::WhichRun;
use crate::selection::{duration, millis, snapshot_use, with_checks};
use crate::store::Claim;
use crate::take_over::TakeOver;

/// Retry the processes that failed in a run
///
/// Starts a new run over these processes only, with the migrations that are
/// linked into this program now.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  retry last --store ./loans --reason 'reads amounts with cents'\n  retry 2 --store ./loans --class refused --class panic"
)]
pub(crate) struct Retry {
    /// Retry failures of this run: a number, an id, the start of an id, or `last`
    #[arg(value_name = "RUN")]
    run: WhichRun,
    /// Retry only failures of this class (repeatable)
    #[arg(long, value_name = "CLASS")]
    class: Vec<FailureClass>,
    /// Run user code twice for each process, and fail a process whose results
    /// differ [default: as in the earlier run]
    #[arg(long, help_heading = "Execution")]
    check_determinism: bool,
    /// Fail a process whose user code takes longer than this [default: as in
    /// the earlier run]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Execution")]
    deadline: Option<Duration>,
    /// Start from snapshots where that saves much, ignore them, or compare them
    /// with the events [default: as in the earlier run]
    #[arg(long, value_name = "USE", value_parser = snapshot_use, help_heading = "Execution")]
    snapshots: Option<SnapshotUse>,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    take_over: TakeOver,
    #[command(flatten)]
    execution: ExecutionArgs,
}

impl Retry {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.be_patient(self.execution.patience());
        if context.global.socket.is_none() {
            context.migrations()?;
        }
        // Check before the store is opened for writing, which fences other writers.
        let runs = context.history().await?;
        let record = self.run.find(&runs, context).await?;
        self.has_failed(context, &runs, record.id, record.number)
            .await?;
        runs.close().await?;
        if record.kind == RunKind::Erase {
            let failure = Failure::refused(
                Reason::RunRefused,
                "an erasure is not retried; erase again, which takes the processes that are left",
            );
            let next = context.command_line("erase --before-baseline --dry-run");
            return Err(failure.next(next));
        }
        if let RunKind::Undo { of } | RunKind::Redo { of } = record.kind {
            let (number, kind) = (record.number, record.kind.name());
            let failure = Failure::environment(
                Reason::NothingToDo,
                format!(
                    "run {number} is of kind {kind}, whose failures are not retried; `{kind}` again takes the processes that are left"
                ),
            );
            let again = context.command_line(&format!("{kind} {of} --dry-run"));
            return Err(failure.run(record.id).next(again));
        }
        if let Some(client) = context.client() {
            let goal = Goal::Retry(record.id, self.class.clone());
            let request = Request::Retry {
                run: record.id,
                classes: self.class,
                options: protocol::Run {
                    which: protocol::PlanRequest {
                        check_determinism: self.check_determinism.then_some(true),
                        deadline_ms: self.deadline.map(millis),
                        snapshots: self.snapshots,
                        ..protocol::PlanRequest::default()
                    },
                    actor: Some(self.audit.actor()),
                    reason: self.audit.reason().to_owned(),
                    take_over: self.take_over.is_meant(),
                    allow_newer: self.execution.allow_newer(),
                    max_failures: self.execution.max_failures(),
                    per_second: self.execution.limit(),
                    ..protocol::Run::default()
                },
            };
            return remote::drive(context, client, request, goal, &self.execution).await;
        }
        let set = |runner: MigrationRunner<_, _, _>| {
            let runner = runner
                .actor(self.audit.actor())
                .reason(self.audit.reason())
                .take_over(self.take_over.is_meant());
            with_checks(
                runner,
                self.check_determinism,
                self.deadline,
                self.snapshots,
            )
        };
        let goal = Goal::Retry(record.id, self.class.clone());
        let store = context.writer(self.take_over, Claim::Of(None));
        drive(context, store, set, goal, &self.execution).await
    }

    /// Fails if there are no failures to retry.
    async fn has_failed(
        &self,
        context: &Context,
        runs: &History,
        run: state_migration_core::RunId,
        number: u64,
    ) -> Result<(), Failure> {
        if !runs.failures(run, &self.class, None, 1).await?.is_empty() {
            return Ok(());
        }
        let of = match self.class.is_empty() {
            true => String::new(),
            false => format!(" with{}", classes(&self.class)),
        };
        Err(Failure::environment(
            Reason::NothingToDo,
            format!(
                "run {number} has no failures{of}, so there is nothing to retry; check the run"
            ),
        )
        .run(run)
        .next(context.command_line(&format!("show {number}"))))
    }
}
