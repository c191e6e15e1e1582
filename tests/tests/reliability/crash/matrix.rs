//! Kills of a program before and after its k-th write to the object store, for each k
//! up to the number of its writes. A second program resumes the run.
//!
//! The full size has a kill at each write. The gate has fewer orders, and kills at a
//! sample of the writes that differs between scenarios.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use state_migration::{RunId, RunKind, Runs, SlateDbStore};
use state_migration_tests::killer::Kill;
use state_migration_tests::size::size;
use state_migration_tests::stores::copy;

use crate::crash::digest::{self, Digest};
use crate::crash::{prepare, prepare_unregistered};

/// How many kills each scenario has at the gate.
const SOME: u64 = 16;

const SIGKILL: i32 = 9;

/// How many programs there are at a time.
const LANES: u64 = 2;

/// A way to migrate.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    /// What the program is told to do.
    what: &'static str,
    /// What it was told before, without a kill.
    before: Option<&'static str>,
    /// How many processes its runs migrate, in parts of a half.
    halves: u64,
    registered: bool,
    /// Which of the writes are chosen where not all are.
    shift: u64,
}

const SCENARIOS: [Scenario; 8] = [
    Scenario {
        name: "plain",
        what: "plain",
        before: None,
        halves: 2,
        registered: false,
        shift: 0,
    },
    Scenario {
        name: "with registry keys",
        what: "plain",
        before: None,
        halves: 2,
        registered: true,
        shift: 1,
    },
    Scenario {
        name: "three hops",
        what: "hops",
        before: None,
        halves: 2,
        registered: true,
        shift: 2,
    },
    Scenario {
        name: "as they are opened",
        what: "lazy",
        before: None,
        halves: 2,
        registered: true,
        shift: 3,
    },
    Scenario {
        name: "undo",
        what: "undo",
        before: Some("plain"),
        halves: 4,
        registered: true,
        shift: 4,
    },
    // Something was paid on every second order, which the first conversion forgets.
    Scenario {
        name: "redo",
        what: "redo",
        before: Some("wrong"),
        halves: 3,
        registered: false,
        shift: 5,
    },
    Scenario {
        name: "erase",
        what: "erase",
        before: Some("plain"),
        halves: 4,
        registered: true,
        shift: 6,
    },
    // It leaves the store as it was, and no copy of it.
    Scenario {
        name: "rehearse",
        what: "rehearse",
        before: None,
        halves: 0,
        registered: true,
        shift: 7,
    },
];

fn orders() -> u64 {
    size(12, 60)
}

/// Runs the program to its end, or to where it kills itself.
async fn program(folder: &Path, what: &str, kill: Option<Kill>) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_crash-child"));
    program.arg(folder).arg(what);
    program.arg(orders().to_string());
    program.args(kill.map(|kill| kill.to_string()));
    tokio::task::spawn_blocking(move || program.output().unwrap())
        .await
        .unwrap()
}

/// How many writes a program made that ended well.
fn writes(output: &Output) -> u64 {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let told = text.lines().find_map(|line| line.strip_prefix("writes "));
    told.unwrap_or_else(|| panic!("{text}{errors}"))
        .parse()
        .unwrap()
}

/// Whether a path is that of a folder with files.
fn has_files(path: &Path) -> bool {
    let entries = std::fs::read_dir(path).into_iter().flatten();
    let mut entries = entries.map(|entry| entry.unwrap().path());
    path.is_dir() && entries.any(|entry| entry.is_file() || has_files(&entry))
}

/// What is in a store that was migrated, and by which runs.
async fn migrated(folder: &Path, scenario: Scenario) -> Digest {
    let store = SlateDbStore::open_local(folder).await.unwrap();
    let runs = Runs::of(&store).unwrap();
    let history = runs.list().await.unwrap();
    let ids: BTreeSet<RunId> = history.iter().map(|run| run.id).collect();
    let mut counted = 0;
    for run in &history {
        assert!(run.state.is_done() || run.kind == RunKind::Lazy, "{run:?}");
        counted += runs.counts(run.id).await.unwrap().migrated;
    }
    let copies = std::fs::read_dir(folder.join("rehearsals"));
    let copies = copies
        .into_iter()
        .flatten()
        .map(|file| file.unwrap().path());
    assert_eq!(copies.filter(|file| has_files(file)).count(), 0);
    // No process was counted that was not migrated, and none twice.
    assert_eq!(counted, orders() * scenario.halves / 2);
    let digest = digest::of_runs(&store, &ids).await;
    store.close().await.unwrap();
    digest
}

