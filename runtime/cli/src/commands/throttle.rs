//! The command `throttle`.

use std::num::NonZeroU32;

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::remote::service::Service;
use state_migration_control_socket::protocol::Request;

/// Limits how fast the runs in a service are.
///
/// It holds for the run that is under way and for those that follow, until it is
/// said otherwise or the service is started again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  throttle 50 --via ./control\n  throttle off --via ./control")]
pub(crate) struct Throttle {
    /// How many processes a second at most, or `off`.
    #[arg(value_name = "N", value_parser = limit)]
    limit: Limit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit(Option<NonZeroU32>);

fn limit(text: &str) -> Result<Limit, String> {
    if text == "off" {
        return Ok(Limit(None));
    }
    let number = text.parse().map(|number| Limit(Some(number)));
    number.map_err(|_| "give a number from 1 on, or off; pause stops a run altogether".to_owned())
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
