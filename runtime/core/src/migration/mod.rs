//! Migrations: conversions of a process's state from one version of its
//! workflow to another.

pub(crate) mod codec;
pub(crate) mod details;
mod unborrowed;

use std::fmt;
use std::marker::PhantomData;

pub use codec::{Decoder, Encoder};
pub use details::Details;

use crate::fingerprint::Fingerprint;
use crate::id::WorkflowId;
use crate::workflow::{BoxError, Workflow};

/// The reason why a conversion rejected a state. The process stays at its old
/// version, and the report shows the reason.
///
/// The message, which is the `Display` of your error, is written to reports, to
/// the record of the run, to logs, and to the operator of the run. It is the
/// only text about a state that you choose: name fields in it, not the values
/// of a state. `Debug` of your error is never used.
pub struct ConversionError {
    message: String,
    source: Option<BoxError>,
}

impl ConversionError {
    /// A reason as text.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// An error as the reason, kept with its sources.
    pub fn from_error(error: impl Into<BoxError>) -> Self {
        let source = error.into();
        Self {
            message: source.to_string(),
            source: Some(source),
        }
    }
}

impl fmt::Debug for ConversionError {
    // `Debug` of a wrapped error is usually derived, and would print a whole
    // state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConversionError")
            .field(&self.message)
            .finish()
    }
}

impl fmt::Display for ConversionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConversionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The message is that of the error itself; the source is the next
        // error.
        self.source.as_ref().and_then(|s| s.source())
    }
}

impl From<String> for ConversionError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for ConversionError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// The location of a migration in source code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLocation {
    /// The annotated function with its module, `my_crate::orders::v1_to_v2`, or
    /// the macro, `my_crate::orders::identity_migration!`.
    pub function: &'static str,
    /// The package.
    pub package: &'static str,
    /// The file.
    pub file: &'static str,
    /// The line in the file, from 1.
    pub line: u32,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}:{} in package {})",
            self.function, self.file, self.line, self.package
        )
    }
}

/// The package of a module: the name given by cargo, or without cargo (then it is
/// empty) the name of the crate.
#[doc(hidden)]
#[must_use]
pub const fn package(cargo: &'static str, module: &'static str) -> &'static str {
    if !cargo.is_empty() {
        return cargo;
    }
    let mut end = 0;
    while end < module.len() && module.as_bytes()[end] != b':' {
        end += 1;
    }
    module.split_at(end).0
}

/// A typed migration from one version of a workflow to the next.
///
/// The attribute [`state_migration`](macro@state_migration::state_migration)
/// implements this for an annotated function. Implement it yourself when the
/// conversion needs values that only exist at run time:
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use state_migration::{
/// #     ConversionError, Decoder, EventPayload, StateMigration, Workflow, WorkflowId,
/// # };
/// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed }
/// # impl EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct StateV1 { total: u64 }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct StateV2 { net: u64, tax: u64 }
/// # struct OrderV1; struct OrderV2;
/// # impl Workflow for OrderV1 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v1";
/// #     type State = StateV1; type Event = OrderEvent;
/// #     fn apply(s: StateV1, _: &OrderEvent) -> StateV1 { s }
/// # }
/// # impl Workflow for OrderV2 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v2";
/// #     const STATE_SCHEMA_VERSION: u32 = 2;
/// #     type State = StateV2; type Event = OrderEvent;
/// #     fn apply(s: StateV2, _: &OrderEvent) -> StateV2 { s }
/// # }
/// static V1: WorkflowId = WorkflowId::of::<OrderV1>();
/// static V2: WorkflowId = WorkflowId::of::<OrderV2>();
///
/// struct SplitTax {
///     percent: u64,
/// }
///
/// impl StateMigration for SplitTax {
///     type FromWorkflow = OrderV1;
///     type ToWorkflow = OrderV2;
///
///     fn source_workflow_id(&self) -> &WorkflowId {
///         &V1
///     }
///     fn target_workflow_id(&self) -> &WorkflowId {
///         &V2
///     }
///     fn migrate(&self, old: StateV1) -> Result<StateV2, ConversionError> {
///         let net = old.total * 100 / (100 + self.percent);
///         Ok(StateV2 { net, tax: old.total - net })
///     }
///     fn decoder(&self) -> Option<Decoder> {
///         Some(Decoder::for_state::<StateV2>())
///     }
/// }
///
/// let new = SplitTax { percent: 20 }.migrate(StateV1 { total: 120 })?;
/// assert_eq!((new.net, new.tax), (100, 20));
/// # Ok::<(), ConversionError>(())
/// ```
/// A check of the conversions of a migration: the state before, and the state after.
pub type Check<M> = fn(
    &<<M as StateMigration>::FromWorkflow as Workflow>::State,
    &<<M as StateMigration>::ToWorkflow as Workflow>::State,
) -> Result<(), ConversionError>;

#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a migration",
    label = "expected a type that implements `StateMigration`",
    note = "`#[state_migration]` generates a struct for each function, such as `OrderV1ToV2Migration` for `order_v1_to_v2`: pass that struct"
)]
pub trait StateMigration: Send + Sync + 'static {
    /// The version before the migration.
    type FromWorkflow: Workflow;
    /// The version after the migration.
    type ToWorkflow: Workflow;

    /// The id of the version before the migration.
    fn source_workflow_id(&self) -> &WorkflowId;

    /// The id of the version after the migration.
    fn target_workflow_id(&self) -> &WorkflowId;

    /// Converts the state of one process. Must be pure: no clock, no I/O, no
    /// randomness.
    ///
    /// # Errors
    /// The state cannot be converted. The process is unchanged, the report
    /// names it, and the run continues with the others.
    fn migrate(
        &self,
        state: <Self::FromWorkflow as Workflow>::State,
    ) -> Result<<Self::ToWorkflow as Workflow>::State, ConversionError>;

    /// A check of each conversion, which compares the state before with the state after. A
    /// process that it refuses is not migrated and fails with
    /// [`CheckFailed`](crate::FailureClass::CheckFailed).
    ///
    /// The attribute has the key `check` for it.
    fn check(&self) -> Option<Check<Self>> {
        None
    }

    /// The fingerprint of the conversion's code; 0 without the attribute.
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::default()
    }

    /// The location of the conversion, if it is known.
    fn defined_at(&self) -> Option<SourceLocation> {
        None
    }

    /// The values of the attribute's keys.
    #[doc(hidden)]
    fn details(&self) -> Details {
        Details::default()
    }

    /// The decoder of target states. Before a run commits what
    /// [`migrate`](Self::migrate) returned, it reads the state back with this
    /// decoder. A run is refused if a route that it selects ends in a migration
    /// without a decoder, since the processes might be unreadable
    /// afterwards. `MigrationRunner::open` has the decoder of the version that it
    /// opens.
    ///
    /// The attribute provides the decoder if the state implements
    /// `serde::Deserialize`. In your own implementation, return
    /// `Some(Decoder::for_state::<StateV2>())`.
    fn decoder(&self) -> Option<Decoder> {
        None
    }

    /// The encoder of source states.
    #[doc(hidden)]
    fn encoder(&self) -> Option<Encoder> {
        None
    }
}

