//! The due versions: those at which a run may find processes to migrate.

use std::cmp::Ordering;

use state_migration_core::{
    Error, FailureClass, MigrationError, MigrationRegistry, Presence, Selection, Stage, StreamId,
    Subject, VersionStatus, WorkflowId, natural_cmp,
};

use crate::run::Store;
use crate::run_context::RunContext;
use crate::user_code::round_trip;

/// Versions that are marked as present and at which processes are outdated.
#[derive(Default)]
pub(crate) struct Present {
    /// Source versions of routes.
    pub(crate) sources: Vec<WorkflowId>,
    /// Versions without a route that are not the newest.
    pub(crate) strays: Vec<WorkflowId>,
    /// Those of both kinds at which births are not recorded for this run.
    pub(crate) open: Vec<WorkflowId>,
    /// Whether an interrupted run still records births at an up-to-date version.
    pub(crate) targets_are_closing: bool,
}

impl Present {
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.strays.is_empty()
    }

    /// Versions of both kinds.
    pub(crate) fn all(&self) -> impl Iterator<Item = &WorkflowId> {
        self.sources.iter().chain(&self.strays)
    }
}

/// The due versions of a run.
pub(crate) async fn present(run: &RunContext, store: &Store) -> Result<Present, Error> {
    let mut present = Present::default();
    let names = run.migrations.names();
    for name in names.filter(|name| run.selection.selects_workflow(name)) {
        for Presence { version, closing } in store.versions(name).await? {
            match run.migrations.version_status(&version) {
                VersionStatus::Behind(_) => present.sources.push(version.clone()),
                VersionStatus::NoRoute => present.strays.push(version.clone()),
                VersionStatus::Newest | VersionStatus::Stays | VersionStatus::OtherWorkflow => {
                    present.targets_are_closing |= closing.is_some();
                    continue;
                }
            }
            if closing != Some(run.id) {
                present.open.push(version);
            }
        }
    }
    Ok(present)
}

/// The failure of a process at a version without a route.
pub(crate) fn no_route(
    migrations: &MigrationRegistry,
    stream: StreamId,
    version: &WorkflowId,
) -> MigrationError {
    let newest = migrations.newest(version.name());
    let is_newer = newest.is_some_and(|newest| {
        natural_cmp(version.version(), newest.version()) == Ordering::Greater
    });
    let is_oldest = migrations
        .migrations()
        .iter()
        .filter(|migration| migration.source().name() == version.name())
        .all(|migration| {
            natural_cmp(version.version(), migration.source().version()) == Ordering::Less
        });
    let (class, message) = if is_newer {
        (
            FailureClass::NewerThanProgram,
            format!(
                "the process is at {version}, which is newer than all versions in this program; use the program that migrated it"
            ),
        )
    } else if is_oldest {
        (
            FailureClass::MissingRoute,
            format!(
                "the process is at {version}, an old version without a migration; link the migration from {version}, or use a program that has it"
            ),
        )
    } else {
        (
            FailureClass::UnknownVersion,
            format!(
                "the process is at unknown version {version}; link the migration from {version}, or use a program that has it"
            ),
        )
    };
    MigrationError::new(Stage::Routing, class, stream, message)
}

/// The failure of a run with a route whose new states cannot be read back.
pub(crate) fn unreadable_route(
    migrations: &MigrationRegistry,
    selection: &Selection,
) -> Option<MigrationError> {
    let message = migrations
        .routes()
        .filter(|route| selection.selects_workflow(route.source().name()))
        .find_map(|route| round_trip::unreadable(&route))?;
    let (stage, class) = (Stage::Planning, FailureClass::Run);
    Some(MigrationError::new(
        stage,
        class,
        Subject::Migrations,
        message,
    ))
}

pub(crate) fn listing_failed(error: &Error) -> MigrationError {
    planning(Subject::ListStreams, error)
}

/// The failure of a run that could not be planned, recorded or ended.
pub(crate) fn planning(subject: Subject, error: &Error) -> MigrationError {
    let class = match FailureClass::of(error) {
        FailureClass::Busy => FailureClass::Run,
        class => class,
    };
    MigrationError::new(Stage::Planning, class, subject, error.to_string())
}
