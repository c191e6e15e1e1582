//! A plan of code that is slow, or that fails.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PROGRAM;
use crate::program::{finish, program};
use crate::sample::Sample;

fn plan(sample: &Sample, millis: u64, args: &[&str]) -> Value {
    let mut command = program(PROGRAM, &["plan", "--json", "--store", "./loans"]);
    command.args(args).current_dir(sample.folder());
    command.env("LOANS_TAKE_MS", millis.to_string());
    finish(command).exits(0).json()
}

#[test]
fn a_plan_of_slow_code_has_an_estimate_and_the_failures_that_were_found() {
    let sample = Sample::new();
    let began = Instant::now();
    let slow = plan(&sample, 300, &[]);
    assert!(began.elapsed() < Duration::from_secs(30));
    let tried = &slow["sample"];
    let processes = tried["processes"].as_u64().unwrap();
    assert!((1..240).contains(&processes), "{tried}");
    assert_eq!(tried["chosen"], 240);
    assert!(tried["failed"].as_u64().unwrap() > 0, "{tried}");
    assert_eq!(tried["failures"][0]["class"], "refused");
    let warning = slow["warnings"][0].as_str().unwrap();
    let begins = format!(
        "{} of {processes} tried would fail with class refused, about {} of 240; the first is process/bank/",
        tried["failed"], tried["failures"][0]["expected"]
    );
    assert!(warning.starts_with(&begins), "{warning}");
    // 240 times 300 ms, by a few workers at a time.
    let low = slow["estimate"]["low_ms"].as_u64().unwrap();
    let high = slow["estimate"]["high_ms"].as_u64().unwrap();
    assert!((2_000..72_000).contains(&low), "{low}");
    assert!((low..200_000).contains(&high), "{high}");

    // The limit is lower than what the run reaches.
    let limited = plan(&sample, 0, &["--throttle", "10"]);
    assert_eq!(limited["estimate"]["low_ms"], 24_000);
    assert_eq!(limited["estimate"]["high_ms"], 24_000);
    let next = limited["next"][0].as_str().unwrap();
    assert!(next.ends_with(" --throttle 10"), "{next}");
}

#[test]
fn a_plan_of_code_that_fails_for_all_suggests_to_inspect_one() {
    let sample = Sample::new();
    // All of these fail, each because it takes too long.
    let options = ["--deadline", "1ms", "--limit", "8"];
    let failing = plan(&sample, 50, &options);
    assert_eq!(failing["sample"]["processes"], 8);
    assert_eq!(failing["sample"]["failed"], 8);
    assert_eq!(failing["sample"]["failures"][0]["class"], "deadline");
    let first = failing["sample"]["failures"][0]["subject"]["id"].as_str();
    let next = failing["next"].as_array().unwrap();
    assert_eq!(next.len(), 1);
    let inspect = format!("inspect {}", first.unwrap());
    assert!(next[0].as_str().unwrap().ends_with(&inspect), "{next:?}");
}
