//! The number of chunks in progress.
//!
//! A run is paused when there are none; everything done is then durable and counted.

use std::sync::Arc;

use tokio::sync::watch;

/// Counts the chunks in progress in an execution.
#[derive(Clone)]
pub(crate) struct InProgress(Arc<watch::Sender<usize>>);

impl InProgress {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Registers a chunk until the returned value is dropped.
    pub(crate) fn begin(&self) -> ChunkGuard {
        self.0.send_if_modified(|in_progress| {
            *in_progress += 1;
            false
        });
        ChunkGuard(self.clone())
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// A receiver that is notified when no chunk is in progress any more.
    pub(crate) fn changes(&self) -> watch::Receiver<usize> {
        self.0.subscribe()
    }
}

/// A chunk in progress; dropping it deregisters the chunk.
pub(crate) struct ChunkGuard(InProgress);

impl Drop for ChunkGuard {
    fn drop(&mut self) {
        self.0.0.send_if_modified(|in_progress| {
            *in_progress -= 1;
            *in_progress == 0
        });
    }
}
