//! Retries after conflicts with other writers.

use std::time::Duration;

/// Maximum number of attempts under conflicts with other writers.
pub(crate) const ATTEMPTS: usize = 16;

/// Waits for other writers, longer after each conflict: from 1 to 64 ms.
pub(crate) async fn back_off(conflicts: usize) {
    tokio::time::sleep(Duration::from_millis(1 << conflicts.min(6))).await;
}
