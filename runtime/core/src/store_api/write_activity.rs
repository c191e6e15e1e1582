//! Writes to a store beside a run.

use std::time::Duration;

/// The writes to a store that are not the run's own, so that a run can give
/// way to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// How many are under way: begun, and not yet durable.
    pub under_way: usize,
    /// How long ago one began or ended last; `None`: there was none.
    pub last: Option<Duration>,
}

/// For how long after a write another one is expected.
pub const LATELY: Duration = Duration::from_secs(1);

impl Traffic {
    /// Whether a write is under way, or began or ended less than a time ago.
    #[doc(hidden)]
    pub fn is_within(self, time: Duration) -> bool {
        self.under_way > 0 || self.last.is_some_and(|ago| ago < time)
    }
}
