//! One migration in a registry, with its types erased.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::fingerprint::Fingerprint;
use crate::fold::{AnyState, Fold, Folding};
use crate::id::WorkflowId;
use crate::migration::{ConversionError, SourceLocation, StateMigration};
use crate::workflow::Workflow;

/// A type, by identity and by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TypeRef {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

impl TypeRef {
    pub(crate) fn of<T: 'static>() -> Self {
        Self {
            id: TypeId::of::<T>(),
            name: std::any::type_name::<T>(),
        }
    }
}

/// Reads a state whose type is not known here from raw JSON.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    decode: fn(&str) -> Result<AnyState, serde_json::Error>,
}

impl Decoder {
    /// The decoder of a state.
    ///
    /// `DeserializeOwned` is asked for nowhere here: which types have it can
    /// depend on lifetimes, of which the compiler knows nothing yet when it
    /// chooses a method. Nothing can be borrowed from a reader, so one lifetime
    /// is as good as all.
    pub(crate) fn of<S: Deserialize<'static> + Send + 'static>() -> Self {
        Self {
            decode: |json| {
                let mut reader = serde_json::Deserializer::from_reader(json.as_bytes());
                let state = S::deserialize(&mut reader)?;
                reader.end()?;
                Ok(Box::new(state))
            },
        }
    }
}

/// What the runner needs of a migration.
pub(crate) trait Step: Send + Sync {
    /// A fold of the source version.
    fn fold(&self) -> Box<dyn Fold>;
    /// Converts a state of the source version into one of the target version.
    fn convert(&self, state: AnyState) -> Result<AnyState, ConversionError>;
    /// Serializes a state of the target version, and appends it.
    fn encode(&self, state: &AnyState, out: &mut Vec<u8>) -> Result<(), serde_json::Error>;
    /// Whether a process in this state of the target version is over.
    fn is_finished(&self, state: &AnyState) -> bool;
}

struct Typed<M>(M);

impl<M: StateMigration> Step for Typed<M>
where
    <M::FromWorkflow as Workflow>::State: DeserializeOwned,
    <M::ToWorkflow as Workflow>::State: Serialize,
{
    fn fold(&self) -> Box<dyn Fold> {
        Box::new(Folding::<M::FromWorkflow>::new())
    }

    fn convert(&self, state: AnyState) -> Result<AnyState, ConversionError> {
        // Validation joins hops only where the types are the same.
        match state.downcast::<<M::FromWorkflow as Workflow>::State>() {
            Ok(state) => self.0.migrate(*state).map(|new| Box::new(new) as AnyState),
            Err(_) => Err(ConversionError::new(
                "a bug in state-migration: a hop was given a state of another type",
            )),
        }
    }

    fn encode(&self, state: &AnyState, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match downcast::<M>(state) {
            Some(state) => serde_json::to_writer(out, state),
            None => Err(serde::ser::Error::custom(
                "a bug in state-migration: a hop was given a state of another type",
            )),
        }
    }

    fn is_finished(&self, state: &AnyState) -> bool {
        downcast::<M>(state).is_some_and(<M::ToWorkflow as Workflow>::is_finished)
    }
}

fn downcast<M: StateMigration>(state: &AnyState) -> Option<&<M::ToWorkflow as Workflow>::State> {
    (state.as_ref() as &dyn Any).downcast_ref()
}

/// What a migration says of itself beside its types. By hand there is nothing
/// to say.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Details {
    note: Option<&'static str>,
    undo: bool,
    detached: bool,
    identity: bool,
}

impl Details {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            note: None,
            undo: false,
            detached: false,
            identity: false,
        }
    }

    /// A text for plan and history.
    #[must_use]
    pub const fn note(self, note: &'static str) -> Self {
        Self {
            note: Some(note),
            ..self
        }
    }

    /// It leads back, from a version to an earlier one.
    #[must_use]
    pub const fn undo(self) -> Self {
        Self { undo: true, ..self }
    }

    /// It is in a crate that owns neither workflow, so that coherence does not
    /// see a second one.
    #[must_use]
    pub const fn detached(self) -> Self {
        Self {
            detached: true,
            ..self
        }
    }

    /// It changes nothing but the version.
    const fn identity(self) -> Self {
        Self {
            identity: true,
            ..self
        }
    }

    /// Whether it leads back.
    #[must_use]
    pub const fn is_undo(&self) -> bool {
        self.undo
    }

    /// Whether coherence does not see it.
    #[must_use]
    pub const fn is_detached(&self) -> bool {
        self.detached
    }
}

/// Two versions that share a state.
struct Identity<A, B> {
    defined_at: SourceLocation,
    details: Details,
    workflows: PhantomData<fn() -> (A, B)>,
}

