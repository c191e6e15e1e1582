//! The program `loans`, run as a user runs it, over real stores on the disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod after_migration;
mod bad_log;
mod bad_store;
mod broken_log;
mod conversions;
mod killed_import;
mod program;
mod readme;
mod real_log;
mod rejected;
mod sample;
