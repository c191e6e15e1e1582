//! Processes that are opened, one caller at a time.
//!
//! Callers that open an outdated process together would all run its code, and all but
//! one would find that the process has changed meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use state_migration_core::StreamId;
use tokio::sync::OwnedMutexGuard;

type Turn = tokio::sync::Mutex<()>;

/// The processes that are being opened.
#[derive(Debug, Default)]
pub(crate) struct OneAtATime(Mutex<HashMap<StreamId, Weak<Turn>>>);

impl OneAtATime {
    /// Waits until no other caller has the process.
    pub(crate) async fn turn(&self, stream: &StreamId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match turns.get(stream).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    turns.retain(|_, turn| turn.strong_count() > 0);
                    let turn = Arc::new(Turn::default());
                    turns.insert(stream.clone(), Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}
