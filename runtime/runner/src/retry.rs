//! Retries after conflicts with other writers.

use std::time::Duration;

/// How often something is tried while others write to it.
pub(crate) const ATTEMPTS: usize = 16;

/// Waits until the other writer may have finished: longer after each conflict.
pub(crate) async fn back_off(conflicts: usize) {
    tokio::time::sleep(Duration::from_millis(1 << conflicts.min(6))).await;
}
