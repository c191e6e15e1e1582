//! The command `completions`.

use std::fmt;

use clap_complete::Shell;
use serde::Serialize;

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::view::output::Answer;

/// Print a shell completion script
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  completions bash > loans-admin.bash\n  completions zsh")]
pub(crate) struct Completions {
    /// Complete the command line in this shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Serialize)]
struct Script {
    shell: String,
    script: String,
}

impl Completions {
    pub(crate) fn run(
        self,
        context: &Context,
        mut command: clap::Command,
    ) -> Result<Exit, Failure> {
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
