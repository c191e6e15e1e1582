//! A run in one line, for `status`, `runs` and `show`.

use serde::Serialize;
use state_migration_core::RunId;
use state_migration_runner::run::history::Claim;
use state_migration_runner::{RunCounts, RunKind, RunRecord, RunState};

use crate::exit_code::Failure;
use crate::history::History;
use crate::view::format::{self, count};
use crate::view::output::{BAD, GOOD, WARN, shortened, table};

/// Number of runs shown.
pub(crate) const RUNS: usize = 5;

/// A summary of a run.
#[derive(Debug, Serialize)]
pub(crate) struct RunLine {
    #[serde(skip)]
    pub(crate) id: RunId,
    pub(crate) run: String,
    pub(crate) number: u64,
    pub(crate) what: &'static str,
    /// The earlier run that this run retries, undoes or redoes.
    pub(crate) of: Option<String>,
    pub(crate) state: RunState,
    pub(crate) actor: String,
    pub(crate) reason: String,
    /// Number of executions, including the first.
    pub(crate) executions: u32,
    pub(crate) started: String,
    pub(crate) ended: Option<String>,
    pub(crate) took_ms: Option<u64>,
    pub(crate) migrated: u64,
    pub(crate) failed: u64,
    /// Processes visited and skipped.
    pub(crate) skipped: u64,
    /// Whether the run has claimed the store: it is in progress, or was killed.
    pub(crate) claims_store: bool,
    /// Whether the run was interrupted: it has not ended, and nothing executes it.
    pub(crate) interrupted: bool,
    /// The run that took over the store, if this run is interrupted.
    pub(crate) taken_over_by: Option<String>,
    /// The number of that run.
    #[serde(skip)]
    taker: Option<u64>,
    /// The undo that took processes of this run back, if this run has not come to its end.
    pub(crate) undone_by: Option<String>,
    /// The number of that undo.
    #[serde(skip)]
    undo: Option<u64>,
    /// Time of the start, to the second.
    #[serde(skip)]
    pub(crate) began: String,
}

impl RunLine {
    /// Summarizes one of `all` runs, with the claim on the store.
    pub(crate) async fn of(
        runs: &History,
        record: &RunRecord,
        counts: &RunCounts,
        all: &[RunRecord],
        claim: Option<Claim>,
    ) -> Result<Self, Failure> {
        let claim = claim.filter(|claim| claim.run == record.id);
        let is_unfinished = matches!(
            record.state,
            RunState::Planned | RunState::Running | RunState::Paused
        );
        // Without the claim, the run can no longer write.
        let is_dead = claim.is_none_or(|claim| claim.is_dead);
        let interrupted = is_unfinished && is_dead && record.kind != RunKind::Lazy;
        let taker = all
            .iter()
            .rfind(|other| other.took_over == Some(record.id))
            .filter(|_| interrupted && claim.is_none());
        let took = |ended| format::millis(format::between(record.started, ended));
        let undo = match record.state.is_done() {
            true => None,
            false => runs.undo_of(record.id, all).await?,
        };
        Ok(Self {
            id: record.id,
            run: record.id.to_string(),
            number: record.number,
            what: record.kind.name(),
            of: record.kind.of().map(|of| of.to_string()),
            state: record.state,
            actor: record.actor.clone(),
            reason: record.reason.clone(),
            executions: record.executions,
            started: record.started.to_string(),
            ended: record.ended.map(|at| at.to_string()),
            took_ms: record.ended.map(took),
            migrated: counts.migrated,
            failed: counts.failed,
            skipped: counts.skipped_by.total() as u64,
            claims_store: claim.is_some(),
            interrupted,
            taken_over_by: taker.map(|taker| taker.id.to_string()),
            taker: taker.map(|taker| taker.number),
            undone_by: undo.map(|undo| undo.id.to_string()),
            undo: undo.map(|undo| undo.number),
            began: format::time(record.started),
        })
    }

    /// Whether the run has not ended, so that it can be resumed.
    pub(crate) fn is_open(&self) -> bool {
        !self.state.is_done() && self.what != "lazy" && self.undo.is_none()
    }

    /// Whether the run has claimed the store and is not known to be interrupted.
    pub(crate) fn is_claiming(&self) -> bool {
        self.claims_store && self.is_open() && !self.interrupted
    }

