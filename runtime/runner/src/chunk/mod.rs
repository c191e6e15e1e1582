//! Chunks: what one commit covers, a page of processes or one large process.

pub(crate) mod context;
pub(crate) mod large_process;
pub(crate) mod page;
