//! Counts of processes by version: one pass over the heads of the streams, page by page.
//!
//! A head holds version, finished and held, so the counts are exact. A plan takes an even
//! sample of the due processes on the way, for its dry run.

use std::collections::BTreeMap;

use state_migration_core::{Error, Head, Selection, StreamId, StreamRange, WorkflowId};
use state_migration_store::SlateDbReader;

const PAGE: usize = 1_024;

/// Maximum number of streams kept for a sample.
const SAMPLE: usize = 512;

/// Counts of the processes at one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProcessCounts {
    pub(crate) processes: u64,
    /// Processes that are not finished according to their heads, which are set by
    /// appends and runs.
    pub(crate) in_flight: u64,
    /// Processes held by an operator.
    pub(crate) held: u64,
    /// Processes that a run migrates. When the run folds them, it may find more of them
    /// finished.
    pub(crate) due: u64,
}

/// Counts of the selected processes by version.
#[derive(Debug, Default)]
pub(crate) struct VersionCounts {
    pub(crate) versions: BTreeMap<WorkflowId, ProcessCounts>,
    /// Streams with unreadable heads.
    pub(crate) unreadable: u64,
    /// The first of them, with the reason.
    pub(crate) first_unreadable: Option<(StreamId, String)>,
    /// A sample of the due processes, evenly spaced.
    sample: Vec<StreamId>,
    stride: usize,
    due: usize,
}

impl VersionCounts {
    /// Counts the selected processes. Those at versions for which `behind` is true are
    /// due, unless they are held or excluded by the selection.
    pub(crate) async fn of(
        reader: &SlateDbReader,
        selection: &Selection,
        behind: impl Fn(&WorkflowId) -> bool,
    ) -> Result<Self, Error> {
        let mut counts = Self {
            stride: 1,
            ..Self::default()
        };
        for mut range in selection.within(&[StreamRange::default()]) {
            loop {
                let page = reader.heads(&range, PAGE).await?;
                let at_end = page.len() < PAGE;
                range.after = page.last().map(|(stream, _)| stream.clone());
                for (stream, head) in page {
                    if selection.selects(&stream) {
                        counts.add(stream, head, selection, &behind);
                    }
                }
                if at_end {
                    break;
                }
            }
        }
        Ok(counts)
    }

    /// Number of processes that a run migrates.
    pub(crate) fn due(&self) -> usize {
        self.due
    }

    /// A sample of at most `most` due processes, evenly spaced.
    pub(crate) fn sample(&self, most: usize) -> impl Iterator<Item = &StreamId> {
        let step = self.sample.len().div_ceil(most.max(1)).max(1);
        self.sample.iter().step_by(step).take(most)
    }

    fn add(
        &mut self,
        stream: StreamId,
        head: Result<Head, Error>,
        selection: &Selection,
        behind: impl Fn(&WorkflowId) -> bool,
    ) {
        let head = match head {
            Ok(head) => head,
            Err(error) => {
                self.unreadable += 1;
                self.first_unreadable
                    .get_or_insert_with(|| (stream, error.to_string()));
                return;
            }
        };
        let Head {
            workflow_id: version,
            finished,
            held,
            ..
        } = head;
        if !selection.selects_workflow(version.name()) {
            return;
        }
        let is_due = !held
            && selection.selects_finished(finished)
            && selection.limit().is_none_or(|limit| self.due < limit)
            && behind(&version);
        let counted = match self.versions.get_mut(&version) {
            Some(counted) => counted,
            None => self.versions.entry(version).or_default(),
        };
        counted.processes += 1;
        counted.in_flight += u64::from(!finished);
        counted.held += u64::from(held);
        counted.due += u64::from(is_due);
        if is_due {
            self.keep(stream);
        }
    }

    /// Keeps every `stride`-th stream. When the sample is full, every second stream is
    /// dropped and the stride doubles, so that memory stays constant.
    fn keep(&mut self, stream: StreamId) {
        if self.due.is_multiple_of(self.stride) {
            if self.sample.len() == SAMPLE {
                let mut keep = false;
                self.sample.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.stride *= 2;
            }
            if self.due.is_multiple_of(self.stride) {
                self.sample.push(stream);
            }
        }
        self.due += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stream(id: &str) -> StreamId {
        StreamId::new(id).unwrap()
    }

    fn head(version: &str, finished: bool, held: bool) -> Result<Head, Error> {
        Ok(Head {
            finished,
            held,
            ..Head::of(1, WorkflowId::new("order", version.to_owned()))
        })
    }

    fn counts(selection: &Selection, heads: Vec<Result<Head, Error>>) -> VersionCounts {
        let mut counts = VersionCounts {
            stride: 1,
            ..VersionCounts::default()
        };
        for (number, head) in heads.into_iter().enumerate() {
            let stream = stream(&format!("s{number:05}"));
            counts.add(stream, head, selection, |at| at.version() == "1");
        }
        counts
    }

    #[test]
    fn what_is_due_is_behind_selected_and_not_held() {
        let heads = || {
            vec![
                head("1", false, false),
                head("1", true, false),
                head("1", false, true),
                head("2", false, false),
                Err(Error::corrupt("no")),
                head("1", false, false),
            ]
        };
        let at = |counts: &VersionCounts, version: &'static str| {
            let id = WorkflowId::new("order", version);
            let counted = counts.versions[&id];
            let ProcessCounts {
                processes,
                in_flight,
                held,
                due,
            } = counted;
            [processes, in_flight, held, due]
        };
        let all = counts(&Selection::all(), heads());
        assert_eq!(at(&all, "1"), [4, 3, 1, 3]);
        assert_eq!(at(&all, "2"), [1, 1, 0, 0]);
        assert_eq!((all.unreadable, all.due()), (1, 3));
        assert_eq!(all.first_unreadable.unwrap().0, stream("s00004"));

        let in_flight = counts(&Selection::all().in_flight(), heads());
        assert_eq!(at(&in_flight, "1"), [4, 3, 1, 2]);
        let first = counts(&Selection::all().first(2), heads());
        assert_eq!(at(&first, "1"), [4, 3, 1, 2]);
        assert_eq!(first.sample(9).count(), 2);
        let other = counts(&Selection::all().workflow("loan"), heads());
        assert!(other.versions.is_empty());
    }

    #[test]
    fn a_sample_is_spread_over_all_that_are_due_and_never_grows() {
        for due in [0, 1, 100, SAMPLE, SAMPLE + 1, 10 * SAMPLE + 7] {
            let heads = (0..due).map(|_| head("1", false, false)).collect();
            let counts = counts(&Selection::all(), heads);
            assert!(counts.sample.len() <= SAMPLE);
            assert_eq!(counts.sample(SAMPLE).count(), counts.sample.len());
            if due > SAMPLE {
                assert!(counts.sample.len() >= SAMPLE / 2, "{due}");
            } else {
                assert_eq!(counts.sample.len(), due);
            }
            for most in [0, 1, 7, 100] {
                assert!(counts.sample(most).count() <= most);
            }
            let numbers: Vec<usize> = counts
                .sample(SAMPLE)
                .map(|stream| stream.as_str()[1..].parse().unwrap())
                .collect();
            for pair in numbers.windows(2) {
                assert_eq!(pair[1] - pair[0], counts.stride, "{due}");
            }
        }
    }
}