/// A migration between two versions that share a state: only the version
/// changes.
///
/// `W` is the workflow of one of the two ids; its `apply` folds the events of
/// both.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use state_migration::{EventPayload, IdentityMigration, MigrationRegistry, Workflow, WorkflowId};
/// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed }
/// # impl EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct State { total: u64 }
/// # struct OrderV2;
/// # impl Workflow for OrderV2 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v2";
/// #     type State = State; type Event = OrderEvent;
/// #     fn apply(s: State, _: &OrderEvent) -> State { s }
/// # }
/// let same_state = IdentityMigration::<OrderV2>::new(
///     WorkflowId::new("order", "v1"),
///     WorkflowId::new("order", "v2"),
/// );
/// let registry = MigrationRegistry::builder().with(same_state).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct IdentityMigration<W> {
    source: WorkflowId,
    target: WorkflowId,
    workflow: PhantomData<fn() -> W>,
}

impl<W: Workflow> IdentityMigration<W> {
    /// A migration from `source` to `target`; the id of `W` must be one of them.
    #[must_use]
    pub fn new(source: WorkflowId, target: WorkflowId) -> Self {
        Self {
            source,
            target,
            workflow: PhantomData,
        }
    }
}

impl<W> fmt::Debug for IdentityMigration<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityMigration")
            .field("source", &self.source)
            .field("target", &self.target)
            .finish()
    }
}

impl<W> Clone for IdentityMigration<W> {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            target: self.target.clone(),
            workflow: PhantomData,
        }
    }
}

impl<W: Workflow> StateMigration for IdentityMigration<W> {
    type FromWorkflow = W;
    type ToWorkflow = W;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.source
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.target
    }

    fn migrate(&self, state: W::State) -> Result<W::State, ConversionError> {
        Ok(state)
    }

    fn details(&self) -> Details {
        Details::new().identity()
    }
}

/// A state that two versions share.
#[diagnostic::on_unimplemented(
    message = "`identity_migration!` requires two versions with the same state, but these have `{S}` and `{Self}`",
    label = "write a function with `#[state_migration]` that converts `{S}` into `{Self}`"
)]
pub trait SharedState<S> {
    /// The same state.
    fn from_shared(state: S) -> Self;
}

#[diagnostic::do_not_recommend]
impl<S> SharedState<S> for S {
    fn from_shared(state: S) -> S {
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_cargo_the_package_is_the_crate() {
        assert_eq!(package("my-crate", "my_crate::orders"), "my-crate");
        assert_eq!(package("", "my_crate::orders"), "my_crate");
        assert_eq!(package("", "my_crate"), "my_crate");
    }
}
