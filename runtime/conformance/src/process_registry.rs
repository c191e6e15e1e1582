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
        "`lookup` returns the entry that was registered last",
        latest(registry).await,
    )?;
    of(
        "keys of different kinds and of different tenants are separate",
        apart(registry).await,
    )?;
    of(
        "`replace` replaces only the expected entry",
        replacing(registry).await,
    )?;
    of(
        "`remove` removes the entry of the given process only",
        removal(registry).await,
    )?;
    of(
        "the keys of a process include the key with its process id",
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
            "the entry under an unused key",
            &registry.lookup(&tenant, &key).await?,
            &None,
        )?;
        let mut entry = identity(&tenant, "k")?;
        registry.register(&tenant, &key, &entry).await?;
        same(
            "the entry after the first registration",
            &registry.lookup(&tenant, &key).await?,
            &Some(entry.clone()),
        )?;
        entry.workflow_id = v2();
        registry.register(&tenant, &key, &entry).await?;
        same(
            "the entry after a registration of another version",
            &registry.lookup(&tenant, &key).await?,
            &Some(entry),
        )?;
        let other = identity(&tenant, "other")?;
        registry.register(&tenant, &key, &other).await?;
        same(
            "the entry after a registration of another process",
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
    same(
        "the result of `replace` without an entry",
        &replaced,
        &false,
    )?;
    registry.register(&tenant, &key, &other).await?;
    let replaced = registry.replace(&tenant, &key, &old, &new).await?;
    same(
        "the result of `replace` with another entry",
        &replaced,
        &false,
    )?;
    same(
        "the entry after `replace` with another entry",
        &registry.lookup(&tenant, &key).await?,
        &Some(other),
    )?;
    registry.register(&tenant, &key, &old).await?;
    let replaced = registry.replace(&tenant, &key, &old, &new).await?;
    same(
        "the result of `replace` with the expected entry",
        &replaced,
        &true,
    )?;
    same(
        "the entry after `replace` with the expected entry",
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
    let (entry, other) = (identity(&tenant, "k")?, identity(&tenant, "other")?);
    registry.remove(&tenant, &conversation, &other).await?;
    same(
        "the entry after `remove` with another process",
        &registry.lookup(&tenant, &conversation).await?,
        &Some(entry.clone()),
    )?;
    registry.remove(&tenant, &conversation, &entry).await?;
    registry.remove(&tenant, &correlation, &entry).await?;
    same(
        "the entry after its removal",
        &registry.lookup(&tenant, &conversation).await?,
        &None,
    )?;
    let kept = registry.lookup(&tenant, &own).await?;
    same("the entry that was not removed", &kept, &Some(entry))
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
    holds(
        &format!("the list of keys is {keys:?}, without the {own}"),
        keys.contains(&own),
    )
}
