//! The log that comes with the program.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde_json::json;
use state_migration_examples::sample;
use state_migration_examples::xes::{Happening, XesLog};

use crate::program::{as_second, command, good, invented, run_on_sample};

#[test]
fn the_sample_goes_through_and_a_second_run_has_nothing_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let first = good(&run_on_sample(&store));
    assert_eq!(
        first,
        json!({
            "imported": 240,
            "events": 3523,
            "migrated": 240,
            "skipped": 0,
            "errors": 0,
            "warnings": 0,
            "loans": {"approved": 48, "declined": 134, "cancelled": 36, "open": 22},
            "amount_requested": 4_858_057,
            "waited_seconds": 101_598_657,
            "store": store.display().to_string(),
            "form": "one transaction",
        })
    );
    assert_eq!(good(&run_on_sample(&store)), as_second(&first));
}

#[test]
fn without_arguments_it_says_in_words_what_happened() {
    let temporary = tempfile::tempdir().unwrap();
    let output = command()
        .env("TMPDIR", temporary.path())
        .current_dir(temporary.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "log          the sample log: 240 applications, 3523 events\n",
        "imported     240 applications under loan@2011 in ",
        "migration    240 migrated, 0 skipped, 0 errors, 0 warnings; one transaction, index scan; in ",
        "loan@2013          240 applications\n",
        "  approved          48\n",
        "  declined         134\n",
        "  cancelled         36\n",
        "  open              22\n",
        "requested      4858057 euro\n",
        "waited             4.9 days on average\n",
    ] {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
    let store = text.lines().last().unwrap();
    let store = store.strip_prefix("store        ").unwrap();
    assert!(store.starts_with(temporary.path().to_str().unwrap()));
    let again = good(&run_on_sample(store.as_ref()));
    assert_eq!(
        (&again["imported"], &again["events"]),
        (&json!(0), &json!(3523))
    );
}

#[test]
fn the_committed_sample_is_what_its_generator_makes() {
    let mut committed = String::new();
    MultiGzDecoder::new(sample::LOG)
        .read_to_string(&mut committed)
        .unwrap();
    assert!(
        committed == invented(sample::APPLICATIONS),
        "the sample is not up to date; run `cargo run -p state-migration-examples --bin sample-log -- examples/data/loans-sample.xes.gz`"
    );
}

#[test]
fn everything_that_can_happen_happens_in_the_sample() {
    let log = XesLog::embedded("the sample log", sample::LOG);
    let size = log.check().unwrap();
    assert_eq!((size.applications, size.events), (240, 3523));
    let kinds: BTreeSet<String> = log
        .applications()
        .unwrap()
        .flat_map(|application| application.unwrap().activities)
        .map(|activity| match activity.happening {
            Happening::Submitted => "A_SUBMITTED".to_owned(),
            Happening::Status(name) | Happening::Offer(name) => name,
            Happening::WorkItem { item, transition } => format!("{item}:{transition}"),
        })
        .collect();
    let steps = [
        "A_SUBMITTED",
        "A_PARTLYSUBMITTED",
        "A_PREACCEPTED",
        "A_ACCEPTED",
        "A_FINALIZED",
        "A_REGISTERED",
        "A_APPROVED",
        "A_ACTIVATED",
        "A_DECLINED",
        "A_CANCELLED",
        "O_SELECTED",
        "O_CREATED",
        "O_SENT",
        "O_SENT_BACK",
        "O_ACCEPTED",
        "O_DECLINED",
        "O_CANCELLED",
    ];
    let items = [
        "W_Completeren aanvraag",
        "W_Nabellen offertes",
        "W_Nabellen incomplete dossiers",
        "W_Valideren aanvraag",
        "W_Afhandelen leads",
        "W_Beoordelen fraude",
        "W_Wijzigen contractgegevens",
    ];
    let expected: BTreeSet<String> = steps
        .iter()
        .map(|step| (*step).to_owned())
        .chain(items.iter().flat_map(|item| {
            ["SCHEDULE", "START", "COMPLETE"].map(|transition| format!("{item}:{transition}"))
        }))
        .collect();
    assert_eq!(kinds, expected);
}
