//! Selections by state and by earlier failures: `--matching` and `--leave-out-failed`.

use crate::golden::assert_golden;
use crate::masking;
use crate::program::{run, run_json};
use crate::sample::Sample;
use crate::service::Service;
use crate::store_state::stands;
use crate::suggested_commands::can_be_typed;

/// The number of undecided loans in the sample.
const UNDECIDED: usize = 22;

#[test]
fn a_predicate_of_the_program_selects_by_state() {
    let sample = Sample::new();
    let said = run(&sample, &["plan", "--matching", "undecided"]).exits(0);
    assert_golden("plan/matching.txt", &masking::text(&said.stdout));
    can_be_typed(&sample, &said);
    let plan = run_json(&sample, &["plan", "--matching", "undecided"]);
    let plan = plan.exits(0).json();
    assert_eq!(plan["sample"]["processes"], UNDECIDED);
    assert_eq!(plan["sample"]["left_out"], 240 - UNDECIDED);
    assert_eq!(plan["estimate"]["processes"], UNDECIDED);
    assert_eq!(plan["predicate"].as_array().unwrap().len(), 2);

    let args = ["run", "--dry-run", "--matching", "undecided"];
    let dry = run_json(&sample, &args).exits(0).json();
    assert_eq!(dry["migrated"], UNDECIDED);
    let plan = plan["fingerprint"].as_str().unwrap();
    let args = ["run", "--plan", plan, "--matching", "undecided"];
    let done = run_json(&sample, &args).exits(0).json();
    assert_eq!(done["migrated"], UNDECIDED);
    assert_eq!(done["skipped_by"]["not_selected"], 240 - UNDECIDED);
    assert_eq!(stands(&sample).at("loan@2013"), UNDECIDED);
    let shown = run_json(&sample, &["show", "last"]).exits(0).json();
    assert_eq!(shown["plan"]["selected"]["matching"], "undecided");
}

#[test]
fn an_unknown_predicate_is_refused_with_the_known_ones() {
    let sample = Sample::new();
    for args in [
        &["plan", "--matching", "undecidd"][..],
        &["run", "--yes", "--matching", "undecidd"],
        &["run", "--dry-run", "--matching", "undecidd"],
    ] {
        let said = run_json(&sample, args).exits(1).json();
        assert_eq!(said["reason"], "unknown_predicate");
        assert_eq!(
            said["message"],
            "this program has no predicate \"undecidd\" (known predicates: undecided); correct --matching, or register the predicate with `Cli::predicates`"
        );
    }
}

#[test]
fn a_service_selects_by_its_own_predicates() {
    let mut service = Service::start(Sample::new());
    let refused = service.ask(&["run", "--yes", "--matching", "undecidd"]);
    let refused = refused.exits(1).json();
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains("(known predicates: undecided)"),
        "{message}"
    );
    let plan = service.ask(&["plan", "--matching", "undecided"]).exits(0);
    let plan = plan.json();
    assert_eq!(plan["predicate"].as_array().unwrap().len(), 2);
    let plan = plan["fingerprint"].as_str().unwrap();
    let args = ["run", "--plan", plan, "--matching", "undecided"];
    let done = service.ask(&args).exits(0).json();
    assert_eq!(done["failed"], 0, "{done}");
    assert_eq!(service.end().code, Some(0));
    let moved = stands(&service.sample).at("loan@2013");
    assert!((1..240).contains(&moved), "{moved}");
}
