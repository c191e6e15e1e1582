//! Stage five: the report of a run, counted from what is durable.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use state_migration_core::{
    FailureClass, MigrationError, MigrationWarning, RunId, SkippedBy, Stage, Subject,
};

use crate::run::totals::RunTotals;
use crate::run::{RunCounts, RunState};

/// Maximum number of errors, and of warnings, that a report keeps; it counts all.
pub(crate) const KEPT: usize = 1_000;

/// Form of the commits of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommitMode {
    /// Event, head and registry entries of a process are committed together.
    OneTransaction,
    /// The event is committed first; snapshot and registry follow.
    EventFirst,
}

impl fmt::Display for CommitMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneTransaction => "one transaction",
            Self::EventFirst => "event first",
        })
    }
}

/// How a run found the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScanKind {
    /// Only the heads of processes at versions with a route were selected.
    ByIndex,
    /// Every stream was visited.
    ByFullScan,
}

impl fmt::Display for ScanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByIndex => "index scan",
            Self::ByFullScan => "full scan",
        })
    }
}

/// The copy of a store on which a run was rehearsed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rehearsed {
    /// The name of the copy.
    pub name: String,
    /// Where the copy can be opened, if it was kept.
    pub kept: Option<String>,
}

/// Result of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationReport {
    /// Processes migrated, durably, each counted once.
    pub migrated: usize,
    /// How often the run took a process further that it had migrated before, because it
    /// was resumed with other code.
    #[serde(default)]
    pub migrated_further: usize,
    /// Streams visited and skipped.
    pub skipped: usize,
    /// Skipped streams by reason.
    pub skipped_by: SkippedBy,
    /// Processes that failed: the first 1,000.
    pub errors: Vec<MigrationError>,
    /// Number of all processes that failed.
    pub error_count: usize,
    /// Number of all failures by class.
    #[serde(default)]
    pub failed_by_class: BTreeMap<FailureClass, usize>,
    /// Remaining work on migrated processes: the first 1,000 warnings.
    pub warnings: Vec<MigrationWarning>,
    /// Number of all warnings.
    pub warning_count: usize,
    /// Processes of earlier runs whose registry entries this run repaired.
    pub repaired: usize,
    /// Migrated processes that were too large for a chunk, and were folded page by
    /// page.
    pub large: usize,
    /// Migrated processes that were born at an old version behind the run, and were
    /// found by its final sweep.
    pub swept: usize,
    /// Migrated streams with ids of another form than `process/{tenant}/{process}`,
    /// which no registry entry can name.
    pub unregistered: usize,
    /// Processes migrated when they were opened, while the run was in progress.
    pub lazy: usize,
    /// Processes whose migrations were verified.
    #[serde(default)]
    pub verified: usize,
    /// Undone processes whose state was converted back by undo functions.
    #[serde(default)]
    pub by_function: usize,
    /// Of an erasure: the events that were removed.
    #[serde(default)]
    pub erased: usize,
    /// The totals of the processes migrated, where their versions define
    /// [`Workflow::totals`](state_migration_core::Workflow::totals).
    #[serde(default)]
    pub totals: RunTotals,
    /// Of a redo: where the new states differ, such as `"/offers/*/amount" differs`, with the
    /// number of processes; the first difference of each process, and at most 1,000 places.
    #[serde(default)]
    pub differences: BTreeMap<String, usize>,
    /// Of a rehearsal: the copy of the store.
    #[serde(default)]
    pub rehearsed: Option<Rehearsed>,
    /// Whether the run was cancelled because more processes failed than
    /// [`max_failures`](crate::MigrationRunner::max_failures) allows.
    #[serde(default)]
    pub too_many_failures: bool,
    /// The final state of the run.
    ///
    /// `None` if the run did not start. [`RunState::Running`] if it was interrupted before
    /// its end. A dry run, a run over separate stores, and a run that found no due process
    /// leave no record; the others can then be resumed.
    pub state: Option<RunState>,
    /// Whether this was a dry run, or a rehearsal; `migrated` then counts what a run would
    /// migrate.
    pub dry_run: bool,
    /// Form of the commits; `None` if the run did not get that far.
    pub form: Option<CommitMode>,
    /// How the run found the processes; `None` if the run did not get that far.
    pub visited: Option<ScanKind>,
    /// The run id in `$migrated` events; `None` if the run did not get that far, or found
    /// no due process.
    pub run: Option<RunId>,
}

