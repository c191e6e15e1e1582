//! The command `status`.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Shows where the processes of the store stand, and the last runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}
