//! Workflows: versioned, pure state machines, defined by the user.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::totals::Totals;

/// Any error from user code.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A domain event: serializable, with a name and a schema version that do not
/// change when code is renamed.
///
/// The serialized form must identify the event by itself, as serde's enums do.
pub trait EventPayload: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The stable name of this event, such as `OrderPlaced`.
    ///
    /// A leading `$` is reserved.
    fn event_type(&self) -> &'static str;

    /// The version of the payload's layout. Raise it when the layout changes,
    /// and read the old one in [`Workflow::upcast`].
    fn schema_version(&self) -> u32 {
        1
    }
}

/// A versioned state machine: the type of a process.
///
/// Two versions of a workflow are two types with the same `NAME`.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use state_migration::{EventPayload, Workflow};
///
/// #[derive(Serialize, Deserialize)]
/// enum OrderEvent {
///     Placed { item: String },
///     Shipped,
/// }
///
/// impl EventPayload for OrderEvent {
///     fn event_type(&self) -> &'static str {
///         match self {
///             Self::Placed { .. } => "OrderPlaced",
///             Self::Shipped => "OrderShipped",
///         }
///     }
/// }
///
/// #[derive(Default, Clone, Serialize, Deserialize)]
/// struct Order {
///     item: String,
///     shipped: bool,
/// }
///
/// struct OrderV1;
///
/// impl Workflow for OrderV1 {
///     const NAME: &'static str = "order";
///     const VERSION: &'static str = "2025-10-01";
///     type State = Order;
///     type Event = OrderEvent;
///
///     fn apply(mut state: Order, event: &OrderEvent) -> Order {
///         match event {
///             OrderEvent::Placed { item } => state.item.clone_from(item),
///             OrderEvent::Shipped => state.shipped = true,
///         }
///         state
///     }
///
///     fn is_finished(state: &Order) -> bool {
///         state.shipped
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a workflow",
    label = "expected a type that implements `Workflow`"
)]
pub trait Workflow: Send + Sync + 'static {
    /// The name of the workflow, the same in every version: `order`.
    const NAME: &'static str;

    /// The version that this type implements: `2025-10-01`.
    const VERSION: &'static str;

    /// The version of the state's serialized layout. A snapshot with another
    /// one is ignored, and the events are replayed. Two versions with different
    /// state types need different values; the attribute
    /// [`state_migration`](macro@state_migration::state_migration) rejects
    /// others.
    const STATE_SCHEMA_VERSION: u32 = 1;

    /// The state of a process, folded from its events.
    type State: Default + Clone + Send + Sync + 'static;

    /// The events of a process.
    type Event: EventPayload;

    /// Folds one event into the state. Must be pure: no clock, no I/O, no
    /// randomness.
    ///
    /// A correction of this function changes the states of existing processes, but
    /// not their snapshots, which
    /// [`Process::open`](crate::Process::open) starts from. A dry run of the
    /// `MigrationRunner` finds the snapshots that give another state; raise
    /// [`STATE_SCHEMA_VERSION`](Self::STATE_SCHEMA_VERSION), or delete the
    /// snapshots, and let the run ignore them.
    fn apply(state: Self::State, event: &Self::Event) -> Self::State;

    /// Converts the payload of an older schema version into one that
    /// [`Self::Event`](Workflow::Event) reads. `payload` is raw JSON; return it
    /// borrowed and unchanged when there is nothing to do.
    ///
    /// # Errors
    /// The payload cannot be read by this workflow; the migration of the
    /// process fails, and the process stays where it is.
    fn upcast<'a>(
        event_type: &str,
        schema_version: u32,
        payload: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, BoxError> {
        let _ = (event_type, schema_version);
        Ok(Cow::Borrowed(payload))
    }

    /// Whether a process in this state is finished.
    fn is_finished(state: &Self::State) -> bool {
        let _ = state;
        false
    }

    /// The numbers of this state that no migration may change in sum, such as an amount. A
    /// run adds them up over the processes that it migrates, before and after, and is done
    /// with errors if a sum differs.
    fn totals(state: &Self::State) -> Totals {
        let _ = state;
        Totals::new()
    }
}
