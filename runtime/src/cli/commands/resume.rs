//! The command `resume`.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Goes on with a run that was interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct Resume {}

impl Resume {
    pub(crate) async fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}
