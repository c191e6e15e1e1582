//! The command `show`.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Shows a run, and what failed in it.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {}

impl Show {
    pub(crate) async fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}
