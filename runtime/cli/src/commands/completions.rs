//! The command `completions`.

use std::fmt;

use clap_complete::Shell;
use serde::Serialize;

use crate::command;
use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::view::output::Answer;

/// Prints a script that completes the command line in a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  completions bash > ~/.local/share/bash-completion/completions/loans-admin\n  completions zsh"
)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Serialize)]
struct Script {
    shell: String,
    script: String,
}

impl Completions {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut command = command();
        let name = command
            .get_bin_name()
            .unwrap_or("state-migration")
            .to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        context.output.answer(&Script {
            shell: self.shell.to_string(),
            script: String::from_utf8_lossy(&script).into_owned(),
        })?;
        Ok(Exit::Done)
    }
}

impl Answer for Script {
    const KIND: &'static str = "completions";

    fn text(&self, out: &mut String) -> fmt::Result {
        out.push_str(&self.script);
        Ok(())
    }
}
