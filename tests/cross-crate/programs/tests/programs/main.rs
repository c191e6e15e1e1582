//! Linking across crates: programs with the migrations of another crate.
#![allow(clippy::unwrap_used, missing_docs)]

mod complete;
mod mistakes;
mod unlinked;
