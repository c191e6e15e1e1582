//! `status --can-remove`: whether the code of a version may be removed.

use std::fmt::{self, Write};

use serde::Serialize;
use state_migration_core::WorkflowId;
use state_migration_runner::Runs;
use state_migration_runner::forecast::removal::Removal;

use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::view::format::{count, counted};
use crate::view::output::{Answer, BAD, DIM, GOOD, WARN, plain, to_type};

/// The verdict about a version.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Yes,
    No,
    /// No process was seen, but one may be created meanwhile.
    NoneSeen,
}

#[derive(Debug, Serialize)]
struct RemovalView {
    version: String,
    can_remove: Verdict,
    processes: u64,
    in_flight: u64,
    held: u64,
    unreadable: u64,
    /// The numbers of the runs that have not ended and need the version.
    open_runs: Vec<u64>,
    /// Processes that cannot be undone, redone or verified without its code.
    history: u64,
    next: Vec<String>,
}

/// Parses `order@2025-10-01`.
pub(crate) fn version(text: &str) -> Result<WorkflowId, String> {
    match text.split_once('@') {
        Some((name, version)) if !name.is_empty() && !version.is_empty() => {
            Ok(WorkflowId::new(name.to_owned(), version.to_owned()))
        }
        _ => Err("expected a workflow and its version, such as order@2025-10-01".to_owned()),
    }
}

pub(crate) async fn run(
    context: &Context,
    version: &WorkflowId,
    keep_undo: bool,
) -> Result<Exit, Failure> {
    if context.global.socket.is_some() {
        return Err(Failure::environment(
            Reason::Unsupported,
            "`status --can-remove` reads the store directly, even while a service has it open; use --store instead of --socket",
        ));
    }
    let reader = context.reader().await?;
    let runs = Runs::of(&reader).ok_or_else(|| context.keeps_no_runs())?;
    let removal = runs.removal(version).await?;
    let is_open = reader.in_use().await?.is_some();
    reader.close().await?;
    let can_remove = match removal.is_blocked() || (keep_undo && removal.history > 0) {
        true => Verdict::No,
        false if removal.is_listed || is_open => Verdict::NoneSeen,
        false => Verdict::Yes,
    };
    let next = next(&removal, can_remove, version);
    let view = RemovalView {
        version: version.to_string(),
        can_remove,
        processes: removal.counts.processes,
        in_flight: removal.counts.in_flight,
        held: removal.counts.held,
        unreadable: removal.unreadable,
        open_runs: removal.runs,
        history: removal.history,
        next: next.iter().map(|next| context.command_line(next)).collect(),
    };
    context.output.answer(&view)?;
    Ok(match can_remove {
        Verdict::Yes => Exit::Done,
        Verdict::No | Verdict::NoneSeen => Exit::DoneWithErrors,
    })
}

/// The commands that lead further.
fn next(removal: &Removal, verdict: Verdict, version: &WorkflowId) -> Vec<String> {
    let name = crate::shell_words::quoted(version.name());
    if let Some(run) = removal.runs.first() {
        return vec![format!("show {run}")];
    }
    match verdict {
        Verdict::Yes => Vec::new(),
        Verdict::No if removal.counts.processes > 0 => {
            let at = crate::shell_words::quoted(&version.to_string());
            vec![format!("processes --at {at}")]
        }
        Verdict::No => Vec::new(),
        // A run that passes all heads closes the version.
        Verdict::NoneSeen => vec![format!("run --yes --workflow {name}")],
    }
}

impl Answer for RemovalView {
    const KIND: &'static str = "removal";

    fn text(&self, out: &mut String) -> fmt::Result {
        let mut line = |name: &str, value: &str| writeln!(out, "{DIM}{name:10}{DIM:#} {value}");
        line("version", &plain(&self.version))?;
        let verdict = match self.can_remove {
            Verdict::Yes => format!("{GOOD}yes{GOOD:#}"),
            Verdict::No => format!("{BAD}no{BAD:#}"),
            Verdict::NoneSeen => format!(
                "{WARN}none seen{WARN:#}; a process may be created at the version until a run closes it"
            ),
        };
        line("can remove", &verdict)?;
        let processes = match self.processes {
            0 => "0".to_owned(),
            all => format!(
                "{} ({} in flight, {} held)",
                count(all),
                count(self.in_flight),
                count(self.held)
            ),
        };
        line("processes", &processes)?;
        if self.unreadable > 0 {
            line("unreadable", &count(self.unreadable))?;
        }
        for run in &self.open_runs {
            line("run", &format!("{run} has not ended and needs the version"))?;
        }
        let history = match self.history {
            0 => "nothing".to_owned(),
            all => format!(
                "undo, redo and verify of {}",
                counted(all, "process", "processes")
            ),
        };
        line("gives up", &history)?;
        to_type(&self.next, out)
    }
}
