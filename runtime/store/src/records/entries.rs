//! The process registry: entries, and the index from a process to its keys.
//!
//! An entry names a process. The version of a process is only in its head, so
//! an entry is right at every instant and a migration writes none.

use async_trait::async_trait;
use state_migration_core::{
    Error, ProcessId, ProcessIdentity, ProcessRegistry, RegistryKey, StoreId, StreamId, TenantId,
};

use crate::key::{self, PerStream};
use crate::kv::{Kv, KvTxn};
use crate::record;
use crate::records::rows::Rows;
use crate::records::{NotDurable, ROW, RecordStore, read_head};

/// Expected number of keys under which a process is registered.
const KEYS: usize = 2;

/// The stored entry under a key.
async fn read_entry<T: KvTxn>(
    txn: &T,
    tenant: &TenantId,
    registry_key: &RegistryKey,
) -> Result<Option<ProcessIdentity>, Error> {
    let Some(row) = txn.get(&key::entry(tenant, registry_key)).await? else {
        return Ok(None);
    };
    let (tenant, processes) = record::read_entry(row).map_err(|bad| {
        bad.of(format_args!(
            "the registry entry of tenant {tenant} under {registry_key}"
        ))
    })?;
    // A key names one process, although the format allows several.
    let first = processes.into_iter().next();
    Ok(first.map(|(process, version)| ProcessIdentity::new(process, tenant, version)))
}

/// The entry under a key, with the version from the head of its process. The
/// version in the row is used only for a process without events.
async fn look_up<T: KvTxn>(
    txn: &T,
    tenant: &TenantId,
    registry_key: &RegistryKey,
) -> Result<Option<ProcessIdentity>, Error> {
    let Some(mut identity) = read_entry(txn, tenant, registry_key).await? else {
        return Ok(None);
    };
    if let Some(head) = read_head(txn, identity.stream_id()).await? {
        identity.workflow_id = head.workflow_id;
    }
    Ok(Some(identity))
}

/// Checks that a process is at the version of its identity, if it has events.
async fn check_version<T: KvTxn>(txn: &T, identity: &ProcessIdentity) -> Result<(), Error> {
    let stream = identity.stream_id();
    // The batch depends on the head, also on its absence, and does not write it.
    txn.mark_read(&PerStream::Head.key(stream))?;
    match read_head(txn, stream).await? {
        Some(head) => head.check_version(stream, &identity.workflow_id),
        None => Ok(()),
    }
}

impl<K: Kv> RecordStore<K> {
    /// Registers like [`ProcessRegistry::register`], but returns before the
    /// entry is durable. For imports, where one flush serves many writes.
    ///
    /// # Errors
    /// Those of [`ProcessRegistry::register`].
    pub async fn register_unflushed(
        &self,
        tenant: &TenantId,
        registry_key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<NotDurable<()>, Error> {
        let write = self.write();
        self.put_entry(tenant, registry_key, None, identity).await?;
        Ok(self.not_durable((), write))
    }

    /// Puts an entry, if given only in place of `expected`; returns whether it
    /// did.
    async fn put_entry(
        &self,
        tenant: &TenantId,
        registry_key: &RegistryKey,
        expected: Option<&ProcessIdentity>,
        identity: &ProcessIdentity,
    ) -> Result<bool, Error> {
        if identity.tenant_id() != tenant {
            return Err(Error::invalid(format!(
                "the process {} belongs to tenant {} and cannot be registered for tenant {tenant}",
                identity.stream_id(),
                identity.tenant_id()
            )));
        }
        let stream = identity.stream_id();
        self.transact(
            "a registry entry for",
            stream.as_str(),
            |mut txn| async move {
                check_version(&txn, identity).await?;
                let old = look_up(&txn, tenant, registry_key).await?;
                if expected.is_some() && old.as_ref() != expected {
                    return Ok((txn, false));
                }
                if expected.is_some()
                    && let Some(old) = &old
                {
                    txn.mark_read(&PerStream::Head.key(old.stream_id()))?;
                }
                if let Some(old) = old.filter(|old| old.stream_id() != stream) {
                    txn.delete(key::key_of(old.stream_id(), registry_key))?;
                }
                txn.put(
                    key::entry(tenant, registry_key),
                    record::write_entry(
                        tenant,
                        &[(identity.process_id().clone(), identity.workflow_id.clone())],
                    )?,
                )?;
                txn.put(key::key_of(stream, registry_key), record::mark())?;
                Ok((txn, true))
            },
        )
        .await
    }
}

#[async_trait]
impl<K: Kv> ProcessRegistry for RecordStore<K> {
    async fn register(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        self.register_unflushed(tenant, key, identity)
            .await?
            .durable()
            .await
    }

    async fn lookup(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
    ) -> Result<Option<ProcessIdentity>, Error> {
        look_up(&self.kv().view()?, tenant, key).await
    }

    async fn replace(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        expected: &ProcessIdentity,
        identity: &ProcessIdentity,
    ) -> Result<bool, Error> {
        let _write = self.write();
        let replaced = self
            .put_entry(tenant, key, Some(expected), identity)
            .await?;
        self.flush().await?;
        Ok(replaced)
    }

    async fn remove(
        &self,
        tenant: &TenantId,
        registry_key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        let _write = self.write();
        let stream = identity.stream_id();
        let what = "the removal of a registry entry of";
        self.transact(what, stream.as_str(), |mut txn| async move {
            check_version(&txn, identity).await?;
            let old = read_entry(&txn, tenant, registry_key).await?;
            if old.is_some_and(|old| old.stream_id() == stream) {
                txn.delete(key::entry(tenant, registry_key))?;
                txn.delete(key::key_of(stream, registry_key))?;
            }
            Ok((txn, ()))
        })
        .await?;
        self.flush().await
    }

    async fn keys_of(
        &self,
        tenant: &TenantId,
        process: &ProcessId,
    ) -> Result<Vec<RegistryKey>, Error> {
        let stream = StreamId::for_process(tenant, process);
        let view = self.kv().view()?;
        let mut rows = Rows::scan(&view, key::keys_of(&stream), KEYS * ROW).await?;
        let mut keys = Vec::new();
        while let Some((key, row)) = rows.next().await? {
            record::check_mark(row).map_err(|bad| bad.of(key::name(&key)))?;
            keys.push(key::key_of_parts(&key)?.1);
        }
        Ok(keys)
    }

    fn store_id(&self) -> Option<StoreId> {
        Some(self.kv().store_id())
    }
}
