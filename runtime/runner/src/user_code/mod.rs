//! Execution of user code: on its own threads, with panics caught and new states read
//! back.

pub(crate) mod abandoned;
pub(crate) mod exit;
pub(crate) mod gaps;
pub(crate) mod panics;
pub(crate) mod round_trip;
pub(crate) mod threads;
