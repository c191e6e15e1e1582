//! The command `throttle`.

use std::num::NonZeroU32;

use state_migration_control_socket::protocol::Request;

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::remote::service::Service;

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
}

/// A number of processes per second, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<NonZeroU32>);

pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    if text == "off" {
        return Ok(Limit(None));
    }
    let number = text.parse().map(|number| Limit(Some(number)));
    number.map_err(|_| "expected a positive integer or `off`; use `pause` to stop a run".to_owned())
}

impl Throttle {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let via = context.service()?;
        let per_second = self.limit.0;
        let status = via.tell(Request::Throttle { per_second }).await?;
        context.output.answer(&Service::new(context, &status))?;
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_off() {
        assert_eq!(limit("50"), Ok(Limit(NonZeroU32::new(50))));
        assert_eq!(limit("off"), Ok(Limit(None)));
        for bad in ["0", "-1", "fast", ""] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }
}