impl<A, B> StateMigration for Identity<A, B>
where
    A: Workflow,
    B: Workflow<State = A::State>,
    A::State: DeserializeOwned,
{
    type FromWorkflow = A;
    type ToWorkflow = B;

    fn source_workflow_id(&self) -> &WorkflowId {
        const { &WorkflowId::of::<A>() }
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        const { &WorkflowId::of::<B>() }
    }

    fn migrate(&self, state: A::State) -> Result<A::State, ConversionError> {
        Ok(state)
    }

    fn fingerprint(&self) -> Fingerprint {
        // Of no function, but known all the same: that of one that is written
        // in its place later is another.
        Fingerprint::of_bytes(b"identity")
    }

    fn defined_at(&self) -> Option<SourceLocation> {
        Some(self.defined_at)
    }

    fn details(&self) -> Details {
        self.details.identity()
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::of::<A::State>())
    }
}

/// A migration in a [`MigrationRegistry`](crate::MigrationRegistry): one edge
/// between two versions of a workflow.
#[derive(Clone)]
pub struct Migration {
    source: WorkflowId,
    target: WorkflowId,
    fingerprint: Fingerprint,
    defined_at: Option<SourceLocation>,
    details: Details,
    pub(crate) source_schema_version: u32,
    target_schema_version: u32,
    pub(crate) source_type: WorkflowId,
    pub(crate) target_type: WorkflowId,
    pub(crate) same_workflow_type: bool,
    pub(crate) source_state: TypeRef,
    pub(crate) target_state: TypeRef,
    source_decoder: Decoder,
    /// `None` where it is not known that a state of the target version can be
    /// deserialized, which a migration does not need.
    target_decoder: Option<Decoder>,
    pub(crate) step: Arc<dyn Step>,
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
            details: migration.details(),
            source_schema_version: M::FromWorkflow::STATE_SCHEMA_VERSION,
            target_schema_version: M::ToWorkflow::STATE_SCHEMA_VERSION,
            source_type: WorkflowId::of::<M::FromWorkflow>(),
            target_type: WorkflowId::of::<M::ToWorkflow>(),
            same_workflow_type: TypeId::of::<M::FromWorkflow>() == TypeId::of::<M::ToWorkflow>(),
            source_state: TypeRef::of::<<M::FromWorkflow as Workflow>::State>(),
            target_state: TypeRef::of::<<M::ToWorkflow as Workflow>::State>(),
            source_decoder: Decoder::of::<<M::FromWorkflow as Workflow>::State>(),
            target_decoder: migration.decoder(),
            step: Arc::new(Typed(migration)),
        }
    }

    /// The migration between two versions that share a state.
    #[doc(hidden)]
    pub fn identity<A, B>(defined_at: SourceLocation, details: Details) -> Self
    where
        A: Workflow,
        B: Workflow<State = A::State>,
        A::State: DeserializeOwned + Serialize,
    {
        Self::of(Identity::<A, B> {
            defined_at,
            details,
            workflows: PhantomData,
        })
    }

    /// The version that processes stand at.
    #[must_use]
    pub fn source(&self) -> &WorkflowId {
        &self.source
    }

    /// The version that they go on under.
    #[must_use]
    pub fn target(&self) -> &WorkflowId {
        &self.target
    }

    /// The fingerprint of the conversion's code.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Where the conversion is written, if that is known.
    #[must_use]
    pub fn defined_at(&self) -> Option<SourceLocation> {
        self.defined_at
    }

    /// What its author wrote about it, for plan and history.
    #[must_use]
    pub fn note(&self) -> Option<&'static str> {
        self.details.note
    }

    /// Whether it leads back, from a version to an earlier one.
    #[must_use]
    pub fn is_undo(&self) -> bool {
        self.details.undo
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

    /// Deserializes a state of the target version and serializes it again;
    /// `None` where no decoder is known.
    pub(crate) fn decode_back(&self, json: &str) -> Option<Result<Vec<u8>, serde_json::Error>> {
        let decoder = self.target_decoder?;
        Some((decoder.decode)(json).and_then(|state| {
            let mut again = Vec::with_capacity(json.len());
            self.step.encode(&state, &mut again).map(|()| again)
        }))
    }

    /// As in [`MigrationRegistry::expect`](crate::MigrationRegistry::expect): `order@v1->v2`.
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

/// Where a migration does not know how its target's state is deserialized,
/// takes that from one that starts with a state of the same type.
pub(crate) fn share_decoders(migrations: &mut [Migration]) {
    let known: HashMap<TypeId, Decoder> = migrations
        .iter()
        .map(|migration| (migration.source_state.id, migration.source_decoder))
        .collect();
    for migration in migrations {
        let shared = known.get(&migration.target_state.id).copied();
        migration.target_decoder = migration.target_decoder.or(shared);
    }
}
