//! The reason why a type did not accept a draft.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

/// The reason why a type did not accept a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The draft has changed; the same deserialization has to be repeated.
    Repeat,
    MissingField(&'static str),
    DuplicateField(&'static str),
    UnknownVariant {
        found: String,
        variants: &'static [&'static str],
    },
    /// A value of another type or outside of the range.
    Unexpected {
        found: String,
        expected: String,
        /// A unit variant, but the variant has content.
        unit_variant: bool,
    },
    /// A list with too few or too many items.
    Length {
        found: usize,
        expected: String,
    },
    /// A message of the type itself.
    Other(String),
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeat => f.write_str("the value is incomplete"),
            Self::MissingField(name) => write!(f, "missing field `{name}`"),
            Self::DuplicateField(name) => write!(f, "duplicate field `{name}`"),
            Self::UnknownVariant { found, variants } => {
                write!(f, "unknown variant `{found}`, expected one of {variants:?}")
            }
            Self::Unexpected {
                found, expected, ..
            } => write!(f, "found {found}, expected {expected}"),
            Self::Length { found, expected } => {
                write!(f, "found {found} items, expected {expected}")
            }
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Refusal {}

fn unexpected(found: Unexpected<'_>, expected: &dyn Expected) -> Refusal {
    Refusal::Unexpected {
        found: found.to_string(),
        expected: expected.to_string(),
        unit_variant: found == Unexpected::UnitVariant,
    }
}

impl de::Error for Refusal {
    fn custom<T: Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        unexpected(found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        unexpected(found, expected)
    }

    fn invalid_length(found: usize, expected: &dyn Expected) -> Self {
        Self::Length {
            found,
            expected: expected.to_string(),
        }
    }

    fn unknown_variant(found: &str, variants: &'static [&'static str]) -> Self {
        Self::UnknownVariant {
            found: found.to_owned(),
            variants,
        }
    }

    fn missing_field(name: &'static str) -> Self {
        Self::MissingField(name)
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::DuplicateField(name)
    }
}
