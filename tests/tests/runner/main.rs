//! Runs, from the selection of processes to what is said of each of them.
//!
//! Some of these run all migrations that are linked, so no module here may declare
//! one for a workflow of the library of these tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod chains;
mod checks;
mod control;
mod dense_and_sparse_chunks;
mod dry_run;
mod erasure;
mod failure_classes;
mod finished;
mod forecast;
mod from_snapshots;
mod history;
mod idle_run;
mod large_states;
mod on_open;
mod progress;
mod read_cost;
mod registry_updates;
mod rehearsal;
mod rolled_back;
mod runs;
mod selection;
mod store_changes_during_run;
mod store_combinations;
mod sweeps;
mod threads;
mod unknown_commit_outcome;
mod version_retirement;
