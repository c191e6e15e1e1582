//! How many processes a run is still to look at, found out before the first.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::id::{RunId, WorkflowId};
use crate::run::history;
use crate::run::ledger::Range;
use crate::run::tally::Tally;
use crate::runner::meter::More;
use crate::runner::plan::Present;
use crate::runner::report::{FailureClass, KEPT};
use crate::runner::scan::{CHUNK_PROCESSES, Source};
use crate::runner::work::{Store, Work};
use crate::selection::Selection;
use crate::store::{AtVersion, Split};

/// How many rows of the index are read at most to count who is selected.
const COUNTED: usize = 100_000;

/// What is ahead of a run, as far as is known.
pub(super) struct Ahead {
    pub(super) all: Option<More>,
    /// The same of each workflow that it looks for.
    pub(super) of_each: Vec<(String, Option<More>)>,
}

/// How many processes of each workflow are still to come.
struct Found {
    all: u64,
    of_each: BTreeMap<String, u64>,
    /// Which part of them is selected, if they are not all.
    share: Option<f64>,
}

impl Ahead {
    /// Looks what is ahead in the `main` ranges of a run that has decided about
    /// `so_far`; `due` is how many stand at the old versions, if they were counted.
    pub(super) async fn look(
        work: &Work,
        source: &Source,
        present: &Present,
        main: &[Range],
        due: Option<Split>,
        so_far: u64,
    ) -> Result<Self, Error> {
        let limit = work.selection.limit();
        let limit = limit.map(|limit| (limit as u64).saturating_sub(so_far));
        let found = found(work, source, present, main, due).await?;
        let more = |all: u64| match found.as_ref().and_then(|found| found.share) {
            Some(share) => More::ShareOf(all, share, limit),
            None => More::Selected(limit.map_or(all, |limit| all.min(limit))),
        };
        let all = match &found {
            Some(found) => Some(more(found.all)),
            None => limit.map(More::Selected),
        };
        let names: BTreeSet<&str> = present.sources.iter().map(WorkflowId::name).collect();
        let is_one = names.len() < 2;
        let of_each = names.into_iter().map(|name| {
            let more = match &found {
                _ if is_one => all,
                // Of which workflow the first so many are shows only in the end.
                Some(found) if limit.is_none() => found.of_each.get(name).copied().map(more),
                _ => None,
            };
            (name.to_owned(), more)
        });
        Ok(Self {
            all,
            of_each: of_each.collect(),
        })
    }
}

/// Counts what is still to come; `None` where that would take too long.
async fn found(
    work: &Work,
    source: &Source,
    present: &Present,
    main: &[Range],
    due: Option<Split>,
) -> Result<Option<Found>, Error> {
    let selection = &*work.selection;
    let mut so_far = Tally::default();
    for range in main {
        so_far.add(&range.row.tally);
    }
    let sum = |of_each: BTreeMap<String, u64>| Found {
        all: of_each.values().sum(),
        of_each,
        share: None,
    };
    match source {
        Source::Failures { of, classes } => {
            let mut failed = failures(&work.store, *of, classes, selection).await?;
            let all: u64 = failed.values().sum();
            let gone = main.iter().map(|range| range.row.counts.selected());
            for version in &present.sources {
                failed.entry(version.name().to_owned()).or_default();
            }
            for (name, failed) in &mut failed {
                *failed = failed.saturating_sub(so_far.of(name).processes());
            }
            Ok(Some(Found {
                all: all.saturating_sub(gone.sum()),
                ..sum(failed)
            }))
        }
        Source::Index(_) if selection.is_bounded() || work.full_count && selection.is_partial() => {
            Ok(selected(work, present, main).await?.map(sum))
        }
        Source::Index(_) => {
            let due = match due {
                Some(due) => due,
                None => work.store.split(&present.sources, 1, 1).await?,
            };
            // Those of them that were looked at, and are there still.
            let counts = main.iter().map(|range| range.row.counts);
            let stay = counts.map(|counts| counts.processes() - counts.migrated);
            let mut of_each: BTreeMap<String, u64> = BTreeMap::new();
            // A store may know the sum only.
            if due.of_each.len() == present.sources.len() {
                for (version, all) in present.sources.iter().zip(&due.of_each) {
                    *of_each.entry(version.name().to_owned()).or_default() += all;
                }
            }
            for (name, all) in &mut of_each {
                let so_far = so_far.of(name);
                let stay = so_far.failed + so_far.skipped + so_far.not_selected;
                *all = all.saturating_sub(stay);
            }
            Ok(Some(Found {
                all: due.processes.saturating_sub(stay.sum()),
                of_each,
                share: selection.share(),
            }))
        }
    }
}

/// How many selected processes stand in what is left of some ranges.
async fn selected(
    work: &Work,
    present: &Present,
    main: &[Range],
) -> Result<Option<BTreeMap<String, u64>>, Error> {
    let (mut of_each, mut rows) = (BTreeMap::new(), 0);
    for range in main.iter().filter(|range| !range.row.done) {
        for version in &present.sources {
            let of_it: &mut u64 = of_each.entry(version.name().to_owned()).or_default();
            let mut rest = range.row.rest();
            loop {
                let page = work
                    .store
                    .streams_at(version, &rest, CHUNK_PROCESSES)
                    .await?;
                let is_selected = |at: &&AtVersion| work.selection.selects(&at.stream);
                *of_it += page.iter().filter(is_selected).count() as u64;
                rows += page.len();
                if page.len() < CHUNK_PROCESSES {
                    break;
                }
                if rows > COUNTED || work.control.is_cancelled() {
                    return Ok(None);
                }
                rest.after = page.into_iter().next_back().map(|at| at.stream);
            }
        }
    }
    Ok(Some(of_each))
}

/// How many selected processes failed in a run, by workflow, with none where that
/// is not known; of some classes only, if any are named.
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
