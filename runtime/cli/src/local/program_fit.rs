//! Whether this program fits a store: a program without the workflows of the store has
//! nothing to do, and an older program would fail the newer processes.

use std::collections::BTreeSet;

use state_migration_core::WorkflowId;
use state_migration_runner::forecast::program_fit::{newer_versions, refused_resume, refused_run};
use state_migration_runner::forecast::version_status::VersionDecisions;

use crate::context::Context;
use crate::exit_code::{Failure, Reason};
use crate::goal::Goal;

/// Refuses a run over a store with these versions.
pub(crate) fn check(
    context: &Context,
    present: &[WorkflowId],
    goal: &Goal,
    allow_newer: bool,
) -> Result<(), Failure> {
    check_workflows(context, present)?;
    match goal {
        _ if allow_newer => Ok(()),
        Goal::Resume(run, _) => check_resume(context, present).map_err(|failure| failure.run(*run)),
        _ => check_versions(context, present, refused_run),
    }
}

/// Refuses to resume a run over a store with newer versions.
pub(crate) fn check_resume(context: &Context, present: &[WorkflowId]) -> Result<(), Failure> {
    check_versions(context, present, refused_resume)
}

fn check_versions(
    context: &Context,
    present: &[WorkflowId],
    refused: impl Fn(&str) -> String,
) -> Result<(), Failure> {
    match newer_versions(&VersionDecisions::of_linked(), present) {
        None => Ok(()),
        Some(newer) => Err(misfit(context, refused(&newer))),
    }
}

/// Refuses a store with workflows of other programs only.
pub(crate) fn check_workflows(context: &Context, present: &[WorkflowId]) -> Result<(), Failure> {
    let decisions = VersionDecisions::of_linked();
    let own: BTreeSet<&str> = decisions.workflows().collect();
    let there: BTreeSet<&str> = present.iter().map(WorkflowId::name).collect();
    if there.is_empty() || !there.is_disjoint(&own) {
        return Ok(());
    }
    Err(misfit(
        context,
        format!(
            "this program has migrations of {}, but the store has processes of {} only; use the program with their migrations",
            list(own),
            list(there)
        ),
    ))
}

fn misfit(context: &Context, message: String) -> Failure {
    Failure::refused(Reason::OtherProgram, message).next(context.command_line("status"))
}

fn list(names: impl IntoIterator<Item = impl Into<String>>) -> String {
    let names: Vec<String> = names.into_iter().map(Into::into).collect();
    names.join(" and ")
}
