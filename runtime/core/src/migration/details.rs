//! The values of a migration's keys, apart from its types.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::fingerprint::Fingerprint;
use crate::id::WorkflowId;
use crate::migration::codec::Decoder;
use crate::migration::{ConversionError, SharedState, SourceLocation, StateMigration};
use crate::workflow::Workflow;

/// The values of a migration's keys. A migration without the attribute has
/// none.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Details {
    pub(crate) note: Option<&'static str>,
    pub(crate) undo: bool,
    pub(crate) detached: bool,
    pub(crate) identity: bool,
}

impl Details {
    /// No values.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            note: None,
            undo: false,
            detached: false,
            identity: false,
        }
    }

    /// A note for the plan and the history.
    #[must_use]
    pub const fn note(self, note: &'static str) -> Self {
        Self {
            note: Some(note),
            ..self
        }
    }

    /// Marks an undo, which leads to an earlier version.
    #[must_use]
    pub const fn undo(self) -> Self {
        Self { undo: true, ..self }
    }

    /// Marks a migration in a crate that owns neither workflow, where coherence
    /// cannot detect a duplicate.
    #[must_use]
    pub const fn detached(self) -> Self {
        Self {
            detached: true,
            ..self
        }
    }

    /// Marks a migration that changes only the version.
    pub(crate) const fn identity(self) -> Self {
        Self {
            identity: true,
            ..self
        }
    }

    /// Whether this is an undo.
    #[must_use]
    pub const fn is_undo(&self) -> bool {
        self.undo
    }

    /// Whether coherence cannot detect a duplicate of this.
    #[must_use]
    pub const fn is_detached(&self) -> bool {
        self.detached
    }
}

/// A migration between two versions that share a state.
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
        // The fingerprint of no function, but not 0: a function that replaces
        // this migration later has another one.
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
