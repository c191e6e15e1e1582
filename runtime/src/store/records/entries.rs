//! The process registry: entries, and the index from a process to its keys.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join;

use crate::error::Error;
use crate::id::{ProcessId, ProcessIdentity, StreamId, TenantId};
use crate::process_registry::{ProcessRegistry, RegistryKey};
use crate::store::key::KeyRange;
use crate::store::kv::{Kv, KvScan, KvTxn};
use crate::store::records::rows::{Rows, ended_early};
use crate::store::records::{NotDurable, ROW, RecordStore, read_head};
use crate::store::{StoreId, fence, key, record};

/// About how many keys a process is registered under.
const KEYS: usize = 2;

/// The registry keys of so many processes from one stream to another, in order of the streams.
///
/// An entry that is not found here stays at the old version. So a second scan
/// reads the keys of the last stream, which are where the first one must come
/// to; both go on at the same time.
pub(super) async fn keys_of<T: KvTxn>(
    txn: &T,
    first: &StreamId,
    last: &StreamId,
    processes: usize,
) -> Result<Vec<(StreamId, RegistryKey)>, Error> {
    let between = key::keys_between(first, last);
    let bytes = processes.saturating_mul(KEYS * ROW);
    if !txn.is_of_one_instant() {
        return parse(read_keys(Rows::scan(txn, between, bytes).await?).await?);
    }
    let of_last = key::keys_between(last, last);
    let (all, of_last, start) = (
        read_keys_once(txn, between.clone(), bytes),
        read_keys_once(txn, of_last.clone(), KEYS * ROW),
        of_last.start,
    );
    let (all, of_last) = try_join(all, of_last).await?;
    let tail = all.partition_point(|key| key[..] < start[..]);
    let (found, expected) = (&all[tail..], &of_last[..]);
    if found != expected {
        let both = found.iter().zip(expected).take_while(|(a, b)| a == b);
        let same = both.count();
        let next = [found.get(same), expected.get(same)];
        let next = next.into_iter().flatten().min().cloned();
        let before = same.checked_sub(1).map(|at| &expected[at][..]);
        return Err(ended_early(before, &next.unwrap_or_default()));
    }
    if expected.is_empty() && first != last {
        // It has no keys, so it does not show where the first scan came to.
        let mut rest = between;
        if let Some(last) = all.last() {
            rest.start = [&last[..], &[0]].concat();
        }
        if let Some((next, _)) = txn.scan_part(rest, ROW).await?.next().await? {
            return Err(ended_early(all.last().map(|key| &key[..]), &next));
        }
    }
    parse(all)
}

fn parse(keys: Vec<Bytes>) -> Result<Vec<(StreamId, RegistryKey)>, Error> {
    keys.iter().map(|key| key::key_of_parts(key)).collect()
}

async fn read_keys_once<T: KvTxn>(
    txn: &T,
    range: KeyRange,
    bytes: usize,
) -> Result<Vec<Bytes>, Error> {
    let mut rows = txn.scan_part(range, bytes).await?;
    let mut keys = Vec::new();
    while let Some((key, row)) = rows.next().await? {
        check_key(&key, row)?;
        keys.push(key);
    }
    Ok(keys)
}

async fn read_keys<T: KvTxn>(mut rows: Rows<'_, T>) -> Result<Vec<Bytes>, Error> {
    let mut keys = Vec::new();
    while let Some((key, row)) = rows.next().await? {
        check_key(&key, row)?;
        keys.push(key);
    }
    Ok(keys)
}

fn check_key(key: &[u8], row: Bytes) -> Result<(), Error> {
    record::check_mark(row).map_err(|bad| bad.of(key::name(key)))
}

async fn read_entry<T: KvTxn>(
    txn: &T,
    tenant: &TenantId,
    registry_key: &RegistryKey,
) -> Result<Option<ProcessIdentity>, Error> {
    txn.get(&key::entry(tenant, registry_key))
        .await?
        .map(|row| {
            record::read_entry(row).map_err(|bad| {
                bad.of(format_args!(
                    "the registry entry of tenant {tenant} under {registry_key}"
                ))
            })
        })
        .transpose()
}

impl<K: Kv> RecordStore<K> {
    /// Registers like [`ProcessRegistry::register`], but returns before the
    /// entry is durable. For imports, where one flush serves many writes.
    ///
    /// # Errors
    /// As of [`ProcessRegistry::register`].
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

    /// Puts an entry; in place of `expected` only, if that is given. Returns
    /// whether it did.
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
                if let Some(head) = read_head(&txn, stream).await? {
                    fence::check(stream, &identity.workflow_id, &head.workflow_id)?;
                }
                let old = read_entry(&txn, tenant, registry_key).await?;
                if expected.is_some() && old.as_ref() != expected {
                    return Ok((txn, false));
                }
                if let Some(old) = old.filter(|old| old.stream_id() != stream) {
                    txn.delete(key::key_of(old.stream_id(), registry_key))?;
                }
                txn.put(
                    key::entry(tenant, registry_key),
                    record::write_entry(tenant, identity.process_id(), &identity.workflow_id)?,
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
        read_entry(&self.kv().view()?, tenant, key).await
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

    async fn remove(&self, tenant: &TenantId, registry_key: &RegistryKey) -> Result<(), Error> {
        let _write = self.write();
        let what = "the removal of a registry entry of tenant";
        self.transact(what, tenant.as_str(), |mut txn| async move {
            if let Some(old) = read_entry(&txn, tenant, registry_key).await? {
                txn.delete(key::entry(tenant, registry_key))?;
                txn.delete(key::key_of(old.stream_id(), registry_key))?;
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
        let keys = keys_of(&self.kv().view()?, &stream, &stream, 1).await?;
        Ok(keys.into_iter().map(|(_, key)| key).collect())
    }

    fn store_id(&self) -> Option<StoreId> {
        Some(self.kv().store_id())
    }
}
