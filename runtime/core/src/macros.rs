//! The declaration macros that accompany the attribute and need no function.
//!
//! Each forwards its tokens, with its own `$crate`, to a procedural macro,
//! which reports a mistake at the wrong token. No key for a renamed or
//! re-exported crate is therefore needed.

/// Declares a migration between two versions that share a state: only the
/// version changes. `identity_migration!(OrderV1 => OrderV2)` registers at link
/// time what [`IdentityMigration`](crate::IdentityMigration) adds explicitly.
///
/// The keys `undo`, `detached` and `note` may follow, with the same meaning as
/// in the attribute
/// [`state_migration`](macro@state_migration::state_migration).
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
        $crate::__private::move_it_out_of_this_expression_or_block::identity_migration! {
            $crate; $($tokens)*
        }
    };
}

/// Asserts at compile time that each version of a chain has a migration to the
/// next one: `migration_chain!(OrderV1 => OrderV2 => OrderV3)`. A missing hop
/// is an error at that hop.
///
/// The macro sees migrations that are declared by the attribute
/// [`state_migration`](macro@state_migration::state_migration) or by
/// [`identity_migration!`](state_migration::identity_migration), in this crate
/// or in its dependencies. It cannot see a migration with the key `detached`;
/// use [`MigrationRegistry::require`](crate::MigrationRegistry::require) for
/// those.
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
        $crate::__private::move_it_out_of_this_expression_or_block::migration_chain! {
            $crate; $($tokens)*
        }
    };
}

/// Declares that the processes of a version need no migration and stay there:
/// `no_migration!(OrderV1, reason = "never deployed")`.
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
        $crate::__private::move_it_out_of_this_expression_or_block::no_migration! {
            $crate; $($tokens)*
        }
    };
}

/// Registers a workflow that no migration names, so that the registry reports
/// it as undecided: `register_workflow!(OrderV3)`, or several, separated by
/// commas.
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
        $crate::__private::move_it_out_of_this_expression_or_block::register_workflow! {
            $crate; $($tokens)*
        }
    };
}

/// Makes a [`Predicate`](crate::Predicate) of a function on the state of a version:
/// `predicate!("large", OrderV1, |order| order.euro > 50_000)`.
///
/// The fingerprint of the predicate covers the tokens of the function as they are
/// written here; the functions that it calls are not covered.
#[macro_export]
macro_rules! predicate {
    ($name:expr, $workflow:ty, $holds:expr $(,)?) => {
        $crate::Predicate::new::<$workflow>(
            $name,
            $crate::__private::core::stringify!($holds),
            $holds,
        )
    };
    ($($tokens:tt)*) => {
        $crate::__private::core::compile_error!(
            "write the name, the workflow and a function on its state: `predicate!(\"large\", OrderV1, |order| order.euro > 50_000)`"
        )
    };
}

/// `Clone`, `Copy` and `Debug` for a generated unit struct. Used by generated code only.
#[doc(hidden)]
#[macro_export]
macro_rules! __values {
    ($name:ident, $shown:literal) => {
        #[automatically_derived]
        impl $crate::__private::core::clone::Clone for $name {
            fn clone(&self) -> Self {
                *self
            }
        }
        #[automatically_derived]
        impl $crate::__private::core::marker::Copy for $name {}
        #[automatically_derived]
        impl $crate::__private::core::fmt::Debug for $name {
            fn fmt(
                &self,
                __state_migration_f: &mut $crate::__private::core::fmt::Formatter<'_>,
            ) -> $crate::__private::core::fmt::Result {
                __state_migration_f.write_str($shown)
            }
        }
    };
}
