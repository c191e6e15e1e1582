//! A copy of a store, on which a run is rehearsed.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Error;
use crate::store_api::{EventStore, SnapshotStore};

/// A copy of a store as of one instant, for one rehearsal.
///
/// The copy has a [`durable_id`](EventStore::durable_id) of its own, and no run has claimed
/// it. Nothing that is written to it changes the original. A copy that is dropped without
/// [`end`](Self::end), because its program was killed, is removed by a later program that
/// writes to the store, or rehearses.
#[async_trait]
pub trait Rehearsal: Send + Sync {
    /// The name of the copy, unique among those of the store.
    fn name(&self) -> &str;

    /// The place at which a kept copy can be opened; `None` if it cannot be kept.
    fn location(&self) -> Option<String>;

    /// The events of the copy, whose store is transactional.
    fn events(&self) -> Arc<dyn EventStore>;

    /// The snapshots of the copy.
    fn snapshots(&self) -> Arc<dyn SnapshotStore>;

    /// Closes the copy and removes it, or keeps it. The report, a JSON text, is kept beside
    /// the store.
    ///
    /// # Errors
    /// The copy could not be closed or removed, or the report could not be written.
    async fn end(&self, report: &str, keep: bool) -> Result<(), Error>;
}

/// What a rehearsal needs of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RehearsalNeeds {
    /// About how many bytes the rehearsal writes, if that is known. A store with less space
    /// refuses the rehearsal.
    pub bytes: Option<u64>,
}

impl RehearsalNeeds {
    /// The need of this many bytes.
    #[must_use]
    pub fn bytes(bytes: Option<u64>) -> Self {
        Self { bytes }
    }
}
