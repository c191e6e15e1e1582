//! Whether a run makes no progress: a rate and a remaining time would then be wrong.

use std::time::{Duration, Instant};

use state_migration_runner::{Progress, RunState};
use state_migration_store::storage_trouble;

use crate::view::format;

/// Time without progress after which it is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(5);

/// Measures the time since the last progress.
pub(crate) struct Idle {
    /// The heads passed and the processes visited.
    seen: (u64, u64),
    since: Instant,
}

impl Idle {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            seen: (0, 0),
            since: now,
        }
    }

    /// The time without progress, if it is long. Rates and remaining times are then
    /// removed from the progress.
    pub(crate) fn check(&mut self, progress: &mut Progress, now: Instant) -> Option<Duration> {
        let seen = (progress.passed, progress.counts.processes());
        let waits = matches!(progress.state, RunState::Planned | RunState::Running);
        if seen != self.seen || !waits {
            (self.seen, self.since) = (seen, now);
        }
        let idle = now.duration_since(self.since);
        if idle < SHOWN_AFTER {
            return None;
        }
        (progress.per_second, progress.time_left) = (0.0, None);
        for workflow in &mut progress.workflows {
            (workflow.per_second, workflow.time_left) = (0.0, None);
        }
        Some(idle)
    }
}

/// The time without progress as text.
pub(crate) fn text(idle: Duration) -> String {
    let idle = format::duration(idle);
    match storage_trouble() {
        Some(trouble) => format!("no progress for {idle}; the store: {trouble}"),
        None => format!("no progress for {idle}; waiting for the store or for user code"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_progress_shows_no_rate_and_no_remaining_time() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut idle = Idle::new(begun);
        let mut progress = Progress::default();
        (progress.state, progress.per_second) = (RunState::Running, 14.0);
        progress.time_left = Some(Duration::from_secs(12));
        assert_eq!(idle.check(&mut progress, at(4)), None);
        assert!(progress.time_left.is_some());
        let long = idle.check(&mut progress.clone(), at(45));
        assert_eq!(long, Some(Duration::from_secs(45)));
        progress.counts.migrated = 1;
        assert_eq!(idle.check(&mut progress, at(46)), None);
        assert_eq!(idle.check(&mut progress.clone(), at(50)), None);
        let long = idle.check(&mut progress, at(51));
        assert_eq!(long, Some(Duration::from_secs(5)));
        assert_eq!((progress.per_second, progress.time_left), (0.0, None));
        assert!(text(Duration::from_secs(5)).starts_with("no progress for 5.0 s; "));
        // A paused run is not idle.
        progress.state = RunState::Paused;
        assert_eq!(idle.check(&mut progress, at(90)), None);
    }
}
