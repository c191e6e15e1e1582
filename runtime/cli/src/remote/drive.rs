//! A run inside a service, driven and watched from here.
//!
//! Its progress is published in a `RunControl` of the tool's own, so progress bars, lines
//! and answers are those of a local run.

use std::time::{Duration, Instant};

use state_migration_control_socket::protocol::{Answer, By, Request};
use state_migration_runner::{MigrationReport, Progress, RunControl};

use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::goal::Goal;
use crate::history::History;
use crate::local::{ExecutionArgs, draws_bars, user};
use crate::remote::client::ServiceClient;
use crate::signals::HANGUP;
use crate::view::progress::ProgressDisplay;
use crate::view::summary::RunSummary;

/// The effect of a signal on a watched run.
#[derive(Clone, Copy, PartialEq)]
enum OnSignal {
    /// The first signal cancels the run, like a local run.
    Cancel,
    /// A signal ends the watching only.
    Leave,
}

/// Starts a run in a service and watches it until its end.
///
/// The first signal cancels the run, like a local run. The second signal ends the
/// watching only. The run also continues if this tool is killed or its terminal is
/// closed.
pub(crate) async fn drive(
    context: &Context,
    client: ServiceClient,
    request: Request,
    goal: Goal,
    execution: &ExecutionArgs,
) -> Result<Exit, Failure> {
    let (control, begun) = (RunControl::new(), Instant::now());
    let every = execution.every();
    let report = follow(context, &client, request, &control, every, OnSignal::Cancel).await?;
    let took = begun.elapsed();
    let report = report.ok_or_else(|| {
        Failure::environment(
            Reason::OutcomeUnknown,
            "the service did not report how the run ended; check the run",
        )
        .next(context.command_line("show last"))
    })?;
    let history = match goal.is_dry() {
        true => None,
        false => History::through(client).await.ok(),
    };
    RunSummary::new(context, history, &goal, report, &control, took)
        .await?
        .print(context)
}

/// Watches the run in progress in a service, and returns its final progress.
pub(crate) async fn watch(
    context: &Context,
    client: &ServiceClient,
    every: Duration,
) -> Result<Progress, Failure> {
    let control = RunControl::new();
    follow(
        context,
        client,
        Request::Watch,
        &control,
        every,
        OnSignal::Leave,
    )
    .await?;
    Ok(control.progress())
}

/// Publishes the progress of a run until it ends. Returns its report if the run was
/// started through the socket.
async fn follow(
    context: &Context,
    client: &ServiceClient,
    request: Request,
    control: &RunControl,
    every: Duration,
    on_signal: OnSignal,
) -> Result<Option<MigrationReport>, Failure> {
    let mut signals = context.signals()?;
    let mut answers = match signals.or(client.follow(request)).await {
        Ok(answers) => answers?,
        Err(signal) => return Err(left(context, signal)),
    };
    let bars = draws_bars(context);
    let shown = ProgressDisplay::new(context.output, bars, every, control.clone());
    let mut cancelled = on_signal == OnSignal::Leave;
    let ended = loop {
        match signals.or(answers.next()).await {
            Ok(Ok(Answer::Progress { progress })) => control.publish(progress),
            Ok(Ok(Answer::Ended { report, progress })) => {
                control.publish(progress);
                break Ok(report.map(|report| *report));
            }
            Ok(Ok(_)) => {
                break Err(Failure::environment(
                    Reason::ServiceIncompatible,
                    "unexpected answer from the service; use the tool of the release that the service is built with",
                ));
            }
            Ok(Err(failure)) => break Err(failure),
            // A closed terminal does not cancel the run.
            Err(signal) if cancelled || signal == HANGUP => break Err(left(context, signal)),
            Err(signal) => {
                cancelled = true;
                let by = By {
                    actor: Some(user()),
                    reason: signal.to_owned(),
                };
                match signals.or(client.send(Request::Cancel(by))).await {
                    Ok(Ok(_)) => shown.note(format!(
                        "{signal}: the service finishes the chunks in progress; send the signal again to stop watching"
                    )),
                    // The run may just have ended, which the service reports anyway.
                    Ok(Err(failure)) => shown.note(format!(
                        "{signal}: the run could not be cancelled: {failure}; try `cancel`, or send the signal again to stop watching"
                    )),
                    Err(signal) => break Err(left(context, signal)),
                }
            }
        }
    };
    shown.end();
    ended
}

/// The failure of a tool that stops watching a run.
fn left(context: &Context, signal: &str) -> Failure {
    Failure::interrupted(format!(
        "{signal}: the run continues in the service; watch it again, or cancel it"
    ))
    .next(context.command_line("watch"))
}
