//! Rules for process registries.

use state_migration_core::{
    ConversationId, CorrelationId, ProcessId, ProcessIdentity, ProcessRegistry, RegistryKey,
    TenantId,
};

use crate::{Broken, Checked, Violation, holds, of, process, same, tenant, v1, v2};

/// Checks a process registry. Its processes have no events.
///
/// # Errors
/// The first rule that the registry breaks.
pub async fn process_registry(registry: &dyn ProcessRegistry) -> Result<(), Violation> {
    of(
        "a key leads to the entry registered last",
        latest(registry).await,
    )?;
    of(
        "keys of different kinds and tenants are apart",
        apart(registry).await,
    )?;
    of(
        "an entry is replaced only if it is the expected one",
        replacing(registry).await,
    )?;
    of("an entry can be removed", removal(registry).await)?;
    of(
        "the process's own key is among its keys",
        keys(registry).await,
    )
}

fn identity(tenant: &TenantId, id: &str) -> Result<ProcessIdentity, Broken> {
    Ok(ProcessIdentity::new(process(id)?, tenant.clone(), v1()))
}

/// A key of each kind, all with the same id.
pub(crate) fn all_kinds(id: &str) -> Result<[RegistryKey; 3], Broken> {
    let bad = |e: state_migration_core::InvalidId| Broken(e.to_string());
    Ok([
        RegistryKey::from_process(ProcessId::new(id).map_err(bad)?),
        RegistryKey::from_conversation(ConversationId::new(id).map_err(bad)?),
        RegistryKey::from_correlation(CorrelationId::new(id).map_err(bad)?),
    ])
}

async fn latest(registry: &dyn ProcessRegistry) -> Checked {
    let tenant = tenant();
    for key in all_kinds("k")? {
        same(
            "the entry of a new key",
            &registry.lookup(&tenant, &key).await?,
            &None,
        )?;
        let mut entry = identity(&tenant, "k")?;
        registry.register(&tenant, &key, &entry).await?;
        same(
            "the entry",
            &registry.lookup(&tenant, &key).await?,
            &Some(entry.clone()),
        )?;
        entry.workflow_id = v2();
        registry.register(&tenant, &key, &entry).await?;
        same(
            "the entry",
            &registry.lookup(&tenant, &key).await?,
            &Some(entry),
        )?;
        let other = identity(&tenant, "other")?;
        registry.register(&tenant, &key, &other).await?;
        same(
            "the entry",
            &registry.lookup(&tenant, &key).await?,
            &Some(other),
        )?;
    }
    Ok(())
}

async fn apart(registry: &dyn ProcessRegistry) -> Checked {
    let (one, two) = (tenant(), tenant());
    let mut entries = Vec::new();
    for (n, key) in all_kinds("same id")?.into_iter().enumerate() {
        for tenant in [&one, &two] {
            let entry = identity(tenant, &format!("p{n}"))?;
            registry.register(tenant, &key, &entry).await?;
            entries.push((tenant.clone(), key.clone(), entry));
        }
    }
    for (tenant, key, entry) in entries {
        let found = registry.lookup(&tenant, &key).await?;
        same(&format!("the entry under the {key}"), &found, &Some(entry))?;
    }
    Ok(())
}

async fn replacing(registry: &dyn ProcessRegistry) -> Checked {
    let tenant = tenant();
    let [key, ..] = all_kinds("k")?;
    let (old, other) = (identity(&tenant, "k")?, identity(&tenant, "other")?);
    let mut new = old.clone();
    new.workflow_id = v2();
    let replaced = registry.replace(&tenant, &key, &old, &new).await?;
    same("whether nothing was replaced", &replaced, &false)?;
    registry.register(&tenant, &key, &other).await?;
    let replaced = registry.replace(&tenant, &key, &old, &new).await?;
    same("whether another entry was replaced", &replaced, &false)?;
    same(
        "the entry",
        &registry.lookup(&tenant, &key).await?,
        &Some(other),
    )?;
    registry.register(&tenant, &key, &old).await?;
    let replaced = registry.replace(&tenant, &key, &old, &new).await?;
    same("whether the expected one was replaced", &replaced, &true)?;
    same(
        "the entry",
        &registry.lookup(&tenant, &key).await?,
        &Some(new),
    )
}

async fn removal(registry: &dyn ProcessRegistry) -> Checked {
    let tenant = tenant();
    let [own, conversation, correlation] = all_kinds("k")?;
    for key in [&own, &conversation] {
        registry
            .register(&tenant, key, &identity(&tenant, "k")?)
            .await?;
    }
    registry.remove(&tenant, &conversation).await?;
    registry.remove(&tenant, &correlation).await?;
    same(
        "the removed entry",
        &registry.lookup(&tenant, &conversation).await?,
        &None,
    )?;
    let kept = registry.lookup(&tenant, &own).await?;
    same("the other entry", &kept, &Some(identity(&tenant, "k")?))
}

async fn keys(registry: &dyn ProcessRegistry) -> Checked {
    let tenant = tenant();
    let [own, conversation, _] = all_kinds("k")?;
    for key in [&own, &conversation] {
        registry
            .register(&tenant, key, &identity(&tenant, "k")?)
            .await?;
    }
    let keys = registry.keys_of(&tenant, &process("k")?).await?;
    holds(&format!("its keys are {keys:?}"), keys.contains(&own))
}
