//! Before the first process: which versions are due, and what a full count
//! says of the streams that need nothing.

use std::cmp::Ordering;

use crate::error::{Error, ErrorKind};
use crate::id::{StreamId, WorkflowId};
use crate::process_registry::ProcessRegistry;
use crate::registry::{MigrationRegistry, Standing};
use crate::runner::report::{FailureClass, KEPT, MigrationError, MigrationReport, Stage};
use crate::runner::work::Store;
use crate::runner::{Run, registry_update, scan};
use crate::version::natural_cmp;

const PAGE: usize = 512;

/// Versions at which something stands that something is to be done about.
#[derive(Default)]
pub(super) struct Present {
    /// Where routes start.
    pub(super) sources: Vec<WorkflowId>,
    /// Where none does, and which are not the newest.
    pub(super) strays: Vec<WorkflowId>,
}

pub(super) async fn present(run: &Run, store: &Store) -> Result<Present, Error> {
    let mut present = Present::default();
    let names = run.migrations.names();
    for name in names.filter(|name| run.selection.selects_workflow(name)) {
        for version in store.versions(name).await? {
            match run.migrations.standing(&version) {
                Standing::Behind(_) => present.sources.push(version),
                Standing::NoRoute => present.strays.push(version),
                Standing::Newest | Standing::Stays | Standing::OtherWorkflow => {}
            }
        }
    }
    Ok(present)
}

/// What a full count found of streams to which the index leads, or should.
#[derive(Default)]
pub(super) struct Counted {
    /// Those that cannot be read, as far as a report keeps them.
    pub(super) unread: Vec<MigrationError>,
    /// How many stand where a route starts, as their heads say.
    pub(super) behind: u64,
}

/// Counts the streams that need nothing, and sets right what a process registry
/// elsewhere says of them; `None` when the run was cancelled before.
pub(super) async fn count_all(
    run: &Run,
    store: &Store,
    elsewhere: Option<&dyn ProcessRegistry>,
    report: &mut MigrationReport,
) -> Result<Option<Counted>, Error> {
    let mut counted = Counted::default();
    let mut after = None;
    loop {
        if run.control.is_cancelled() {
            return Ok(None);
        }
        let page = store.list_streams(None, after.as_ref(), PAGE).await?;
        scan::check_order(after.as_ref(), &page)?;
        for stream in &page {
            if !run.selection.selects(stream) {
                report.skip(|s| s.not_selected += 1);
                continue;
            }
            match store.head(stream).await {
                Err(error) => match error.kind() {
                    ErrorKind::Corrupt | ErrorKind::NewerFormat => {
                        if counted.unread.len() < KEPT {
                            counted.unread.push(scan::unread(stream, &error));
                        }
                    }
                    _ => return Err(error),
                },
                Ok(None) => report.skip(|s| s.empty += 1),
                Ok(Some(head)) if !run.selection.selects_workflow(head.workflow_id.name()) => {
                    report.skip(|s| s.not_selected += 1);
                }
                Ok(Some(head)) => match run.migrations.standing(&head.workflow_id) {
                    Standing::OtherWorkflow => report.skip(|s| s.other_workflow += 1),
                    Standing::Newest | Standing::Stays => {
                        report.skip(|s| s.already_there += 1);
                        if let Some(registry) = elsewhere {
                            registry_update::compare(registry, stream, &head, report).await;
                        }
                    }
                    // The index leads to these.
                    Standing::Behind(_) => counted.behind += 1,
                    Standing::NoRoute => {}
                },
            }
        }
        if page.len() < PAGE {
            return Ok(Some(counted));
        }
        after = page.into_iter().next_back();
    }
}

/// The heads say that more processes stand at old versions than the index led to.
pub(super) fn not_in_index(behind: u64, visited: u64) -> MigrationError {
    let error = Error::corrupt(format!(
        "the heads of {behind} processes say that they stand where a route starts, and the index of versions led to {visited} of them; the others were not looked at, restore the index from a backup"
    ));
    planning("(versions)", &error)
}

/// The failure of a process at a version that no route starts from.
pub(super) fn no_route(
    migrations: &MigrationRegistry,
    stream_id: StreamId,
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
                "it stands at {version}, which is newer than all that this program knows; use the program that brought it there"
            ),
        )
    } else if is_oldest {
        (
            FailureClass::MissingRoute,
            format!(
                "it stands at {version}, from which no migration leads, and that is not the newest version; link the migration from {version}, or use the program that knows this version"
            ),
        )
    } else {
        (
            FailureClass::UnknownVersion,
            format!(
                "it stands at {version}, a version that this program has never heard of, from which no migration leads, and that is not the newest version; link the migration from {version}, or use the program that knows this version"
            ),
        )
    };
    MigrationError {
        stream_id,
        stage: Stage::Routing,
        class,
        sequence: None,
        message,
    }
}

pub(super) fn listing_failed(error: &Error) -> MigrationError {
    planning("(list_streams)", error)
}

/// The failure of a run that could not be planned, recorded or ended.
pub(super) fn planning(what: &'static str, error: &Error) -> MigrationError {
    let class = match FailureClass::of(error) {
        FailureClass::Busy => FailureClass::Run,
        class => class,
    };
    MigrationError {
        stream_id: StreamId::literal(what),
        stage: Stage::Planning,
        class,
        sequence: None,
        message: error.to_string(),
    }
}
