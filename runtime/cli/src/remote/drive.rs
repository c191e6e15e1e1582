//! A run inside a service, driven and watched from here.
//!
//! Its progress is published in a `RunControl` of the tool's own, so progress bars, lines
//! and answers are those of a local run.

use std::time::{Duration, Instant};

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::history::History;
use crate::local::{Ended, Pace, Wanted, draws_bars};
use crate::remote::client::Via;
use crate::view::progress::Shown;
use state_migration_control_socket::protocol::{Answer, Request};
use state_migration_runner::{MigrationReport, Progress, RunControl};

/// What a signal does to a run that is followed.
#[derive(Clone, Copy, PartialEq)]
enum OnSignal {
    /// As where it was begun: the first one cancels it.
    Cancel,
    /// Whoever watches watches no more.
    Leave,
}

/// Begins a run in a service and follows it to its end.
///
/// The first signal cancels it, as if it was here; the second one leaves it to
/// itself. It also goes on by itself when this tool is killed.
pub(crate) async fn drive(
    context: &Context,
    via: Via,
    request: Request,
    wanted: Wanted,
    pace: &Pace,
) -> Result<Exit, Failure> {
    let (control, begun) = (RunControl::new(), Instant::now());
    let every = pace.every();
    let report = follow(context, &via, request, &control, every, OnSignal::Cancel).await?;
    let took = begun.elapsed();
    let report = report.ok_or_else(|| {
        Failure::environment("the service says nothing of how the run ended; look at it there")
            .next(context.again("show last"))
    })?;
    let history = match wanted.is_dry() {
        true => None,
        false => History::through(via).await.ok(),
    };
    Ended::new(context, history, &wanted, report, &control, took)
        .await?
        .tell(context)
}

/// Follows the run that is under way in a service, and says how far it came.
pub(crate) async fn watch(
    context: &Context,
    via: &Via,
    every: Duration,
) -> Result<Progress, Failure> {
    let control = RunControl::new();
    follow(
        context,
        via,
        Request::Watch,
        &control,
        every,
        OnSignal::Leave,
    )
    .await?;
    Ok(control.progress())
}

/// Publishes what a service tells of a run until it ends; returns what it did,
/// if it was begun through the socket.
async fn follow(
    context: &Context,
    via: &Via,
    request: Request,
    control: &RunControl,
    every: Duration,
    on_signal: OnSignal,
) -> Result<Option<MigrationReport>, Failure> {
    let mut signals = context.signals()?;
    let mut answers = match signals.or(via.follow(request)).await {
        Ok(answers) => answers?,
        Err(signal) => return Err(left(context, signal)),
    };
    let bars = draws_bars(context);
    let shown = Shown::new(context.output, bars, every, control.clone());
    let mut cancelled = on_signal == OnSignal::Leave;
    let ended = loop {
        match signals.or(answers.next()).await {
            Ok(Ok(Answer::Progress { progress })) => control.publish(progress),
            Ok(Ok(Answer::Ended { report, progress })) => {
                control.publish(progress);
                break Ok(report);
            }
            Ok(Ok(_)) => {
                break Err(Failure::environment(
                    "the service answers something else than it was asked; use the tool of the release that the service is built with",
                ));
            }
            Ok(Err(failure)) => break Err(failure),
            Err(signal) if cancelled => break Err(left(context, signal)),
            Err(signal) => {
                cancelled = true;
                match signals.or(via.tell(Request::Cancel)).await {
                    Ok(Ok(_)) => shown.note(format!(
                        "{signal}: the service finishes what is in hand; once more leaves it alone"
                    )),
                    // It may have ended just now, of which it tells by itself.
                    Ok(Err(failure)) => shown.note(format!(
                        "{signal}: the run was not cancelled: {failure}; it goes on, `cancel` tries again, and once more leaves it alone"
                    )),
                    Err(signal) => break Err(left(context, signal)),
                }
            }
        }
    };
    shown.end();
    ended
}

/// The end of a tool that leaves a run to the service.
fn left(context: &Context, signal: &str) -> Failure {
    Failure::interrupted(format!(
        "{signal}: what goes on in the service goes on without this tool; watch it again, or cancel it"
    ))
    .next(context.again("watch"))
}
