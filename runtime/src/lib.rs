//! Moves event-sourced processes that are in flight from one version of their
//! workflow to the next.
//!
//! Annotate a conversion function with [`state_migration`](macro@state_migration);
//! a [`MigrationRunner`] moves every process in the store along all functions
//! that are linked into the program, and a [`Process`] goes on under the new
//! version. See [`MigrationRunner`] for a whole example.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | *workflow* | a versioned state machine: a type that implements [`Workflow`] |
//! | *process* | one instance of a workflow: one event stream |
//! | *migration* | one edge, from a version of a workflow to the next: [`StateMigration`] |
//! | *route* | the migrations from where a process stands to the newest version: [`Route`] |
//! | *baseline* | the latest `$migrated` event, from which every replay starts: [`Baseline`] |
//! | *head* | where a stream ends, and at which version its process stands: [`Head`] |
//!
//! # Stores
//!
//! [`SlateDbStore`] keeps everything in one SlateDB database, on the local disk
//! or in an object store; a [`SlateDbReader`] reads it while another process
//! writes to it; [`MemoryStore`] is for tests. A store of your own
//! implements [`EventStore`], [`SnapshotStore`] and [`ProcessRegistry`], and
//! [`TransactionalStore`] if it can commit all of them at once; the
//! [`conformance`] suite checks it.
//!
//! # Runs
//!
//! Over one store a run is kept in it: [`RunRecord`], [`RunCounts`], [`Failure`],
//! read through [`Runs`]. [`RunControl`] drives it while it goes;
//! [`MigrationRunner::resume`] and [`MigrationRunner::retry`] go on from it, and
//! [`MigrationRunner::open`] migrates single processes beside it.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `slatedb` | yes | the SlateDB store; implies `tokio` |
//! | `tokio` | with `slatedb` | the runner, the in-memory store, the conformance suite |
//! | `cli` | no | the operator's tool, for a binary of two lines: [`cli`] |
//! | `control-socket` | with `cli` | drives runs from another process, through a Unix socket |
//! | `telemetry` | with `cli` | what a run does, as spans of `tracing` and as `metrics` |
//! | `aws`, `azure`, `gcp` | no | SlateDB on the object stores of these clouds |
//!
//! Without features the crate is traits, macros and registry: enough to check in
//! a test that every version is decided about
//! ([`MigrationRegistry::assert_complete`]), and to bring the states in files,
//! caches and queues to the newest version ([`MigrationRegistry::upgrade`]).
// The overview links to what features add.
#![cfg_attr(
    not(all(feature = "slatedb", feature = "cli")),
    allow(rustdoc::broken_intra_doc_links)
)]

#[doc(hidden)]
pub use state_migration_core::__private;
#[doc(inline)]
pub use state_migration_core::{
    Appended, Baseline, Batch, BoxError, ChunkEvent, ChunkProblem, Commit, ConversationId,
    ConversionError, CorrelationId, Decoder, Definition, Drawing, DueFilter, DueOf, DuePage,
    DueProcess, DueRequest, Error, ErrorKind, Event, EventId, EventPayload, EventStore, Expected,
    ExpectedSequence, FailureClass, Fingerprint, Finished, Head, Hold, Hop, IdentityMigration,
    InUse, InvalidId, MAX_ID_LEN, MAX_STREAM_ID_LEN, MIGRATED, Metadata, Migration, MigrationError,
    MigrationRegistry, MigrationRegistryBuilder, MigrationWarning, Migrations, Move, NewEvent,
    Passed, Presence, Problem, Process, ProcessId, ProcessIdentity, ProcessRegistry, ReadPoint,
    RegistryError, RegistryKey, Route, RowWrite, RunId, Selection, SkippedBy, Snapshot,
    SnapshotStore, SourceLocation, Split, Stage, Stale, Standing, StateMigration, StoreId,
    StreamId, StreamRange, TenantId, Timestamp, Traffic, TransactionalStore, UnknownClass,
    UpgradeError, Upgraded, Verdict, Workflow, WorkflowId, is_reserved, natural_cmp,
    state_migration,
};
#[doc(inline)]
pub use state_migration_core::{
    identity_migration, migration_chain, no_migration, register_workflow,
};
#[cfg(feature = "runner")]
#[doc(inline)]
pub use state_migration_runner::{
    ChangedStep, CommitForm, Failure, MigrationReport, MigrationRunner, Plan, PlanOptions,
    PlannedRoute, PlannedStay, PlannedStep, Progress, RunControl, RunCounts, RunKind, RunRecord,
    RunState, Runs, Visited, WorkflowProgress, telemetry,
};
#[cfg(feature = "runner")]
#[doc(inline)]
pub use state_migration_store::{MemoryStore, NotDurable, RecordStore};
#[cfg(feature = "slatedb")]
#[doc(inline)]
pub use state_migration_store::{SlateDbReader, SlateDbStore, SlateDbStoreBuilder};

#[cfg(feature = "cli")]
#[doc(inline)]
pub use state_migration_cli as cli;
#[cfg(feature = "runner")]
#[doc(inline)]
pub use state_migration_conformance as conformance;
#[cfg(feature = "control-socket")]
#[doc(inline)]
pub use state_migration_control_socket as control_socket;

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
