//! Link-time registrations: migrations, and versions that are known without a
//! migration.

use crate::id::WorkflowId;
use crate::macro_support::link::{NO_NAME, NO_VERSION};
use crate::migration::SourceLocation;
use crate::migration::codec::TypeRef;
use crate::registry::registered::Migration;
use crate::registry::source_location::Place;
#[cfg(feature = "testing")]
use crate::type_code::TypeCode;
use crate::workflow::Workflow;

/// All registrations in the program, in unspecified order.
pub(crate) fn all() -> (Vec<Migration>, Vec<VersionRegistration>) {
    let migrations = inventory::iter::<Registration>.into_iter();
    let versions = inventory::iter::<VersionRegistration>.into_iter();
    (
        migrations.map(Registration::migration).collect(),
        versions.cloned().collect(),
    )
}

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

    fn migration(&self) -> Migration {
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
    types: fn() -> [TypeRef; 2],
    #[cfg(feature = "testing")]
    pub(crate) code: TypeCode,
    pub(crate) place: Place,
    /// The reason why processes stay there, if that is declared.
    pub(crate) stays: Option<&'static str>,
}

impl VersionRegistration {
    /// Registers a workflow.
    #[must_use]
    #[track_caller]
    pub const fn workflow<W: Workflow>(defined_at: SourceLocation) -> Self {
        assert!(!W::NAME.is_empty(), "{}", NO_NAME);
        assert!(!W::VERSION.is_empty(), "{}", NO_VERSION);
        Self::at::<W>(Place::Code(defined_at))
    }

    /// Registers a workflow whose processes stay where they are, with the
    /// reason.
    #[must_use]
    #[track_caller]
    pub const fn no_migration<W: Workflow>(
        reason: &'static str,
        defined_at: SourceLocation,
    ) -> Self {
        Self::workflow::<W>(defined_at).staying(reason)
    }

    pub(crate) const fn at<W: Workflow>(place: Place) -> Self {
        Self {
            id: WorkflowId::of::<W>(),
            schema_version: W::STATE_SCHEMA_VERSION,
            types: || [TypeRef::of::<W>(), TypeRef::of::<W::State>()],
            #[cfg(feature = "testing")]
            code: TypeCode::of::<W>(),
            place,
            stays: None,
        }
    }

    pub(crate) const fn staying(mut self, reason: &'static str) -> Self {
        self.stays = Some(reason);
        self
    }

    /// The type of the workflow, and that of its state.
    pub(crate) fn types(&self) -> [TypeRef; 2] {
        (self.types)()
    }
}

inventory::collect!(VersionRegistration);
