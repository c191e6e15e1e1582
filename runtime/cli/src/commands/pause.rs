//! The commands `pause`, `continue` and `cancel`.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::remote::service::Service;
use state_migration_control_socket::protocol::{Request, Status};
use state_migration_runner::RunState;

/// Time to wait until the run has reached the requested state.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pauses the run in a service.
///
/// It finishes what is in hand and waits; the service goes on. It keeps the
/// store claimed until it is continued or cancelled.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pause --via ./control")]
pub(crate) struct Pause {}

/// Lets a paused run in a service go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  continue --via ./control")]
pub(crate) struct Continue {}

/// Cancels the run in a service.
///
/// It finishes what is in hand and ends; it can be resumed. The service goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cancel --via ./control")]
pub(crate) struct Cancel {}

impl Pause {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        tell(context, Request::Pause, |status| {
            status.progress.state == RunState::Paused || !status.under_way
        })
        .await
    }
}

impl Continue {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        tell(context, Request::Continue, |status| {
            status.progress.state != RunState::Paused || !status.under_way
        })
        .await
    }
}

impl Cancel {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        tell(context, Request::Cancel, |status| !status.under_way).await
    }
}

/// Sends a request to a service, and waits until it takes effect, up to the time limit.
async fn tell(
    context: &Context,
    what: Request,
    is_so: impl Fn(&Status) -> bool,
) -> Result<Exit, Failure> {
    let via = context.service()?;
    let mut status = via.tell(what).await?;
    let until = Instant::now() + PATIENCE;
    while !is_so(&status) && Instant::now() < until {
        sleep(Duration::from_millis(50)).await;
        status = via.tell(Request::Status).await?;
    }
    context.output.answer(&Service::new(context, &status))?;
    Ok(Exit::Done)
}
