//! Reliability under faults: programs that are killed, appends that race with a run,
//! code that writes unreadable states, and simulated worlds with all faults at once.
//! The mutants show that the tests detect a missing safety mechanism. Other modules
//! check the claims of the documentation.
//!
//! Migrations that are declared here lead from one version to several others, so
//! nothing here may run all that are linked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod crash;
mod lints;
mod live_traffic;
mod mutants;
mod races;
mod readme;
mod round_trip;
mod torture;
mod two_versions;
