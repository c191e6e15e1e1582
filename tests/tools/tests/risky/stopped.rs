//! Programs that are stopped and woken, like a machine that is paused.

use std::thread;
use std::time::Duration;

use crate::child::Parcels;

const PARCELS: u64 = 400;

/// Fails without the watcher of `gaps.rs`: what was in user code has exceeded its deadline.
#[test]
fn the_time_in_which_a_program_was_stopped_counts_for_no_deadline() {
    let parcels = Parcels::new(PARCELS, &["sleeps:30"], 2_000);
    let mut service = parcels.serve();
    assert!(service.durable(1));
    for _ in 0..2 {
        service.signal("-STOP");
        thread::sleep(Duration::from_secs(5));
        service.signal("-CONT");
        thread::sleep(Duration::from_millis(700));
    }
    let ended = service.ended().expect("it ends");
    assert_eq!(ended.classes.len(), 0, "{ended:?}");
    assert_eq!((ended.migrated, ended.failed), (PARCELS, 0));
}
