//! The log of a real bank: the BPI Challenge 2012.
//!
//! van Dongen, B.F. (2012), doi:10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f

use serde_json::json;

use crate::program::{as_second, full_size, good, real_log, run};

#[test]
fn the_real_log_goes_through_and_a_second_run_has_nothing_to_do() {
    let name = "the_real_log_goes_through_and_a_second_run_has_nothing_to_do";
    if !full_size(name) {
        return;
    }
    let Some(log) = real_log(name) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let first = good(&run(&log, &store));
    assert_eq!(
        first,
        json!({
            "imported": 13_087,
            "events": 262_200,
            "migrated": 13_087,
            "skipped": 0,
            "errors": 0,
            "warnings": 0,
            "loans": {"approved": 2246, "declined": 7635, "cancelled": 2807, "open": 399},
            "amount_requested": 177_634_511,
            "waited_seconds": 9_735_376_121_u64,
            "store": store.display().to_string(),
            "form": "one transaction",
        })
    );
    assert_eq!(good(&run(&log, &store)), as_second(&first));
}
