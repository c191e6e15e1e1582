//! The mistakes that can be found in tokens alone, without types.

pub(crate) mod signature;
pub(crate) mod type_tokens;
pub(crate) mod unparsed_fn;
