//! What must hold whatever happens: programs that are killed, appends that race with
//! a run, code that writes what nobody can read, and worlds in which everything goes
//! wrong. And the mutants by which it is known that the tests notice, and what the
//! project says of itself.
//!
//! Migrations that are declared here lead from one version to several others, so
//! nothing here may run all that are linked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod crash;
mod decode_back;
mod lints;
mod live;
mod mutants;
mod races;
mod readme;
mod torture;
