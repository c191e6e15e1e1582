//! Processes whose new states are far larger than what was read of them.

use crate::child::Parcels;

/// A chunk ends when its new states have as many bytes as a chunk may read. Without
/// that, this takes 100 MiB more.
#[test]
fn the_new_states_that_a_run_holds_are_bounded_in_bytes() {
    let parcels = Parcels::new(512, &["grows:262144"], 10_000);
    let ended = parcels.serve().ended().unwrap();
    assert_eq!((ended.migrated, ended.failed), (512, 0));
    assert!(ended.peak_kib < 210 << 10, "{} KiB", ended.peak_kib);
}

/// Fails without the bound on abandoned threads: the run does not end, and has a thread
/// for each parcel.
#[test]
fn a_run_ends_with_one_sentence_once_too_many_threads_are_abandoned() {
    let parcels = Parcels::new(800, &["never-returns"], 50);
    let ended = parcels.serve().ended().unwrap();
    assert_eq!(ended.state, "running", "{ended:?}");
    assert_eq!(ended.migrated, 0);
    assert!(ended.threads < 60, "{ended:?}");
    let of_run = ended.classes.values().filter(|class| *class == "run");
    assert_eq!(of_run.count(), 1, "{ended:?}");
    // The jobs in progress when the bound was reached are abandoned, too.
    let stuck = ended.failed - 1;
    assert!((1..=31).contains(&stuck), "{ended:?}");
    // The next program continues after them.
    let again = parcels.serve().ended().unwrap();
    assert!(again.failed > ended.failed, "{again:?}");
}

/// The test fails if the error of the service counts as a failure of its processes.
#[test]
fn a_plan_of_a_service_with_too_many_abandoned_threads_blames_no_process_for_it() {
    let fates: Vec<String> = (1..=40)
        .map(|n| format!("never-returns@{}", n * 4))
        .collect();
    let fates: Vec<&str> = fates.iter().map(String::as_str).collect();
    let parcels = Parcels::new(200, &fates, 200);
    let _service = parcels.listen();
    let stopped = parcels.client(&["run", "--yes", "--deadline", "200ms"]);
    assert_ne!(stopped.status.code(), Some(0), "{stopped:?}");
    let plan = parcels.client(&["plan", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    let sample = &plan["sample"];
    let stopped_by = sample["stopped_by"].as_str().unwrap();
    assert!(
        stopped_by.starts_with("user code did not return for 16"),
        "{plan}"
    );
    let due = plan["due"].as_u64().unwrap();
    for failures in sample["failures"].as_array().unwrap() {
        assert_ne!(failures["class"], "run", "{plan}");
        assert_eq!(failures["expected"], failures["count"], "{plan}");
        assert!(failures["count"].as_u64().unwrap() < due, "{plan}");
    }
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("the sample ended early"), "{plan}");
    assert!(!warnings.contains("about"), "{plan}");
}
