//! Generated code is silent under lints stricter than its users', and does not
//! see the names that surround it.

#![deny(
    warnings,
    missing_docs,
    missing_copy_implementations,
    missing_debug_implementations,
    single_use_lifetimes,
    trivial_casts,
    unreachable_pub,
    unused_qualifications,
    unused_results,
    clippy::pedantic,
    clippy::nursery,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::default_trait_access,
    clippy::missing_inline_in_public_items,
    clippy::pub_use
)]
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use state_migration::{
    EventPayload, Fingerprint, StateMigration, Workflow, identity_migration, migration_chain,
    no_migration, register_workflow, state_migration,
};

#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderPlaced"
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct StateV1 {
    total: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct StateV2 {
    cents: u64,
}

struct OrderV1;
struct OrderV2;
struct OrderV3;

impl Workflow for OrderV1 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v1";
    type State = StateV1;
    type Event = OrderEvent;

    fn apply(state: StateV1, _: &OrderEvent) -> StateV1 {
        state
    }
}

impl Workflow for OrderV2 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v2";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = StateV2;
    type Event = OrderEvent;

    fn apply(state: StateV2, _: &OrderEvent) -> StateV2 {
        state
    }
}

impl Workflow for OrderV3 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v3";
    const STATE_SCHEMA_VERSION: u32 = 3;
    type State = ();
    type Event = OrderEvent;

    fn apply(_state: (), _: &OrderEvent) {}
}

/// Counts cents.
#[state_migration(from = OrderV1, to = OrderV2)]
// May be the attribute by another name, for all that its arguments show.
#[rust_analyzer::moves(from = OrderV1, to = OrderV2)]
#[must_use]
const fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 {
        cents: old.total * 100,
    }
}

/// Forgets all.
///
/// # Errors
/// There was something to forget.
#[state_migration(from = OrderV2, to = OrderV3)]
#[deprecated(note = "called by the registry only")]
fn order_v2_to_v3(old: StateV2) -> Result<(), String> {
    if old == StateV2::default() {
        Ok(())
    } else {
        Err(format!("{} cents are left", old.cents))
    }
}

/// Deprecated like all that is about to go.
#[deprecated(note = "no order is placed under it any more")]
struct OrderV0;

#[allow(deprecated)]
impl Workflow for OrderV0 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v0";
    type State = StateV1;
    type Event = OrderEvent;

    fn apply(state: StateV1, _: &OrderEvent) -> StateV1 {
        state
    }
}

identity_migration!(OrderV0 => OrderV1, note = "the same state");
migration_chain!(OrderV0 => OrderV1 => OrderV2 => OrderV3);
register_workflow!(OrderV3, OrderV2);
no_migration!(OrderV0, reason = "said twice");

/// Back to euros.
#[state_migration(from = OrderV2, to = OrderV1, undo, detached, name = Back, note = "loses cents")]
const fn order_v2_to_v1(new: StateV2) -> StateV1 {
    StateV1 {
        total: new.cents / 100,
    }
}

/// States of which a lint has that a function need not take them, or return them, as
/// they are.
mod by_value {
    use std::collections::HashMap;

    use super::{OrderEvent, Workflow, state_migration};

    type Names = HashMap<String, u64>;

    macro_rules! versions {
        ($($name:ident $version:literal $state:ty),*) => {$(
            /// A version.
            #[derive(Debug, Clone, Copy)]
            struct $name;

            impl Workflow for $name {
                const NAME: &'static str = "by value";
                const VERSION: &'static str = stringify!($version);
                const STATE_SCHEMA_VERSION: u32 = $version;
                type State = $state;
                type Event = OrderEvent;

                fn apply(state: $state, _: &OrderEvent) -> $state {
                    state
                }
            }
        )*};
    }

    versions!(V1 1 String, V2 2 Names, V3 3 Box<u64>);

    /// Reads the name.
    #[state_migration(from = V1, to = V2)]
    #[must_use]
    fn v1_to_v2(old: String) -> Names {
        std::iter::once((old.to_uppercase(), 1)).collect()
    }

    /// Reads the number.
    #[state_migration(from = V2, to = V3)]
    #[must_use]
    fn v2_to_v3(old: Names) -> Box<u64> {
        Box::new(old.values().sum())
    }
}

/// The runtime crate by another path.
#[allow(clippy::redundant_pub_crate)] // says the opposite of `unreachable_pub`
mod facade {
    pub(super) use state_migration as runtime;
}

/// Its states and versions are imported where their paths are written out too.
#[allow(clippy::redundant_pub_crate)] // says the opposite of `unreachable_pub`
mod invoices {
    use super::{OrderEvent, StateV1, StateV2, Workflow, facade, facade::runtime};

    pub(super) struct InvoiceV1;
    pub(super) struct InvoiceV2;

    impl Workflow for InvoiceV1 {
        const NAME: &'static str = "invoice";
        const VERSION: &'static str = "v1";
        type State = StateV1;
        type Event = OrderEvent;

        fn apply(state: StateV1, _: &OrderEvent) -> StateV1 {
            state
        }
    }

    impl Workflow for InvoiceV2 {
        const NAME: &'static str = "invoice";
        const VERSION: &'static str = "v2";
        const STATE_SCHEMA_VERSION: u32 = 2;
        type State = StateV2;
        type Event = OrderEvent;

        fn apply(state: StateV2, _: &OrderEvent) -> StateV2 {
            state
        }
    }

