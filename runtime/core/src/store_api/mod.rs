//! The contract between stores and their users: traits, and the values that
//! cross them.

pub mod claim;
mod event_store;
pub(crate) mod head;
mod process_registry;
mod program;
mod rehearsal;
pub mod row;
mod snapshot_store;
pub mod transactional;
pub mod write_activity;

use std::sync::atomic::{AtomicU64, Ordering};

pub use event_store::{Appended, EventStore, ExpectedSequence};
pub use head::Head;
pub use process_registry::{ProcessRegistry, RegistryKey};
pub use program::Program;
pub use rehearsal::{Rehearsal, RehearsalNeeds};
pub use snapshot_store::{Snapshot, SnapshotStore};
pub use transactional::{
    Batch, ChunkEvent, ChunkProblem, Commit, DueFilter, DueOf, DuePage, DueProcess, DueRequest,
    Erasure, Expected, Finished, Hold, Move, Partitioning, Passed, Presence, ReadPoint, RowWrite,
    Stale, StreamRange, TransactionalStore, Verdict,
};
pub use write_activity::WriteActivity;

/// Identifies a store within a program. Handles of the same store have the same
/// id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(u64);

impl StoreId {
    /// An id that no other store of this program has.
    #[must_use]
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
