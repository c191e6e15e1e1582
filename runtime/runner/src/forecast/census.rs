//! Counts of processes by version: one pass over the heads of the streams, page by page.
//!
//! A head holds version, finished and held, so the counts are exact. On the way the census
//! takes short strips of due processes from all over the store, for a sample.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use state_migration_core::{
    ChunkProblem, DueFilter, DueOf, Error, EventStore, Head, Selection, SkippedBy, StreamId,
    StreamRange, TenantId, Verdict, WorkflowId, selection,
};

use crate::stages::scan;

/// Number of heads in a page.
const PAGE: usize = 1_024;

/// Number of heads that are read concurrently where they have no order of their own.
const AT_A_TIME: usize = 16;

/// Number of due processes in the two parts of a strip. Pages of two sizes tell what a page
/// takes from what a process takes.
const SHORT: usize = 8;
pub(crate) const STRIP: usize = 64;

/// Maximum number of strips that are kept.
const STRIPS: usize = 256;

/// Counts of the processes at one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessCounts {
    pub processes: u64,
    /// Processes that are not finished according to their heads, which are set by
    /// appends and runs.
    pub in_flight: u64,
    /// Processes held by an operator.
    pub held: u64,
    /// Processes that an undo took to the version.
    #[serde(default)]
    pub undone: u64,
    /// Processes that a run migrates. When the run folds them, it may find more of them
    /// finished.
    pub due: u64,
}

impl ProcessCounts {
    /// Counts a process.
    pub fn add(&mut self, head: &Head, is_due: bool) {
        self.processes += 1;
        self.in_flight += u64::from(!head.finished);
        self.held += u64::from(head.held);
        self.undone += u64::from(head.undone);
        self.due += u64::from(is_due);
    }
}

/// Counts by version and tenant. Streams whose ids name no tenant have `None`.
pub type TenantCounts = BTreeMap<(WorkflowId, Option<TenantId>), ProcessCounts>;

/// Streams with unreadable heads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    pub streams: u64,
    pub first: StreamId,
    /// Why the first one cannot be read.
    pub reason: String,
}

/// Counts of the selected processes by version.
#[derive(Debug)]
pub struct Census {
    pub versions: BTreeMap<WorkflowId, ProcessCounts>,
    /// The counts of each tenant, if they were asked for.
    pub tenants: Option<TenantCounts>,
    pub unreadable: Option<Unreadable>,
    /// Number of heads that were read, also of processes that are not selected.
    pub(crate) heads: u64,
    due: usize,
    strips: Vec<Strip>,
    /// Every `stride`-th strip is kept.
    stride: usize,
}

/// Some due processes that follow each other.
#[derive(Debug)]
struct Strip {
    after: Option<StreamId>,
    /// The end of the short part.
    middle: StreamId,
    through: StreamId,
    due: usize,
}

impl Census {
    /// Counts the selected processes. Those for whose heads `is_behind` is true are due,
    /// unless they are held or excluded by the selection.
    pub async fn of(
        events: &impl EventStore,
        selection: &Selection,
        is_behind: impl Fn(&Head) -> bool,
    ) -> Result<Self, Error> {
        Self::new().count(events, selection, is_behind).await
    }

    /// Counts all processes, and by tenant if that is asked for.
    pub async fn of_all(events: &impl EventStore, by_tenant: bool) -> Result<Self, Error> {
        let census = Self {
            tenants: by_tenant.then(BTreeMap::new),
            ..Self::new()
        };
        census.count(events, &Selection::all(), |_| false).await
    }

    async fn count(
        mut self,
        events: &impl EventStore,
        selection: &Selection,
        is_behind: impl Fn(&Head) -> bool,
    ) -> Result<Self, Error> {
        let mut add = |stream, head| self.add(stream, head, selection, &is_behind);
        match events.transactional() {
            Some(store) => {
                let filter = Arc::new(AllHeads(selection.clone()));
                for mut range in selection.within(&[StreamRange::default()]) {
                    loop {
                        let of = DueOf::Range(range.clone());
                        let none = scan::Snapshots::default();
                        let page = scan::page(&store, of, filter.clone(), PAGE, none).await?;
                        for process in page.processes {
                            let head = process.head.ok_or(process.problem);
                            add(process.stream, head.map_err(problem));
                        }
                        if page.at_end {
                            break;
                        }
                        range.after = page.up_to;
                    }
                }
            }
            None => {
                let prefix = selection.list_prefix();
                let mut after = None;
                loop {
                    let page = events.list_streams(prefix.as_deref(), after.as_ref(), PAGE);
                    let page = page.await?;
                    let at_end = page.len() < PAGE;
                    after = page.last().cloned();
                    let selected = page.into_iter().filter(|it| selection.selects(it));
                    let heads = selected.map(|stream| async move {
                        match events.head(&stream).await {
                            Err(error) if !error.is_of_record() => Err(error),
                            head => Ok((stream, head)),
                        }
                    });
                    let mut heads = stream::iter(heads).buffered(AT_A_TIME);
                    while let Some((stream, head)) = heads.try_next().await? {
                        if let Some(head) = head.map_err(|error| error.to_string()).transpose() {
                            add(stream, head);
                        }
                    }
                    if at_end {
                        break;
                    }
                }
            }
        }
        Ok(self)
    }

