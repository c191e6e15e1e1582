//! The limit on the number of clients.
//!
//! When the limit is reached, the client that has been idle longest is disconnected, so
//! that idle connections do not keep other clients out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Slots for a limited number of clients.
pub(crate) struct ClientLimit {
    max: usize,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    taken: usize,
    /// Increases, so that the client that became idle first sorts first.
    turn: u64,
    /// Clients without a request in progress.
    idle: BTreeMap<u64, Arc<Notify>>,
}

impl Slots {
    fn idle(&mut self, leave: &Arc<Notify>) -> Option<u64> {
        self.turn += 1;
        self.idle.insert(self.turn, leave.clone());
        Some(self.turn)
    }
}

impl ClientLimit {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            slots: Mutex::default(),
        })
    }

    /// A slot for a new client, which starts idle. Returns `None` if all slots belong
    /// to clients with a request in progress.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<ClientSlot> {
        let mut slots = self.slots();
        if slots.taken >= self.max {
            let (_, oldest) = slots.idle.pop_first()?;
            oldest.notify_one();
            slots.taken -= 1;
        }
        slots.taken += 1;
        let leave = Arc::new(Notify::new());
        let idle = slots.idle(&leave);
        drop(slots);
        Some(ClientSlot {
            limit: self.clone(),
            leave,
            idle,
            is_lost: false,
        })
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // No code that can panic runs under the lock.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of one client.
pub(crate) struct ClientSlot {
    limit: Arc<ClientLimit>,
    leave: Arc<Notify>,
    /// The turn at which the client became idle; `None` while a request is in progress.
    idle: Option<u64>,
    /// Whether the slot was given to another client.
    is_lost: bool,
}

impl ClientSlot {
    /// Waits until another client needs the slot.
    pub(crate) async fn is_needed(&self) {
        self.leave.notified().await;
    }

    /// Marks the start of a request. Returns `false` if the slot was given to another
    /// client before.
    pub(crate) fn busy(&mut self) -> bool {
        if let Some(turn) = self.idle.take() {
            self.is_lost |= self.limit.slots().idle.remove(&turn).is_none();
        }
        !self.is_lost
    }

    /// Marks the end of a request.
    pub(crate) fn idle(&mut self) {
        self.idle = self.limit.slots().idle(&self.leave);
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        if self.busy() {
            self.limit.slots().taken -= 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_needed(slot: &ClientSlot) -> bool {
        slot.is_needed().now_or_never().is_some()
    }

    #[test]
    fn the_client_that_has_been_idle_longest_makes_room() {
        let limit = ClientLimit::new(3);
        let mut first = limit.enter().unwrap();
        let mut second = limit.enter().unwrap();
        let third = limit.enter().unwrap();
        // A request of the first client ends its idle time, so that the second client
        // has been idle longest.
        assert!(first.busy());
        first.idle();
        let mut fourth = limit.enter().unwrap();
        assert!(is_needed(&second) && !is_needed(&third) && !is_needed(&first));
        assert!(!second.busy(), "the request came too late");
        drop(second);
        assert!(first.busy() && fourth.busy());
        let mut fifth = limit.enter().unwrap();
        assert!(is_needed(&third) && fifth.busy());
        drop(third);
        assert!(limit.enter().is_none(), "no client is idle");
        drop(fifth);
        let sixth = limit.enter().unwrap();
        assert!(!is_needed(&sixth));
        drop((first, fourth, sixth));
        assert_eq!(limit.slots().taken, 0);
    }
}
