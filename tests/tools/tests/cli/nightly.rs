//! A job that migrates a few processes each night: `--leave-out-failed` keeps it from
//! trying the same ones each time.

use serde_json::Value;

use crate::program::{Ran, finish, program};
use crate::sample::Sample;
use crate::store_state::stands;
use crate::{FIXED, PROGRAM};

const NIGHT: [&str; 5] = ["run", "--yes", "--limit", "30", "--leave-out-failed"];

fn tool(sample: &Sample, of: &str, args: &[&str]) -> Ran {
    let mut command = program(of, args);
    command.current_dir(sample.folder());
    finish({
        command.args(["--store", "./loans", "--json"]);
        command
    })
}

fn number(document: &Value, field: &str) -> u64 {
    document[field].as_u64().unwrap()
}

#[test]
fn a_nightly_job_gets_past_the_processes_that_failed() {
    let sample = Sample::new();
    // The draft refuses 71 of the 240 loans.
    let draft = PROGRAM;
    let (mut migrated, mut failed, mut nights) = (0, 0, 0);
    while migrated + failed < 240 {
        let said = tool(&sample, draft, &NIGHT).json();
        let of_tonight = (number(&said, "migrated"), number(&said, "failed"));
        assert_eq!(of_tonight.0 + of_tonight.1, 30, "{said}");
        migrated += of_tonight.0;
        failed += of_tonight.1;
        nights += 1;
        assert_eq!(stands(&sample).at("loan@2014") as u64, migrated);
    }
    assert_eq!((migrated, failed, nights), (169, 71, 8));
    // Nothing is left that has not failed, and the plan says so.
    let said = tool(&sample, draft, &NIGHT).exits(0).json();
    assert_eq!((number(&said, "migrated"), number(&said, "failed")), (0, 0));
    let plan = tool(&sample, draft, &["plan", "--leave-out-failed"])
        .exits(0)
        .json();
    let next = plan["next"][0].as_str().unwrap();
    assert!(next.contains(" --leave-out-failed "), "{next}");
    assert_eq!(plan["sample"]["processes"], 0, "{plan}");
    assert_eq!(plan["sample"]["left_out"], 71, "{plan}");
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("that failed in run "), "{warnings}");
    // The release that has a band for all tries them again.
    let corrected = tool(&sample, FIXED, &["run", "--yes", "--leave-out-failed"]);
    assert_eq!(number(&corrected.exits(0).json(), "migrated"), 71);
}

#[test]
fn without_a_run_that_failed_nothing_is_left_out() {
    let sample = Sample::new();
    let said = tool(&sample, FIXED, &NIGHT).exits(0).json();
    assert_eq!(number(&said, "migrated"), 30);
    let shown = tool(&sample, FIXED, &["show", "last"]).exits(0).json();
    assert_eq!(shown["plan"]["selected"]["except_failed_in"], Value::Null);
    let unknown = ["run", "--yes", "--leave-out-failed", "17"];
    let said = tool(&sample, FIXED, &unknown).exits(1).json();
    assert_eq!(said["reason"], "no_such_run");
}
