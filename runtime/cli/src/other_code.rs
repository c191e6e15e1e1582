//! The ways on after a run that was executed with other code than that of this program, such
//! as after the next release was deployed.

use state_migration_core::RunId;
use state_migration_runner::{Execution, Plan, RunCounts, RunKind, RunRecord};

use crate::context::Context;
use crate::exit_code::Failure;
use crate::history::History;
use crate::local::planned_again;
use crate::view::run_summary::RunLine;

/// Whether a run that was last executed with a plan can be continued with the migrations of
/// this program. Of a service this is not known.
pub(crate) fn fits(context: &Context, record: &RunRecord, last: &Plan) -> bool {
    // An erasure runs no code.
    record.kind == RunKind::Erase || has_code_of(context, last)
}

/// Whether the migrations of this program are those of a plan. Of a service this is not
/// known.
pub(crate) fn has_code_of(context: &Context, plan: &Plan) -> bool {
    context.global.socket.is_none()
        && planned_again(context, plan).is_ok_and(|now| now.fingerprint == plan.fingerprint)
}

/// Whether the migrations of this program are those of each execution in which processes
/// failed: a retry with the same code would fail them again.
pub(crate) fn has_failed_with_this_code(
    context: &Context,
    record: &RunRecord,
    executions: &[Execution],
    counts: &RunCounts,
) -> bool {
    let ends = counts_at_ends(executions, counts);
    let mut failed = executions
        .iter()
        .zip(ends)
        .filter(|(execution, end)| execution.counts(end).failed > 0);
    failed.all(|(execution, _)| {
        let plan = execution.plan.as_ref().unwrap_or(&record.plan);
        has_code_of(context, plan)
    })
}

/// What a run with these counts had done at the end of each of its executions.
pub(crate) fn counts_at_ends(executions: &[Execution], counts: &RunCounts) -> Vec<RunCounts> {
    let later = executions.iter().skip(1).map(|it| it.before);
    later
        .map(Option::unwrap_or_default)
        .chain([*counts])
        .collect()
}

/// The commands that work after a run of other code that has not ended, each with what it
/// does.
pub(crate) fn ways_on(
    context: &Context,
    (run, kind): (u64, &str),
    claims_store: bool,
) -> Vec<(String, String)> {
    let take_over = if claims_store { " --take-over" } else { "" };
    let does = match kind {
        "undo" => "undoes",
        "redo" => "redoes",
        _ => "migrates",
    };
    let mut ways = vec![(
        context.command_line(&format!("resume {run} --force")),
        format!("{does} the rest of run {run} with the migrations of this program"),
    )];
    // A new run would migrate what is being taken back.
    if does == "migrates" {
        ways.push((
            context.command_line(&format!("run --yes{take_over}")),
            format!("starts a new run with this program; run {run} stays as it is"),
        ));
    }
    ways
}

/// An unfinished run of other code, with a warning and the commands that work.
pub(crate) struct OtherCode {
    pub(crate) warning: String,
    pub(crate) next: Vec<String>,
}

impl OtherCode {
    /// Looks whether a run that has not ended is of other code.
    pub(crate) async fn of(
        context: &Context,
        history: &History,
        run: &RunLine,
    ) -> Result<Option<Self>, Failure> {
        let id: RunId = run.id;
        let (Some(record), None) = (history.get(id).await?, &context.global.socket) else {
            return Ok(None);
        };
        let executions = history.executions(id).await?;
        if fits(context, &record, record.last_plan(&executions)) {
            return Ok(None);
        }
        let number = run.number;
        let before =
            format!("run {number} was executed with other migrations than those of this program");
        if let Err(misfit) = history.check_program(context).await {
            let warning = format!("{before}: {}", misfit.message());
            let next = Vec::new();
            return Ok(Some(Self { warning, next }));
        }
        let ways = ways_on(context, (number, run.what), run.claims_store);
        let texts: Vec<&str> = ways.iter().map(|(_, text)| text.as_str()).collect();
        let rest = match texts.as_slice() {
            [force, new] => {
                format!(", `resume {number} --force` {force}, and `run` {new}")
            }
            [force] => format!(", and `resume {number} --force` {force}"),
            _ => String::new(),
        };
        Ok(Some(Self {
            warning: format!("{before}; `resume {number}` works with the original program{rest}"),
            next: ways.into_iter().map(|(command, _)| command).collect(),
        }))
    }
}
