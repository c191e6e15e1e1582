//! What a run waits for that makes no progress: a rate and a remaining time would then be
//! wrong.

use state_migration_runner::Progress;
use state_migration_store::storage_trouble;

use crate::view::format::{self, count};

/// What to show in place of a rate; `None` if the run makes progress.
pub(crate) fn text(progress: &Progress) -> Option<String> {
    let idle = progress
        .idle
        .map(|idle| format!("no progress for {}", format::duration(idle)));
    let trying = match progress.suspects {
        0 => None,
        1 => Some("trying 1 process alone that was in user code when a program ended".to_owned()),
        many => Some(format!(
            "trying {} processes alone that were in user code when a program ended",
            count(many)
        )),
    };
    // A service says what is wrong with its storage.
    let trouble = progress.trouble.clone().or_else(storage_trouble);
    Some(match (idle, trouble, trying) {
        (Some(idle), Some(trouble), _) => format!("{idle}; the store: {trouble}"),
        (Some(idle), None, Some(trying)) => format!("{trying}; {idle}"),
        (None, _, Some(trying)) => trying,
        (Some(idle), None, None) => format!("{idle}; waiting for the store or for user code"),
        (None, _, None) => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_run_without_progress_says_what_it_waits_for() {
        let mut progress = Progress::default();
        assert_eq!(text(&progress), None);
        progress.idle = Some(Duration::from_secs(7));
        let said = |progress: &Progress| text(progress).unwrap_or_default();
        assert_eq!(
            said(&progress),
            "no progress for 7.0 s; waiting for the store or for user code"
        );
        progress.suspects = 2;
        assert_eq!(
            said(&progress),
            "trying 2 processes alone that were in user code when a program ended; no progress for 7.0 s"
        );
        progress.trouble = Some("no space left".to_owned());
        assert_eq!(
            said(&progress),
            "no progress for 7.0 s; the store: no space left"
        );
        progress.idle = None;
        progress.suspects = 1;
        assert_eq!(
            said(&progress),
            "trying 1 process alone that was in user code when a program ended"
        );
    }
}
