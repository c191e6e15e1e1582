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

/// What a sample measured.
pub(crate) struct Measured {
    /// Number of workers that tried pages at the same time.
    pub(crate) workers: usize,
    /// Bytes that were read.
    pub(crate) read_bytes: u64,
    /// Number of processes of each page, and how long the page took.
    pub(crate) pages: Vec<(u64, Duration)>,
}

impl Estimate {
    /// Estimates a run over `due` processes, with a limit in processes per second.
    pub(crate) fn new(due: u64, throttle: Option<NonZeroU32>, measured: Option<&Measured>) -> Self {
        let tried = measured.map(Measured::processes).filter(|tried| *tried > 0);
        let measured = measured.zip(tried);
        let mut estimate = Self {
            processes: due,
            throttle,
            ..Self::default()
        };
        if due == 0 {
            return estimate;
        }
        if let Some((measured, tried)) = measured {
            let (low, high) = measured.range(due);
            estimate.low_ms = Some(millis(low));
            estimate.high_ms = Some(millis(high));
            estimate.read_bytes = Some(scaled(measured.read_bytes, due, tried));
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
    fn processes(&self) -> u64 {
        self.pages.iter().map(|(processes, _)| processes).sum()
    }

    /// The least and the greatest time that a run over `due` processes is expected to take.
    fn range(&self, due: u64) -> (Duration, Duration) {
        let (page, process) = self.costs();
        let bytes = (self.read_bytes / self.processes().max(1)).max(1);
        let fit = (CHUNK_BYTES as u64 / bytes).clamp(1, CHUNK_PROCESSES as u64);
        let pages = due.div_ceil(fit).max(self.workers as u64);
        let low = (page * as_f64(pages) + process * as_f64(due)) / as_f64(self.workers as u64);
        (duration(low), duration(low * 2.0))
    }

    /// The time for a page, and for each of its processes, in seconds.
    fn costs(&self) -> (f64, f64) {
        // The first page of each worker starts its thread and fills the caches.
        let pages = match self.pages.get(self.workers..) {
            Some(later) if later.len() >= 2 * self.workers => later,
            _ => &self.pages,
        };
        let number = as_f64(pages.len() as u64);
        let processes = as_f64(pages.iter().map(|(processes, _)| processes).sum());
        let took: f64 = pages.iter().map(|(_, took)| took.as_secs_f64()).sum();
        let (mean_processes, mean_took) = (processes / number, took / number);
        let (mut together, mut apart) = (0.0, 0.0);
        for (processes, took) in pages {
            let from_mean = as_f64(*processes) - mean_processes;
            together += from_mean * (took.as_secs_f64() - mean_took);
            apart += from_mean * from_mean;
        }
        let process = together / apart;
        let page = mean_took - process * mean_processes;
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

    fn page(processes: u64) -> (u64, Duration) {
        (
            processes,
            PAGE + PROCESS * u32::try_from(processes).unwrap(),
        )
    }

    fn measured(pages: Vec<(u64, Duration)>) -> Measured {
        Measured {
            workers: 4,
            read_bytes: pages.iter().map(|(processes, _)| processes * 1_000).sum(),
            pages,
        }
    }

    #[test]
    fn what_each_page_takes_is_not_multiplied_by_the_processes() {
        let mut pages: Vec<_> = (0..64).map(|n| page([2, 6][n % 2])).collect();
        // The first page of each worker is slow.
        for (_, took) in &mut pages[..4] {
            *took += Duration::from_secs(1);
        }
        let estimate = Estimate::new(13_000, None, Some(&measured(pages)));
        // 26 pages and 13,000 processes for four workers.
        let exact = (26 * 50 + 13_000 / 10) / 4;
        let (low, high) = (estimate.low_ms.unwrap(), estimate.high_ms.unwrap());
        assert!(
            low <= exact + 1 && exact <= high,
            "{low} to {high}: {exact}"
        );
        assert!(high <= 4 * low, "{low} to {high}");
        assert_eq!(estimate.read_bytes, Some(13_000_000));
    }

    #[test]
    fn pages_of_one_size_or_with_much_noise_still_give_an_estimate() {
        let same = vec![page(6); 40];
        let mut noise: Vec<_> = (0..40).map(|n| page([2, 6][n % 2])).collect();
        for (processes, took) in &mut noise {
            if *processes == 2 {
                *took *= 3;
            }
        }
        for pages in [same, noise, vec![page(1)]] {
            let estimate = Estimate::new(1_000, None, Some(&measured(pages)));
            assert!(estimate.low_ms.unwrap() > 0 && estimate.high_ms >= estimate.low_ms);
        }
        // No process was decided in time.
        let none = measured(vec![(0, PAGE)]);
        assert_eq!(Estimate::new(1_000, None, Some(&none)).low_ms, None);
        let due = Estimate::new(0, NonZeroU32::new(1), Some(&measured(vec![page(1)])));
        assert_eq!(
            (due.low_ms, due.high_ms, due.read_bytes),
            (None, None, None)
        );
    }
}