impl MigrationReport {
    /// Whether no process failed. Warnings do not count.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.error_count == 0
    }

    /// What stopped the run before its end; `None` if it reached its end or was cancelled.
    #[must_use]
    pub fn stopped_by(&self) -> Option<&MigrationError> {
        match self.state {
            Some(RunState::Planned | RunState::Running) => {
                let mut errors = self.errors.iter();
                errors.find(|error| error.subject.stream().is_none())
            }
            _ => None,
        }
    }

    /// Adds the verification of what this run has done.
    pub(crate) fn verify(&mut self, verification: Self) {
        self.verified = verification.verified;
        for error in verification.errors {
            self.fail(error);
        }
        if !verification.state.is_some_and(RunState::is_done) {
            self.state = verification.state;
        } else if verification.error_count > 0 {
            self.state = Some(RunState::DoneWithErrors);
        }
    }

    /// Adds another report to this one. Counts are added; `form`, `visited`, `run` and
    /// `state` become `None` where they differ.
    pub fn merge(&mut self, other: Self) {
        fn same<T: PartialEq>(ours: Option<T>, theirs: Option<T>) -> Option<T> {
            if ours == theirs { ours } else { None }
        }
        if *self == Self::default() {
            *self = other;
            return;
        }
        self.migrated += other.migrated;
        self.migrated_further += other.migrated_further;
        self.skipped_by.add(&other.skipped_by);
        self.skipped += other.skipped;
        self.error_count += other.error_count;
        for (class, count) in other.failed_by_class {
            *self.failed_by_class.entry(class).or_default() += count;
        }
        self.warning_count += other.warning_count;
        self.repaired += other.repaired;
        self.large += other.large;
        self.swept += other.swept;
        self.unregistered += other.unregistered;
        self.lazy += other.lazy;
        self.verified += other.verified;
        self.by_function += other.by_function;
        self.erased += other.erased;
        self.too_many_failures |= other.too_many_failures;
        self.rehearsed = same(self.rehearsed.take(), other.rehearsed);
        self.totals.add(&other.totals);
        self.differ(other.differences);
        let errors = KEPT.saturating_sub(self.errors.len());
        self.errors.extend(other.errors.into_iter().take(errors));
        let warnings = KEPT.saturating_sub(self.warnings.len());
        self.warnings
            .extend(other.warnings.into_iter().take(warnings));
        self.form = same(self.form, other.form);
        self.visited = same(self.visited, other.visited);
        self.run = same(self.run, other.run);
        self.state = same(self.state, other.state);
        self.dry_run |= other.dry_run;
    }

    pub(crate) fn of(run: RunId, form: CommitMode, visited: ScanKind) -> Self {
        Self {
            form: Some(form),
            visited: Some(visited),
            run: Some(run),
            ..Self::default()
        }
    }

    pub(crate) fn skip(&mut self, count: impl FnOnce(&mut SkippedBy)) {
        count(&mut self.skipped_by);
        self.skipped = self.skipped_by.total();
    }

    pub(crate) fn skip_all(&mut self, skipped: &SkippedBy) {
        self.skip(|s| s.add(skipped));
    }

    /// Adds counts. Failures are added one by one with `fail`.
    pub(crate) fn count(&mut self, counts: &RunCounts) {
        let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        self.migrated += number(counts.migrated);
        self.migrated_further += number(counts.migrated_further);
        self.large += number(counts.large);
        self.swept += number(counts.swept);
        self.unregistered += number(counts.unregistered);
        self.lazy += number(counts.lazy);
        self.verified += number(counts.verified);
        self.by_function += number(counts.by_function);
        self.erased += number(counts.erased);
        self.skip_all(&counts.skipped_by);
    }

    /// The report of a run that could not start.
    pub(crate) fn refused(error: MigrationError) -> Self {
        let mut report = Self::default();
        report.fail(error);
        report
    }

    pub(crate) fn fail(&mut self, error: MigrationError) {
        self.error_count += 1;
        *self.failed_by_class.entry(error.class).or_default() += 1;
        // What stops a run is kept in any case.
        if self.errors.len() < KEPT || error.subject.stream().is_none() {
            self.errors.push(error);
        }
    }

    /// Fails the run if a total has changed.
    pub(crate) fn compare_totals(&mut self) {
        if let Some(difference) = self.totals.difference() {
            self.fail(MigrationError::new(
                Stage::Converting,
                FailureClass::TotalsDiffer,
                Subject::Run,
                format!(
                    "the totals of the migrated processes differ: {difference}; correct the migration, and redo or undo the run"
                ),
            ));
        }
    }

    /// Adds where new states differ.
    pub(crate) fn differ(&mut self, differences: BTreeMap<String, usize>) {
        for (place, processes) in differences {
            if self.differences.len() < KEPT || self.differences.contains_key(&place) {
                *self.differences.entry(place).or_default() += processes;
            }
        }
    }

    pub(crate) fn warn(&mut self, subject: impl Into<Subject>, message: String) {
        let subject = subject.into();
        self.warning_count += 1;
        if self.warnings.len() < KEPT {
            self.warnings.push(MigrationWarning { subject, message });
        }
    }
}

