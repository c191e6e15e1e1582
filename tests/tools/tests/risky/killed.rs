//! Programs that are killed while harmless parcels are in user code.

use std::thread;
use std::time::{Duration, Instant};

use crate::child::Parcels;

/// To see it fail: do not end a page after a time in user code.
#[test]
fn what_slow_code_has_converted_is_durable_soon() {
    let parcels = Parcels::new(60, &["sleeps:500"], 10_000);
    // Each program is killed before all of it could be converted.
    for kill in 1..=3 {
        let mut service = parcels.serve();
        let began = Instant::now();
        assert!(service.durable(kill), "kill {kill}");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(8), "kill {kill}: {took:?}");
        service.signal("-KILL");
        service.ended();
    }
    let shown = parcels.tool(&["show", "1", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert!(shown["migrated"].as_u64().unwrap() >= 3, "{shown}");
}

/// Code that takes five seconds is killed before it returns, again and again, also while it
/// is tried alone. To see it fail: leave out `SuspectRow::slow`.
#[test]
fn slow_code_is_not_taken_for_code_that_ends_the_program() {
    let parcels = Parcels::new(4, &["sleeps:5000"], 10_000);
    for _ in 0..3 {
        let mut service = parcels.serve();
        service.begun();
        thread::sleep(Duration::from_millis(3_500));
        service.signal("-KILL");
        assert_eq!(service.ended(), None);
    }
    // Suspects that were tried alone stay migrated, so that each program comes further.
    let mut service = parcels.serve();
    service.begun();
    thread::sleep(Duration::from_millis(8_000));
    service.signal("-KILL");
    assert_eq!(service.ended(), None);
    let shown = || {
        let shown = parcels.tool(&["show", "1", "--json"]);
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        let counts = ["migrated", "failed"].map(|count| shown[count].as_u64().unwrap());
        (counts, shown["state"].clone())
    };
    let (counts, _) = shown();
    assert!(counts[0] > 0 && counts[1] == 0, "{counts:?}");
    assert!(parcels.serve().ended().is_some());
    assert_eq!(shown(), ([4, 0], "done".into()));
}

const PARCELS: u64 = 4_000;
const KILLS: u64 = 20;

/// A parcel that was in user code when the program was killed is tried alone, and then
/// migrated with the others. Each program is killed after it has migrated parcels, and so
/// after it has tried those of the program before: a kill during a trial cannot be told
/// from an end by the code (docs/reliability.md).
#[test]
fn no_process_fails_because_its_program_was_killed() {
    let parcels = Parcels::new(PARCELS, &["works:200"], 10_000);
    let mut kills = 0;
    for kill in 1..=KILLS {
        let mut service = parcels.serve();
        // The moments are those of an unsynchronized clock.
        let after = kill * (PARCELS / (KILLS + 2));
        if !service.durable(after) {
            break;
        }
        thread::sleep(Duration::from_micros(kill * 7_919 % 5_000));
        service.signal("-KILL");
        if service.ended().is_some() {
            break;
        }
        kills += 1;
    }
    assert!(kills > KILLS / 2, "{kills}");
    assert!(parcels.serve().ended().is_some());
    let shown = parcels.tool(&["show", "1", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let counts = (&shown["migrated"], &shown["failed"], &shown["state"]);
    assert_eq!(
        counts,
        (&PARCELS.into(), &0.into(), &"done".into()),
        "{shown}"
    );
    assert!(!parcels.in_user_code());
    let again = parcels.serve().ended().unwrap();
    assert_eq!((again.migrated, again.failed), (0, 0));
}

/// The test fails if a run with a limit does not try its suspects alone.
#[test]
fn slow_code_within_a_limit_is_not_taken_for_code_that_ends_the_program() {
    let parcels = Parcels::new(20, &["sleeps:2500@0"], 10_000);
    let job = ["run", "--yes", "--or-resume", "--limit", "5", "--take-over"];
    for _ in 0..3 {
        let mut killed = parcels.start_tool(&job);
        std::thread::sleep(std::time::Duration::from_secs(2));
        killed.kill().unwrap();
        killed.wait().unwrap();
    }
    let ended = parcels.tool(&job);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let text = String::from_utf8_lossy(&ended.stdout);
    assert!(text.contains("migrated   5"), "{text}");
}

/// To see it fail: try all suspects without asking whether the run is paused.
#[test]
fn a_run_pauses_between_two_suspects_and_says_what_it_does() {
    let slow = [3, 103, 203, 303].map(|n| format!("sleeps:3000@{n}"));
    let slow: Vec<&str> = slow.iter().map(String::as_str).collect();
    let parcels = Parcels::new(400, &slow, 20_000);
    let service = parcels.listen();
    let mut run = parcels.start_client(&["run", "--yes"]);
    thread::sleep(Duration::from_millis(1_500));
    service.signal("-KILL");
    service.ended();
    run.wait().unwrap();

    let _service = parcels.listen();
    let status = || {
        let said = parcels.client(&["status", "--json"]);
        serde_json::from_slice::<serde_json::Value>(&said.stdout).unwrap()
    };
    let wait_until = |what: &str, is: &dyn Fn(&serde_json::Value) -> bool| {
        let began = Instant::now();
        loop {
            let status = status();
            if is(&status) {
                return status;
            }
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{what}: {status}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    };
    let mut resume = parcels.start_client(&["resume", "last"]);
    let trying = wait_until("trying", &|status| status["waits_for"].is_string());
    let waits_for = trying["waits_for"].as_str().unwrap();
    assert!(waits_for.starts_with("trying "), "{waits_for}");
    assert!(waits_for.contains("alone that "), "{waits_for}");
    let suspects: u64 = match waits_for.split(' ').nth(1) {
        Some(many) => many.parse().unwrap(),
        None => 0,
    };
    assert!(suspects > 1, "{waits_for}");

    let paused = parcels.client(&["pause"]);
    assert_eq!(paused.status.code(), Some(0), "{paused:?}");
    let paused = wait_until("paused", &|status| status["state"] == "paused");
    // The trial in progress has ended, and no other begins.
    let migrated = paused["migrated"].as_u64().unwrap();
    thread::sleep(Duration::from_secs(4));
    assert_eq!(status()["migrated"], migrated);
    assert!(migrated < 400, "{paused}");
    assert!(
        status()["waits_for"]
            .as_str()
            .unwrap()
            .starts_with("trying ")
    );
    let unpaused = parcels.client(&["unpause"]);
    assert_eq!(unpaused.status.code(), Some(0), "{unpaused:?}");
    assert!(resume.wait().unwrap().success());
    let done = status();
    assert_eq!(
        (&done["migrated"], &done["expected"]),
        (&400.into(), &400.into())
    );
}
