//! The limit on the number of clients.
//!
//! When the limit is reached, the client that has been idle longest is disconnected, so
//! that idle connections do not keep other clients out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Slots for a limited number of clients.
pub(crate) struct Room {
    places: usize,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    taken: usize,
    /// Increases, so that the client that became idle first sorts first.
    turn: u64,
    /// Clients without a request in progress.
    idle: BTreeMap<u64, Arc<Notify>>,
}

impl Seats {
    fn idle(&mut self, leave: &Arc<Notify>) -> Option<u64> {
        self.turn += 1;
        self.idle.insert(self.turn, leave.clone());
        Some(self.turn)
    }
}

impl Room {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places,
            seats: Mutex::default(),
        })
    }

    /// A slot for a new client, which starts idle. Returns `None` if all slots belong
    /// to clients with a request in progress.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Seat> {
        let mut seats = self.seats();
        if seats.taken >= self.places {
            let (_, oldest) = seats.idle.pop_first()?;
            oldest.notify_one();
            seats.taken -= 1;
        }
        seats.taken += 1;
        let leave = Arc::new(Notify::new());
        let idle = seats.idle(&leave);
        drop(seats);
        Some(Seat {
            room: self.clone(),
            leave,
            idle,
            is_lost: false,
        })
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        // No code that can panic runs under the lock.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of one client.
pub(crate) struct Seat {
    room: Arc<Room>,
    leave: Arc<Notify>,
    /// The turn at which the client became idle; `None` while a request is in progress.
    idle: Option<u64>,
    /// Whether the slot was given to another client.
    is_lost: bool,
}

impl Seat {
    /// Waits until another client needs the slot.
    pub(crate) async fn is_needed(&self) {
        self.leave.notified().await;
    }

    /// Marks the start of a request. Returns `false` if the slot was given to another
    /// client before.
    pub(crate) fn busy(&mut self) -> bool {
        if let Some(turn) = self.idle.take() {
            self.is_lost |= self.room.seats().idle.remove(&turn).is_none();
        }
        !self.is_lost
    }

    /// Marks the end of a request.
    pub(crate) fn idle(&mut self) {
        self.idle = self.room.seats().idle(&self.leave);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.busy() {
            self.room.seats().taken -= 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_needed(seat: &Seat) -> bool {
        seat.is_needed().now_or_never().is_some()
    }

    #[test]
    fn the_client_that_has_been_idle_longest_makes_room() {
        let room = Room::new(3);
        let mut first = room.enter().unwrap();
        let mut second = room.enter().unwrap();
        let third = room.enter().unwrap();
        // A request of the first client ends its idle time, so that the second client
        // has been idle longest.
        assert!(first.busy());
        first.idle();
        let mut fourth = room.enter().unwrap();
        assert!(is_needed(&second) && !is_needed(&third) && !is_needed(&first));
        assert!(!second.busy(), "the request came too late");
        drop(second);
        assert!(first.busy() && fourth.busy());
        let mut fifth = room.enter().unwrap();
        assert!(is_needed(&third) && fifth.busy());
        drop(third);
        assert!(room.enter().is_none(), "no client is idle");
        drop(fifth);
        let sixth = room.enter().unwrap();
        assert!(!is_needed(&sixth));
        drop((first, fourth, sixth));
        assert_eq!(room.seats().taken, 0);
    }
}
