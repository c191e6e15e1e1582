//! A migration in a registry, with its types erased.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fingerprint::Fingerprint;
use crate::id::WorkflowId;
use crate::migration::codec::{Decoder, Encoder, TypeRef};
use crate::migration::details::{Details, Identity};
use crate::migration::{SharedState, SourceLocation, StateMigration};
use crate::registry::erased::{Step, Typed};
use crate::registry::source_location::Place;
#[cfg(feature = "testing")]
use crate::type_code::TypeCode;
use crate::workflow::Workflow;

/// A migration in a [`MigrationRegistry`](crate::MigrationRegistry): one edge
/// between two versions of a workflow.
#[derive(Clone)]
pub struct Migration {
    source: WorkflowId,
    target: WorkflowId,
    fingerprint: Fingerprint,
    defined_at: Option<SourceLocation>,
    /// The location of its code, as far as it is known.
    place: Place,
    details: Details,
    #[doc(hidden)]
    pub source_schema_version: u32,
    target_schema_version: u32,
    pub(crate) source_type: WorkflowId,
    pub(crate) target_type: WorkflowId,
    pub(crate) source_workflow: TypeRef,
    pub(crate) target_workflow: TypeRef,
    pub(crate) source_state: TypeRef,
    #[doc(hidden)]
    pub target_state: TypeRef,
    pub(crate) source_decoder: Decoder,
    /// `None` if it is unknown how to deserialize a state of the target
    /// version; a migration does not require that.
    target_decoder: Option<Decoder>,
    /// The same for `Serialize` and a state of the source version.
    source_encoder: Option<Encoder>,
    pub(crate) target_encoder: Encoder,
    #[doc(hidden)]
    pub step: Arc<dyn Step>,
    #[cfg(feature = "testing")]
    pub(crate) codes: [TypeCode; 2],
}

impl Migration {
    #[doc(hidden)]
    pub fn of<M: StateMigration>(migration: M) -> Self
    where
        <M::FromWorkflow as Workflow>::State: DeserializeOwned,
        <M::ToWorkflow as Workflow>::State: Serialize,
    {
        Self {
            source: migration.source_workflow_id().clone(),
            target: migration.target_workflow_id().clone(),
            fingerprint: migration.fingerprint(),
            defined_at: migration.defined_at(),
            place: migration
                .defined_at()
                .map_or_else(Place::of_type::<M>, Place::Code),
            details: migration.details(),
            source_schema_version: M::FromWorkflow::STATE_SCHEMA_VERSION,
            target_schema_version: M::ToWorkflow::STATE_SCHEMA_VERSION,
            source_type: WorkflowId::of::<M::FromWorkflow>(),
            target_type: WorkflowId::of::<M::ToWorkflow>(),
            source_workflow: TypeRef::of::<M::FromWorkflow>(),
            target_workflow: TypeRef::of::<M::ToWorkflow>(),
            source_state: TypeRef::of::<<M::FromWorkflow as Workflow>::State>(),
            target_state: TypeRef::of::<<M::ToWorkflow as Workflow>::State>(),
            source_decoder: Decoder::for_state::<<M::FromWorkflow as Workflow>::State>(),
            target_decoder: migration.decoder(),
            source_encoder: migration.encoder(),
            target_encoder: Encoder::of::<<M::ToWorkflow as Workflow>::State>(),
            step: Arc::new(Typed(migration)),
            #[cfg(feature = "testing")]
            codes: [
                TypeCode::of::<M::FromWorkflow>(),
                TypeCode::of::<M::ToWorkflow>(),
            ],
        }
    }

    /// The migration between two versions that share a state.
    #[doc(hidden)]
    pub fn identity<A, B>(defined_at: SourceLocation, details: Details) -> Self
    where
        A: Workflow,
        B: Workflow,
        A::State: DeserializeOwned,
        B::State: SharedState<A::State> + Serialize,
    {
        Self::of(Identity::<A, B> {
            defined_at,
            details,
            workflows: PhantomData,
        })
    }

    /// Records where an explicitly added migration was added to a registry.
    pub(crate) fn added_at(mut self, caller: &'static Location<'static>) -> Self {
        self.place = self.place.added_at(caller);
        self
    }

    /// The version before the migration.
    #[must_use]
    pub fn source(&self) -> &WorkflowId {
        &self.source
    }

    /// The version after the migration.
    #[must_use]
    pub fn target(&self) -> &WorkflowId {
        &self.target
    }

