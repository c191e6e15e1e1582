//! The processes that failed in the run that a retry is of: how many there are, and ranges
//! with about as many of them each.

use std::collections::BTreeMap;

use state_migration_core::{Error, FailureClass, RunId, Selection, StreamId, StreamRange};

use crate::run::{Store, history};

/// Number of failures that are read at a time.
const PAGE: usize = 512;

/// Maximum number of streams that are kept to split between.
const SAMPLES: usize = 512;

/// The selected processes that failed in a run.
#[derive(Default)]
pub(crate) struct FailedBefore {
    /// Their number, per workflow.
    pub(crate) of_each: BTreeMap<String, u64>,
    count: usize,
    /// Every `stride`-th one.
    samples: Vec<StreamId>,
    stride: usize,
}

impl FailedBefore {
    /// Reads the failures of a run. Non-empty `classes` restrict them to these classes.
    pub(crate) async fn read(
        store: &Store,
        run: RunId,
        classes: &[FailureClass],
        selection: &Selection,
    ) -> Result<Self, Error> {
        let mut all = Self {
            stride: 1,
            ..Self::default()
        };
        let mut after = None;
        loop {
            let found = history::failures(store, run, classes, after.as_ref(), None, PAGE).await?;
            let at_end = found.len() < PAGE;
            after = found.last().and_then(|failure| failure.stream().cloned());
            for failure in found {
                let workflow = failure.at.as_ref().map_or("", |at| at.name());
                match failure.stream() {
                    Some(stream) if selection.selects(stream) => all.add(stream, workflow),
                    _ => {}
                }
            }
            if at_end {
                return Ok(all);
            }
        }
    }

    fn add(&mut self, stream: &StreamId, workflow: &str) {
        *self.of_each.entry(workflow.to_owned()).or_default() += 1;
        self.count += 1;
        if !self.count.is_multiple_of(self.stride) {
            return;
        }
        if self.samples.len() == SAMPLES {
            let mut keep = true;
            // The last one of each two stays, as it is the end of both.
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
            if !self.count.is_multiple_of(self.stride) {
                return;
            }
        }
        self.samples.push(stream.clone());
    }

    /// At most `most` ranges with about as many of the processes each, and at least
    /// `least`. Together they cover all streams.
    pub(crate) fn ranges(&self, most: usize, least: usize) -> Vec<StreamRange> {
        let pieces = (self.count / least.max(1)).clamp(1, most.max(1));
        let pieces = pieces.min(self.samples.len().max(1));
        let mut ranges = Vec::with_capacity(pieces);
        let mut after = None;
        for piece in 1..pieces {
            let through = self.samples[piece * self.samples.len() / pieces - 1].clone();
            ranges.push(StreamRange {
                after: after.replace(through.clone()),
                through: Some(through),
            });
        }
        ranges.push(StreamRange {
            after,
            through: None,
        });
        ranges
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stream(number: usize) -> StreamId {
        StreamId::new(format!("s{number:06}")).unwrap()
    }

    #[test]
    fn ranges_have_about_as_many_failures_each_and_cover_all_streams() {
        for count in [0, 1, 63, 64, 1_000, 10 * SAMPLES + 7] {
            let mut all = FailedBefore {
                stride: 1,
                ..FailedBefore::default()
            };
            for number in 0..count {
                all.add(&stream(number), "loan");
            }
            assert!(all.samples.len() <= SAMPLES);
            assert_eq!(all.of_each.values().sum::<u64>(), count as u64);
            let ranges = all.ranges(32, 64);
            assert_eq!(ranges.len(), (count / 64).clamp(1, 32), "{count}");
            assert_eq!(ranges[0].after, None);
            assert_eq!(ranges[ranges.len() - 1].through, None);
            for pair in ranges.windows(2) {
                assert!(pair[0].through.is_some());
                assert_eq!(pair[0].through, pair[1].after);
            }
            let within = |range: &StreamRange| {
                let streams = (0..count).map(stream);
                let inside = streams.filter(|stream| {
                    range.after.as_ref().is_none_or(|after| after < stream)
                        && range.through.as_ref().is_none_or(|end| stream <= end)
                });
                inside.count()
            };
            let sizes: Vec<usize> = ranges.iter().map(within).collect();
            assert_eq!(sizes.iter().sum::<usize>(), count);
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            assert!(*most <= 2 * least + 64, "{count}: {sizes:?}");
        }
    }
}
