//! Whether this program fits a store: a program without the workflows of the store has
//! nothing to do, and an older program would fail the newer processes.

use std::collections::BTreeSet;

use state_migration_core::WorkflowId;
use state_migration_runner::forecast::program_fit::{newer_versions, refused_resume, refused_run};
use state_migration_runner::forecast::version_status::VersionDecisions;

use crate::context::Context;
use crate::exit_code::{Failure, Reason};
use crate::goal::Goal;
use crate::local::Opened;

/// Refuses a run over a store with processes of other or newer programs.
pub(crate) async fn check<S: Opened>(
    context: &Context,
    store: &S,
    goal: &Goal,
    allow_newer: bool,
) -> Result<(), Failure> {
    check_workflows(context, &store.present_versions().await?)?;
    match goal {
        _ if allow_newer => Ok(()),
        Goal::Resume(run, _) => {
            let checked = check_resume(context, store).await;
            checked.map_err(|failure| failure.run(*run))
        }
        _ => check_versions(context, store, refused_run).await,
    }
}

/// Refuses to resume a run over a store with processes at newer versions.
pub(crate) async fn check_resume<S: Opened>(context: &Context, store: &S) -> Result<(), Failure> {
    check_versions(context, store, refused_resume).await
}

async fn check_versions<S: Opened>(
    context: &Context,
    store: &S,
    refused: impl Fn(&str) -> String,
) -> Result<(), Failure> {
    let present = store.present_versions().await?;
    match newer_versions(store, &VersionDecisions::of_linked(), &present).await? {
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
