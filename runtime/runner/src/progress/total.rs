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

/// Number of milestones in the ranges that are left. Each range has at least one, so that
/// many are needed for those of uneven ranges to be evenly spaced.
const MILESTONES: usize = 1_024;

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
    /// Ranges with similar numbers of heads.
    pub(crate) over: Vec<StreamRange>,
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
        let (of_each, heads, over) = match source {
            Source::Failures { of, classes, .. } => {
                let failed = match split {
                    Some(Split::Failed(failed)) => failed,
                    _ => {
                        let (store, selection) = (&context.store, &context.selection);
                        FailedBefore::read(store, *of, classes, selection).await?
                    }
                };
                let is_exact = !context.selection.reads_more_than_heads();
                let of_each = is_exact.then(|| without_done(failed.of_each, main));
                (of_each, None, Vec::new())
            }
            Source::Heads | Source::Births(_) => {
                let split = match split {
                    Some(Split::Heads(split)) => split,
                    _ => heads_left(context, main).await?,
                };
                // How many processes match a predicate is known only at the end.
                let due = split
                    .due
                    .filter(|_| !context.selection.reads_more_than_heads())
                    .filter(|_| context.history.is_none());
                let of_each = due.map(|due| by_workflow(due, present));
                (of_each, Some(split.heads), split.ranges)
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
            over,
        })
    }
}

/// The heads and the due processes in the ranges that are not done.
async fn heads_left(context: &ChunkContext, main: &[Range]) -> Result<Partitioning, Error> {
    let left = main.iter().filter(|range| !range.row.done);
    let left: Vec<StreamRange> = left.map(|range| range.row.rest()).collect();
    let split = context.store.split(&left, &*context.filter, MILESTONES, 1);
    split.await
}

/// At most `parts` ranges of at least about `fewest` heads, which are those of a split,
/// joined.
pub(crate) fn joined(split: &Partitioning, parts: usize, fewest: usize) -> Vec<StreamRange> {
    let pieces = &split.ranges;
    let heads = usize::try_from(split.heads).unwrap_or(usize::MAX);
    let parts = parts
        .min(heads / fewest.max(1))
        .clamp(1, pieces.len().max(1));
    let each = pieces.len().div_ceil(parts);
    let (mut ranges, mut many): (Vec<StreamRange>, usize) = (Vec::new(), 0);
    for piece in pieces {
        match ranges.last_mut() {
            Some(last) if many < each && last.through.is_some() && last.through == piece.after => {
                last.through.clone_from(&piece.through);
                many += 1;
            }
            _ => {
                ranges.push(piece.clone());
                many = 1;
            }
        }
    }
    ranges
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use state_migration_core::StreamId;

    use super::*;

    fn pieces(bounds: &[(u64, u64)]) -> Vec<StreamRange> {
        let stream = |n: u64| Some(StreamId::new(format!("s{n:04}")).unwrap());
        let piece = |(after, through): &(u64, u64)| StreamRange {
            after: stream(*after).filter(|_| *after > 0),
            through: stream(*through).filter(|_| *through < 1_000),
        };
        bounds.iter().map(piece).collect()
    }

    #[test]
    fn pieces_are_joined_into_ranges_that_cover_the_same_streams() {
        let all: Vec<(u64, u64)> = (0..100).map(|n| (n * 10, n * 10 + 10)).collect();
        let mut split = Partitioning {
            ranges: pieces(&all),
            heads: 10_000,
            ..Partitioning::default()
        };
        for (parts, fewest, many) in [(8, 64, 8), (1, 64, 1), (8, 5_000, 2), (8, 20_000, 1)] {
            let ranges = joined(&split, parts, fewest);
            assert_eq!(ranges.len(), many, "{parts} {fewest}");
            assert_eq!(ranges[0].after, None);
            assert_eq!(ranges[many - 1].through, None);
            assert!(ranges.windows(2).all(|two| two[0].through == two[1].after));
        }
        // A store that splits less finely than requested.
        split.ranges = pieces(&[(0, 500), (500, 1_000)]);
        assert_eq!(joined(&split, 8, 64), split.ranges);
        // What is not selected stays out.
        split.ranges = pieces(&[(10, 20), (20, 30), (40, 50), (50, 60)]);
        assert_eq!(joined(&split, 1, 64), pieces(&[(10, 30), (40, 60)]));
        split.ranges = Vec::new();
        assert_eq!(joined(&split, 8, 64), []);
    }
}
