//! Progress of a run.

pub(crate) mod estimate;
pub(crate) mod failed_before;
pub(crate) mod total;
