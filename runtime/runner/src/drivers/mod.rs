//! The drivers: the forms of a run, which take processes through the stages.

pub(crate) mod event_first;
pub(crate) mod on_open;
mod suspects;
pub(crate) mod transactional;
