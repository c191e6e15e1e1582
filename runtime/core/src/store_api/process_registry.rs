//! The process registry: the keys by which a process is found, and its version.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::id::{ConversationId, CorrelationId, ProcessId, ProcessIdentity, TenantId};
use crate::store_api::StoreId;

/// A key under which a process is registered. Keys of different kinds never collide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RegistryKey {
    /// The process itself.
    Process(ProcessId),
    /// A conversation that the process is in.
    Conversation(ConversationId),
    /// A correlation id that replies contain.
    Correlation(CorrelationId),
}

impl RegistryKey {
    /// The key of a process itself.
    #[must_use]
    pub fn from_process(process: impl Into<ProcessId>) -> Self {
        Self::Process(process.into())
    }

    /// The key of a conversation.
    #[must_use]
    pub fn from_conversation(conversation: impl Into<ConversationId>) -> Self {
        Self::Conversation(conversation.into())
    }

    /// The key of a correlation.
    #[must_use]
    pub fn from_correlation(correlation: impl Into<CorrelationId>) -> Self {
        Self::Correlation(correlation.into())
    }
}

impl RegistryKey {
    /// The kind, as the letter in rows on disk and as a word, and the id.
    #[doc(hidden)]
    #[must_use]
    pub fn parts(&self) -> (u8, &'static str, &str) {
        match self {
            Self::Process(id) => (b'p', "process", id.as_str()),
            Self::Conversation(id) => (b'v', "conversation", id.as_str()),
            Self::Correlation(id) => (b'r', "correlation", id.as_str()),
        }
    }
}

impl fmt::Display for RegistryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(id) => write!(f, "process key {id}"),
            Self::Conversation(id) => write!(f, "conversation key {id}"),
            Self::Correlation(id) => write!(f, "correlation key {id}"),
        }
    }
}

/// Finds the process that a message is for, and the version it is at.
///
/// Entries belong to a tenant. A write returns when it is durable.
#[async_trait]
pub trait ProcessRegistry: Send + Sync {
    /// Puts an entry, and replaces an earlier one under the same key.
    ///
    /// A store that also holds the events rejects an identity with another
    /// version than that of the process.
    ///
    /// # Errors
    /// The entry was rejected or could not be written.
    async fn register(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error>;

    /// The entry under a key.
    ///
    /// # Errors
    /// The store could not be read.
    async fn lookup(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
    ) -> Result<Option<ProcessIdentity>, Error>;

    /// Replaces an entry by another one if it has not changed; returns whether
    /// it was replaced.
    ///
    /// The default implementation looks the entry up and then registers, so a
    /// change between the two is overwritten. A registry that has an atomic
    /// compare-and-swap should use it.
    ///
    /// # Errors
    /// Those of [`register`](ProcessRegistry::register).
    async fn replace(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        expected: &ProcessIdentity,
        identity: &ProcessIdentity,
    ) -> Result<bool, Error> {
        if self.lookup(tenant, key).await?.as_ref() != Some(expected) {
            return Ok(false);
        }
        self.register(tenant, key, identity).await?;
        Ok(true)
    }

    /// Removes the entry under a key, if it names the process of this identity.
    ///
    /// A store that also holds the events rejects an identity with another
    /// version than that of the process.
    ///
    /// # Errors
    /// The removal was rejected or could not be written.
    async fn remove(
        &self,
        tenant: &TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error>;

    /// The keys under which a process is registered.
    ///
    /// A registry without an index from processes to keys returns only the
    /// process's own key; entries under other keys then keep the old version
    /// after a migration.
    ///
    /// # Errors
    /// The store could not be read.
    async fn keys_of(
        &self,
        tenant: &TenantId,
        process: &ProcessId,
    ) -> Result<Vec<RegistryKey>, Error> {
        let _ = tenant;
        Ok(vec![RegistryKey::Process(process.clone())])
    }

    /// The id of the store, if it can hold events, snapshots and process
    /// registry together.
    fn store_id(&self) -> Option<StoreId> {
        None
    }
}

macro_rules! forward {
    ($($for:tt)*) => {
        #[async_trait]
        impl<R: ProcessRegistry + ?Sized> ProcessRegistry for $($for)* {
            async fn register(
                &self,
                tenant: &TenantId,
                key: &RegistryKey,
                identity: &ProcessIdentity,
            ) -> Result<(), Error> {
                (**self).register(tenant, key, identity).await
            }
            async fn lookup(
                &self,
                tenant: &TenantId,
                key: &RegistryKey,
            ) -> Result<Option<ProcessIdentity>, Error> {
                (**self).lookup(tenant, key).await
            }
            async fn replace(
                &self,
                tenant: &TenantId,
                key: &RegistryKey,
                expected: &ProcessIdentity,
                identity: &ProcessIdentity,
            ) -> Result<bool, Error> {
                (**self).replace(tenant, key, expected, identity).await
            }
            async fn remove(
                &self,
                tenant: &TenantId,
                key: &RegistryKey,
                identity: &ProcessIdentity,
            ) -> Result<(), Error> {
                (**self).remove(tenant, key, identity).await
            }
            async fn keys_of(
                &self,
                tenant: &TenantId,
                process: &ProcessId,
            ) -> Result<Vec<RegistryKey>, Error> {
                (**self).keys_of(tenant, process).await
            }
            fn store_id(&self) -> Option<StoreId> {
                (**self).store_id()
            }
        }
    };
}
forward!(Arc<R>);
forward!(Box<R>);
forward!(&R);