    fn new() -> Self {
        Self {
            versions: BTreeMap::new(),
            tenants: None,
            unreadable: None,
            heads: 0,
            due: 0,
            strips: Vec::new(),
            stride: 1,
        }
    }

    /// Number of processes that a run migrates.
    pub fn due(&self) -> u64 {
        self.due as u64
    }

    /// Short ranges from all over the store and then long ones, with about `most` due
    /// processes in total, and how many there are.
    pub(crate) fn sample(&self, most: usize) -> (Vec<StreamRange>, usize) {
        let kept = self.strips.len();
        let all: usize = self.strips.iter().map(|strip| strip.due).sum();
        let chosen = match most {
            0 => 0,
            most if all <= most => kept,
            most => (most / STRIP).clamp(1, kept),
        };
        let mut strips: Vec<(usize, &Strip)> = (0..chosen)
            .filter_map(|number| self.strips.get(number * kept / chosen))
            .enumerate()
            .collect();
        strips.sort_by_key(|(number, _)| number.reverse_bits());
        let due: usize = strips.iter().map(|(_, strip)| strip.due).sum();
        // A sample that ends early has been at as many places as possible.
        let short = strips.iter().map(|(_, strip)| StreamRange {
            after: strip.after.clone(),
            through: Some(strip.middle.clone()),
        });
        let is_long = |strip: &&Strip| strip.due > SHORT;
        let long = strips.iter().map(|(_, strip)| *strip).filter(is_long);
        let long = long.map(|strip| StreamRange {
            after: Some(strip.middle.clone()),
            through: Some(strip.through.clone()),
        });
        let ranges = short.chain(long).collect();
        (ranges, due.min(most))
    }

    fn add(
        &mut self,
        stream: StreamId,
        head: Result<Head, String>,
        selection: &Selection,
        is_behind: impl Fn(&Head) -> bool,
    ) {
        self.heads += 1;
        let head = match head {
            Ok(head) => head,
            Err(reason) => {
                let unreadable = self.unreadable.get_or_insert(Unreadable {
                    streams: 0,
                    first: stream,
                    reason,
                });
                unreadable.streams += 1;
                return;
            }
        };
        let version = &head.workflow_id;
        if !selection.selects_workflow(version.name()) {
            return;
        }
        let is_due = !head.held
            && selection.selects_finished(head.finished)
            && selection.limit().is_none_or(|limit| self.due < limit)
            && is_behind(&head);
        if let Some(tenants) = &mut self.tenants {
            let tenant = stream.process().map(|(tenant, _)| tenant);
            let of_tenant = tenants.entry((version.clone(), tenant)).or_default();
            of_tenant.add(&head, is_due);
        }
        let counted = match self.versions.get_mut(version) {
            Some(counted) => counted,
            None => self.versions.entry(version.clone()).or_default(),
        };
        counted.add(&head, is_due);
        if is_due {
            self.keep(stream);
        }
    }

    /// Keeps every `stride`-th strip. When there are too many, every second one is dropped
    /// and the stride doubles, so that memory stays constant.
    fn keep(&mut self, stream: StreamId) {
        let (number, place) = (self.due / STRIP, self.due % STRIP);
        self.due += 1;
        if place == 0 && number.is_multiple_of(self.stride) && self.strips.len() == STRIPS {
            let mut keep = false;
            self.strips.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
        }
        if !number.is_multiple_of(self.stride) {
            return;
        }
        match self.strips.last_mut().filter(|_| place > 0) {
            None => self.strips.push(Strip {
                after: selection::before(stream.as_str()),
                middle: stream.clone(),
                through: stream,
                due: 1,
            }),
            Some(strip) => {
                if place < SHORT {
                    strip.middle.clone_from(&stream);
                }
                strip.through = stream;
                strip.due += 1;
            }
        }
    }
}

/// A filter that returns all selected heads.
struct AllHeads(Selection);

impl DueFilter for AllHeads {
    fn versions(&self) -> Option<&std::collections::BTreeSet<WorkflowId>> {
        None
    }

