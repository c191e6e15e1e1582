//! Snapshots: a cache of process states. All of them may be deleted at any
//! time.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::id::{StreamId, WorkflowId};
use crate::store_api::StoreId;

/// The state of a process at one sequence number of its stream.
///
/// A snapshot names the workflow version of its state; code of another version
/// never reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The stream of the process.
    pub stream_id: StreamId,
    /// The sequence number of the last event that the state includes.
    pub sequence: u64,
    /// The workflow version of the state.
    pub workflow_id: WorkflowId,
    /// The `STATE_SCHEMA_VERSION` of that workflow when it was taken.
    pub state_schema_version: u32,
    /// The state, raw JSON.
    pub state: Bytes,
}

impl fmt::Debug for Snapshot {
    // The state may hold personal data, which must not reach logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("stream_id", &self.stream_id)
            .field("sequence", &self.sequence)
            .field("workflow_id", &self.workflow_id)
            .field("state_schema_version", &self.state_schema_version)
            .field("state_len", &self.state.len())
            .finish()
    }
}

/// A store of snapshots: at most one per stream.
///
/// A write returns when it is durable.
#[async_trait]
pub trait SnapshotStore: Send + Sync {
    /// Saves a snapshot, and replaces the stream's earlier one.
    ///
    /// A store that also holds the events rejects a snapshot of another version
    /// than that of the process.
    ///
    /// # Errors
    /// The snapshot was rejected or could not be written.
    async fn save(&self, snapshot: &Snapshot) -> Result<(), Error>;

    /// The stream's snapshot, if there is one.
    ///
    /// # Errors
    /// The store could not be read.
    async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, Error>;

    /// Deletes the stream's snapshot, if there is one.
    ///
    /// # Errors
    /// The store could not be written.
    async fn delete(&self, stream: &StreamId) -> Result<(), Error>;

    /// The id of the store, if it can hold events, snapshots and process
    /// registry together.
    fn store_id(&self) -> Option<StoreId> {
        None
    }
}

macro_rules! forward {
    ($($for:tt)*) => {
        #[async_trait]
        impl<S: SnapshotStore + ?Sized> SnapshotStore for $($for)* {
            async fn save(&self, snapshot: &Snapshot) -> Result<(), Error> {
                (**self).save(snapshot).await
            }
            async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, Error> {
                (**self).load(stream).await
            }
            async fn delete(&self, stream: &StreamId) -> Result<(), Error> {
                (**self).delete(stream).await
            }
            fn store_id(&self) -> Option<StoreId> {
                (**self).store_id()
            }
        }
    };
}
forward!(Arc<S>);
forward!(Box<S>);
forward!(&S);
