//! What the keys of the attribute say of a migration, beside its types.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::fingerprint::Fingerprint;
use crate::id::WorkflowId;
use crate::migration::codec::Decoder;
use crate::migration::{ConversionError, SharedState, SourceLocation, StateMigration};
use crate::workflow::Workflow;

/// What a migration says of itself. By hand there is nothing to say.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Details {
    pub(crate) note: Option<&'static str>,
    pub(crate) undo: bool,
    pub(crate) detached: bool,
    pub(crate) identity: bool,
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
    pub(crate) const fn identity(self) -> Self {
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
pub(crate) struct Identity<A, B> {
    pub(crate) defined_at: SourceLocation,
    pub(crate) details: Details,
    pub(crate) workflows: PhantomData<fn() -> (A, B)>,
}

impl<A, B> StateMigration for Identity<A, B>
where
    A: Workflow,
    B: Workflow,
    A::State: DeserializeOwned,
    B::State: SharedState<A::State>,
{
    type FromWorkflow = A;
    type ToWorkflow = B;

    fn source_workflow_id(&self) -> &WorkflowId {
        const { &WorkflowId::of::<A>() }
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        const { &WorkflowId::of::<B>() }
    }

    fn migrate(&self, state: A::State) -> Result<B::State, ConversionError> {
        Ok(SharedState::from_shared(state))
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
        Some(Decoder::for_state::<A::State>())
    }
}
