//! How many processes and heads a run is still to look at, found out before the
//! first, where that does not mean to read them all.

use std::collections::{BTreeMap, BTreeSet};

use crate::chunk::context::ChunkContext;
use crate::report::KEPT;
use crate::run::counts::Tally;
use crate::run::run_log::Range;
use crate::run::{Store, history};
use crate::stages::due::Present;
use crate::workers::worker::Source;
use state_migration_core::{Error, FailureClass, RunId, Selection, Split, StreamRange, WorkflowId};

/// What is ahead of a run, as far as is known.
pub(crate) struct Ahead {
    /// Processes.
    pub(crate) all: Option<u64>,
    /// The same of each workflow that it looks for.
    pub(crate) of_each: Vec<(String, Option<u64>)>,
    /// Heads.
    pub(crate) heads: Option<u64>,
}

impl Ahead {
    /// Looks what is ahead in the `main` ranges of a run that has decided about
    /// `so_far`; `split` is what came to light when they were cut.
    pub(crate) async fn look(
        work: &ChunkContext,
        source: &Source,
        present: &Present,
        main: &[Range],
        split: Option<Split>,
        so_far: u64,
    ) -> Result<Self, Error> {
        let limit = work.selection.limit();
        let limit = limit.map(|limit| (limit as u64).saturating_sub(so_far));
        let (of_each, heads) = match source {
            Source::Failures { of, classes } => {
                let failed = failures(&work.store, *of, classes, &work.selection).await?;
                (Some(less(failed, main)), None)
            }
            Source::Heads | Source::Births(_) => {
                let split = match split {
                    Some(split) => split,
                    None => {
                        let left = main.iter().filter(|range| !range.row.done);
                        let left: Vec<StreamRange> = left.map(|range| range.row.rest()).collect();
                        let filter = &*work.filter;
                        work.store.split(&left, filter, 1, usize::MAX).await?
                    }
                };
                let of_each = split.due.map(|due| by_workflow(due, present));
                (of_each, Some(split.heads))
            }
        };
        let all = of_each.as_ref().map(|of_each| of_each.values().sum());
        let all = match (all, limit) {
            (Some(all), Some(limit)) => Some(limit.min(all)),
            (all, limit) => all.or(limit),
        };
        let names: BTreeSet<&str> = present.sources.iter().map(WorkflowId::name).collect();
        let is_one = names.len() < 2;
        let of_each = names.into_iter().map(|name| {
            let more = match &of_each {
                _ if is_one => all,
                // Of which workflow the first ones are shows only in the end.
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

/// How many processes of each workflow are due.
fn by_workflow(due: BTreeMap<WorkflowId, u64>, present: &Present) -> BTreeMap<String, u64> {
    let mut of_each: BTreeMap<String, u64> = BTreeMap::new();
    for (version, due) in due {
        // Those that no route is for fail, and are not waited for.
        if present.sources.contains(&version) {
            *of_each.entry(version.name().to_owned()).or_default() += due;
        }
    }
    of_each
}

/// What is left of failures, of which some ranges have seen some.
fn less(mut failed: BTreeMap<String, u64>, main: &[Range]) -> BTreeMap<String, u64> {
    let mut so_far = Tally::default();
    for range in main {
        so_far.add(&range.row.tally);
    }
    for (name, failed) in &mut failed {
        *failed = failed.saturating_sub(so_far.of(name).processes());
    }
    failed
}

/// How many selected processes failed in a run, by workflow; of some classes
/// only, if any are named.
async fn failures(
    store: &Store,
    run: RunId,
    classes: &[FailureClass],
    selection: &Selection,
) -> Result<BTreeMap<String, u64>, Error> {
    let (mut counts, mut after) = (BTreeMap::new(), None);
    loop {
        let found = history::failures(store, run, classes, after.as_ref(), None, KEPT).await?;
        let selected = found
            .iter()
            .filter(|failure| selection.selects(&failure.error.stream_id));
        for failure in selected {
            let workflow = failure.at.as_ref().map_or("", |at| at.name());
            *counts.entry(workflow.to_owned()).or_default() += 1;
        }
        if found.len() < KEPT {
            return Ok(counts);
        }
        after = found.into_iter().next_back().map(|f| f.error.stream_id);
    }
}
