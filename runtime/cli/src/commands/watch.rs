//! The command `watch`.

use std::time::Duration;

use state_migration_control_socket::protocol::Request;
use state_migration_runner::RunState;

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::remote::service::Service;
use crate::remote::watch;
use crate::selection::duration;

/// Watch the run in a service until it ends
///
/// Ctrl-C stops watching, and the run continues. The exit code is that of the
/// run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  watch --socket ./control\n  watch --socket ./control --json")]
pub(crate) struct Watch {
    /// Print progress this often, where no progress bar is drawn
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s", help_heading = "Output")]
    progress_interval: Duration,
}

impl Watch {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let client = context.service()?;
        let progress = watch(context, &client, self.progress_interval).await?;
        let exit = match progress.state {
            RunState::Done => Exit::Done,
            RunState::DoneWithErrors => Exit::DoneWithErrors,
            state => Exit::of_open_run(state, progress.stopped_by.as_ref()),
        };
        let mut status = client.send(Request::Status).await?;
        // Another run may have started since.
        if status.progress.run != progress.run {
            status.in_progress = false;
        }
        status.progress = progress;
        context.output.answer(&Service::new(context, &status))?;
        Ok(exit)
    }
}