    /// A note for the operator about an interrupted run.
    pub(crate) fn note(&self) -> Option<String> {
        let number = self.number;
        if let Some(undo) = self.undo {
            return Some(format!(
                "run {number} did not come to its end, and run {undo} has undone it"
            ));
        }
        let rest = format!("what was committed is kept, and `resume {number}` resumes the run");
        self.interrupted
            .then(|| match (self.claims_store, self.taker) {
                (true, _) => format!("run {number} was interrupted and claims the store; {rest}"),
                (false, Some(taker)) => format!(
                    "run {number} was interrupted, and run {taker} took over the store; {rest}"
                ),
                (false, None) => format!("run {number} was stopped by an error; {rest}"),
            })
    }

    /// A note for the operator about a run that has claimed the store, before another
    /// run is started.
    ///
    /// `is_alive` says whether the program that has the store open appears to be alive.
    pub(crate) fn blocking_note(&self, is_alive: bool) -> Option<String> {
        let (number, state) = (self.number, self.state);
        if is_alive && self.is_claiming() {
            return Some(format!(
                "run {number} is {state} in the program that has the store open; use --socket PATH to control run {number}"
            ));
        }
        self.note().or_else(|| self.is_claiming().then(|| format!(
            "run {number} is {state} or was killed, and claims the store; wait until run {number} has ended, or resume run {number} if its program is dead"
        )))
    }

    pub(crate) fn state(&self) -> String {
        let (style, state) = match self.state {
            _ if self.interrupted => (BAD, "interrupted".to_owned()),
            RunState::Done => (GOOD, "done".to_owned()),
            RunState::DoneWithErrors => (BAD, self.state.to_string()),
            other => (WARN, other.to_string()),
        };
        format!("{style}{state}{style:#}")
    }
}

/// The last runs of a store.
pub(crate) struct LatestRuns {
    /// Latest first.
    pub(crate) lines: Vec<RunLine>,
    /// Number of all runs.
    pub(crate) total: usize,
    /// The run that has claimed the store.
    pub(crate) holder: Option<RunLine>,
}

impl LatestRuns {
    /// The interrupted run that has claimed the store.
    pub(crate) fn interrupted(&self) -> Option<&RunLine> {
        self.holder.as_ref().filter(|run| run.interrupted)
    }
}

/// The last runs of a store, at most `limit`, with their counts.
pub(crate) async fn latest(runs: &History, limit: usize) -> Result<LatestRuns, Failure> {
    let (all, claim) = runs.list_claimed().await?;
    let line = async |record: &RunRecord| {
        let counts = runs.counts(record.id).await?;
        RunLine::of(runs, record, &counts, &all, claim).await
    };
    let mut lines = Vec::new();
    for record in all.iter().rev().take(limit) {
        lines.push(line(record).await?);
    }
    let claimed = all
        .iter()
        .find(|run| claim.is_some_and(|claim| claim.run == run.id));
    let holder = match claimed {
        Some(record) => Some(line(record).await?),
        None => None,
    };
    Ok(LatestRuns {
        lines,
        total: all.len(),
        holder,
    })
}

/// Maximum characters of texts in a table of runs; `show` has them in full.
const LONGEST_ACTOR: usize = 40;
const LONGEST_REASON: usize = 100;

/// Formats runs as a table.
pub(crate) fn run_table(lines: &[RunLine]) -> String {
    let header = [
        "RUN", "ID", "WHAT", "STATE", "STARTED", "TOOK", "MIGRATED", "FAILED", "ACTOR", "REASON",
    ];
    let rows = lines.iter().map(|run| {
        let took = run.took_ms.map(std::time::Duration::from_millis);
        vec![
            run.number.to_string(),
            // The start of an id names a run in every command.
            run.run.chars().take(8).collect(),
            run.what.to_owned(),
            run.state(),
            run.began.clone(),
            took.map_or_else(|| "-".to_owned(), format::duration),
            count(run.migrated),
            count(run.failed),
            shortened(&run.actor, LONGEST_ACTOR),
            shortened(&run.reason, LONGEST_REASON),
        ]
    });
    table(&header, rows)
}
