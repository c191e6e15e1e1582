//! How far a run is.

pub(crate) mod estimate;
pub(crate) mod total;
