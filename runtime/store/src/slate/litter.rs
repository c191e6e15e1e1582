//! Removal of the files that earlier openings have left behind.
//!
//! SlateDB removes files that are no longer used ten minutes after a database was
//! opened, and then every ten minutes. A program that opens a store for a shorter time,
//! such as a command that finds nothing to do, would leave a manifest and files of the
//! log each time, and later openings would list all of them.

use std::time::{Duration, Instant};

use slatedb::admin::Admin;
use slatedb::config::{GarbageCollectorOptions, Settings};

use crate::slate::kv::Files;

/// The time limit, and the number of retries: a store is closed while this waits.
const LIMIT: Duration = Duration::from_secs(5);
const RETRIES: u32 = 1;

/// SlateDB's interval if the settings have none.
const INTERVAL: Duration = Duration::from_secs(600);

/// The collector of a database that was opened.
#[derive(Clone)]
pub(crate) struct Litter {
    options: GarbageCollectorOptions,
    opened: Instant,
}

impl Litter {
    /// `None` if the settings switch SlateDB's collector off.
    pub(crate) fn of(settings: &Settings) -> Option<Self> {
        let mut options = settings.garbage_collector_options.clone()?;
        let retries = options.object_store_max_retries.unwrap_or(RETRIES);
        options.object_store_max_retries = Some(retries.min(RETRIES));
        Some(Self {
            options,
            opened: Instant::now(),
        })
    }

    /// Removes unused files, if SlateDB has not had the time to do it. A failure leaves
    /// them for the next time.
    pub(crate) async fn remove(&self, files: &Files) {
        let interval = self
            .options
            .manifest_options
            .as_ref()
            .and_then(|it| it.interval);
        if self.opened.elapsed() > interval.unwrap_or(INTERVAL) {
            return;
        }
        let admin = Admin::builder(files.path.clone(), files.object_store.clone()).build();
        let _ = tokio::time::timeout(LIMIT, admin.run_gc_once(self.options.clone())).await;
    }
}
