//! What only linking brings together: programs over the migrations of another crate.
#![allow(clippy::unwrap_used, missing_docs)]

mod complete;
mod mistakes;
mod unlinked;
