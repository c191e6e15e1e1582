//! The runner of `state-migration`: migrates the processes of a store to their newest
//! versions.
//!
//! Data flows one way, through five stages: `scan` finds processes and
//! reads their events, `fold` computes a state from the events,
//! `convert` takes the state along its route and creates the
//! `$migrated` event, `commit` appends it, and `report` counts what
//! is durable.
//!
//! There are two forms. Where one store holds events, snapshots and process registry, a
//! chunk of processes is read and committed in one
//! transaction. Over separate stores, the event is committed
//! first, and snapshot and registry follow.
//!
//! Programs depend on `state-migration`, which re-exports the public items. The hidden
//! modules are for the other packages of this workspace, and may change in any release.

// Lets the attribute's `::state_migration` paths work in the tests of this crate.
#[cfg(test)]
extern crate state_migration_core as state_migration;

mod chunk;
mod control;
mod drivers;
#[doc(hidden)]
pub mod forecast;
mod limits;
mod migration_runner;
mod observe;
#[doc(hidden)]
pub mod options;
#[doc(hidden)]
pub mod preview;
mod progress;
mod registry_sync;
mod report;
mod restrictions;
mod retry;
#[doc(hidden)]
pub mod rewritten;
#[doc(hidden)]
pub mod run;
mod run_context;
#[doc(hidden)]
pub mod run_service;
mod stages;
pub mod telemetry;
mod unknown_names;
mod user_code;
mod workers;

pub use control::{Progress, RunControl, WorkflowProgress};
pub use migration_runner::MigrationRunner;
pub use report::{CommitMode, MigrationReport, Rehearsed, ScanKind};
pub use run::{
    Action, ChangedStep, Execution, Failure, HoldAction, PinnedVersion, Plan, PlanOptions,
    PlannedPredicate, PlannedRoute, PlannedStep, RunAction, RunCounts, RunKind, RunRecord,
    RunState, RunTotals, Runs, SnapshotUse,
};
