//! The command `run`.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Migrates the processes that stand behind.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {}

impl Run {
    pub(crate) async fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}
