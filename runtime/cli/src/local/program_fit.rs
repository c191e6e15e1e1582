//! Whether this program fits a store: a program without the workflows of the store has
//! nothing to do, and an older program would fail the newer processes.

use std::collections::BTreeSet;

use state_migration_core::WorkflowId;
use state_migration_runner::forecast::version_status::{VersionDecisions, VersionState};

use crate::context::Context;
use crate::exit_code::{Failure, Reason};

/// Refuses a run over a store with these versions.
pub(crate) fn check(
    context: &Context,
    present: &[WorkflowId],
    allow_newer: bool,
) -> Result<(), Failure> {
    let decisions = VersionDecisions::of_linked();
    let own: BTreeSet<&str> = decisions.workflows().collect();
    let there: BTreeSet<&str> = present.iter().map(WorkflowId::name).collect();
    if !there.is_empty() && there.is_disjoint(&own) {
        let failure = Failure::refused(
            Reason::OtherProgram,
            format!(
                "this program has migrations of {}, but the store has processes of {} only; use the program with their migrations",
                list(own),
                list(there)
            ),
        );
        return Err(failure.next(context.command_line("status")));
    }
    let newer = present
        .iter()
        .filter(|version| decisions.about(version).status == VersionState::NewerThanProgram);
    let newer: Vec<String> = newer.map(ToString::to_string).collect();
    if newer.is_empty() || allow_newer {
        return Ok(());
    }
    let failure = Failure::refused(
        Reason::OtherProgram,
        format!(
            "the store has had processes at {}, which this program does not know; use the newer program, or add --allow-newer to migrate the other processes",
            list(newer)
        ),
    );
    Err(failure.next(context.command_line("status")))
}

fn list(names: impl IntoIterator<Item = impl Into<String>>) -> String {
    let names: Vec<String> = names.into_iter().map(Into::into).collect();
    names.join(" and ")
}
