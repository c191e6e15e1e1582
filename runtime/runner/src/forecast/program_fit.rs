//! Whether a program may run over a store that a newer program has migrated: it would fail
//! the processes at the newer versions.

use state_migration_core::{Error, EventStore, SnapshotStore, WorkflowId};

use crate::forecast::version_status::{VersionDecisions, VersionState};
use crate::migration_runner::MigrationRunner;

/// The versions that are newer than all versions of a program, as text.
pub fn newer_versions(decisions: &VersionDecisions, present: &[WorkflowId]) -> Option<String> {
    let newer = present
        .iter()
        .filter(|version| decisions.about(version).status == VersionState::NewerThanProgram);
    let newer: Vec<String> = newer.map(ToString::to_string).collect();
    (!newer.is_empty()).then(|| newer.join(" and "))
}

/// Why a new run with a program that does not know these versions is refused.
pub fn refused_run(newer: &str) -> String {
    format!(
        "the store has had processes at {newer}, which this program does not know; use the newer program, or add --allow-newer to migrate the other processes"
    )
}

/// Why such a program may not resume a run. It would count the processes that the run has
/// migrated as failed, so there is no other way.
pub fn refused_resume(newer: &str) -> String {
    format!(
        "the store has had processes at {newer}, which this program does not know; resume the run with the newer program"
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
        Ok(newer_versions(&VersionDecisions::of(migrations), &present))
    }
}
