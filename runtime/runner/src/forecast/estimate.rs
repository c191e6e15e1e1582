//! The time that a run is expected to take, from the pages of a sample.
//!
//! A page takes a fixed time and a time for each of its processes. Pages of two sizes tell
//! them apart, so that a fixed time is not multiplied by the number of processes.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::forecast::sample::scaled;
use crate::stages::scan::{CHUNK_BYTES, CHUNK_PROCESSES};

/// The estimated cost of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Number of processes to migrate.
    pub processes: u64,
    /// The run is expected to take at least this long; `None` if nothing was measured.
    pub low_ms: Option<u64>,
    /// The run is expected to take at most this long.
    pub high_ms: Option<u64>,
    /// The limit in processes per second that the estimate is for.
    pub throttle: Option<NonZeroU32>,
    /// Bytes of events and states to read.
    pub read_bytes: Option<u64>,
}

/// Number of times that a run waits until its record is durable, and how many seconds each
/// takes at least and at most, unless the storage is slower to read.
const RECORDED: f64 = 10.0;
const DURABLE: [f64; 2] = [0.004, 0.012];

/// How long a run reads and writes, at least and at most, in terms of how long a sample
/// reads. A sample writes nothing, but a run reads in order what a sample reads at many
/// places. On the real log of the examples it is about 0.6.
const READING_AND_WRITING: [f64; 2] = [0.75, 3.0];

/// Number of processes of a page, how long the page took, and how much of that in user code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) processes: u64,
    pub(crate) took: Duration,
    pub(crate) in_code: Duration,
}

/// What a sample measured.
pub(crate) struct Measured {
    /// Number of workers with which the run begins.
    pub(crate) workers: usize,
    /// Number of processes that were tried.
    pub(crate) tried: u64,
    /// Bytes that were read of them.
    pub(crate) read_bytes: u64,
    /// Pages with processes.
    pub(crate) pages: Vec<Page>,
}

impl Estimate {
    /// Estimates a run over `due` processes, with a limit in processes per second.
    pub(crate) fn new(due: u64, throttle: Option<NonZeroU32>, measured: Option<&Measured>) -> Self {
        let measured = measured.filter(|measured| !measured.pages.is_empty());
        let mut estimate = Self {
            processes: due,
            throttle,
            ..Self::default()
        };
        if due == 0 {
            return estimate;
        }
        if let Some(measured) = measured {
            let (low, high) = measured.range(due);
            estimate.low_ms = Some(millis(low));
            estimate.high_ms = Some(millis(high));
            estimate.read_bytes = Some(scaled(measured.read_bytes, due, measured.tried));
        }
        if let Some(limit) = throttle {
            let least = millis(duration(as_f64(due) / f64::from(limit.get())));
            estimate.low_ms = Some(estimate.low_ms.unwrap_or(0).max(least));
            estimate.high_ms = estimate.high_ms.map(|high| high.max(least));
        }
        estimate
    }
}

impl Measured {
    /// The least and the greatest time that a run over `due` processes is expected to take.
    fn range(&self, due: u64) -> (Duration, Duration) {
        let bytes = (self.read_bytes / self.tried.max(1)).max(1);
        let fit = (CHUNK_BYTES as u64 / bytes).clamp(1, CHUNK_PROCESSES as u64);
        let pages = as_f64(due.div_ceil(fit).max(self.workers as u64));
        let reading = |page: &Page| page.took.saturating_sub(page.in_code);
        let quickest = self.pages.iter().map(reading).min().unwrap_or_default();
        let (page, read) = self.costs(reading);
        let (begin, code) = self.costs(|page| page.in_code);
        let [low, high] = [0, 1].map(|bound| {
            let process = code + read * READING_AND_WRITING[bound];
            let all = (page + begin) * pages + process * as_f64(due);
            let recorded = RECORDED * DURABLE[bound].max(quickest.as_secs_f64());
            duration(all / as_f64(self.workers as u64) + recorded)
        });
        (low, high)
    }

