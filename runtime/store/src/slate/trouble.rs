//! The last error of the storage, while no request of its kind has been answered since, for
//! programs that show what they wait for.

use std::sync::{Mutex, PoisonError};

/// The kinds of requests. A full disk answers reads.
#[derive(Clone, Copy)]
pub(crate) enum Requests {
    Reads,
    Writes,
}

static LAST: [Mutex<Option<String>>; 2] = [Mutex::new(None), Mutex::new(None)];

/// Sets or removes the trouble with requests of a kind.
pub(crate) fn set(of: Requests, trouble: Option<String>) {
    *LAST[of as usize]
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = trouble;
}

/// What is wrong with the storage of the stores that this program has open; `None` if the
/// last requests were answered.
pub fn storage_trouble() -> Option<String> {
    let mut all = LAST.iter();
    all.find_map(|last| last.lock().unwrap_or_else(PoisonError::into_inner).clone())
}
