//! The command `throttle`.

use state_migration_control_socket::protocol::Request;

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::local::AuditArgs;
use crate::remote::service::Service;
use crate::selection::{Limit, limit};

/// Limit the speed of the runs in a service
///
/// The limit applies to the current run and to later ones, until it is changed
/// or the service restarts.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  throttle 50 --socket ./control\n  throttle off --socket ./control"
)]
pub(crate) struct Throttle {
    /// Migrate at most N processes per second; `off` removes the limit
    #[arg(value_name = "N", value_parser = limit)]
    limit: Limit,
    #[command(flatten)]
    audit: AuditArgs,
}

impl Throttle {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let client = context.service()?;
        let per_second = self.limit.0;
        let by = self.audit.by();
        let status = client.send(Request::Throttle { per_second, by }).await?;
        context.output.answer(&Service::new(context, &status))?;
        Ok(Exit::Done)
    }
}
