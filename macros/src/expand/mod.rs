//! The generated code.
//!
//! Spans decide where the compiler shows a mistake. The user's tokens are therefore
//! passed on unchanged, and each generated token at which an error can be shown has
//! the span of what the user wrote.

pub(crate) mod chains;
pub(crate) mod declarations;
pub(crate) mod edge;
pub(crate) mod fingerprint;
pub(crate) mod function;
pub(crate) mod marker;
pub(crate) mod spans;
pub(crate) mod unit_struct;
