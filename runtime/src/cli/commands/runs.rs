//! The command `runs`.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Lists the runs that the store has seen.
#[derive(Debug, clap::Args)]
pub(crate) struct List {}

impl List {
    pub(crate) async fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}
