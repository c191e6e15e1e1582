//! The command `list`.

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

/// Lists the migrations and versions that are linked into this binary.
#[derive(Debug, clap::Args)]
pub(crate) struct List {}

impl List {
    pub(crate) fn run(self, _: &Context) -> Result<Exit, Failure> {
        Err(Failure::environment("not there"))
    }
}
