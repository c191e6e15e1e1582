//! The stores of this project: their contract, their format on disk, opening, readers
//! and writers, and the processes that are loaded from them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod conformance;
mod durable_id;
mod fences;
mod frozen_stores;
mod ids;
mod opening;
mod process;
mod reader;
