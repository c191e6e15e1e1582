//! The small edition of the torture: worlds of fixed seeds, a few real kills, and
//! defects that are planted to see that they are found.
//!
//! The large one is the program `torture` of this package.

mod planted_defects;

use std::collections::BTreeMap;
use std::path::Path;

use state_migration_tests::size::size;
use state_migration_tests::torture::counts::Counts;
use state_migration_tests::torture::faults::Rates;
use state_migration_tests::torture::kills::Folder;
use state_migration_tests::torture::shrink::shrink;
use state_migration_tests::torture::steps::{Act, Step};
use state_migration_tests::torture::{Violation, World, steps, workflows};

/// The worlds, and how many steps of each kind they have.
fn seeds() -> std::ops::Range<u64> {
    1..size(4, 40)
}
const OF_EACH: usize = 1;

/// How often entries of the registry change before the first run.
const REGISTRY: usize = 6;

/// How often much is written, and then nothing for a while.
const IDLE: usize = 2;

fn kills() -> u64 {
    size(4, 40)
}

/// How often a list of steps is tried that may be shorter.
const TRIES: usize = 60;

/// A few steps of each kind, so that a short list has all of them.
fn few_of_each(seed: u64) -> Vec<Step> {
    let drawn = steps::draw(seed, 1_500);
    let (first, rest) = drawn.split_at(6);
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    let rest = rest.iter().filter(|step| {
        let kind = match &step.act {
            Act::FailPoint(point) => point.name().to_owned(),
            // One that is long enough for an operator to come in time.
            Act::Run(run) if run.writers > 1 && run.yields => format!("{:?}", run.operator),
            Act::Run(_) => return false,
            _ => String::new(),
        };
        let count = counts.entry((step.act.name(), kind)).or_insert(0);
        *count += 1;
        *count <= OF_EACH
    });
    let mut few = first.to_vec();
    // Entries for the runs to take along.
    let registry = drawn.iter().filter(|step| step.act == Act::Registry);
    few.extend(registry.take(REGISTRY).map(|step| Step {
        rates: Rates::NONE,
        crash: None,
        ..step.clone()
    }));
    few.extend(rest.cloned());
    // Runs that die soon after they have begun, and are resumed.
    let runs = drawn.iter().filter(|step| matches!(step.act, Act::Run(_)));
    for (writes, run) in (2..5).zip(runs) {
        let dies = Step {
            crash: Some(writes),
            rates: Rates::NONE,
            ..run.clone()
        };
        let resumes = Step {
            crash: None,
            act: Act::Resume,
            ..dies.clone()
        };
        few.extend([dies, resumes]);
    }
    // What failed in one of them is tried again.
    few.extend(drawn.first().map(|step| Step {
        crash: None,
        rates: Rates::NONE,
        act: Act::Retry,
        ..step.clone()
    }));
    // Time in which files are compacted and collected, by lists that are out of date.
    for step in &drawn[..IDLE] {
        let quiet = Step {
            crash: None,
            rates: Rates::NONE,
            act: Act::Append(40),
            ..step.clone()
        };
        let idle = Step {
            act: Act::Idle(60_000),
            rates: Rates::HEAVY,
            ..quiet.clone()
        };
        few.extend([quiet, idle]);
    }
    few
}

/// What must have happened in the worlds of these seeds, so that none of it is
/// left out unnoticed.
const MUST: [&str; 52] = [
    "step: append",
    "step: append at a wrong place",
    "step: write of a wrong version",
    "step: race",
    "step: snapshot",
    "step: registry",
    "step: hold or release",
    "step: open",
    "step: run",
    "step: dry run",
    "step: resume",
    "step: retry",
    "step: rehearsal",
    "step: verify and redo",
    "step: undo",
    "step: erase",
    "step: idle",
    "step: clock jumps",
    "step: scan by a reader",
    "step: fenced by another writer",
    "step: close",
    "step: fail point",
    "step: outage",
    "fault: write failed",
    "fault: read failed",
    "fault: list failed",
    "fault: delete failed",
    "fault: stale list",
    "fault: answer lost",
    "fault: slow request",
    "fault: out of order",
    "fault: outage",
    "fault: fail point before a commit",
    "fault: fail point after a commit",
    "fault: fail point at the log",
    "simulated crashes",
    "restarts after an error",
    "closed and opened again",
    "writers fenced",
    "resumes",
    "retries",
    "pauses",
    "cancels",
    "runs done",
    "states verified",
    "processes undone",
    "events erased",
    "appends under migration",
    "appends whose outcome was unknown",
    "writes of a wrong version refused",
    "snapshots saved",
    "processes held or put back",
];

/// Prints the world that went wrong, and the shortest list of steps that was found
/// with which it does.
fn explain(seed: u64, violation: Violation) -> ! {
    let steps = few_of_each(seed).into_iter().enumerate().collect();
    let mut last = violation.clone();
    let short = shrink(steps, TRIES, |steps| {
        let steps: Vec<_> = steps.iter().map(|(_, step)| step.clone()).collect();
        let again = World::run(seed, &steps, None).1.err();
        last = again.clone().unwrap_or_else(|| last.clone());
        again.is_some()
    });
    let short: Vec<_> = short
        .iter()
        .map(|(n, step)| format!("{n:>4} {step:?}"))
        .collect();
    panic!(
        "world {seed}: {violation:?}\nwith these of its steps: {last:?}\n{}",
        short.join("\n")
    );
}

/// Fails if a commit in `runtime/store/src/slate/kv.rs` returns before it is durable, or
/// if the check of the expected sequence number in `records/events.rs` is removed.
#[test]
fn worlds_in_which_everything_goes_wrong_hold() {
    workflows::silence();
    let mut all = Counts::default();
    for seed in seeds() {
        let (counts, result) = World::run(seed, &few_of_each(seed), None);
        all.merge(&counts);
        if let Err(violation) = result {
            explain(seed, violation);
        }
    }
    println!("{all:#?}");
    let missing: Vec<_> = MUST.iter().filter(|name| all.get(name) == 0).collect();
    assert!(missing.is_empty(), "{missing:?} never happened");
    assert!(all.get("simulated crashes") > 10, "{all:?}");
}

#[test]
fn a_seed_draws_the_same_steps() {
    assert_eq!(steps::draw(7, 200), steps::draw(7, 200));
    assert_ne!(steps::draw(7, 200), steps::draw(8, 200));
}

#[test]
fn programs_that_are_killed_lose_nothing_and_double_nothing() {
    let program = Path::new(env!("CARGO_BIN_EXE_torture"));
    let place = tempfile::tempdir().unwrap();
    let mut folder = Folder::new(3, place.path());
    for _ in 0..kills() {
        folder.kill_one(program).unwrap();
    }
    folder.finish().unwrap();
    let counts = folder.counts();
    assert_eq!(counts.get("real kills"), kills());
    assert!(counts.get("events acknowledged") > 0, "{counts:?}");
    assert!(
        counts.get("events found") >= counts.get("events acknowledged"),
        "{counts:?}"
    );
}

/// To see it fail: wait for the lines that were drawn, whatever the program says.
#[test]
fn a_program_that_cannot_continue_is_not_waited_for() {
    let program = Path::new(env!("CARGO_BIN_EXE_torture"));
    // Where the store is to be, there is a file.
    let place = tempfile::NamedTempFile::new().unwrap();
    let mut folder = Folder::new(3, place.path());
    let wrong = folder.kill_one(program).unwrap_err();
    assert!(
        wrong.what.contains(&place.path().display().to_string()),
        "{wrong:?}"
    );
}
