//! The stages of a run, in the order in which a process passes them.

pub(crate) mod commit;
pub(crate) mod convert;
pub(crate) mod done;
pub(crate) mod due;
pub(crate) mod fold;
pub(crate) mod history;
pub(crate) mod scan;
