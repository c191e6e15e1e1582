//! What the code that the macros generate names.

pub(crate) mod link;
pub(crate) mod return_type;
