//! The command `skip`.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Takes a process out of all runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Skip {}

impl Skip {
    pub(crate) async fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}

/// Puts a process back into later runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Unskip {}

impl Unskip {
    pub(crate) async fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}
