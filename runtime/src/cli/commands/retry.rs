//! The command `retry`.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Tries the processes again that failed in a run.
#[derive(Debug, clap::Args)]
pub(crate) struct Retry {}

impl Retry {
    pub(crate) async fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}
