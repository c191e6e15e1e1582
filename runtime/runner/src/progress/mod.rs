//! Progress of a run.

pub(crate) mod estimate;
pub(crate) mod total;
