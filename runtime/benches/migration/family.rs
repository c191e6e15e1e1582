//! The measured workflow: orders, in several families and versions. Events are about
//! 300 bytes of JSON, states about 600.

use serde::{Deserialize, Serialize};
use state_migration::{
    EventPayload, MigrationRegistry, MigrationRegistryBuilder, Workflow, WorkflowId,
    state_migration,
};

/// Number of families of workflows.
pub const FAMILIES: usize = 50;

/// Number of versions per family.
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

/// The events of an order.
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
    Noted {
        text: String,
    },
}

impl EventPayload for Event {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "OrderPlaced",
            Self::ItemAdded { .. } => "OrderItemAdded",
            Self::Paid { .. } => "OrderPaid",
            Self::Noted { .. } => "OrderNoted",
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

/// The state of an order; each version is a separate type.
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
    /// Only in large states.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    notes: String,
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
                // A long order has many changes, but not many items.
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
            Event::Noted { text } => self.notes.push_str(text),
        }
        self
    }

    /// The measured conversion.
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
            notes: self.notes,
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

/// The id of a version of a family.
pub fn id(family: usize, version: usize) -> WorkflowId {
    WorkflowId::new(NAMES[family], NUMBERS[version])
}

/// Annotated functions, as users write them: only these provide a decoder for the
/// read-back.
macro_rules! migrations {
    ($($function:ident $family:literal $from:literal $to:literal,)*) => {$(
        #[state_migration(from = Family<$family, $from>, to = Family<$family, $to>)]
        fn $function(old: Order<$from>) -> Order<$to> {
            old.into_version()
        }
    )*};
}

migrations! {
    first 0 0 1,
    second 0 1 2,
    third 0 2 3,
}

/// One migration, of the first family.
pub fn one() -> MigrationRegistry {
    build(MigrationRegistry::builder().with(FirstMigration))
}

#[state_migration(from = Family<0, 0>, to = Family<0, 1>, detached)]
fn refuse(old: Order<0>) -> Result<Order<1>, String> {
    // About as long as a sentence that names a process and a value.
    Err(format!(
        "{} is refused: {}",
        old.order_number,
        "-".repeat(150)
    ))
}

/// The first migration of the first family, with code that refuses each process.
pub fn refusing() -> MigrationRegistry {
    build(MigrationRegistry::builder().with(RefuseMigration))
}

/// Three migrations of the first family: a route of three hops.
pub fn three_hops() -> MigrationRegistry {
    build(
        MigrationRegistry::builder()
            .with(FirstMigration)
            .with(SecondMigration)
            .with(ThirdMigration),
    )
}

/// One migration, of the second family.
pub fn another() -> MigrationRegistry {
    build(MigrationRegistry::builder().with(Of01Migration))
}

/// The first migration of each family.
pub fn fifty() -> MigrationRegistry {
    of_each(MigrationRegistry::builder().with(FirstMigration))
}

macro_rules! of_each {
    ($($function:ident $migration:ident $family:literal,)*) => {
        migrations! { $($function $family 0 1,)* }

        fn of_each(builder: MigrationRegistryBuilder) -> MigrationRegistry {
            build(builder$(.with($migration))*)
        }
    };
}

of_each! {
    of_01 Of01Migration 1,
    of_02 Of02Migration 2,
    of_03 Of03Migration 3,
    of_04 Of04Migration 4,
    of_05 Of05Migration 5,
    of_06 Of06Migration 6,
    of_07 Of07Migration 7,
    of_08 Of08Migration 8,
    of_09 Of09Migration 9,
    of_10 Of10Migration 10,
    of_11 Of11Migration 11,
    of_12 Of12Migration 12,
    of_13 Of13Migration 13,
    of_14 Of14Migration 14,
    of_15 Of15Migration 15,
    of_16 Of16Migration 16,
    of_17 Of17Migration 17,
    of_18 Of18Migration 18,
    of_19 Of19Migration 19,
    of_20 Of20Migration 20,
    of_21 Of21Migration 21,
    of_22 Of22Migration 22,
    of_23 Of23Migration 23,
    of_24 Of24Migration 24,
    of_25 Of25Migration 25,
    of_26 Of26Migration 26,
    of_27 Of27Migration 27,
    of_28 Of28Migration 28,
    of_29 Of29Migration 29,
    of_30 Of30Migration 30,
    of_31 Of31Migration 31,
    of_32 Of32Migration 32,
    of_33 Of33Migration 33,
    of_34 Of34Migration 34,
    of_35 Of35Migration 35,
    of_36 Of36Migration 36,
    of_37 Of37Migration 37,
    of_38 Of38Migration 38,
    of_39 Of39Migration 39,
    of_40 Of40Migration 40,
    of_41 Of41Migration 41,
    of_42 Of42Migration 42,
    of_43 Of43Migration 43,
    of_44 Of44Migration 44,
    of_45 Of45Migration 45,
    of_46 Of46Migration 46,
    of_47 Of47Migration 47,
    of_48 Of48Migration 48,
    of_49 Of49Migration 49,
}

fn build(builder: MigrationRegistryBuilder) -> MigrationRegistry {
    builder.build().expect("the migrations fit together")
}
