//! The command `graph`.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Draws versions and the migrations between them.
#[derive(Debug, clap::Args)]
pub(crate) struct Graph {}

impl Graph {
    pub(crate) fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}
