//! Who has something in hand: a run is at rest when nobody has, and all that
//! was done is durable and told by then.

use std::sync::Arc;

use tokio::sync::watch;

/// How many of the workers of an execution have something in hand.
#[derive(Clone)]
pub(crate) struct AtWork(Arc<watch::Sender<usize>>);

impl AtWork {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// One takes something in hand, until what this returns is dropped.
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

    /// Tells when nobody has any more.
    pub(crate) fn changes(&self) -> watch::Receiver<usize> {
        self.0.subscribe()
    }
}

/// Something in hand.
pub(crate) struct Hand(AtWork);

impl Drop for Hand {
    fn drop(&mut self) {
        self.0.0.send_if_modified(|hands| {
            *hands -= 1;
            *hands == 0
        });
    }
}
