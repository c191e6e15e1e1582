//! What generated code leaves for the linker: migrations, and versions that are
//! known without any.

use crate::id::WorkflowId;
use crate::migration::SourceLocation;
use crate::registry::edge::{Migration, TypeRef};
use crate::workflow::Workflow;

/// A migration that is linked into the program.
#[doc(hidden)]
pub struct Registration {
    migration: fn() -> Migration,
}

impl Registration {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(migration: fn() -> Migration) -> Self {
        Self { migration }
    }

    pub(crate) fn migration(&self) -> Migration {
        (self.migration)()
    }
}

inventory::collect!(Registration);

/// A version of a workflow that is known without a migration that names it.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct VersionRegistration {
    pub(crate) id: WorkflowId,
    pub(crate) schema_version: u32,
    pub(crate) state: fn() -> TypeRef,
    pub(crate) defined_at: SourceLocation,
    /// Why processes stay there, if that is decided.
    pub(crate) stays: Option<&'static str>,
}

impl VersionRegistration {
    /// A workflow.
    #[must_use]
    pub const fn workflow<W: Workflow>(defined_at: SourceLocation) -> Self {
        Self {
            id: WorkflowId::of::<W>(),
            schema_version: W::STATE_SCHEMA_VERSION,
            state: TypeRef::of::<W::State>,
            defined_at,
            stays: None,
        }
    }

    /// A workflow whose processes stay where they are, and why.
    #[must_use]
    pub const fn no_migration<W: Workflow>(
        reason: &'static str,
        defined_at: SourceLocation,
    ) -> Self {
        let mut version = Self::workflow::<W>(defined_at);
        version.stays = Some(reason);
        version
    }
}

inventory::collect!(VersionRegistration);
