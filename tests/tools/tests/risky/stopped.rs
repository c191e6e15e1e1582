//! Programs that are stopped and woken, like a machine that is paused, or that lose their store.

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

/// The test fails if the progress of a run that ends does not have the error that ended it.
#[test]
fn a_watched_run_that_loses_its_store_names_the_error() {
    let parcels = Parcels::new(300, &[], 1_000);
    let _service = parcels.listen();
    let mut driver = parcels.start_client(&["run", "--yes", "--throttle", "20"]);
    let status = |args: &[&str]| -> serde_json::Value {
        let answer = parcels.client(args);
        serde_json::from_slice(&answer.stdout).unwrap()
    };
    while status(&["status", "--json"])["migrated"].as_u64() < Some(5) {
        thread::sleep(Duration::from_millis(20));
    }
    let watched = thread::scope(|scope| {
        let watcher = scope.spawn(|| parcels.client(&["watch", "--json"]));
        thread::sleep(Duration::from_millis(500));
        let stream = "process/post/00299";
        let fence = ["hold", stream, "--reason", "x", "--fence-live-program"];
        let fenced = parcels.tool(&fence);
        assert_eq!(fenced.status.code(), Some(0), "{fenced:?}");
        watcher.join().unwrap()
    });
    assert_eq!(watched.status.code(), Some(1), "{watched:?}");
    assert_eq!(driver.wait().unwrap().code(), Some(1));
    let last = status(&["status", "--json"]);
    let watched = String::from_utf8(watched.stdout).unwrap();
    let watched: serde_json::Value =
        serde_json::from_str(watched.lines().next_back().unwrap()).unwrap();
    for shown in [watched, last] {
        assert_eq!(shown["interrupted"], true, "{shown}");
        let stopped_by = shown["stopped_by"].as_str().unwrap();
        let cause = "another program has opened the store";
        assert!(stopped_by.contains(cause), "{shown}");
    }
}
