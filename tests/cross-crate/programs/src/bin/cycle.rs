//! A hand-written migration that closes a cycle.

use std::process::ExitCode;

use shop_migrations::{OrderV1ToV2Migration, OrderV2ToV3Migration};
use shop_workflows::{OrderStateV1, OrderStateV3, OrderV1, OrderV3};
use state_migration::{ConversionError, MigrationRegistry, StateMigration, WorkflowId};

struct BackToTheBeginning;

static V1: WorkflowId = WorkflowId::of::<OrderV1>();
static V3: WorkflowId = WorkflowId::of::<OrderV3>();

impl StateMigration for BackToTheBeginning {
    type FromWorkflow = OrderV3;
    type ToWorkflow = OrderV1;

    fn source_workflow_id(&self) -> &WorkflowId {
        &V3
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &V1
    }

    fn migrate(&self, new: OrderStateV3) -> Result<OrderStateV1, ConversionError> {
        Ok(OrderStateV1 {
            euro: new.net_cents,
        })
    }
}

fn main() -> ExitCode {
    let registry = MigrationRegistry::builder()
        .with(OrderV1ToV2Migration)
        .with(OrderV2ToV3Migration)
        .with(BackToTheBeginning);
    shop_programs::tell(registry.build())
}