    fn verdict(&self, stream: &StreamId, _: &Head) -> Verdict {
        match self.0.selects(stream) {
            true => Verdict::Head,
            false => Verdict::Pass(SkippedBy::with(|counts| counts.not_selected = 1)),
        }
    }

    fn wants_unreadable(&self, stream: &StreamId) -> bool {
        self.0.selects(stream)
    }
}

fn problem(problem: Option<ChunkProblem>) -> String {
    match problem {
        Some(ChunkProblem::Corrupt(reason) | ChunkProblem::NewerFormat(reason)) => reason,
        Some(ChunkProblem::TooLarge) | None => "the store returned no head".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stream(id: &str) -> StreamId {
        StreamId::new(id).unwrap()
    }

    fn head(version: &str, finished: bool, held: bool) -> Result<Head, String> {
        Ok(Head {
            finished,
            held,
            ..Head::of(1, WorkflowId::new("order", version.to_owned()))
        })
    }

    fn census(selection: &Selection, heads: Vec<Result<Head, String>>) -> Census {
        let mut census = Census::new();
        for (number, head) in heads.into_iter().enumerate() {
            let stream = stream(&format!("s{number:06}"));
            census.add(stream, head, selection, |head| {
                !head.undone && head.workflow_id.version() == "1"
            });
        }
        census
    }

    #[test]
    fn what_is_due_is_behind_selected_and_not_held() {
        let heads = || {
            vec![
                head("1", false, false),
                head("1", true, false),
                head("1", false, true),
                head("2", false, false),
                Err("no".to_owned()),
                head("1", false, false),
                head("1", false, false).map(|head| Head {
                    undone: true,
                    ..head
                }),
            ]
        };
        let at = |census: &Census, version: &'static str| {
            let id = WorkflowId::new("order", version);
            let counted = census.versions[&id];
            let ProcessCounts {
                processes,
                in_flight,
                held,
                undone,
                due,
            } = counted;
            [processes, in_flight, held, undone, due]
        };
        let all = census(&Selection::all(), heads());
        assert_eq!(at(&all, "1"), [5, 4, 1, 1, 3]);
        assert_eq!(at(&all, "2"), [1, 1, 0, 0, 0]);
        assert_eq!((all.heads, all.due()), (7, 3));
        let unreadable = Unreadable {
            streams: 1,
            first: stream("s000004"),
            reason: "no".to_owned(),
        };
        assert_eq!(all.unreadable, Some(unreadable));

        let in_flight = census(&Selection::all().in_flight(), heads());
        assert_eq!(at(&in_flight, "1"), [5, 4, 1, 1, 2]);
        let first = census(&Selection::all().first(2), heads());
        assert_eq!(at(&first, "1"), [5, 4, 1, 1, 2]);
        assert_eq!(first.sample(9).1, 2);
        let other = census(&Selection::all().workflow("loan"), heads());
        assert!(other.versions.is_empty());
    }

    /// The numbers of the streams in these ranges.
    fn within(ranges: &[StreamRange], due: usize) -> Vec<usize> {
        let numbers = (0..due).filter(|number| {
            let stream = stream(&format!("s{number:06}"));
            ranges.iter().any(|range| {
                range.after.as_ref().is_none_or(|after| *after < stream)
                    && range.through.as_ref().is_some_and(|end| stream <= *end)
            })
        });
        numbers.collect()
    }

    #[test]
    fn a_sample_is_of_strips_from_all_over_what_is_due_and_never_grows() {
        let full = STRIPS * STRIP;
        for due in [0, 1, 3, 100, full, full + 1, 10 * full + 7] {
            let heads = (0..due).map(|_| head("1", false, false)).collect();
            let census = census(&Selection::all(), heads);
            assert!(census.strips.len() <= STRIPS);
            let (all, counted) = census.sample(usize::MAX);
            let sampled = within(&all, due);
            assert_eq!(sampled.len(), counted, "{due}");
            match due {
                due if due <= full => assert_eq!(counted, due),
                due => assert!(counted > full / 2, "{due}: {counted}"),
            }
            for most in [1, 7, STRIP, 100, 1_024] {
                let (ranges, counted) = census.sample(most);
                assert!(counted <= most);
                let sampled = within(&ranges, due);
                assert!(sampled.len() >= counted, "{due}, {most}");
                assert!(sampled.len() <= most.max(STRIP), "{due}, {most}");
                // From the beginning to near the end.
                if due > 2_000 && most >= 1_000 {
                    assert!(sampled[0] == 0 && sampled[sampled.len() - 1] > due * 7 / 8);
                    // The first few of them too.
                    let few = within(&ranges[..ranges.len() / 8], due);
                    assert!(few[few.len() - 1] > due / 2, "{due}, {most}");
                }
            }
            assert_eq!(census.sample(0), (Vec::new(), 0));
        }
    }
}
