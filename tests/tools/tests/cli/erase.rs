//! Events that are removed for good, by the tool.

use serde_json::Value;

use crate::FIXED;
use crate::program::{Ran, finish, program};
use crate::sample::Sample;
use crate::store_state::stands;
use crate::suggested_commands::can_be_typed;

fn say(sample: &Sample, args: &[&str], code: i32) -> Ran {
    let mut command = program(FIXED, args);
    command.current_dir(sample.folder());
    command.args(["--store", "./loans"]);
    finish(command).exits(code)
}

fn ask(sample: &Sample, args: &[&str], code: i32) -> Value {
    let said = say(sample, &[args, &["--json"]].concat(), code);
    can_be_typed(sample, &said);
    said.json()
}

#[test]
fn what_is_erased_is_predicted_recorded_and_missed() {
    let sample = Sample::new();
    ask(&sample, &["run", "--yes"], 0);
    let erase = ["erase", "--before-baseline"];
    let refused = ask(&sample, &erase, 4);
    assert_eq!(refused["reason"], "confirmation_needed", "{refused}");
    let listed = ask(
        &sample,
        &["processes", "--migrated-by", "1", "--limit", "1"],
        0,
    );
    let one = listed["processes"][0]["stream"]
        .as_str()
        .unwrap()
        .to_owned();
    let whole = ask(&sample, &["inspect", &one, "--payloads"], 0);
    let baseline = whole["baseline"].as_u64().unwrap();

    let dry = ask(&sample, &[&erase[..], &["--dry-run"]].concat(), 0);
    assert_eq!((&dry["migrated"], &dry["run"]), (&240.into(), &Value::Null));
    let part = [&erase[..], &["--yes", "--stream", &one]].concat();
    let why = ["--actor", "ann", "--reason", "request 17"];
    let part = ask(&sample, &[&part[..], &why].concat(), 0);
    assert_eq!(part["erased"], baseline - 1, "{part}");
    let rest = ask(&sample, &[&erase[..], &["--yes"]].concat(), 0);
    assert_eq!(rest["migrated"], 239, "{rest}");
    let all = part["erased"].as_u64().unwrap() + rest["erased"].as_u64().unwrap();
    assert_eq!(dry["erased"], all);

    // The process is what it was, without what was before.
    let left = ask(&sample, &["inspect", &one, "--payloads"], 0);
    assert!(whole["change"]["after"].is_object(), "{whole}");
    assert_eq!(left["change"]["after"], whole["change"]["after"]);
    assert_eq!(left["problems"], serde_json::json!([]), "{left}");
    let events = left["events"].as_array().unwrap();
    assert_eq!(events[0]["sequence"], baseline, "{left}");
    let shown = say(&sample, &["inspect", &one], 0).stdout;
    assert!(
        shown.contains(&format!("before event {baseline}")),
        "{shown}"
    );
    assert_eq!(stands(&sample).at("loan@2014"), 240);
    let shown = say(&sample, &["show", "2"], 0).stdout;
    for line in [
        "erased     1\n",
        "reason     request 17\n",
        "actor      ann\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let verified = ask(&sample, &["verify", "1"], 2);
    let class = &verified["failed_by_class"][0];
    assert_eq!(
        (&class["class"], &class["count"]),
        (&"erased".into(), &240.into())
    );
    let undone = ask(&sample, &["undo", "1", "--dry-run"], 2);
    assert_eq!(undone["next"], serde_json::json!([]), "{undone}");
    let remove = ask(
        &sample,
        &["status", "--can-remove", "loan@2011", "--keep-undo"],
        0,
    );
    assert_eq!(remove["history"], 0, "{remove}");
    let again = ask(&sample, &[&erase[..], &["--dry-run"]].concat(), 0);
    assert_eq!(again["migrated"], 0, "{again}");
}
