//! The command `runs`.

use std::fmt::{self, Write};
use std::num::NonZeroUsize;

use serde::Serialize;

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::selection::number;
use crate::view::output::{Answer, WARN, to_type};
use crate::view::run_summary::{RunLine, latest, run_table};

/// List the runs of the store, the latest first
///
/// Writes nothing and does not fence a writer.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  runs --store ./loans\n  runs --store ./loans --limit 100 --json"
)]
pub(crate) struct List {
    /// List at most N runs
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<NonZeroUsize>, default_value = "20")]
    limit: NonZeroUsize,
}

#[derive(Debug, Serialize)]
struct History {
    runs: Vec<RunLine>,
    /// Number of runs in the history of the store.
    total: usize,
    next: Vec<String>,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let runs = context.history().await?;
        let latest = latest(&runs, self.limit.get()).await?;
        let interrupted = latest.interrupted();
        // Another program resumes its runs itself.
        let interrupted = match context.client().is_none()
            && interrupted.is_some()
            && runs.is_open_elsewhere().await?
        {
            true => None,
            false => interrupted,
        };
        let next = match (interrupted, latest.lines.first()) {
            (Some(run), _) => context.command_line(&format!("resume {}", run.number)),
            (None, Some(last)) => context.command_line(&format!("show {}", last.number)),
            (None, None) => context.command_line("plan"),
        };
        context.output.answer(&History {
            runs: latest.lines,
            total: latest.total,
            next: vec![next],
        })?;
        Ok(Exit::Done)
    }
}

impl Answer for History {
    const KIND: &'static str = "runs";

    fn text(&self, out: &mut String) -> fmt::Result {
        if self.runs.is_empty() {
            writeln!(out, "no runs yet")?;
        } else {
            out.push_str(&run_table(&self.runs));
        }
        if self.total > self.runs.len() {
            let (shown, total) = (self.runs.len(), self.total);
            writeln!(
                out,
                "the last {shown} of {total} runs; --limit {total} shows all"
            )?;
        }
        for note in self.runs.iter().filter_map(RunLine::note) {
            writeln!(out, "{WARN}note:{WARN:#} {note}")?;
        }
        to_type(&self.next, out)
    }
}
