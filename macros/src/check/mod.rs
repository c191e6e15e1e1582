//! The mistakes that tokens show, without types.

pub(crate) mod signature;
pub(crate) mod type_tokens;
pub(crate) mod unparsed_fn;
