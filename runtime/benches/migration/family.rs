//! The workflow that is measured: orders, in as many families and versions as a
//! case needs. Events are about 300 bytes of JSON, states about 600.

use serde::{Deserialize, Serialize};
use state_migration::{
    ConversionError, Decoder, EventPayload, MigrationRegistry, MigrationRegistryBuilder,
    StateMigration, Workflow, WorkflowId,
};

/// How many families of workflows there are.
pub const FAMILIES: usize = 50;

/// How many versions each of them has.
pub const VERSIONS: usize = 5;

const NAMES: [&str; FAMILIES] = [
    "order-00", "order-01", "order-02", "order-03", "order-04", "order-05", "order-06", "order-07",
    "order-08", "order-09", "order-10", "order-11", "order-12", "order-13", "order-14", "order-15",
    "order-16", "order-17", "order-18", "order-19", "order-20", "order-21", "order-22", "order-23",
    "order-24", "order-25", "order-26", "order-27", "order-28", "order-29", "order-30", "order-31",
    "order-32", "order-33", "order-34", "order-35", "order-36", "order-37", "order-38", "order-39",
    "order-40", "order-41", "order-42", "order-43", "order-44", "order-45", "order-46", "order-47",
    "order-48", "order-49",
];

const NUMBERS: [&str; VERSIONS] = [
    "2025-10-01",
    "2026-01-01",
    "2026-04-01",
    "2026-07-01",
    "2026-10-01",
];

/// What happens to an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    Placed {
        order_number: String,
        customer: String,
        street: String,
        city: String,
        country: String,
        currency: String,
        placed_at: String,
        channel: String,
        remark: String,
    },
    ItemAdded {
        sku: String,
        description: String,
        quantity: u32,
        unit_price_cents: u64,
        tax_rate: f64,
        warehouse: String,
        added_by: String,
        added_at: String,
        correlation_id: String,
    },
    Paid {
        amount_cents: u64,
        method: String,
        reference: String,
        payer: String,
        iban: String,
        paid_at: String,
        received_at: String,
        correlation_id: String,
    },
}

impl EventPayload for Event {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "OrderPlaced",
            Self::ItemAdded { .. } => "OrderItemAdded",
            Self::Paid { .. } => "OrderPaid",
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Item {
    sku: String,
    quantity: u32,
    unit_price_cents: u64,
    warehouse: String,
}

/// The state of an order; each version is a type of its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order<const V: usize> {
    order_number: String,
    customer: String,
    street: String,
    city: String,
    country: String,
    currency: String,
    items: Vec<Item>,
    total_cents: u64,
    paid_cents: u64,
    pub events: u64,
    last_change: String,
}

impl<const V: usize> Order<V> {
    pub fn apply(mut self, event: &Event) -> Self {
        self.events += 1;
        match event {
            Event::Placed {
                order_number,
                customer,
                street,
                city,
                country,
                currency,
                placed_at,
                ..
            } => {
                self.order_number.clone_from(order_number);
                self.customer.clone_from(customer);
                self.street.clone_from(street);
                self.city.clone_from(city);
                self.country.clone_from(country);
                self.currency.clone_from(currency);
                self.last_change.clone_from(placed_at);
            }
            Event::ItemAdded {
                sku,
                quantity,
                unit_price_cents,
                warehouse,
                added_at,
                ..
            } => {
                self.total_cents += u64::from(*quantity) * unit_price_cents;
                // A long order is one of many changes, not of many items.
                if self.items.len() < 4 {
                    self.items.push(Item {
                        sku: sku.clone(),
                        quantity: *quantity,
                        unit_price_cents: *unit_price_cents,
                        warehouse: warehouse.clone(),
                    });
                }
                self.last_change.clone_from(added_at);
            }
            Event::Paid {
                amount_cents,
                paid_at,
                ..
            } => {
                self.paid_cents += amount_cents;
                self.last_change.clone_from(paid_at);
            }
        }
        self
    }

    /// The conversion that is measured.
    pub fn into_version<const W: usize>(self) -> Order<W> {
        Order {
            order_number: self.order_number,
            customer: self.customer,
            street: self.street,
            city: self.city,
            country: self.country,
            currency: self.currency,
            items: self.items,
            total_cents: self.total_cents,
            paid_cents: self.paid_cents,
            events: self.events,
            last_change: self.last_change,
        }
    }
}

/// Version `V` of family `F`.
pub struct Family<const F: usize, const V: usize>;

impl<const F: usize, const V: usize> Workflow for Family<F, V> {
    const NAME: &'static str = NAMES[F];
    const VERSION: &'static str = NUMBERS[V];
    const STATE_SCHEMA_VERSION: u32 = V as u32 + 1;
    type State = Order<V>;
    type Event = Event;

    fn apply(state: Order<V>, event: &Event) -> Order<V> {
        state.apply(event)
    }
}

/// A version of a family.
pub fn id(family: usize, version: usize) -> WorkflowId {
    WorkflowId::new(NAMES[family], NUMBERS[version])
}

/// From version `V` of family `F` to `W`.
struct Step<const F: usize, const V: usize, const W: usize> {
    source: WorkflowId,
    target: WorkflowId,
}

fn step<const F: usize, const V: usize, const W: usize>() -> Step<F, V, W> {
    Step {
        source: id(F, V),
        target: id(F, W),
    }
}

impl<const F: usize, const V: usize, const W: usize> StateMigration for Step<F, V, W> {
    type FromWorkflow = Family<F, V>;
    type ToWorkflow = Family<F, W>;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.source
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.target
    }

    fn migrate(&self, state: Order<V>) -> Result<Order<W>, ConversionError> {
        Ok(state.into_version())
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<Order<W>>())
    }
}

/// One migration, of the first family.
pub fn one() -> MigrationRegistry {
    build(MigrationRegistry::builder().with(step::<0, 0, 1>()))
}

/// The first family again, in three hops.
pub fn three_hops() -> MigrationRegistry {
    build(
        MigrationRegistry::builder()
            .with(step::<0, 0, 1>())
            .with(step::<0, 1, 2>())
            .with(step::<0, 2, 3>()),
    )
}

/// One migration, of the second family.
pub fn another() -> MigrationRegistry {
    build(MigrationRegistry::builder().with(step::<1, 0, 1>()))
}

/// One migration of each family.
pub fn fifty() -> MigrationRegistry {
    macro_rules! all {
        ($builder:expr, $($family:literal)*) => { $builder$(.with(step::<$family, 0, 1>()))* };
    }
    build(all!(
        MigrationRegistry::builder(),
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24
        25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49
    ))
}

fn build(builder: MigrationRegistryBuilder) -> MigrationRegistry {
    builder.build().expect("the migrations fit together")
}
