//! What comes from data cannot leave its place, and what is in states and events
//! is told to nobody who did not ask for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod ids;
mod secrets;
mod socket;
mod tool;
