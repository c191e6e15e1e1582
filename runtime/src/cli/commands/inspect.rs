//! The command `inspect`.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Shows all that is known of one process.
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {}

impl Inspect {
    pub(crate) async fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}
