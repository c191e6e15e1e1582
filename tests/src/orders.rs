//! Orders in three versions: euro, then cents, then net and tax.

use serde::{Deserialize, Serialize};
use state_migration::{
    ConversationId, CorrelationId, EventPayload, EventStore, Process, ProcessId, ProcessIdentity,
    ProcessRegistry, RegistryKey, SnapshotStore, TenantId, Workflow, state_migration,
};

/// What can happen to an order, in every version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OrderEvent {
    /// The order was placed.
    Placed {
        /// The price.
        euro: u64,
    },
    /// Something was paid.
    Paid {
        /// The sum.
        euro: u64,
    },
    /// The order is over.
    Closed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "OrderPlaced",
            Self::Paid { .. } => "OrderPaid",
            Self::Closed => "OrderClosed",
        }
    }
}

/// The state under v1.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateV1 {
    /// What was ordered.
    pub euro: u64,
    /// What was paid.
    pub paid_euro: u64,
    /// Whether it is over.
    pub closed: bool,
}

/// The state under v2.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateV2 {
    /// What was ordered.
    pub cents: u64,
    /// What is not paid yet.
    pub open_cents: i64,
    /// Whether it is over.
    pub closed: bool,
}

/// The state under v3.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateV3 {
    /// Net of what was ordered.
    pub net: u64,
    /// Tax of it, 20 percent.
    pub tax: u64,
    /// What is not paid yet.
    pub open: i64,
    /// Whether it is over.
    pub closed: bool,
}

/// Orders under v1.
pub struct OrderV1;
/// Orders under v2.
pub struct OrderV2;
/// Orders under v3.
pub struct OrderV3;

impl Workflow for OrderV1 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v1";
    type State = StateV1;
    type Event = OrderEvent;

    fn apply(mut state: StateV1, event: &OrderEvent) -> StateV1 {
        match event {
            OrderEvent::Placed { euro } => state.euro += euro,
            OrderEvent::Paid { euro } => state.paid_euro += euro,
            OrderEvent::Closed => state.closed = true,
        }
        state
    }

    fn is_finished(state: &StateV1) -> bool {
        state.closed
    }
}

impl Workflow for OrderV2 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v2";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = StateV2;
    type Event = OrderEvent;

    fn apply(mut state: StateV2, event: &OrderEvent) -> StateV2 {
        match event {
            OrderEvent::Placed { euro } => {
                state.cents += euro * 100;
                state.open_cents += signed(euro * 100);
            }
            OrderEvent::Paid { euro } => state.open_cents -= signed(euro * 100),
            OrderEvent::Closed => state.closed = true,
        }
        state
    }

    fn is_finished(state: &StateV2) -> bool {
        state.closed
    }
}

impl Workflow for OrderV3 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v3";
    const STATE_SCHEMA_VERSION: u32 = 3;
    type State = StateV3;
    type Event = OrderEvent;

    fn apply(mut state: StateV3, event: &OrderEvent) -> StateV3 {
        match event {
            OrderEvent::Placed { euro } => {
                let (net, tax) = split(euro * 100);
                state.net += net;
                state.tax += tax;
                state.open += signed(net + tax);
            }
            OrderEvent::Paid { euro } => state.open -= signed(euro * 100),
            OrderEvent::Closed => state.closed = true,
        }
        state
    }

    fn is_finished(state: &StateV3) -> bool {
        state.closed
    }
}

fn signed(cents: u64) -> i64 {
    i64::try_from(cents).unwrap_or(i64::MAX)
}

fn split(cents: u64) -> (u64, u64) {
    let net = cents * 100 / 120;
    (net, cents - net)
}

/// What v1 counted in euro, v2 counts in cents.
#[state_migration(from = OrderV1, to = OrderV2)]
pub fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 {
        cents: old.euro * 100,
        open_cents: signed(old.euro * 100) - signed(old.paid_euro * 100),
        closed: old.closed,
    }
}

/// Orders for 666 cents cannot be taxed.
#[state_migration(from = OrderV2, to = OrderV3)]
pub fn order_v2_to_v3(old: StateV2) -> Result<StateV3, String> {
    if old.cents == 66_600 {
        return Err("666 euro cannot be taxed".to_owned());
    }
    let (net, tax) = split(old.cents);
    Ok(StateV3 {
        net,
        tax,
        open: old.open_cents,
        closed: old.closed,
    })
}

/// The price that no migration to v3 takes.
pub const UNTAXABLE: u64 = 666;

/// The tenant of the tests.
#[must_use]
pub fn tenant() -> TenantId {
    id("shop")
}

/// An id from a string known to be good.
#[must_use]
pub fn id<T: for<'a> TryFrom<&'a str>>(id: &str) -> T {
    match T::try_from(id) {
        Ok(id) => id,
        Err(_) => unreachable!("{id:?} is a good id"),
    }
}

/// The identity of order `n` under `W`.
#[must_use]
pub fn identity<W: Workflow>(n: u64) -> ProcessIdentity {
    ProcessIdentity::of::<W>(tenant(), id(&format!("{n:06}")))
}

/// The keys under which order `n` is registered.
#[must_use]
pub fn keys(n: u64) -> [RegistryKey; 3] {
    [
        RegistryKey::Process(id::<ProcessId>(&format!("{n:06}"))),
        RegistryKey::Conversation(id::<ConversationId>(&format!("conversation {n}"))),
        RegistryKey::Correlation(id::<CorrelationId>(&format!("correlation {n}"))),
    ]
}

/// The events of order `n` under v1: placed for `n` + 1 euro, partly paid.
#[must_use]
pub fn history(n: u64) -> Vec<OrderEvent> {
    let euro = n + 1;
    let mut events = vec![OrderEvent::Placed { euro }];
    events.extend((0..n % 4).map(|_| OrderEvent::Paid { euro: 1 }));
    if n % 5 == 4 {
        events.push(OrderEvent::Closed);
    }
    events
}

/// The state of order `n` under `W` when its events are folded from the start.
#[must_use]
pub fn folded<W: Workflow<Event = OrderEvent>>(n: u64) -> W::State {
    history(n).iter().fold(W::State::default(), W::apply)
}

/// Puts order `n` into a store, under v1, with the events of [`history`].
///
/// # Errors
/// The store refused it.
pub async fn place<ES, SS>(
    events: &ES,
    snapshots: &SS,
    n: u64,
) -> Result<(), state_migration::Error>
where
    ES: EventStore + Clone + 'static,
    SS: SnapshotStore + Clone + 'static,
{
    let mut order =
        Process::<OrderV1>::open(identity::<OrderV1>(n), events.clone(), snapshots.clone()).await?;
    order.append(&history(n)).await
}

/// Registers order `n` under its three keys, as standing at v1.
///
/// # Errors
/// The registry refused it.
pub async fn register(
    registry: &dyn ProcessRegistry,
    n: u64,
) -> Result<(), state_migration::Error> {
    for key in keys(n) {
        registry
            .register(&tenant(), &key, &identity::<OrderV1>(n))
            .await?;
    }
    Ok(())
}

/// The state of order `n`, loaded under `W`.
///
/// # Errors
/// It cannot be loaded.
pub async fn load<W, S>(store: &S, n: u64) -> Result<W::State, state_migration::Error>
where
    W: Workflow,
    W::State: serde::de::DeserializeOwned,
    S: EventStore + SnapshotStore + Clone + 'static,
{
    let order = Process::<W>::open(identity::<W>(n), store.clone(), store.clone()).await?;
    Ok(order.state().clone())
}
