//! The macros beside the attribute, for what needs no function.
//!
//! Each passes what it is given on to a procedural macro, which shows a mistake
//! at the token that is wrong, behind its own `$crate`: so they need no key for
//! a renamed or re-exported crate.

/// Migrates between two versions that share a state: nothing changes but the
/// version. `identity_migration!(OrderV1 => OrderV2)` says at link time what
/// [`IdentityMigration`](crate::IdentityMigration) says by hand.
///
/// The keys `undo`, `detached` and `note` may follow, with the meaning that they
/// have in the attribute [`state_migration`](macro@state_migration::state_migration).
///
/// ```standalone_crate
/// # use serde::{Deserialize, Serialize};
/// # use state_migration::{EventPayload, Workflow};
/// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed }
/// # impl EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct Order { total: u64 }
/// # struct OrderV1; struct OrderV2;
/// # impl Workflow for OrderV1 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v1";
/// #     type State = Order; type Event = OrderEvent;
/// #     fn apply(s: Order, _: &OrderEvent) -> Order { s }
/// # }
/// # impl Workflow for OrderV2 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v2";
/// #     type State = Order; type Event = OrderEvent;
/// #     fn apply(s: Order, _: &OrderEvent) -> Order { s }
/// # }
/// use state_migration::{MigrationRegistry, identity_migration};
///
/// identity_migration!(OrderV1 => OrderV2, note = "counts returns from now on");
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = MigrationRegistry::linked()?;
/// assert_eq!(registry.migrations()[0].short_name(), "order@v1->v2");
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! identity_migration {
    ($($tokens:tt)*) => {
        $crate::__private::identity_migration! { $crate; $($tokens)* }
    };
}

/// Asserts at compile time that each version of a chain has a migration to the
/// next one: `migration_chain!(OrderV1 => OrderV2 => OrderV3)`. A hop that is
/// missing is an error at that hop.
///
/// It sees migrations that the compiler knows as such: by the attribute
/// [`state_migration`](macro@state_migration::state_migration) or by
/// [`identity_migration!`](state_migration::identity_migration), in this crate or in one
/// that it depends on. A migration with the key `detached` it cannot see; expect
/// that one with [`MigrationRegistry::expect`](crate::MigrationRegistry::expect).
///
/// ```standalone_crate
/// # use serde::{Deserialize, Serialize};
/// # use state_migration::{EventPayload, Workflow};
/// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed }
/// # impl EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct Order { total: u64 }
/// # struct OrderV1; struct OrderV2;
/// # impl Workflow for OrderV1 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v1";
/// #     type State = Order; type Event = OrderEvent;
/// #     fn apply(s: Order, _: &OrderEvent) -> Order { s }
/// # }
/// # impl Workflow for OrderV2 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v2";
/// #     type State = Order; type Event = OrderEvent;
/// #     fn apply(s: Order, _: &OrderEvent) -> Order { s }
/// # }
/// use state_migration::{identity_migration, migration_chain};
///
/// identity_migration!(OrderV1 => OrderV2);
/// migration_chain!(OrderV1 => OrderV2);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! migration_chain {
    ($($tokens:tt)*) => {
        $crate::__private::migration_chain! { $crate; $($tokens)* }
    };
}

/// Records the decision that the processes of a version need no migration and
/// stay where they are: `no_migration!(OrderV1, reason = "never deployed")`.
///
/// ```standalone_crate
/// # use serde::{Deserialize, Serialize};
/// # use state_migration::{EventPayload, Workflow};
/// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed }
/// # impl EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct Order { total: u64 }
/// # struct OrderV1;
/// # impl Workflow for OrderV1 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v1";
/// #     type State = Order; type Event = OrderEvent;
/// #     fn apply(s: Order, _: &OrderEvent) -> Order { s }
/// # }
/// use state_migration::no_migration;
///
/// no_migration!(OrderV1, reason = "never deployed");
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! no_migration {
    ($($tokens:tt)*) => {
        $crate::__private::no_migration! { $crate; $($tokens)* }
    };
}

/// Makes a workflow known that no migration names, so that the registry can see
/// that nobody decided about it: `register_workflow!(OrderV3)`, or several with
/// commas between them.
///
/// ```standalone_crate
/// # use serde::{Deserialize, Serialize};
/// # use state_migration::{EventPayload, Workflow};
/// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed }
/// # impl EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct Order { total: u64 }
/// # struct OrderV3;
/// # impl Workflow for OrderV3 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v3";
/// #     type State = Order; type Event = OrderEvent;
/// #     fn apply(s: Order, _: &OrderEvent) -> Order { s }
/// # }
/// use state_migration::register_workflow;
///
/// register_workflow!(OrderV3);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! register_workflow {
    ($($tokens:tt)*) => {
        $crate::__private::register_workflow! { $crate; $($tokens)* }
    };
}
