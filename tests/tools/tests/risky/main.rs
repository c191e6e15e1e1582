//! Programs that user code ends, and programs that are killed, stopped and woken while
//! user code works: real programs over real stores on disk.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod child;
mod deadly;
mod killed;
mod memory;
mod stopped;
mod users;
