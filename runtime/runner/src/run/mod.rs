//! Runs as durable objects: plan, actor, reason, progress, failures and result.

pub mod actions;
pub(crate) mod bookkeeping;
pub(crate) mod build;
pub mod confirmation;
pub(crate) mod counts;
pub mod history;
pub(crate) mod in_user_code;
pub(crate) mod on_open_log;
mod plan;
pub mod rows;
pub(crate) mod run_log;
pub mod suspects;
pub mod totals;
pub mod undone;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use actions::{Action, HoldAction, RunAction};
pub use confirmation::{Confirmation, Unconfirmed};
pub use history::{Failure, Runs};
pub use plan::{
    ChangedStep, PinnedVersion, Plan, PlanOptions, PlannedPredicate, PlannedRoute, PlannedStep,
    SnapshotUse,
};
pub use totals::RunTotals;

use state_migration_core::{
    FailureClass, Program, RunId, SkippedBy, Timestamp, TransactionalStore,
};

/// The store that holds the run and its processes.
pub(crate) type Store = Arc<dyn TransactionalStore>;

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunState {
    /// Recorded, before the first process.
    Planned,
    /// Running, or killed while running; resuming continues it.
    Running,
    /// Paused until it is unpaused.
    Paused,
    /// Cancelled before its end. It can be resumed.
    Cancelled,
    /// Ended, with an outcome for every process that the run was for.
    Done,
    /// Ended, and some processes failed: see [`Runs::failures`].
    DoneWithErrors,
}

impl RunState {
    /// Whether the run has ended, with nothing left to resume.
    #[must_use]
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::DoneWithErrors)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planned => "planned",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::DoneWithErrors => "done with errors",
        })
    }
}

/// The kind of a run: which processes it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunKind {
    /// All selected processes that are outdated.
    Migrate,
    /// Selected processes that failed in an earlier run.
    Retry {
        /// The earlier run.
        of: RunId,
        /// Restricts the retry to failures of these classes; empty: all classes.
        classes: Vec<FailureClass>,
    },
    /// Processes that an earlier run has migrated: they go back.
    Undo {
        /// The earlier run.
        of: RunId,
    },
    /// Processes that an earlier run has migrated: their states are computed again.
    Redo {
        /// The earlier run.
        of: RunId,
    },
    /// Processes that were migrated: the events before their baselines are removed.
    Erase,
    /// Processes that were migrated: their states are computed again and compared. Such a
    /// run writes nothing and leaves no record.
    #[serde(skip)]
    Verify {
        /// The earlier run; `None`: all runs.
        of: Option<RunId>,
    },
    /// Single processes, when they are opened. Such a run ends with its program. The next
    /// program continues it if it has the same plan, actor and reason.
    Lazy,
}

impl RunKind {
    /// The earlier run that a run of this kind is about.
    #[must_use]
    pub fn of(&self) -> Option<RunId> {
        match self {
            Self::Retry { of, .. } | Self::Undo { of } | Self::Redo { of } => Some(*of),
            Self::Verify { of } => *of,
            Self::Migrate | Self::Erase | Self::Lazy => None,
        }
    }

    /// The name of the kind in rows and logs.
    #[doc(hidden)]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Migrate => "migrate",
            Self::Retry { .. } => "retry",
            Self::Undo { .. } => "undo",
            Self::Redo { .. } => "redo",
            Self::Erase => "erase",
            Self::Verify { .. } => "verify",
            Self::Lazy => "lazy",
        }
    }
}

/// The record of a run in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunRecord {
    /// The run id in `$migrated` events.
    pub id: RunId,
    /// Number of the run in its store, starting at 1.
    pub number: u64,
    /// The kind of the run.
    pub kind: RunKind,
    /// Who started the run, as given by the caller.
    pub actor: String,
    /// The reason for the run, as given by the caller.
    pub reason: String,
    /// The plan of the run.
    pub plan: Plan,
    /// Whether the run takes routes that were undone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// The state of the run.
    pub state: RunState,
    /// The limit of the run in processes per second, as requested last. A resumed run
    /// keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<NonZeroU32>,
    /// Number of executions: 1, plus 1 for each time the run was resumed. Of opened
    /// processes: the number of programs that opened them.
    pub executions: u32,
    /// Of a run of opened processes: the program that opens them, or opened them last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// The run whose claim on the store this run took over, if any.
    pub took_over: Option<RunId>,
    /// Time of the start, for display only: no decision depends on it.
    pub started: Timestamp,
    /// Time of the end.
    pub ended: Option<Timestamp>,
}

impl RunRecord {
    /// The plan of the last of its executions.
    #[doc(hidden)]
    #[must_use]
    pub fn last_plan<'a>(&'a self, executions: &'a [Execution]) -> &'a Plan {
        let last = executions.last().and_then(|last| last.plan.as_ref());
        last.unwrap_or(&self.plan)
    }
}