/// What all kills of a scenario share.
struct Matrix {
    scenario: Scenario,
    template: PathBuf,
    expected: Digest,
    kills: Vec<Kill>,
    next: AtomicU64,
}

/// By how much the numbers of writes of two programs may differ.
const SLACK: u64 = 2;

/// Kills a program, and resumes its run in a second program.
async fn round(matrix: &Matrix, kill: Kill) {
    let folder = tempfile::tempdir().unwrap();
    copy(&matrix.template, folder.path()).unwrap();
    let scenario = matrix.scenario;
    let killed = program(folder.path(), scenario.what, Some(kill)).await;
    let what = format!("{}, {kill}", scenario.name);
    // A program may need fewer writes than the program that counted them, and then ends
    // before the last kills.
    if killed.status.success() {
        assert_eq!(
            migrated(folder.path(), scenario).await,
            matrix.expected,
            "{what}"
        );
        return;
    }
    assert_eq!(killed.status.signal(), Some(SIGKILL), "{what}: {killed:?}");
    let resumed = program(folder.path(), scenario.what, None).await;
    assert!(resumed.status.success(), "{what}: {resumed:?}");
    assert_eq!(
        migrated(folder.path(), scenario).await,
        matrix.expected,
        "{what}"
    );
}

async fn lane(matrix: Arc<Matrix>) {
    loop {
        let n = matrix.next.fetch_add(1, Ordering::SeqCst);
        let Some(kill) = matrix.kills.get(usize::try_from(n).unwrap()) else {
            return;
        };
        round(&matrix, *kill).await;
    }
}

/// The kills of a program that makes `writes` writes.
fn kills(writes: u64, shift: u64) -> Vec<Kill> {
    let all = (1..=writes).flat_map(|n| [Kill::Before(n), Kill::After(n)]);
    if size(false, true) {
        return all.collect();
    }
    // Odd, so that kills before a write and after one take turns.
    let step = ((2 * writes).div_ceil(SOME).max(1) - 1) | 1;
    let shift = shift % step;
    all.skip(usize::try_from(shift).unwrap())
        .step_by(usize::try_from(step).unwrap())
        .collect()
}

/// Returns how many kills there were.
async fn scenario(scenario: Scenario) -> u64 {
    let began = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("template");
    match scenario.registered {
        true => prepare(&template, orders()).await,
        false => prepare_unregistered(&template, orders()).await,
    }
    if let Some(before) = scenario.before {
        let ended = program(&template, before, None).await;
        assert!(ended.status.success(), "{ended:?}");
    }
    let mut whole = Vec::new();
    for name in ["whole", "again"] {
        let folder = folder.path().join(name);
        copy(&template, &folder).unwrap();
        let writes = writes(&program(&folder, scenario.what, None).await);
        whole.push((writes, migrated(&folder, scenario).await));
    }
    // Without that, the k-th write would be another one each time. On a busy machine, a
    // commit may take a write more.
    let ((writes, expected), (again, same)) = (whole.remove(0), whole.remove(0));
    assert_eq!(expected, same, "{}", scenario.name);
    assert!(writes.abs_diff(again) <= SLACK, "{writes} and {again}");
    let writes = writes.max(again);
    let registered = expected.contains_key(&'r');
    assert_eq!(registered, scenario.registered);
    // With a kill that comes after its last write, a program survives.
    let survivor = folder.path().join("survivor");
    copy(&template, &survivor).unwrap();
    let survived = program(
        &survivor,
        scenario.what,
        Some(Kill::Before(writes + 1 + SLACK)),
    )
    .await;
    assert!(survived.status.success(), "{survived:?}");

    let kills = kills(writes, scenario.shift);
    let number = kills.len() as u64;
    let matrix = Arc::new(Matrix {
        scenario,
        template,
        expected,
        kills,
        next: AtomicU64::new(0),
    });
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..LANES {
        lanes.spawn(lane(matrix.clone()));
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
    let took = began.elapsed();
    println!(
        "{}: {number} kills at {writes} writes, in {took:?}",
        scenario.name
    );
    number
}

/// To see it fail: write the row of a range after its chunk instead of with it,
/// or put the entries of the process registry into a transaction of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_at_any_write_can_be_resumed_by_another_program() {
    let mut kills = 0;
    for of in SCENARIOS {
        kills += scenario(of).await;
    }
    println!("{kills} programs were killed at one of their writes, and others went on");
    assert!(kills >= 8 * SOME / 2);
}