    /// The fingerprint of the conversion's code.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The location of the conversion, if it is known.
    #[must_use]
    pub fn defined_at(&self) -> Option<SourceLocation> {
        self.defined_at
    }

    /// The author's note, for the plan and the history.
    #[must_use]
    pub fn note(&self) -> Option<&'static str> {
        self.details.note
    }

    /// Whether the fingerprint covers what the conversion calls: by the key `covers`, or
    /// because it calls nothing. `None` for a handwritten migration, whose author knows.
    #[must_use]
    pub fn covers_calls(&self) -> Option<bool> {
        let covers = self.details.identity || self.details.covers.is_some();
        self.details.by_macro.then_some(covers)
    }

    /// Whether this is an undo, which leads to an earlier version.
    #[must_use]
    pub fn is_undo(&self) -> bool {
        self.details.undo
    }

    /// Whether it changes only the version, because the two share a state.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.details.identity
    }

    /// Whether it is in a crate that owns neither workflow.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.details.detached
    }

    /// The `STATE_SCHEMA_VERSION` of the source version.
    #[must_use]
    pub fn source_schema_version(&self) -> u32 {
        self.source_schema_version
    }

    /// The `STATE_SCHEMA_VERSION` of the target version.
    #[must_use]
    pub fn target_schema_version(&self) -> u32 {
        self.target_schema_version
    }

    /// The decoder of target states, if one is known.
    #[doc(hidden)]
    pub fn target_decoder(&self) -> Option<Decoder> {
        self.target_decoder
    }

    /// The encoder of source states, if one is known.
    #[doc(hidden)]
    pub fn source_encoder(&self) -> Option<Encoder> {
        self.source_encoder
    }

    #[cfg(feature = "testing")]
    pub(crate) fn target_encoder(&self) -> Encoder {
        self.target_encoder
    }

    /// Sets the decoder of target states, if `W` is the target version and has the same
    /// state.
    pub(crate) fn read_as<W: Workflow>(&mut self)
    where
        W::State: DeserializeOwned,
    {
        if self.target_state.id == TypeId::of::<W::State>() && self.target == WorkflowId::of::<W>()
        {
            self.target_decoder = Some(Decoder::for_state::<W::State>());
        }
    }

    #[doc(hidden)]
    pub fn place(&self) -> Place {
        self.place
    }

    /// The short name and the location.
    pub(crate) fn described(&self) -> String {
        format!("{} by {}", self.short_name(), self.place)
    }

    /// Orders by source, target and location.
    pub(crate) fn cmp_by_place(&self, other: &Self) -> std::cmp::Ordering {
        (&self.source, &self.target, self.place).cmp(&(&other.source, &other.target, other.place))
    }

    /// The form that
    /// [`MigrationRegistry::require`](crate::MigrationRegistry::require) accepts:
    /// `order@v1->v2`.
    #[must_use]
    pub fn short_name(&self) -> String {
        if self.source.name() == self.target.name() {
            format!("{}->{}", self.source, self.target.version())
        } else {
            format!("{}->{}", self.source, self.target)
        }
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short_name())?;
        if let Some(at) = self.defined_at {
            write!(f, " by {at}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migration")
            .field("source", &self.source)
            .field("target", &self.target)
            .field("fingerprint", &self.fingerprint)
            .field("defined_at", &self.defined_at)
            .finish_non_exhaustive()
    }
}

/// Shares codecs between migrations whose states have the same type: the
/// decoder of a target's state comes from a migration that starts with that
/// type, such as an undo, and the encoder of a source's state from a migration
/// that ends with it.
pub(crate) fn share_codecs(migrations: &mut [Migration], undos: &[Migration]) {
    let all = || migrations.iter().chain(undos);
    let written: HashMap<TypeId, Encoder> = all()
        .map(|migration| (migration.target_state.id, migration.target_encoder))
        .collect();
    let known: HashMap<TypeId, Decoder> = all()
        .map(|migration| (migration.source_state.id, migration.source_decoder))
        .collect();
    for migration in migrations {
        let shared = known.get(&migration.target_state.id).copied();
        // A migration that starts with a state owns it, so its decoder is
        // faster.
        migration.target_decoder = shared.or(migration.target_decoder);
        let shared = written.get(&migration.source_state.id).copied();
        migration.source_encoder = migration.source_encoder.or(shared);
    }
}
