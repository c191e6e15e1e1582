//! A program that has no migration yet, but says so of each version. It has a
//! binary of its own, which must have no other.

use serde::{Deserialize, Serialize};
use state_migration::{
    MigrationRegistry, VersionStatus, Workflow, WorkflowId, no_migration, register_workflow,
};
use state_migration_ui_tests::OrderEvent;

#[derive(Default, Clone, Serialize, Deserialize)]
struct Order;

macro_rules! versions {
    ($($workflow:ident $version:literal)*) => {$(
        struct $workflow;

        impl Workflow for $workflow {
            const NAME: &'static str = "order";
            const VERSION: &'static str = $version;
            type State = Order;
            type Event = OrderEvent;

            fn apply(state: Order, _: &OrderEvent) -> Order {
                state
            }
        }
    )*};
}

versions!(OrderV1 "v1" OrderV2 "v2");

no_migration!(OrderV1, reason = "never deployed");
register_workflow!(OrderV2);

#[test]
fn a_program_whose_versions_are_decided_is_complete_without_a_migration() {
    let registry = MigrationRegistry::assert_complete();
    assert!(registry.migrations().is_empty());
    let versions: Vec<String> = registry.versions().map(ToString::to_string).collect();
    assert_eq!(versions, ["order@v1", "order@v2"]);
    assert_eq!(
        registry.stays(&WorkflowId::of::<OrderV1>()),
        Some("never deployed")
    );
    let newest = registry.version_status(&WorkflowId::of::<OrderV2>());
    assert!(matches!(newest, VersionStatus::OtherWorkflow));
}
