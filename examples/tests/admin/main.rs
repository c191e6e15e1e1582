//! The program `loans-admin`, run as an operator runs it, over real stores on
//! the disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod golden;
mod looking;
mod mask;
mod program;
mod sample;
mod schema;