impl fmt::Display for MigrationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        let migrated = if self.dry_run {
            "would be migrated"
        } else {
            "migrated"
        };
        write!(f, "{} {migrated}, {} skipped", self.migrated, self.skipped)?;
        let reasons: Vec<String> = self
            .skipped_by
            .by_reason()
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, reason)| format!("{count} {}", reason.replace('_', " ")))
            .collect();
        if !reasons.is_empty() {
            write!(f, " ({})", reasons.join(", "))?;
        }
        write!(
            f,
            ", {}, {}",
            counted(self.error_count, "error"),
            counted(self.warning_count, "warning")
        )?;
        if self.repaired > 0 {
            write!(f, ", {} repaired", self.repaired)?;
        }
        if let (Some(form), Some(visited)) = (self.form, self.visited) {
            write!(f, "; {form}, {visited}")?;
        }
        match self.state {
            Some(state @ (RunState::Paused | RunState::Cancelled)) => write!(f, "; {state}")?,
            Some(RunState::Planned | RunState::Running) => {
                let leaves_no_record = self.dry_run || self.form == Some(CommitMode::EventFirst);
                let next = if leaves_no_record {
                    "run again"
                } else {
                    "resume the run"
                };
                write!(f, "; stopped by an error; {next}")?;
            }
            Some(RunState::Done | RunState::DoneWithErrors) | None => {}
        }
        for error in self.errors.iter().take(SHOWN) {
            write!(f, "\n  error: {error}")?;
        }
        if self.error_count > SHOWN.min(self.errors.len()) {
            write!(
                f,
                "\n  … and {}",
                counted(
                    self.error_count - SHOWN.min(self.errors.len()),
                    "more error"
                )
            )?;
        }
        for warning in self.warnings.iter().take(SHOWN) {
            write!(f, "\n  warning: {warning}")?;
        }
        if self.warning_count > SHOWN.min(self.warnings.len()) {
            write!(
                f,
                "\n  … and {}",
                counted(
                    self.warning_count - SHOWN.min(self.warnings.len()),
                    "more warning"
                )
            )?;
        }
        Ok(())
    }
}

/// A number with its noun: `1 error`, `2 errors`.
fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use state_migration_core::{FailureClass, Stage, StreamId};

    fn error(stream: &str) -> MigrationError {
        MigrationError {
            subject: StreamId::new(stream).unwrap().into(),
            stage: Stage::Converting,
            class: FailureClass::Refused,
            sequence: None,
            message: "no".into(),
        }
    }

    #[test]
    fn a_report_keeps_the_first_thousand_errors_and_counts_all() {
        let mut report = MigrationReport::default();
        assert!(report.is_ok());
        for n in 0..1_500 {
            report.fail(error(&format!("s{n}")));
            report.warn(StreamId::new("s").unwrap(), "left".into());
        }
        assert!(!report.is_ok());
        assert_eq!((report.errors.len(), report.error_count), (1_000, 1_500));
        assert_eq!(
            (report.warnings.len(), report.warning_count),
            (1_000, 1_500)
        );
        assert_eq!(report.errors[999].subject.to_string(), "s999");
    }

    #[test]
    fn reports_add_up() {
        let run = RunId::random();
        let mut a = MigrationReport::of(run, CommitMode::OneTransaction, ScanKind::ByIndex);
        a.migrated = 2;
        a.skip(|s| s.empty += 1);
        a.fail(error("a"));
        let mut b = MigrationReport::of(run, CommitMode::EventFirst, ScanKind::ByIndex);
        b.migrated = 3;
        b.repaired = 1;
        b.skip(|s| s.already_there += 4);
        for n in 0..1_200 {
            b.fail(error(&format!("b{n}")));
        }
        let mut sum = MigrationReport::default();
        sum.merge(a.clone());
        assert_eq!(sum, a);
        sum.merge(b);
        assert_eq!((sum.migrated, sum.skipped, sum.repaired), (5, 5, 1));
        assert_eq!((sum.skipped_by.empty, sum.skipped_by.already_there), (1, 4));
        assert_eq!((sum.errors.len(), sum.error_count), (1_000, 1_201));
        assert_eq!(
            (sum.form, sum.visited, sum.run),
            (None, Some(ScanKind::ByIndex), Some(run))
        );
    }

    #[test]
    fn a_report_reads_like_this() {
        let mut report = MigrationReport::of(
            RunId::random(),
            CommitMode::OneTransaction,
            ScanKind::ByIndex,
        );
        report.migrated = 7;
        assert_eq!(
            report.to_string(),
            "7 migrated, 0 skipped, 0 errors, 0 warnings; one transaction, index scan"
        );
        report.skip(|s| s.other_workflow += 2);
        report.fail(error("process/t/p"));
        report.warn(StreamId::new("process/t/q").unwrap(), "left".into());
        assert_eq!(
            report.to_string(),
            "7 migrated, 2 skipped (2 other workflow), 1 error, 1 warning; one transaction, index scan\
             \n  error: process/t/p failed while converting: no\
             \n  warning: process/t/q: left"
        );
    }
}
