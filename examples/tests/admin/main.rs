//! The program `loans-admin`, run as an operator runs it, over real stores on
//! the disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod another_store;
mod bad_store;
mod damaged;
mod dead_programs;
mod examples;
mod export;
mod golden;
mod inspect;
mod interrupted;
mod json_answers;
mod logging;
mod masking;
mod matching;
mod paused;
mod processes;
mod program;
mod program_fit;
mod read_only_commands;
mod readme;
mod reasons;
mod running;
mod sample;
mod schema;
mod service;
mod shell;
mod store_state;
mod suggested_commands;
mod tenants;
mod terminal;
mod unknown_names;
mod usage;

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_loans-admin");

/// The folder of the goldens, in that of the package.
const GOLDENS: &str = "tests/admin/golden";
