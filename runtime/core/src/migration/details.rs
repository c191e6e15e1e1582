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
    /// Whether a macro made the migration.
    pub(crate) by_macro: bool,
    /// The hash of the text that stands for the code that the function calls.
    pub(crate) covers: Option<Fingerprint>,
    /// A fingerprint of earlier code that does the same, and that of this code.
    pub(crate) unchanged: Option<(u64, u64)>,
}

impl Details {
    /// No values, of a migration that a macro makes.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            note: None,
            undo: false,
            detached: false,
            identity: false,
            by_macro: true,
            covers: None,
            unchanged: None,
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

    /// A text that stands for the code that the function calls: a part of the fingerprint.
    #[must_use]
    pub const fn covers(self, text: &'static str) -> Self {
        Self {
            covers: Some(Fingerprint::of_bytes(text.as_bytes())),
            ..self
        }
    }

    /// Code with the fingerprint `now` does the same as earlier code, whose fingerprint it
    /// keeps.
    #[must_use]
    pub const fn unchanged(self, earlier: u64, now: u64) -> Self {
        Self {
            unchanged: Some((earlier, now)),
            ..self
        }
    }

    /// The fingerprint of a function whose tokens have this hash.
    pub(crate) const fn fingerprint(&self, tokens: u64) -> u64 {
        let code = match self.covers {
            // 0 means an unknown fingerprint.
            Some(covers) => match tokens.rotate_left(1) ^ covers.get() {
                0 => 1,
                code => code,
            },
            None => tokens,
        };
        match self.unchanged {
            Some((earlier, now)) if now == code => earlier,
            _ => code,
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