/// One execution of a run: the first, or one that resumed the run. Nothing overwrites it
/// but its own end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Execution {
    /// Number of the execution in its run, starting at 1.
    pub number: u32,
    /// Who started or resumed the run, as given by the caller.
    pub actor: String,
    /// The reason, as given by the caller.
    pub reason: String,
    /// The program, and where it runs.
    pub program: Program,
    /// The plan, if it is not that of the record, because the run was resumed by force
    /// with other code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// The run whose claim on the store this execution took over. After an interruption,
    /// that is the run itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_over: Option<RunId>,
    /// What the run had done before this execution; `None` for the first one. What an
    /// execution did is the difference to the next one, or to the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RunCounts>,
    /// Failures of earlier executions that the run does not count any more, because this
    /// execution has a route for the processes and decided them again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decided_again: u64,
    /// Time of the start, for display only.
    pub started: Timestamp,
    /// Time of the end; `None` while the execution is in progress, or if it was
    /// interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// The error that stopped the execution before the end of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
}

impl Execution {
    /// What the execution migrated, migrated further, and failed, if the run had these
    /// counts at its end: what it had done before the next execution, or by now.
    #[doc(hidden)]
    #[must_use]
    pub fn counts(&self, end: &RunCounts) -> RunCounts {
        let before = self.before.unwrap_or_default();
        let failed_before = before.failed.saturating_sub(self.decided_again);
        RunCounts {
            migrated: end.migrated.saturating_sub(before.migrated),
            migrated_further: end.migrated_further.saturating_sub(before.migrated_further),
            failed: end.failed.saturating_sub(failed_before),
            ..RunCounts::default()
        }
    }

    /// An execution in this program, from now on.
    pub(crate) fn here(number: u32, actor: String, reason: String) -> Self {
        Self {
            number,
            actor,
            reason,
            program: Program::this().clone(),
            plan: None,
            took_over: None,
            before: None,
            decided_again: 0,
            started: Timestamp::now(),
            ended: None,
            stopped_by: None,
        }
    }
}

/// What a run has done so far, durably.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RunCounts {
    /// Processes migrated, each counted once.
    pub migrated: u64,
    /// How often the run took a process further that it had migrated before, because it
    /// was resumed with other code.
    pub migrated_further: u64,
    /// Processes that failed.
    pub failed: u64,
    /// Skipped processes by reason.
    pub skipped_by: SkippedBy,
    /// Migrated processes that were too large for a chunk, and were folded page by
    /// page.
    pub large: u64,
    /// Migrated processes that were born at an old version behind the run, and were
    /// found by its final sweep.
    pub swept: u64,
    /// Migrated streams with ids of another form than `process/{tenant}/{process}`,
    /// which no registry entry can name.
    pub unregistered: u64,
    /// Processes migrated when they were opened.
    pub lazy: u64,
    /// Processes whose migrations were verified.
    #[serde(skip_serializing_if = "is_zero")]
    pub verified: u64,
    /// Undone processes whose state was converted back by undo functions.
    pub by_function: u64,
    /// Events that were removed.
    pub erased: u64,
    /// Bytes of events and baselines read for folding.
    pub bytes: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
pub(crate) fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl RunCounts {
    /// Adds other counts to these.
    pub fn add(&mut self, other: &Self) {
        self.migrated += other.migrated;
        self.migrated_further += other.migrated_further;
        self.failed += other.failed;
        self.skipped_by.add(&other.skipped_by);
        self.large += other.large;
        self.swept += other.swept;
        self.unregistered += other.unregistered;
        self.lazy += other.lazy;
        self.verified += other.verified;
        self.by_function += other.by_function;
        self.erased += other.erased;
        self.bytes += other.bytes;
    }

    /// These counts without those of `other`, which are a part of them. Skipped processes
    /// stay counted.
    pub(crate) fn without(&self, other: &Self) -> Self {
        Self {
            migrated: self.migrated.saturating_sub(other.migrated),
            migrated_further: self.migrated_further.saturating_sub(other.migrated_further),
            failed: self.failed.saturating_sub(other.failed),
            skipped_by: self.skipped_by,
            large: self.large.saturating_sub(other.large),
            swept: self.swept.saturating_sub(other.swept),
            unregistered: self.unregistered.saturating_sub(other.unregistered),
            lazy: self.lazy.saturating_sub(other.lazy),
            verified: self.verified.saturating_sub(other.verified),
            by_function: self.by_function.saturating_sub(other.by_function),
            erased: self.erased.saturating_sub(other.erased),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    /// Number of processes visited. A process that was migrated further is counted again.
    #[must_use]
    pub fn processes(&self) -> u64 {
        self.migrated
            + self.migrated_further
            + self.verified
            + self.failed
            + self.skipped_by.total() as u64
    }

    /// Number of skipped processes that the run was for.
    #[doc(hidden)]
    #[must_use]
    pub fn skipped(&self) -> u64 {
        (self.skipped_by.total() - self.skipped_by.not_selected) as u64
    }

    /// Number of visited processes that the run was for: all except those that are not
    /// selected.
    #[must_use]
    pub fn selected(&self) -> u64 {
        self.processes() - self.skipped_by.not_selected as u64
    }
}
