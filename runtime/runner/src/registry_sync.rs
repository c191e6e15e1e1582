//! Tells a process registry elsewhere where processes stand.

use crate::report::MigrationReport;
use crate::run::Store;
use crate::run_context::RunContext;
use crate::stages::done::Moved;
use crate::stages::due;
use state_migration_core::{
    Error, Head, ProcessIdentity, ProcessRegistry, RegistryKey, StreamId, WorkflowId,
};

const PAGE: usize = 512;

/// Rewrites the entries of a process that do not say `stands_at`. Returns
/// whether there was anything to rewrite.
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
        // A key may have been given to another process since.
        let is_of_process = entry.process_id() == process && entry.tenant_id() == tenant;
        if is_of_process && entry != identity {
            rewritten |= registry.replace(tenant, &key, &entry, &identity).await?;
        }
    }
    Ok(rewritten)
}

/// Sets right what a process registry elsewhere says of a process that needs
/// nothing else.
pub(crate) async fn compare(
    registry: &dyn ProcessRegistry,
    stream: &StreamId,
    head: &Head,
    report: &mut MigrationReport,
) {
    let rewritten = process(registry, stream, &head.workflow_id).await;
    report.repaired += usize::from(told(stream, rewritten, report) == Some(true));
}

/// Whether anything was rewritten; a failure becomes a warning.
fn told(
    stream: &StreamId,
    rewritten: Result<bool, Error>,
    report: &mut MigrationReport,
) -> Option<bool> {
    rewritten
        .inspect_err(|error| report.warn(stream.clone(), warning(error)))
        .ok()
}

/// What the report says about entries that could not be rewritten.
pub(crate) fn warning(error: &Error) -> String {
    format!(
        "migrated, but its process registry entry could not be rewritten, which the next run repairs: {error}"
    )
}

/// Sets right what earlier runs could not tell a process registry elsewhere.
pub(crate) async fn repair(
    run: &RunContext,
    store: &Store,
    registry: &dyn ProcessRegistry,
    report: &mut MigrationReport,
) {
    let mut after = None;
    loop {
        let page = match store.remembered(after.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(error) => return report.fail(due::listing_failed(&error)),
        };
        let mut done = Vec::new();
        for stream in page.iter().filter(|stream| run.selection.selects(stream)) {
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

/// Drops the notes on processes whose registry entries are right. A note that
/// stays is harmless: the next run looks, and finds nothing to do.
async fn forget(store: &Store, told: &[StreamId], report: &mut MigrationReport) {
    if let Some(last) = told.last()
        && let Err(error) = store.forget(told).await
    {
        report.warn(
                last.clone(),
                format!("a note that its process registry entry was to be rewritten could not be removed, which the next run does: {error}"),
            );
    }
}

/// Tells a process registry elsewhere, and drops the notes to do so.
pub(crate) async fn tell(
    store: &Store,
    registry: &dyn ProcessRegistry,
    migrated: &[Moved],
    report: &mut MigrationReport,
) {
    let mut done = Vec::new();
    for Moved { stream, to } in migrated {
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
