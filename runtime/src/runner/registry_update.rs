//! Tells a process registry elsewhere where processes stand.

use crate::error::Error;
use crate::id::{ProcessIdentity, StreamId, WorkflowId};
use crate::process_registry::{ProcessRegistry, RegistryKey};

/// Rewrites the entries of a process that do not say `stands_at`. Returns
/// whether there was anything to rewrite.
pub(super) async fn process(
    registry: &dyn ProcessRegistry,
    stream: &StreamId,
    stands_at: &WorkflowId,
) -> Result<bool, Error> {
    let Some((tenant, process)) = stream.process() else {
        return Ok(false);
    };
    let mut rewritten = false;
    let identity = ProcessIdentity::new(process, tenant, stands_at.clone());
    let (tenant, process) = (&identity.tenant_id, &identity.process_id);
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
        let is_of_process = entry.process_id == *process && entry.tenant_id == *tenant;
        if is_of_process && entry != identity {
            registry.register(tenant, &key, &identity).await?;
            rewritten = true;
        }
    }
    Ok(rewritten)
}

/// What the report says about entries that could not be rewritten.
pub(super) fn warning(error: &Error) -> String {
    format!(
        "migrated, but its process registry entry could not be rewritten, which the next run repairs: {error}"
    )
}
