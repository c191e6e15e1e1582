//! The program `loans-admin`, run as an operator runs it, over real stores on
//! the disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod bad_store;
mod damaged;
mod examples;
mod golden;
mod inspect;
mod interrupted;
mod left_behind;
mod logged;
mod looking;
mod mask;
mod names;
mod next;
mod program;
mod readme;
mod running;
mod sample;
mod schema;
mod service;
mod terminal;
mod typed;
mod usage;
mod where_it_stands;

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_loans-admin");

/// The folder of the goldens, in that of the package.
const GOLDENS: &str = "tests/admin/golden";
