//! The command `plan`.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Shows what a run would do, and the fingerprint to run it by.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {}

impl Plan {
    pub(crate) async fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}