    #[facade::runtime::state_migration(
        from = InvoiceV1, to = InvoiceV2, crate = crate::facade::runtime
    )]
    pub(super) const fn invoice_v1_to_v2(old: StateV1) -> StateV2 {
        StateV2 { cents: old.total }
    }

    #[runtime::state_migration(
        from = InvoiceV2, to = InvoiceV1, crate = super::facade::runtime, undo
    )]
    pub(super) const fn invoice_v2_to_v1(new: StateV2) -> StateV1 {
        StateV1 { total: new.cents }
    }
}

/// Every name of the prelude and of the generated code means something else here.
#[allow(
    dead_code,
    non_camel_case_types,
    unused_macros,
    clippy::redundant_pub_crate // says the opposite of `unreachable_pub`
)]
mod shadowed {
    use super::{
        OrderEvent, StateV1, StateV2, Workflow, identity_migration, migration_chain, no_migration,
        register_workflow, state_migration,
    };

    struct Result;
    struct Option;
    struct String;
    struct Box;
    struct Vec;
    struct Some;
    struct None;
    struct Ok;
    struct Err;
    struct Returned;
    struct Settle;
    struct Decode;
    struct Decoder;
    struct Link;
    struct Inferred;
    struct u64;
    struct str;
    trait Clone {}
    trait Copy {}
    trait Debug {}
    trait Send {}
    trait Sync {}
    trait Sized {}
    trait Fn {}
    trait From {}
    trait Into {}
    trait Annotated {}
    mod core {}
    mod std {}
    mod inventory {}
    mod state_migration_macros {}
    struct Details;
    struct Pair;
    struct Registration;
    struct VersionRegistration;
    struct States;
    trait NotShared {}
    trait MigratesTo {}
    const fn hop() {}
    const fn link_identity() {}
    const fn link() {}
    const fn settle() {}
    const fn decoder() {}
    macro_rules! panic {
        () => {};
    }
    macro_rules! line {
        () => {};
    }
    macro_rules! concat {
        () => {};
    }
    macro_rules! submit {
        () => {};
    }

    pub(super) struct CartV1;
    pub(super) struct CartV2;
    pub(super) struct CartV3;

    impl Workflow for CartV1 {
        const NAME: &'static ::core::primitive::str = "cart";
        const VERSION: &'static ::core::primitive::str = "v1";
        type State = StateV1;
        type Event = OrderEvent;

        fn apply(state: StateV1, _: &OrderEvent) -> StateV1 {
            state
        }
    }

    impl Workflow for CartV2 {
        const NAME: &'static ::core::primitive::str = "cart";
        const VERSION: &'static ::core::primitive::str = "v2";
        const STATE_SCHEMA_VERSION: u32 = 2;
        type State = StateV2;
        type Event = OrderEvent;

        fn apply(state: StateV2, _: &OrderEvent) -> StateV2 {
            state
        }
    }

    impl Workflow for CartV3 {
        const NAME: &'static ::core::primitive::str = "cart";
        const VERSION: &'static ::core::primitive::str = "v3";
        const STATE_SCHEMA_VERSION: u32 = 2;
        type State = StateV2;
        type Event = OrderEvent;

        fn apply(state: StateV2, _: &OrderEvent) -> StateV2 {
            state
        }
    }

    identity_migration!(CartV2 => CartV3, note = "shadowed");
    migration_chain!(CartV1 => CartV2 => CartV3);
    no_migration!(CartV1, reason = "shadowed");
    register_workflow!(CartV3);

    #[state_migration(from = CartV2, to = CartV1, undo, note = "shadowed")]
    pub(super) const fn back(new: StateV2) -> StateV1 {
        StateV1 { total: new.cents }
    }

    type Refusable<S> = ::core::result::Result<S, &'static ::core::primitive::str>;

    // Has the name of the parameter in the generated code.
    #[state_migration(from = CartV1, to = CartV2)]
    pub(super) const fn state(old: StateV1) -> Refusable<StateV2> {
        if old.total == 0 {
            return Refusable::Err("there is nothing to move");
        }
        Refusable::Ok(StateV2 { cents: old.total })
    }
}

#[test]
fn strict_lints_and_shadowed_names_do_not_disturb_a_migration() {
    let old = StateV1 { total: 7 };
    assert_eq!(
        OrderV1ToV2Migration.migrate(old).ok(),
        Some(StateV2 { cents: 700 })
    );
    assert_eq!(
        OrderV2ToV3Migration
            .migrate(order_v1_to_v2(old))
            .map_err(|refused| refused.to_string()),
        Err("700 cents are left".to_owned())
    );
    assert_eq!(
        shadowed::StateMigration
            .migrate(StateV1::default())
            .map_err(|refused| refused.to_string()),
        shadowed::state(StateV1::default()).map_err(str::to_owned)
    );
    let there_and_back = Back.migrate(order_v1_to_v2(old)).ok();
    assert_eq!(there_and_back, Some(order_v2_to_v1(order_v1_to_v2(old))));
    assert_eq!(
        shadowed::BackMigration
            .migrate(StateV2 { cents: 7 })
            .map_err(|refused| refused.to_string()),
        Ok(shadowed::back(StateV2 { cents: 7 }))
    );
    assert_eq!(
        invoices::InvoiceV1ToV2Migration.migrate(old).ok(),
        Some(invoices::invoice_v1_to_v2(old))
    );
    let new = StateV2 { cents: 7 };
    assert_eq!(
        invoices::InvoiceV2ToV1Migration.migrate(new).ok(),
        Some(invoices::invoice_v2_to_v1(new))
    );
    assert_ne!(
        StateMigration::fingerprint(&OrderV1ToV2Migration),
        Fingerprint::default()
    );
}