    /// The time for a page, and for each of its processes, in seconds.
    fn costs(&self, time: impl Fn(&Page) -> Duration) -> (f64, f64) {
        let points = self.pages.iter();
        let points: Vec<(f64, f64)> = points
            .map(|page| (as_f64(page.processes), time(page).as_secs_f64()))
            .collect();
        let number = as_f64(points.len() as u64);
        let processes: f64 = points.iter().map(|(processes, _)| processes).sum();
        let took: f64 = points.iter().map(|(_, took)| took).sum();
        let (mean_processes, mean_took) = (processes / number, took / number);
        let (mut together, mut apart) = (0.0, 0.0);
        for (processes, took) in points {
            let from_mean = processes - mean_processes;
            together += from_mean * (took - mean_took);
            apart += from_mean * from_mean;
        }
        let process = together / apart;
        let page = mean_took - process * mean_processes;
        // All of the time is that of the pages.
        if process.abs() * mean_processes < mean_took / 100.0 {
            return (mean_took, 0.0);
        }
        // Noise, or pages of one size.
        if !process.is_finite() || process <= 0.0 || page < 0.0 {
            return (0.0, took / processes.max(1.0));
        }
        (page, process)
    }
}

/// Whole milliseconds, rounded up.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[allow(clippy::cast_precision_loss)]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PAGE: Duration = Duration::from_millis(50);
    const PROCESS: Duration = Duration::from_micros(100);

    /// A page of which nearly all of the time is in user code.
    fn page(processes: u64) -> Page {
        let in_code = PROCESS * u32::try_from(processes).unwrap();
        Page {
            processes,
            took: PAGE + in_code,
            in_code,
        }
    }

    fn measured(pages: Vec<Page>) -> Measured {
        Measured {
            workers: 4,
            tried: pages.iter().map(|page| page.processes).sum(),
            read_bytes: pages.iter().map(|page| page.processes * 1_000).sum(),
            pages,
        }
    }

    #[test]
    fn what_each_page_takes_is_not_multiplied_by_the_processes() {
        let pages = (0..64).map(|n| page([2, 6][n % 2])).collect();
        let estimate = Estimate::new(13_000, None, Some(&measured(pages)));
        // 26 pages and 13,000 processes for four workers, and ten writes that are as slow as
        // the pages.
        let exact = (26 * 50 + 13_000 / 10) / 4 + 500;
        let (low, high) = (estimate.low_ms.unwrap(), estimate.high_ms.unwrap());
        assert!(
            low.abs_diff(exact) < 2 && high.abs_diff(exact) < 2,
            "{low} to {high}"
        );
        assert_eq!(estimate.read_bytes, Some(13_000_000));
    }

    #[test]
    fn what_is_not_in_user_code_takes_longer_in_a_run_which_writes() {
        let pages = (0..64).map(|n| {
            let processes = [2, 6][n % 2];
            Page {
                processes,
                took: PROCESS * u32::try_from(processes).unwrap(),
                in_code: Duration::ZERO,
            }
        });
        let estimate = Estimate::new(40_000, None, Some(&measured(pages.collect())));
        assert_eq!(estimate.low_ms, Some(750 + 40));
        assert_eq!(estimate.high_ms, Some(3_000 + 120));
    }

    #[test]
    fn pages_of_one_size_or_with_much_noise_still_give_an_estimate() {
        let same = vec![page(6); 40];
        let mut noise: Vec<_> = (0..40).map(|n| page([2, 6][n % 2])).collect();
        for page in &mut noise {
            if page.processes == 2 {
                page.took *= 3;
            }
        }
        for pages in [same, noise, vec![page(1)]] {
            let estimate = Estimate::new(1_000, None, Some(&measured(pages)));
            assert!(estimate.low_ms.unwrap() > 0 && estimate.high_ms >= estimate.low_ms);
        }
        // No process was decided in time.
        let none = measured(Vec::new());
        assert_eq!(Estimate::new(1_000, None, Some(&none)).low_ms, None);
        let due = Estimate::new(0, NonZeroU32::new(1), Some(&measured(vec![page(1)])));
        assert_eq!(
            (due.low_ms, due.high_ms, due.read_bytes),
            (None, None, None)
        );
    }
}
