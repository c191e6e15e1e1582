//! The stores that ship: what each of them must do, what is on disk, who may open,
//! read and write, and the process that is loaded from them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod conformance;
mod fences;
mod frozen_stores;
mod ids;
mod opening;
mod process;
mod reader;
