// The event of the refused cases, and the imports that a workflow needs.

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, Workflow};

#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderPlaced"
    }
}
