//! The forms of a run: each takes processes through the stages.

pub(crate) mod event_first;
pub(crate) mod on_open;
pub(crate) mod transactional;
