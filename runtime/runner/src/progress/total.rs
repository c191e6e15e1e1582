//! The expected number of processes and heads of a run.
//!
//! They are determined before the first process, unless this requires reading all of
//! them.

use std::collections::{BTreeMap, BTreeSet};

use state_migration_core::{Error, Partitioning, StreamRange, WorkflowId};

use crate::chunk::context::ChunkContext;
use crate::progress::failed_before::FailedBefore;
use crate::run::counts::CountsByWorkflow;
use crate::run::run_log::Range;
use crate::stages::due::Present;
use crate::workers::worker::Source;

/// What was found out when a run was split into ranges.
pub(crate) enum Split {
    Heads(Partitioning),
    Failed(FailedBefore),
}

/// What a run is expected to visit, as far as known.
pub(crate) struct RunTotal {
    /// Number of processes.
    pub(crate) all: Option<u64>,
    /// Number of processes per workflow.
    pub(crate) of_each: Vec<(String, Option<u64>)>,
    /// Number of heads.
    pub(crate) heads: Option<u64>,
}

impl RunTotal {
    /// Determines what is left in the `main` ranges of a run. `so_far` processes count
    /// towards the limit already; `split` is the result of splitting the heads into
    /// ranges.
    pub(crate) async fn determine(
        context: &ChunkContext,
        source: &Source,
        present: &Present,
        main: &[Range],
        split: Option<Split>,
        so_far: u64,
    ) -> Result<Self, Error> {
        let limit = context.selection.limit();
        let limit = limit.map(|limit| (limit as u64).saturating_sub(so_far));
        let (of_each, heads) = match source {
            Source::Failures { of, classes, .. } => {
                let failed = match split {
                    Some(Split::Failed(failed)) => failed,
                    _ => {
                        let (store, selection) = (&context.store, &context.selection);
                        FailedBefore::read(store, *of, classes, selection).await?
                    }
                };
                let is_exact = !context.selection.reads_more_than_heads();
                (is_exact.then(|| without_done(failed.of_each, main)), None)
            }
            Source::Heads | Source::Births(_) => {
                let split = match split {
                    Some(Split::Heads(split)) => split,
                    _ => heads_left(context, main).await?,
                };
                // How many processes match a predicate is known only at the end.
                let due = split
                    .due
                    .filter(|_| !context.selection.reads_more_than_heads());
                let of_each = due.map(|due| by_workflow(due, present));
                (of_each, Some(split.heads))
            }
        };
        let all = of_each.as_ref().map(|of_each| of_each.values().sum());
        let all = match (all, limit) {
            (Some(all), Some(limit)) => Some(limit.min(all)),
            // The run comes to the end of the heads before it comes to the limit.
            (None, Some(limit)) if heads.is_some_and(|heads| heads <= limit) => None,
            (all, limit) => all.or(limit),
        };
        let names: BTreeSet<&str> = present.sources.iter().map(WorkflowId::name).collect();
        let is_one = names.len() < 2;
        let of_each = names.into_iter().map(|name| {
            let more = match &of_each {
                _ if is_one => all,
                // To which workflows the first N processes belong is known only at the
                // end.
                Some(found) if limit.is_none() => Some(found.get(name).copied().unwrap_or(0)),
                _ => None,
            };
            (name.to_owned(), more)
        });
        Ok(Self {
            all,
            of_each: of_each.collect(),
            heads,
        })
    }
}

/// The heads and the due processes in the ranges that are not done.
async fn heads_left(context: &ChunkContext, main: &[Range]) -> Result<Partitioning, Error> {
    let left = main.iter().filter(|range| !range.row.done);
    let left: Vec<StreamRange> = left.map(|range| range.row.rest()).collect();
    let split = context.store.split(&left, &*context.filter, 1, usize::MAX);
    split.await
}

/// Number of due processes per workflow.
fn by_workflow(due: BTreeMap<WorkflowId, u64>, present: &Present) -> BTreeMap<String, u64> {
    let mut of_each: BTreeMap<String, u64> = BTreeMap::new();
    for (version, due) in due {
        // Processes without a route fail, and do not count as expected.
        if present.sources.contains(&version) {
            *of_each.entry(version.name().to_owned()).or_default() += due;
        }
    }
    of_each
}

/// Subtracts the failures that the ranges have visited already.
fn without_done(mut failed: BTreeMap<String, u64>, main: &[Range]) -> BTreeMap<String, u64> {
    let mut so_far = CountsByWorkflow::default();
    for range in main {
        so_far.add(&range.row.by_workflow);
    }
    for (name, failed) in &mut failed {
        *failed = failed.saturating_sub(so_far.of(name).processes());
    }
    failed
}
