//! The process registry. An entry names a process; the version of the process is
//! in its head, so a migration writes no entry.

use async_trait::async_trait;
use rusqlite::{Transaction, params};
use state_migration::{
    Error, ErrorKind, ProcessId, ProcessIdentity, ProcessRegistry, RegistryKey, StoreId, TenantId,
};

use crate::convert::{self, read_head};
use crate::{Failure, SqliteStore, corrupt};

/// A key as text: kinds never collide.
fn text(key: &RegistryKey) -> String {
    serde_json::json!(key).to_string()
}

fn look_up(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    key: &RegistryKey,
) -> Result<Option<ProcessIdentity>, Failure> {
    let mut query =
        transaction.prepare_cached("SELECT * FROM entries WHERE tenant = ?1 AND key = ?2")?;
    let mut rows = query.query([tenant.as_str(), &text(key)])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let id: String = row.get("process")?;
    let process = ProcessId::new(&id).map_err(|_| corrupt("the id of a process", &id))?;
    let mut identity = ProcessIdentity::new(process, tenant.clone(), convert::version(row)?);
    if let Some(head) = read_head(transaction, identity.stream_id())? {
        identity.workflow_id = head.workflow_id;
    }
    Ok(Some(identity))
}

/// Checks that the process of an identity belongs to the tenant, and is at the
/// version of the identity if it has events.
fn check(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    identity: &ProcessIdentity,
) -> Result<(), Failure> {
    let stream = identity.stream_id();
    if identity.tenant_id() != tenant {
        let text = format!("process {stream} does not belong to tenant {tenant}");
        return Err(Error::new(ErrorKind::Invalid, text).into());
    }
    if let Some(head) = read_head(transaction, stream)? {
        head.check_version(stream, &identity.workflow_id)?;
    }
    Ok(())
}

fn put(
    transaction: &Transaction<'_>,
    tenant: &TenantId,
    key: &RegistryKey,
    identity: &ProcessIdentity,
) -> Result<(), Failure> {
    check(transaction, tenant, identity)?;
    let (process, at) = (identity.process_id(), &identity.workflow_id);
    transaction.execute(
        "INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            tenant.as_str(),
            text(key),
            process.as_str(),
            at.name(),
            at.version()
        ],
    )?;
    Ok(())
}

#[async_trait]
impl ProcessRegistry for SqliteStore {
    async fn register(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        let (tenant, key, identity) = (tenant.clone(), key.clone(), identity.clone());
        self.write(move |transaction| put(transaction, &tenant, &key, &identity))
            .await
    }

    async fn lookup(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
    ) -> Result<Option<ProcessIdentity>, Error> {
        let (tenant, key) = (tenant.clone(), key.clone());
        self.read(move |transaction| look_up(transaction, &tenant, &key))
            .await
    }

    async fn replace(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        expected: &ProcessIdentity,
        identity: &ProcessIdentity,
    ) -> Result<bool, Error> {
        let (tenant, key) = (tenant.clone(), key.clone());
        let (expected, identity) = (expected.clone(), identity.clone());
        self.write(move |transaction| {
            if look_up(transaction, &tenant, &key)? != Some(expected) {
                return Ok(false);
            }
            put(transaction, &tenant, &key, &identity)?;
            Ok(true)
        })
        .await
    }

    async fn remove(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        let (tenant, key, identity) = (tenant.clone(), key.clone(), identity.clone());
        self.write(move |transaction| {
            check(transaction, &tenant, &identity)?;
            transaction.execute(
                "DELETE FROM entries WHERE tenant = ?1 AND key = ?2 AND process = ?3",
                [tenant.as_str(), &text(&key), identity.process_id().as_str()],
            )?;
            Ok(())
        })
        .await
    }

    async fn keys_of(
        &self,
        tenant: &TenantId,
        process: &ProcessId,
    ) -> Result<Vec<RegistryKey>, Error> {
        let (tenant, process) = (tenant.clone(), process.clone());
        self.read(move |transaction| {
            let mut query = transaction
                .prepare_cached("SELECT key FROM entries WHERE tenant = ?1 AND process = ?2")?;
            let mut rows = query.query([tenant.as_str(), process.as_str()])?;
            let mut keys = Vec::new();
            while let Some(row) = rows.next()? {
                let key: String = row.get("key")?;
                let read = serde_json::from_str(&key);
                keys.push(read.map_err(|_| corrupt("a registry key", &key))?);
            }
            Ok(keys)
        })
        .await
    }

    fn store_id(&self) -> Option<StoreId> {
        Some(self.shared.id)
    }
}
