//! Parcels whose code ends the program, or never returns.

use std::collections::BTreeMap;

use crate::child::Parcels;

const PARCELS: u64 = 5_000;

const FATES: [&str; 6] = [
    "aborts@700",
    "overflows@701",
    "never-returns@703",
    "exits@2500",
    "aborts@4200",
    "allocates@4900",
];

/// The program may end twice for each deadly parcel.
const MOST: u64 = 12;

fn classes() -> BTreeMap<u64, String> {
    let deadly = [700, 701, 2_500, 4_200, 4_900].map(|n| (n, "ended_program".to_owned()));
    let mut classes = BTreeMap::from(deadly);
    classes.insert(703, "never_returned".to_owned());
    classes
}

fn assert_each_died_twice_at_most(parcels: &Parcels) {
    let deaths = parcels.deaths();
    let deadly: Vec<u64> = deaths.keys().copied().collect();
    assert_eq!(deadly, [700, 701, 2_500, 4_200, 4_900]);
    assert!(deaths.values().all(|deaths| *deaths <= 2), "{deaths:?}");
    assert!(
        !parcels.in_user_code(),
        "the files of dead programs are left"
    );
}

#[test]
fn a_service_whose_code_ends_it_is_started_again_and_comes_to_an_end() {
    let parcels = Parcels::new(PARCELS, &FATES, 1_000);
    let mut programs = 0;
    let ended = loop {
        programs += 1;
        assert!(
            programs <= MOST,
            "too many programs ended: {:?}",
            parcels.deaths()
        );
        if let Some(ended) = parcels.serve().ended() {
            break ended;
        }
    };
    assert_eq!(ended.classes, classes());
    assert_eq!((ended.migrated, ended.failed), (PARCELS - 6, 6));
    assert_eq!(ended.state, "done with errors");
    assert_each_died_twice_at_most(&parcels);

    // A later run with the same code fails them at once.
    let ended = parcels.serve().ended().expect("no program ends");
    assert_eq!(ended.classes, classes());
    assert_eq!((ended.migrated, ended.failed), (0, 6));
    assert_each_died_twice_at_most(&parcels);
}

