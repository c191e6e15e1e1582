//! Before the first process: which versions are due, and what a full count
//! says of the streams that need nothing.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind};
use crate::id::{StreamId, WorkflowId};
use crate::process_registry::ProcessRegistry;
use crate::registry::{Route, Standing};
use crate::runner::one_transaction::Store;
use crate::runner::report::{KEPT, MigrationError, MigrationReport, Stage};
use crate::runner::{Run, registry_update, scan};
use crate::store::StreamRange;

const PAGE: usize = 512;

/// Where processes stand that something is to be done about.
pub(super) struct Plan {
    pub(super) routes: BTreeMap<WorkflowId, Route>,
    pub(super) strays: Vec<WorkflowId>,
}

pub(super) async fn plan(run: &Run, store: &Store) -> Result<Plan, Error> {
    let mut plan = Plan {
        routes: BTreeMap::new(),
        strays: Vec::new(),
    };
    let names = run.migrations.names();
    for name in names.filter(|name| run.selection.selects_workflow(name)) {
        for version in store.versions(name).await? {
            match run.migrations.standing(&version) {
                Standing::Behind(route) => {
                    plan.routes.insert(version, route);
                }
                Standing::NoRoute => plan.strays.push(version),
                Standing::Newest | Standing::OtherWorkflow => {}
            }
        }
    }
    Ok(plan)
}

/// Counts the streams that need nothing, and sets right what a process registry
/// elsewhere says of them; returns those that cannot be read, as
/// far as a report keeps them.
pub(super) async fn count_all(
    run: &Run,
    store: &Store,
    elsewhere: Option<&dyn ProcessRegistry>,
    report: &mut MigrationReport,
) -> Result<Vec<MigrationError>, Error> {
    let mut unread = Vec::new();
    let mut after = None;
    loop {
        let page = store.list_streams(None, after.as_ref(), PAGE).await?;
        for stream in &page {
            if !run.selection.selects(stream) {
                report.skip(|s| s.not_selected += 1);
                continue;
            }
            match store.head(stream).await {
                Err(error) => match error.kind() {
                    ErrorKind::Corrupt | ErrorKind::NewerFormat => {
                        if unread.len() < KEPT {
                            unread.push(scan::unread(stream, &error));
                        }
                    }
                    _ => return Err(error),
                },
                Ok(None) => report.skip(|s| s.empty += 1),
                Ok(Some(head)) => match run.migrations.standing(&head.workflow_id) {
                    Standing::OtherWorkflow => report.skip(|s| s.other_workflow += 1),
                    Standing::Newest => {
                        report.skip(|s| s.already_there += 1);
                        if let Some(registry) = elsewhere {
                            registry_update::compare(registry, stream, &head, report).await;
                        }
                    }
                    // The index leads to these.
                    Standing::Behind(_) | Standing::NoRoute => {}
                },
            }
        }
        if page.len() < PAGE {
            return Ok(unread);
        }
        after = page.into_iter().next_back();
    }
}

pub(super) async fn report_strays(
    run: &Run,
    store: &Store,
    version: &WorkflowId,
    report: &mut MigrationReport,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let rest = StreamRange {
            after,
            through: None,
        };
        let page = store.streams_at(version, &rest, PAGE).await?;
        for stream in page.iter().filter(|stream| run.selection.selects(stream)) {
            report.fail(no_route(stream.clone(), version));
        }
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.into_iter().next_back();
    }
}

pub(super) fn no_route(stream_id: StreamId, version: &WorkflowId) -> MigrationError {
    MigrationError {
        stream_id,
        stage: Stage::Routing,
        sequence: None,
        message: format!(
            "it stands at {version}, from which no migration leads, and that is not the newest version; link the migration from {version}, or use the program that knows this version"
        ),
    }
}

pub(super) fn listing_failed(error: &Error) -> MigrationError {
    MigrationError {
        stream_id: StreamId::literal("(list_streams)"),
        stage: Stage::Planning,
        sequence: None,
        message: error.to_string(),
    }
}
