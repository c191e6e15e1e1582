//! Workers that migrate ranges concurrently.

pub(crate) mod backpressure;
pub(crate) mod concurrency;
pub(crate) mod in_progress;
pub(crate) mod queue;
pub(crate) mod worker;
