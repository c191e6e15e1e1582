//! Updates of a process registry in another store after a migration.

use state_migration_core::{
    Error, Head, ProcessIdentity, ProcessRegistry, RegistryKey, StreamId, Subject, WorkflowId,
};

use crate::report::MigrationReport;
use crate::run::Store;
use crate::run_context::RunContext;
use crate::stages::done::Moved;

const PAGE: usize = 512;

/// Updates the entries of a process to the version that the process is at. Returns
/// whether an entry was out of date.
pub(crate) async fn process(
    registry: &dyn ProcessRegistry,
    stream: &StreamId,
    stands_at: &WorkflowId,
) -> Result<bool, Error> {
    let Some((tenant, process)) = stream.process() else {
        return Ok(false);
    };
    let mut rewritten = false;
    let identity = ProcessIdentity::new(process, tenant, stands_at.clone());
    let (tenant, process) = (identity.tenant_id(), identity.process_id());
    let own = RegistryKey::Process(process.clone());
    let mut keys = registry.keys_of(tenant, process).await?;
    if !keys.contains(&own) {
        keys.push(own);
    }
    for key in keys {
        let Some(entry) = registry.lookup(tenant, &key).await? else {
            continue;
        };
        // The key may have been assigned to another process since.
        let is_of_process = entry.process_id() == process && entry.tenant_id() == tenant;
        if is_of_process && entry != identity {
            rewritten |= registry.replace(tenant, &key, &entry, &identity).await?;
        }
    }
    Ok(rewritten)
}

/// Repairs the registry entries of a process that is up to date.
pub(crate) async fn compare(
    registry: &dyn ProcessRegistry,
    stream: &StreamId,
    head: &Head,
    report: &mut MigrationReport,
) {
    let rewritten = process(registry, stream, &head.workflow_id).await;
    report.repaired += usize::from(told(stream, rewritten, report) == Some(true));
}

/// Turns a failure into a warning. Returns whether an entry was updated.
fn told(
    stream: &StreamId,
    rewritten: Result<bool, Error>,
    report: &mut MigrationReport,
) -> Option<bool> {
    rewritten
        .inspect_err(|error| report.warn(stream.clone(), warning(error)))
        .ok()
}

/// The warning for entries that could not be updated.
pub(crate) fn warning(error: &Error) -> String {
    format!(
        "migrated, but its process registry entry could not be updated; the next run repairs it: {error}"
    )
}

/// Repairs the registry entries that earlier runs could not update.
pub(crate) async fn repair(
    run: &RunContext,
    store: &Store,
    registry: &dyn ProcessRegistry,
    report: &mut MigrationReport,
) {
    let mut after = None;
    loop {
        let page = match store.pending_registry_updates(after.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(error) => {
                let what = "cannot read which process registry entries earlier runs left; the next run updates them";
                return report.warn(Subject::Run, format!("{what}: {error}"));
            }
        };
        let mut done = Vec::new();
        for stream in page.iter().filter(|stream| run.selection.selects(stream)) {
            if run.control.is_cancelled() {
                return forget(store, &done, report).await;
            }
            let outcome = match store.head(stream).await {
                Ok(Some(head)) => process(registry, stream, &head.workflow_id).await,
                Ok(None) => Ok(false),
                Err(error) => Err(error),
            };
            if let Some(rewritten) = told(stream, outcome, report) {
                report.repaired += usize::from(rewritten);
                done.push(stream.clone());
            }
        }
        forget(store, &done, report).await;
        if page.len() < PAGE {
            return;
        }
        after = page.into_iter().next_back();
    }
}

/// Removes the notes about processes whose entries are up to date. A remaining note is
/// harmless: the next run compares the entry and finds no difference.
async fn forget(store: &Store, told: &[StreamId], report: &mut MigrationReport) {
    if let Some(last) = told.last()
        && let Err(error) = store.forget(told).await
    {
        report.warn(
                last.clone(),
                format!("the note to update its process registry entry could not be removed; the next run removes it: {error}"),
            );
    }
}

/// Updates the registry entries of migrated processes, and removes their notes. After a
/// cancel, the rest is left to the next run.
pub(crate) async fn update(
    run: &RunContext,
    store: &Store,
    registry: &dyn ProcessRegistry,
    migrated: &[Moved],
    report: &mut MigrationReport,
) {
    let mut done = Vec::new();
    for (at, Moved { stream, to }) in migrated.iter().enumerate() {
        if run.control.is_cancelled() {
            let left = migrated.len() - at;
            report.warn(
                Subject::Run,
                format!("the run was cancelled before the process registry entries of {left} migrated processes were updated; the next run updates them"),
            );
            break;
        }
        if stream.process().is_none() {
            continue;
        }
        let rewritten = process(registry, stream, to).await;
        if told(stream, rewritten, report).is_some() {
            done.push(stream.clone());
        }
    }
    forget(store, &done, report).await;
}
