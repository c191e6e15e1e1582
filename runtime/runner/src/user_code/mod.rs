//! User code: on threads of its own, with panics caught, and its states read back.

pub(crate) mod panics;
pub(crate) mod round_trip;
pub(crate) mod threads;
