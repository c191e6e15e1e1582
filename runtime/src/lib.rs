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
#![cfg_attr(not(feature = "slatedb"), allow(dead_code))]

// Lets the attribute's `::state_migration` paths work inside this crate.
extern crate self as state_migration;

mod baseline;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "tokio")]
pub mod conformance;
#[cfg(feature = "control-socket")]
pub mod control_socket;
mod error;
mod event;
mod failure;
mod fingerprint;
mod fold;
#[cfg(all(feature = "tokio", any(test, feature = "fuzzing")))]
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod macro_support;
mod macros;
mod migration;
mod process;
mod read_back;
mod redaction;
mod registry;
#[cfg(feature = "tokio")]
mod run;
#[cfg(feature = "tokio")]
mod runner;
mod selection;
mod skipped_by;
mod store;
mod store_api;
mod strict_json;
#[cfg(feature = "telemetry")]
pub mod telemetry;
mod time;
mod version;
mod workflow;

pub use baseline::{Baseline, Hop};
pub use error::{Error, ErrorKind, InUse};
pub use event::{Event, MIGRATED, Metadata, NewEvent, is_reserved};
#[cfg(feature = "tokio")]
pub use failure::{FailureClass, MigrationError, MigrationWarning, Stage, UnknownClass};
pub use fingerprint::Fingerprint;
pub use id::{
    ConversationId, CorrelationId, EventId, InvalidId, MAX_ID_LEN, MAX_STREAM_ID_LEN, ProcessId,
    ProcessIdentity, RunId, StreamId, TenantId, WorkflowId,
};
pub use migration::Decoder;
pub use migration::{ConversionError, IdentityMigration, SourceLocation, StateMigration};
pub use process::Process;
pub use registry::{
    Definition, Drawing, Migration, MigrationRegistry, MigrationRegistryBuilder, Problem,
    RegistryError, Route, Standing, UpgradeError, Upgraded,
};
#[cfg(feature = "tokio")]
pub use run::{
    ChangedStep, Failure, Plan, PlanOptions, PlannedRoute, PlannedStay, PlannedStep, RunCounts,
    RunKind, RunRecord, RunState, Runs,
};
#[cfg(feature = "tokio")]
pub use runner::{
    CommitForm, MigrationReport, MigrationRunner, Migrations, Progress, RunControl, Visited,
    WorkflowProgress,
};
pub use selection::Selection;
pub use skipped_by::SkippedBy;
#[cfg(feature = "tokio")]
pub use store::{MemoryStore, NotDurable, RecordStore};
#[cfg(feature = "slatedb")]
pub use store::{SlateDbReader, SlateDbStore, SlateDbStoreBuilder};
pub use store_api::{
    Appended, Batch, ChunkEvent, ChunkProblem, Commit, DueFilter, DueOf, DuePage, DueProcess,
    DueRequest, EventStore, Expected, ExpectedSequence, Finished, Head, Hold, Move, Passed,
    Presence, ReadPoint, RowWrite, Split, Stale, StoreId, StreamRange, Traffic, TransactionalStore,
    Verdict,
};
pub use store_api::{ProcessRegistry, RegistryKey};
pub use store_api::{Snapshot, SnapshotStore};
pub use time::Timestamp;
pub use version::natural_cmp;
pub use workflow::{BoxError, EventPayload, Workflow};

pub use state_migration_macros::state_migration;

/// What generated code names. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use crate::macro_support::link::{
        Annotated, Checked, Inferred, IntoTargetState, IsSourceState, Link, MigratesBackTo,
        MigratesTo, NotShared, Pair, ReadableState, Reason, States, WritableState, hop, link,
        link_identity,
    };
    pub use crate::macro_support::return_type::{
        AsIs, AsText, AsTold, AsToldOfABox, DecodeNothing, DecodeState, EncodeNothing, Function,
        Gives, Settle, Takes, convert, function,
    };
    pub use crate::migration::SharedState;
    pub use crate::migration::{ConversionError, SourceLocation, package};
    pub use crate::migration::{Decoder, Details, Encoder};
    pub use crate::registry::{Migration, Registration, VersionRegistration};
    pub use core;
    pub use inventory;
    pub use state_migration_macros::{
        followed_by, identity_migration, migration_chain, no_migration, register_workflow,
        replaced_by,
    };
}

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
