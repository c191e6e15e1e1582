//! Workers that migrate ranges concurrently.

pub(crate) mod queue;
pub(crate) mod worker;
