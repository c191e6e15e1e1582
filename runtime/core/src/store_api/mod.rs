//! The contract between stores and their users: traits, and the values that
//! cross them.

pub mod claim;
mod event_store;
pub mod fence;
mod process_registry;
mod program;
pub mod row;
mod snapshot_store;
pub mod transactional;
pub mod write_activity;

use std::sync::atomic::{AtomicU64, Ordering};

pub use event_store::{Appended, EventStore, ExpectedSequence};
pub use process_registry::{ProcessRegistry, RegistryKey};
pub use program::Program;
pub use snapshot_store::{Snapshot, SnapshotStore};
pub use transactional::{
    Batch, ChunkEvent, ChunkProblem, Commit, DueFilter, DueOf, DuePage, DueProcess, DueRequest,
    Expected, Finished, Hold, Move, Partitioning, Passed, Presence, ReadPoint, RowWrite, Stale,
    StreamRange, TransactionalStore, Verdict,
};
pub use write_activity::WriteActivity;

use crate::fingerprint::Fingerprint;
use crate::id::WorkflowId;

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

/// The head of a stream: last sequence number, version and flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The sequence number of the last event.
    pub sequence: u64,
    /// Increased by every change of the head. A store that changes heads only
    /// by appends may use the sequence number.
    pub revision: u64,
    /// The version of the process: the target of its latest `$migrated` event,
    /// or else the version of its first event.
    pub workflow_id: WorkflowId,
    /// The sequence number of the latest `$migrated` event, if any.
    pub baseline: Option<u64>,
    /// The first sequence number whose event still exists: 1 unless events were
    /// erased on purpose.
    pub first_kept: u64,
    /// Whether the process is finished.
    pub finished: bool,
    /// The fingerprint of the migration and of the build of the program whose
    /// run marked the process as finished; `None` if the last event did.
    pub finished_by: Option<Fingerprint>,
    /// Whether an operator holds the process, so that no run migrates it.
    pub held: bool,
}

impl Head {
    /// The head of a stream that has only been appended to.
    #[must_use]
    pub fn of(sequence: u64, workflow_id: WorkflowId) -> Self {
        Self {
            sequence,
            revision: sequence,
            workflow_id,
            baseline: None,
            first_kept: 1,
            finished: false,
            finished_by: None,
            held: false,
        }
    }

    /// Where a replay starts: the sequence number before the first event to
    /// fold.
    #[must_use]
    pub fn replay_after(&self) -> u64 {
        self.baseline.map_or(0, |at| at.saturating_sub(1))
    }
}
