//! Whether a program may run over a store that a newer program has migrated: it would fail
//! the processes at the newer versions.

use std::collections::BTreeSet;
use std::sync::Arc;

use state_migration_core::{Error, EventStore, Selection, SnapshotStore, WorkflowId};

use crate::forecast::version_status::{VersionDecisions, VersionState};
use crate::migration_runner::MigrationRunner;
use crate::stages::scan;

/// The versions of processes that are newer than all versions of a program, as text.
/// `present` are the versions that the store lists, at which there may be no process any
/// more.
///
/// # Errors
/// The store could not be read.
pub async fn newer_versions(
    events: &(impl EventStore + ?Sized),
    decisions: &VersionDecisions,
    present: &[WorkflowId],
) -> Result<Option<String>, Error> {
    let newer = present
        .iter()
        .filter(|version| decisions.about(version).status == VersionState::NewerThanProgram);
    let newer: BTreeSet<WorkflowId> = newer.cloned().collect();
    if newer.is_empty() {
        return Ok(None);
    }
    if let Some(store) = events.transactional() {
        let all = Arc::new(Selection::all());
        let found = scan::count(&store, newer.clone(), all, 1).await?;
        if found.values().all(|processes| *processes == 0) {
            return Ok(None);
        }
    }
    let newer: Vec<String> = newer.iter().map(ToString::to_string).collect();
    Ok(Some(newer.join(" and ")))
}

/// Why a new run with a program that does not know these versions is refused.
pub fn refused_run(newer: &str) -> String {
    format!(
        "the store has processes at {newer}, which this program does not know; use the newer program, or add --allow-newer for the other processes"
    )
}

/// Why such a program may not resume a run. It would count the processes that the run has
/// migrated as failed, so there is no other way.
pub fn refused_resume(newer: &str) -> String {
    format!(
        "the store has processes at {newer}, which this program does not know; resume the run with the newer program"
    )
}

impl<M, ES: EventStore, SS: SnapshotStore> MigrationRunner<M, ES, SS> {
    /// The versions in the store that are newer than all versions of this program, as text.
    pub(crate) async fn newer_than_program(&self) -> Result<Option<String>, Error> {
        let migrations = self.migrations()?;
        let Some(store) = self.events.transactional() else {
            return Ok(None);
        };
        let mut present = Vec::new();
        for name in migrations.names() {
            let versions = store.versions(name).await?;
            present.extend(versions.into_iter().map(|presence| presence.version));
        }
        newer_versions(&self.events, &VersionDecisions::of(migrations), &present).await
    }
}
