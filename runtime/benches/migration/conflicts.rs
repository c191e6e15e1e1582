//! The number of conflicts of runs, from their metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use state_migration::telemetry::CONFLICTS;

/// The number so far, counted from the first call.
pub fn so_far() -> u64 {
    static COUNTED: OnceLock<Arc<AtomicU64>> = OnceLock::new();
    let counted = COUNTED.get_or_init(|| {
        let counted = Arc::new(AtomicU64::new(0));
        let recorder = Conflicts(counted.clone());
        metrics::set_global_recorder(recorder).expect("the only recorder");
        counted
    });
    counted.load(Ordering::Relaxed)
}

/// Records only the number of conflicts.
struct Conflicts(Arc<AtomicU64>);

impl Recorder for Conflicts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == CONFLICTS {
            Counter::from_arc(self.0.clone())
        } else {
            Counter::noop()
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
