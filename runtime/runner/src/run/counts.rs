//! Counts of a run for each workflow.
//!
//! They are part of the row of a range, so that a resumed run knows them. A store has
//! few workflows, so a list is enough.

use serde::{Deserialize, Serialize};

use crate::run::is_zero;

/// Counts of the processes of one workflow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) workflow: String,
    pub(crate) migrated: u64,
    pub(crate) failed: u64,
    /// Skipped processes that the run is for.
    pub(crate) skipped: u64,
    /// Skipped processes that the run is not for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) not_selected: u64,
    /// Processes that the run had migrated before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) migrated_further: u64,
    /// Those of `skipped` whose heads alone were read, so that they were not counted as
    /// due. Only the progress needs their number.
    #[serde(skip)]
    pub(crate) passed_over: u64,
}

impl Count {
    /// Number of visited processes that the run is for.
    pub(crate) fn processes(&self) -> u64 {
        self.migrated + self.migrated_further + self.failed + self.skipped
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.migrated += other.migrated;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.not_selected += other.not_selected;
        self.migrated_further += other.migrated_further;
        self.passed_over += other.passed_over;
    }
}

/// Counts per workflow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CountsByWorkflow(Vec<Count>);

impl CountsByWorkflow {
    /// The count of a workflow, created if missing.
    pub(crate) fn of(&mut self, workflow: &str) -> &mut Count {
        let known = self.0.iter().position(|count| count.workflow == workflow);
        let at = known.unwrap_or_else(|| {
            self.0.push(Count {
                workflow: workflow.to_owned(),
                ..Count::default()
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for count in &other.0 {
            self.of(&count.workflow).add(count);
        }
    }

    /// Resets the numbers of skipped processes.
    pub(crate) fn forget_skipped(&mut self) {
        for count in &mut self.0 {
            (count.skipped, count.not_selected) = (0, 0);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Count> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflows_are_counted_apart() {
        let mut some = CountsByWorkflow::default();
        assert!(some.is_empty());
        some.of("loan").migrated += 2;
        some.of("offer").skipped += 1;
        let mut all = CountsByWorkflow::default();
        all.of("offer").failed += 3;
        all.add(&some);
        all.add(&some);
        assert_eq!(all.of("loan").processes(), 4);
        assert_eq!(all.of("offer").processes(), 5);
        assert_eq!(all.iter().count(), 2);
    }
}
