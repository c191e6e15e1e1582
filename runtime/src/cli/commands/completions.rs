//! The command `completions`.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Prints completions for a shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {}

impl Completions {
    pub(crate) fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}
