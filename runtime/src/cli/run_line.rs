//! A run in a line: what `status`, `runs` and `show` say of it.

use serde::Serialize;

use crate::cli::exit::Failure;
use crate::cli::figures::{self, count};
use crate::cli::history::History;
use crate::cli::output::{BAD, GOOD, WARN, plain, table};
use crate::run::{RunCounts, RunKind, RunRecord, RunState};

/// What is said of every run.
#[derive(Debug, Serialize)]
pub(crate) struct RunLine {
    pub(crate) run: String,
    pub(crate) number: u64,
    pub(crate) what: &'static str,
    /// The run whose failures it tried again.
    pub(crate) retry_of: Option<String>,
    pub(crate) state: RunState,
    pub(crate) who: String,
    pub(crate) why: String,
    /// How often it was started, the first time included.
    pub(crate) executions: u32,
    pub(crate) started: String,
    pub(crate) ended: Option<String>,
    pub(crate) took_ms: Option<u64>,
    pub(crate) migrated: u64,
    pub(crate) failed: u64,
    /// Processes that it came by and left alone.
    pub(crate) skipped: u64,
    /// Whether it holds the store: it is under way, or was killed.
    pub(crate) holds_store: bool,
    /// As `started`, to the second.
    #[serde(skip)]
    pub(crate) began: String,
}

impl RunLine {
    pub(crate) fn new(record: &RunRecord, counts: &RunCounts, holds_store: bool) -> Self {
        let (what, retry_of) = match &record.kind {
            RunKind::Migrate => ("migrate", None),
            RunKind::Retry { of, .. } => ("retry", Some(of.to_string())),
            RunKind::Lazy => ("lazy", None),
        };
        let took = |ended| figures::millis(figures::between(record.started, ended));
        Self {
            run: record.id.to_string(),
            number: record.number,
            what,
            retry_of,
            state: record.state,
            who: record.who.clone(),
            why: record.why.clone(),
            executions: record.executions,
            started: record.started.to_string(),
            ended: record.ended.map(|at| at.to_string()),
            took_ms: record.ended.map(took),
            migrated: counts.migrated,
            failed: counts.failed,
            skipped: counts.skipped_by.total() as u64,
            holds_store,
            began: figures::time(record.started),
        }
    }

    /// Whether it stopped half-way, so that `resume` has something to do.
    pub(crate) fn is_open(&self) -> bool {
        !self.state.is_done() && self.what != "lazy"
    }

    pub(crate) fn state(&self) -> String {
        let (style, state) = match self.state {
            RunState::Done => (GOOD, "done".to_owned()),
            RunState::DoneWithErrors => (BAD, self.state.to_string()),
            other => (WARN, other.to_string()),
        };
        format!("{style}{state}{style:#}")
    }
}

/// The runs of a store, the latest first, with what they did; at most `limit`,
/// and how many there are.
pub(crate) async fn latest(runs: &History, limit: usize) -> Result<(Vec<RunLine>, usize), Failure> {
    let mut records = runs.list().await?;
    let all = records.len();
    records.reverse();
    records.truncate(limit);
    let holder = runs.claimed_by().await?;
    let mut lines = Vec::with_capacity(records.len());
    for record in &records {
        let counts = runs.counts(record.id).await?;
        lines.push(RunLine::new(record, &counts, holder == Some(record.id)));
    }
    Ok((lines, all))
}

/// The same as a table for people.
pub(crate) fn run_table(lines: &[RunLine]) -> String {
    let header = [
        "RUN", "ID", "WHAT", "STATE", "STARTED", "TOOK", "MIGRATED", "FAILED", "WHO", "WHY",
    ];
    let rows = lines.iter().map(|run| {
        let took = run.took_ms.map(std::time::Duration::from_millis);
        vec![
            run.number.to_string(),
            run.run.clone(),
            run.what.to_owned(),
            run.state(),
            run.began.clone(),
            took.map_or_else(|| "-".to_owned(), figures::took),
            count(run.migrated),
            count(run.failed),
            plain(&run.who),
            plain(&run.why),
        ]
    });
    table(&header, rows)
}
