//! The arguments of the macros, read into values.

pub(crate) mod args;
pub(crate) mod chains;
pub(crate) mod declarations;
pub(crate) mod keys;
pub(crate) mod versions;
