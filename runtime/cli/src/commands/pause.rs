//! The commands `pause`, `unpause` and `cancel`.

use std::time::Duration;

use state_migration_control_socket::protocol::{Request, Status};
use state_migration_runner::RunState;
use tokio::time::{Instant, sleep};

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::local::AuditArgs;
use crate::remote::service::Service;

/// Time to wait until the run has reached the requested state.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause the run in a service
///
/// The run finishes the chunks in progress and waits, while the service
/// continues. The run keeps its claim on the store until it ends.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pause --socket ./control")]
pub(crate) struct Pause {
    #[command(flatten)]
    audit: AuditArgs,
}

/// Continue a paused run in a service
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  unpause --socket ./control")]
pub(crate) struct Unpause {
    #[command(flatten)]
    audit: AuditArgs,
}

/// Cancel the run in a service
///
/// The run finishes the chunks in progress and ends; it can be resumed. The
/// service continues.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cancel --socket ./control")]
pub(crate) struct Cancel {
    #[command(flatten)]
    audit: AuditArgs,
}

impl Pause {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        send_and_wait(context, Request::Pause(self.audit.by()), |status| {
            status.progress.state == RunState::Paused || !status.in_progress
        })
        .await
    }
}

impl Unpause {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        send_and_wait(context, Request::Unpause(self.audit.by()), |status| {
            status.progress.state != RunState::Paused || !status.in_progress
        })
        .await
    }
}

impl Cancel {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        send_and_wait(context, Request::Cancel(self.audit.by()), |status| {
            !status.in_progress
        })
        .await
    }
}

/// Sends a request to a service, and waits until it takes effect, up to the time limit.
async fn send_and_wait(
    context: &Context,
    what: Request,
    is_so: impl Fn(&Status) -> bool,
) -> Result<Exit, Failure> {
    let client = context.service()?;
    let mut status = client.send(what).await?;
    let until = Instant::now() + PATIENCE;
    while !is_so(&status) && Instant::now() < until {
        sleep(Duration::from_millis(50)).await;
        status = client.send(Request::Status).await?;
    }
    context.output.answer(&Service::new(context, &status))?;
    Ok(Exit::Done)
}
