//! Limits on what runs at the same time, and the count of it.

pub(crate) mod backpressure;
pub(crate) mod concurrency;
pub(crate) mod in_progress;
pub(crate) mod one_at_a_time;
