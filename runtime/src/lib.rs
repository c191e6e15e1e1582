//! Migrates event-sourced processes in flight from one version of their workflow to the
//! next.
//!
//! Annotate a conversion function with [`state_migration`](macro@state_migration); a
//! [`MigrationRunner`] migrates every process in the store along all functions that are
//! linked into the program, and a [`Process`] continues under the new version. See
//! [`MigrationRunner`] for a complete example.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | *workflow* | a versioned state machine: a type that implements [`Workflow`] |
//! | *process* | one instance of a workflow: one event stream |
//! | *migration* | one edge, from a version of a workflow to the next: [`StateMigration`] |
//! | *route* | the migrations from the version of a process to the newest version: [`Route`] |
//! | *baseline* | the latest `$migrated` event, from which every replay starts: [`Baseline`] |
//! | *head* | the last sequence number, the version and the flags of a stream: [`Head`] |
//!
//! # Stores
//!
//! [`SlateDbStore`] keeps everything in one SlateDB database, on the local disk or in
//! an object store; a [`SlateDbReader`] reads it while another process writes to it;
//! [`MemoryStore`] is for tests. Your own store implements [`EventStore`],
//! [`SnapshotStore`] and [`ProcessRegistry`], and [`TransactionalStore`] if it can
//! commit all of them in one transaction; the [`conformance`] suite checks it. The
//! repository has a guide, `docs/your-own-store.md`, and a store over SQLite.
//!
//! # Runs
//!
//! Over one store, the store records each run: [`RunRecord`], [`RunCounts`],
//! [`Failure`], read through [`Runs`]. [`RunControl`] controls a run in progress.
//! [`MigrationRunner::resume`] continues an interrupted run, [`MigrationRunner::retry`]
//! retries the failures of a run, and [`MigrationRunner::open`] migrates single
//! processes beside a run.
//!
//! # Features
//!
//! | feature | default | content |
//! |---|---|---|
//! | `slatedb` | yes | the SlateDB store; implies `runner` |
//! | `runner` | with `slatedb` | the runner, the in-memory store, the conformance suite |
//! | `control-socket` | with `cli` | control of runs from another process, through a Unix socket |
//! | `cli` | no | the command-line tool, for a binary of two lines: [`cli`] |
//! | `testing` | no | tests of your own repository: [`testing`] |
//! | `aws`, `azure`, `gcp` | no | SlateDB on the object stores of these clouds |
//!
//! `tokio` is the former name of `runner`, until 0.2.
//!
//! Without features, the crate provides the traits, the macros and the registry. They
//! suffice to test that every version has a migration or a declaration
//! ([`MigrationRegistry::assert_complete`]), and to upgrade states in files, caches and
//! queues to the newest version ([`MigrationRegistry::upgrade`]).
// The overview links to items of optional features.
#![cfg_attr(
    not(all(feature = "slatedb", feature = "cli", feature = "testing")),
    allow(rustdoc::broken_intra_doc_links)
)]

#[doc(hidden)]
pub use state_migration_core::__private;
#[doc(inline)]
pub use state_migration_core::{
    Appended, Baseline, BaselineKind, Batch, BoxError, Check, ChunkEvent, ChunkProblem, Commit,
    ConversationId, ConversionError, CorrelationId, Decimal, Decoder, Definition, Diagram,
    DueFilter, DueOf, DuePage, DueProcess, DueRequest, DurableStoreId, Error, ErrorKind, Event,
    EventId, EventPayload, EventStore, Expected, ExpectedSequence, FailureClass, Fingerprint,
    Finished, Head, Hold, Hop, IdentityMigration, InUse, InvalidId, MAX_ID_LEN, MAX_STREAM_ID_LEN,
    MIGRATED, Metadata, Migration, MigrationError, MigrationRegistry, MigrationRegistryBuilder,
    MigrationWarning, Migrations, Move, NewEvent, Partitioning, Passed, Predicate, Predicates,
    Presence, Problem, Process, ProcessId, ProcessIdentity, ProcessRegistry, Program, ReadPoint,
    RegistryError, RegistryKey, Route, RowWrite, RunId, Selection, SkippedBy, Snapshot,
    SnapshotStore, SourceLocation, Stage, Stale, StateMigration, StoreId, StreamId, StreamRange,
    Subject, TenantId, Timestamp, Totals, TransactionalStore, UnknownClass, UpgradeError, Upgraded,
    Verdict, VersionStatus, Workflow, WorkflowId, WriteActivity, is_reserved, natural_cmp,
    state_migration,
};
#[doc(inline)]
pub use state_migration_core::{
    identity_migration, migration_chain, no_migration, predicate, register_workflow,
};
#[cfg(feature = "runner")]
#[doc(inline)]
pub use state_migration_runner::{
    Action, ChangedStep, CommitMode, Execution, Failure, HoldAction, MigrationReport,
    MigrationRunner, PinnedVersion, Plan, PlanOptions, PlannedPredicate, PlannedRoute, PlannedStep,
    Progress, Rehearsed, RunAction, RunControl, RunCounts, RunKind, RunRecord, RunState, RunTotals,
    Runs, ScanKind, SnapshotUse, WorkflowProgress, telemetry,
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
#[cfg(feature = "testing")]
#[doc(inline)]
pub use state_migration_testing as testing;

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
