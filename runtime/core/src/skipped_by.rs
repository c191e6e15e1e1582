//! Counts of the processes that a run skips, by reason.

use serde::{Deserialize, Serialize};

/// Counts of the streams that a run visited and skipped, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SkippedBy {
    /// Streams without events.
    pub empty: usize,
    /// Processes of workflows that have no migrations.
    pub other_workflow: usize,
    /// Processes at the newest version.
    pub already_there: usize,
    /// Finished processes.
    pub finished: usize,
    /// Processes outside the selection.
    pub not_selected: usize,
    /// Processes that an operator holds.
    pub held: usize,
    /// Processes that an undo took back, with the code that would migrate them again.
    pub undone: usize,
    /// In an undo, a redo or a verification: processes that were born at their version.
    pub never_migrated: usize,
}

impl SkippedBy {
    /// Zero counts, changed by `count`.
    #[doc(hidden)]
    #[must_use]
    pub fn with(count: impl FnOnce(&mut Self)) -> Self {
        let mut counts = Self::default();
        count(&mut counts);
        counts
    }

    /// Each count with the name of its field.
    #[doc(hidden)]
    pub fn by_reason(&self) -> [(usize, &'static str); 8] {
        [
            (self.empty, "empty"),
            (self.other_workflow, "other_workflow"),
            (self.already_there, "already_there"),
            (self.finished, "finished"),
            (self.not_selected, "not_selected"),
            (self.held, "held"),
            (self.undone, "undone"),
            (self.never_migrated, "never_migrated"),
        ]
    }

    /// The total number of skipped streams.
    #[must_use]
    pub fn total(&self) -> usize {
        self.by_reason().iter().map(|(count, _)| count).sum()
    }

    /// Adds other counts to these.
    pub fn add(&mut self, other: &Self) {
        self.empty += other.empty;
        self.other_workflow += other.other_workflow;
        self.already_there += other.already_there;
        self.finished += other.finished;
        self.not_selected += other.not_selected;
        self.held += other.held;
        self.undone += other.undone;
        self.never_migrated += other.never_migrated;
    }
}
