//! Moves event-sourced processes that are in flight from one version of their
//! workflow to the next.

// Lets the attribute's `::state_migration` paths work inside this crate.
extern crate self as state_migration;

mod baseline;
mod check;
#[cfg(feature = "tokio")]
pub mod conformance;
mod error;
mod event;
mod fingerprint;
mod fold;
mod id;
mod migration;
mod process;
mod process_registry;
mod registry;
#[cfg(feature = "tokio")]
mod runner;
mod snapshot;
mod store;
mod time;
mod version;
mod workflow;

pub use baseline::{Baseline, Hop};
pub use error::{Error, ErrorKind};
pub use event::{Event, MIGRATED, NewEvent, is_reserved};
pub use fingerprint::Fingerprint;
pub use id::{
    ConversationId, CorrelationId, EventId, InvalidId, MAX_ID_LEN, MAX_STREAM_ID_LEN, ProcessId,
    ProcessIdentity, RunId, StreamId, TenantId, WorkflowId,
};
pub use migration::{ConversionError, IdentityMigration, SourceLocation, StateMigration};
pub use process::Process;
pub use process_registry::{ProcessRegistry, RegistryKey};
pub use registry::{
    Migration, MigrationRegistry, MigrationRegistryBuilder, Problem, RegistryError, Route, Standing,
};
#[cfg(feature = "tokio")]
pub use runner::{
    CommitForm, MigrationError, MigrationReport, MigrationRunner, MigrationWarning, Migrations,
    SkippedBy, Stage, Visited,
};
pub use snapshot::{Snapshot, SnapshotStore};
pub use store::{
    Appended, Chunk, ChunkEvent, ChunkProblem, ChunkProcess, ChunkRequest, EventStore,
    ExpectedSequence, Head, StoreId, StreamRange, TransactionalStore,
};
#[cfg(feature = "tokio")]
pub use store::{MemoryStore, NotDurable, RecordStore};
#[cfg(feature = "slatedb")]
pub use store::{SlateDbStore, SlateDbStoreBuilder};
pub use time::Timestamp;
pub use version::natural_cmp;
pub use workflow::{BoxError, EventPayload, Workflow};

pub use state_migration_macros::state_migration;

/// What generated code names. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use crate::check::{
        Annotated, AsIs, Inferred, IntoTargetState, IsSourceState, Link, MigratesTo, ReadableState,
        Reason, Returned, Settle, Text, WritableState, link,
    };
    pub use crate::registry::Registration;
    pub use inventory;
    pub use state_migration_macros::followed_by;
}