#[test]
fn the_tool_resumes_until_every_deadly_process_is_named() {
    let parcels = Parcels::new(PARCELS, &FATES, 1_000);
    let mut programs = 0;
    let mut args = vec!["run", "--yes", "--deadline", "1s"];
    loop {
        programs += 1;
        assert!(
            programs <= MOST,
            "too many programs ended: {:?}",
            parcels.deaths()
        );
        let ended = parcels.tool(&args);
        if ended.status.code() == Some(2) {
            break;
        }
        // Nor does code that exits with 0 make the run appear to be done.
        assert_eq!(ended.status.code(), None, "{ended:?}");
        args = vec!["resume", "last", "--take-over"];
    }
    assert_each_died_twice_at_most(&parcels);
    let shown = parcels.tool(&["show", "last"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for (n, class) in classes() {
        let listed = parcels.tool(&["show", "last", "--class", &class]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains(&format!("process/post/{n:05}")), "{listed}");
    }
    assert!(shown.contains("4,994"), "{shown}");
    // What is tried again is what the operator asks for.
    let before = parcels.deaths();
    drop(parcels.tool(&["retry", "last", "--class", "ended_program"]));
    let after = parcels.deaths();
    assert!(after.values().sum::<u64>() > before.values().sum::<u64>());
    // What a retry has found out again is not forgotten.
    let run = parcels.tool(&["run", "--yes", "--take-over", "--deadline", "1s"]);
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    assert_eq!(parcels.deaths(), after);
}

/// The test fails if the sample, a preview or a dry run does not ask
/// `Decided::for_reading`.
#[test]
fn what_only_reads_runs_no_code_that_has_ended_the_program() {
    let parcels = Parcels::new(100, &["aborts@50"], 1_000);
    let reads = |is_named: bool| {
        let before = parcels.deaths();
        let plan = parcels.tool(&["plan", "--sample", "100", "--json"]);
        assert_eq!(plan.status.code(), Some(0), "{plan:?}");
        let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
        let sample = &plan["sample"];
        let class = &sample["failures"][0]["class"];
        assert_eq!(class == "ended_program", is_named, "{plan}");
        assert_eq!(sample["not_tried"] == 1, !is_named, "{plan}");
        let inspect = parcels.tool(&["inspect", "process/post/00050"]);
        assert_eq!(inspect.status.code(), Some(0), "{inspect:?}");
        let shown = String::from_utf8(inspect.stdout).unwrap();
        assert!(
            shown.contains("while its code worked on this process"),
            "{shown}"
        );
        let dry_run = parcels.tool(&["run", "--dry-run"]);
        let code = if is_named { 2 } else { 0 };
        assert_eq!(dry_run.status.code(), Some(code), "{dry_run:?}");
        assert_eq!(parcels.deaths(), before);
    };
    let aborted = parcels.tool(&["run", "--yes"]);
    assert_eq!(aborted.status.code(), None, "{aborted:?}");
    reads(false);
    let aborted = parcels.tool(&["resume", "last"]);
    assert_eq!(aborted.status.code(), None, "{aborted:?}");
    let ended = parcels.tool(&["resume", "last"]);
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    reads(true);
    assert_eq!(parcels.deaths(), BTreeMap::from([(50, 2)]));
}

/// The test fails if a sample, or a dry run, does not name in a file what it has in user
/// code, or if what reads that file, or the claim of a run, does not.
#[test]
fn a_plan_ends_a_service_once_for_each_process_that_no_run_has_met() {
    let parcels = Parcels::new(300, &["aborts@50", "overflows@120", "aborts@200"], 1_000);
    let mut deaths = 0;
    for (request, said) in [
        (&["plan", "--sample", "300"][..], " not tried"),
        (&["run", "--dry-run"], "not tried: "),
    ] {
        let answer = loop {
            let _service = parcels.listen();
            let answer = parcels.client(request);
            if matches!(answer.status.code(), Some(0 | 2)) {
                break answer;
            }
            deaths += 1;
            assert!(deaths <= 3, "{:?}", parcels.deaths());
        };
        let text = [&answer.stdout[..], &answer.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains(said), "{answer:?}");
        assert_eq!(answer.status.code(), Some(0), "{answer:?}");
    }
    // Two of them may be in user code when the service ends, by the code of one of the two.
    assert!(deaths >= 2, "{deaths}");
    let once = parcels.deaths();
    assert!(once.values().all(|deaths| *deaths == 1), "{once:?}");
    assert!(once.len() >= 2, "{once:?}");
    // Each of them ends one more program, in its trial, and is named.
    let ended = loop {
        if let Some(ended) = parcels.serve().ended() {
            break ended;
        }
    };
    let ended_program = |n| (n, "ended_program".to_owned());
    assert_eq!(ended.classes, [50, 120, 200].map(ended_program).into());
    assert_eq!((ended.migrated, ended.failed), (297, 3));
    let one_more = |n| (n, once.get(&n).unwrap_or(&0) + 1);
    assert_eq!(parcels.deaths(), [50, 120, 200].map(one_more).into());
    assert!(!parcels.in_user_code());
}

/// The test fails if a run with a limit tries the suspects outside of its limit.
#[test]
fn a_run_with_a_limit_does_not_try_what_it_does_not_reach() {
    let parcels = Parcels::new(300, &["aborts@50"], 1_000);
    let service = parcels.listen();
    drop(parcels.client(&["plan", "--sample", "300"]));
    assert_eq!(service.ended().map(|ended| ended.state), None);
    assert_eq!(parcels.deaths(), BTreeMap::from([(50, 1)]));
    let service = parcels.listen();
    let canary = parcels.client(&["run", "--yes", "--limit", "10"]);
    assert_eq!(canary.status.code(), Some(0), "{canary:?}");
    // This one reaches it.
    let further = parcels.client(&["run", "--yes", "--limit", "100"]);
    assert_eq!(further.status.code(), Some(1), "{further:?}");
    assert_eq!(service.ended().map(|ended| ended.state), None);
    let _service = parcels.listen();
    let further = parcels.client(&["resume", "last"]);
    assert_eq!(further.status.code(), Some(2), "{further:?}");
    assert_eq!(parcels.deaths(), BTreeMap::from([(50, 2)]));
}

/// The test fails if the file of a dry run is removed before its code has returned.
#[test]
fn code_that_ends_the_service_after_its_client_has_gone_is_named() {
    let parcels = Parcels::new(100, &["late:1500@50"], 10_000);
    let service = parcels.listen();
    let mut client = parcels.start_client(&["plan", "--sample", "100"]);
    std::thread::sleep(std::time::Duration::from_millis(700));
    client.kill().unwrap();
    client.wait().unwrap();
    assert_eq!(service.ended().map(|ended| ended.state), None);
    assert_eq!(parcels.deaths(), BTreeMap::from([(50, 1)]));
    let _service = parcels.listen();
    let plan = parcels.client(&["plan", "--sample", "100"]);
    let text = String::from_utf8_lossy(&plan.stdout);
    assert!(text.contains("1 not tried"), "{plan:?}");
    assert_eq!(parcels.deaths(), BTreeMap::from([(50, 1)]));
}

/// The test fails if a rehearsal records what it has in user code on its copy alone.
#[test]
fn a_rehearsal_ends_a_program_once_for_each_deadly_process() {
    let parcels = Parcels::new(300, &["aborts@50"], 1_000);
    let service = parcels.listen();
    let ended = parcels.client(&["rehearse"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    drop(service);
    assert_eq!(parcels.deaths(), BTreeMap::from([(50, 1)]));
    let rehearsed = |answer: std::process::Output| {
        assert_eq!(answer.status.code(), Some(0), "{answer:?}");
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert!(text.contains("not tried: "), "{text}");
        let moved = |line: &str| {
            let count = line.strip_prefix("migrated")?.trim().parse::<u64>();
            count.ok()
        };
        let moved: Vec<u64> = text.lines().filter_map(moved).collect();
        // Some were in user code beside it.
        assert!((280..300).contains(&moved[0]), "{text}");
    };
    let service = parcels.listen();
    rehearsed(parcels.client(&["rehearse"]));
    drop(service);
    rehearsed(parcels.tool(&["rehearse"]));
    assert_eq!(parcels.deaths(), BTreeMap::from([(50, 1)]));
    // A run finds out which one it was.
    let aborted = parcels.tool(&["run", "--yes"]);
    assert_eq!(aborted.status.code(), None, "{aborted:?}");
    let ended = parcels.tool(&["resume", "last"]);
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert_eq!(parcels.deaths(), BTreeMap::from([(50, 2)]));
    assert!(!parcels.in_user_code());
}

/// The test fails if a rehearsal runs code before there is a copy.
#[test]
fn a_rehearsal_of_a_small_store_ends_once_for_each_deadly_process() {
    let parcels = Parcels::new(20, &["aborts@7"], 1_000);
    let ended = parcels.tool(&["rehearse"]);
    assert_eq!(ended.status.code(), None, "{ended:?}");
    let rehearsed = parcels.tool(&["rehearse"]);
    let text = String::from_utf8_lossy(&rehearsed.stdout);
    assert_eq!(rehearsed.status.code(), Some(0), "{rehearsed:?}");
    assert!(text.contains("not tried: "), "{text}");
    assert_eq!(parcels.deaths(), BTreeMap::from([(7, 1)]));
}
