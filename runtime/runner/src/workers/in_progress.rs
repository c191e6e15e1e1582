//! The number of chunks in progress.
//!
//! A run is paused when there are none; everything done is then durable and counted.

use std::sync::Arc;

use tokio::sync::watch;

/// Counts the chunks in progress in an execution.
#[derive(Clone)]
pub(crate) struct AtWork(Arc<watch::Sender<usize>>);

impl AtWork {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Registers a chunk until the returned value is dropped.
    pub(crate) fn begin(&self) -> Hand {
        self.0.send_if_modified(|hands| {
            *hands += 1;
            false
        });
        Hand(self.clone())
    }

    pub(crate) fn is_nobody(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// A receiver that is notified when no chunk is in progress any more.
    pub(crate) fn changes(&self) -> watch::Receiver<usize> {
        self.0.subscribe()
    }
}

/// A chunk in progress; dropping it deregisters the chunk.
pub(crate) struct Hand(AtWork);

impl Drop for Hand {
    fn drop(&mut self) {
        self.0.0.send_if_modified(|hands| {
            *hands -= 1;
            *hands == 0
        });
    }
}
