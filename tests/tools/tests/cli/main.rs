//! The operator's tool in programs of its own: those of a later release of the
//! loans, over the sample store, one whose migration refuses some processes and its
//! correction; one whose migrations do not fit together; and one over stores that
//! fail.
//!
//! The output of `loans-admin` is tested in the package of that program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
// What the tests of the examples have is here as far as it is needed.
#![allow(dead_code)]

#[path = "../../../../examples/tests/admin/golden.rs"]
mod golden;
#[path = "../../../../examples/tests/admin/masking.rs"]
mod masking;
#[path = "../../../../examples/tests/admin/program.rs"]
mod program;
#[path = "../../../../examples/tests/admin/sample.rs"]
mod sample;
#[path = "../../../../examples/tests/admin/schema.rs"]
mod schema;
#[path = "../../../../examples/tests/admin/store_state.rs"]
mod store_state;
#[path = "../../../../examples/tests/admin/suggested_commands.rs"]
mod suggested_commands;

mod correction;
mod erase;
mod faulty_stores;
mod immediate_stop;
mod inconsistent_migrations;
mod nightly;
mod other_code;
mod plan;
mod rehearse;
mod release;
mod security;
mod undone;

/// The program with the mistake.
const PROGRAM: &str = env!("CARGO_BIN_EXE_loans-2014-draft");

/// The one without.
const FIXED: &str = env!("CARGO_BIN_EXE_loans-2014");

/// The one that loses a field.
const LOSSY: &str = env!("CARGO_BIN_EXE_loans-2014-lossy");

/// A service that migrates loans as it opens them.
const OPENER: &str = env!("CARGO_BIN_EXE_loans-2014-opener");

/// The folder of the goldens, in that of the package.
const GOLDENS: &str = "tests/cli/golden";
