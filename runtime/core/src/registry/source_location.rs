//! Source location of a registered migration or version.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;

use crate::migration::SourceLocation;

/// A source location.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// The location recorded by generated code.
    Code(SourceLocation),
    /// A type, whose name starts with its crate, and the place where it was
    /// explicitly added to a registry.
    Type {
        name: &'static str,
        added_at: Option<&'static Location<'static>>,
    },
}

impl Place {
    pub(crate) fn of_type<T: ?Sized>() -> Self {
        Self::Type {
            name: std::any::type_name::<T>(),
            added_at: None,
        }
    }

    pub(crate) fn added_at(self, caller: &'static Location<'static>) -> Self {
        match self {
            Self::Code(_) => self,
            Self::Type { name, .. } => Self::Type {
                name,
                added_at: Some(caller),
            },
        }
    }

    /// The name of the function, the macro or the type.
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Code(at) => at.function.into(),
            Self::Type { name, .. } => as_users_know_it(name),
        }
    }

    fn order(&self) -> (&str, u32, &str) {
        match self {
            Self::Code(at) => (at.file, at.line, at.function),
            Self::Type { name, added_at } => {
                let at = added_at.map_or(("", 0), |at| (at.file(), at.line()));
                (at.0, at.1, name)
            }
        }
    }
}

/// The name of a type under the package that programs depend on, which re-exports
/// the types of this one.
fn as_users_know_it(name: &'static str) -> Cow<'static, str> {
    match name.contains("state_migration_core::") {
        true => name
            .replace("state_migration_core::", "state_migration::")
            .into(),
        false => name.into(),
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(at) => write!(f, "{at}"),
            Self::Type { name, added_at } => {
                write!(f, "`{}`", as_users_know_it(name))?;
                added_at.map_or(Ok(()), |at| {
                    write!(f, " (added at {}:{})", at.file(), at.line())
                })
            }
        }
    }
}
