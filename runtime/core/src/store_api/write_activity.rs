//! Writes to a store that are concurrent with a run.

use std::time::Duration;

/// The writes to a store by anything but a run, so that a run can yield to
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteActivity {
    /// The number of writes in progress: started, and not yet durable.
    pub in_progress: usize,
    /// The time since a write last started or ended; `None` if there was none.
    pub last: Option<Duration>,
}

/// How long after a write another one is expected.
pub const LATELY: Duration = Duration::from_secs(1);

impl WriteActivity {
    /// Whether a write is in progress, or started or ended less than `time`
    /// ago.
    #[doc(hidden)]
    pub fn is_within(self, time: Duration) -> bool {
        self.in_progress > 0 || self.last.is_some_and(|ago| ago < time)
    }
}
