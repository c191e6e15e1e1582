//! The operator's tool over an object store that fails, and without migrations:
//! one sentence, the right exit code, soon.

use std::path::Path;
use std::process::Command;

use state_migration::SlateDbStore;
use state_migration_tests::orders;
use state_migration_tests::stores::contents;
use tempfile::TempDir;

const ORDERS: u64 = 400;

async fn store() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    for n in 0..ORDERS {
        orders::place(&store, &store, n).await.unwrap();
    }
    store.close().await.unwrap();
    folder
}

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn tool(program: &str, folder: &Path, fault: Option<&str>, args: &[&str]) -> Said {
    let mut command = Command::new(program);
    command.args(args).arg("--store").arg(folder);
    command.args(["--log", "slatedb=info"]);
    if let Some(fault) = fault {
        command.env("FAULT", fault).env("FAULTY_FOLDER", folder);
    }
    let output = command.output().unwrap();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn faulty(folder: &Path, fault: &str, args: &[&str]) -> Said {
    tool(
        env!("CARGO_BIN_EXE_faulty-admin"),
        folder,
        Some(fault),
        args,
    )
}

impl Said {
    /// How often a request was tried again.
    fn retries(&self) -> usize {
        self.stderr
            .matches("retrying object store operation")
            .count()
    }
}

#[track_caller]
fn says(said: &Said, code: i32, expected: &str) {
    let Said { stdout, stderr, .. } = said;
    assert_eq!(said.code, Some(code), "{stdout}{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
    let errors = stderr.lines().filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_reported_and_change_nothing() {
    let folder = store().await;
    let before = contents(folder.path()).unwrap();
    for args in [&["status"][..], &["plan"], &["run", "--yes"]] {
        let said = faulty(folder.path(), "denied", args);
        says(&said, 1, "access is denied; check the credentials");
        assert_eq!(said.retries(), 0, "{}", said.stderr);
    }
    // They may be good enough to look.
    assert_eq!(
        faulty(folder.path(), "read-only", &["status"]).code,
        Some(0)
    );
    let said = faulty(folder.path(), "read-only", &["run", "--yes"]);
    says(&said, 1, "access is denied; check the credentials");
    assert_eq!(said.retries(), 0, "{}", said.stderr);
    assert!(contents(folder.path()).unwrap() == before);
}

/// Wherever the store stops answering. The test fails if any error of a read is taken for
/// a damaged record.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_read_to_the_end_is_not_shown_as_damaged() {
    let folder = store().await;
    let stream = orders::identity::<orders::OrderV1>(7)
        .stream_id()
        .to_string();
    let (mut failed, mut at) = (0, 0);
    loop {
        let said = faulty(folder.path(), &format!("reads:{at}"), &["inspect", &stream]);
        let Said { stdout, stderr, .. } = &said;
        assert!(!stdout.contains("problem:"), "{at}: {stdout}");
        assert!(!stdout.contains("failed:"), "{at}: {stdout}");
        if said.code == Some(0) {
            break;
        }
        says(&said, 1, "access is denied; check the credentials");
        assert_eq!(stdout, "", "{at}: {stderr}");
        (failed, at) = (failed + 1, at + 1);
        assert!(at < 100, "the store is never read");
    }
    assert!(failed > 2, "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_reported_and_changes_nothing() {
    let folder = store().await;
    let before = contents(folder.path()).unwrap();
    let said = faulty(folder.path(), "full:0", &["run", "--yes"]);
    says(&said, 1, "no space left; free space");
    assert!(contents(folder.path()).unwrap() == before);
}

/// To see it fail: retry a full disk while the store is opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_gets_full_while_the_store_is_opened_is_reported_at_once() {
    for room in 1..6 {
        let folder = store().await;
        let began = std::time::Instant::now();
        let said = faulty(
            folder.path(),
            &format!("stays-full:{room}"),
            &["run", "--yes"],
        );
        let took = began.elapsed();
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(all.contains("no space left; free space"), "{room}: {all}");
        assert!(
            took < std::time::Duration::from_secs(20),
            "{room}: {took:?}"
        );
        assert_eq!(said.code, Some(1), "{room}: {all}");
    }
}

/// To see it fail: set no trouble in `Storage::answer`.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_interrupts_a_run_that_can_be_resumed_later() {
    let folder = store().await;
    let slow = ["run", "--yes", "--throttle", "200"];
    let shown = ["--progress-interval", "1s"];
    let args = [slow.as_slice(), &shown].concat();
    let said = faulty(folder.path(), "stays-full:24", &args);
    assert_eq!(said.code, Some(3), "{}{}", said.stdout, said.stderr);
    let all = format!("{}{}", said.stdout, said.stderr);
    assert!(all.contains("the store: no space left"), "{all}");

    // There is room again.
    let enough = "full:100000";
    let said = faulty(folder.path(), enough, &["resume", "last", "--take-over"]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    let said = faulty(folder.path(), enough, &["run", "--yes", "--json"]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    let last = said.stdout.lines().last().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!((&last["migrated"], &last["failed"]), (&0.into(), &0.into()));
}

/// To see it fail: leave out `Patience`.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_interrupts_a_run_when_the_patience_is_over() {
    let folder = store().await;
    let slow = ["run", "--yes", "--throttle", "100", "--patience", "3s"];
    let began = std::time::Instant::now();
    let said = faulty(folder.path(), "hangs:24", &slow);
    let took = began.elapsed();
    assert_eq!(said.code, Some(3), "{}{}", said.stdout, said.stderr);
    assert!(took < std::time::Duration::from_secs(90), "{took:?}");
    let all = format!("{}{}", said.stdout, said.stderr);
    assert!(all.contains("had no answer for 3 seconds"), "{all}");

    let said = tool(
        env!("CARGO_BIN_EXE_faulty-admin"),
        folder.path(),
        Some("full:100000"),
        &["run", "--yes", "--or-resume", "--json"],
    );
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    let last = said.stdout.lines().last().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(
        (&last["migrated"], &last["failed"]),
        (&ORDERS.into(), &0.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_closed_is_reported_after_its_run() {
    let folder = store().await;
    let said = faulty(folder.path(), "unclosable", &["run", "--yes", "--json"]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    let last = said.stdout.lines().last().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(
        (&last["migrated"], &last["state"]),
        (&ORDERS.into(), &"done".into())
    );
    let warning = &last["warnings"][0];
    assert_eq!(warning["subject"]["kind"], "store");
    let message = warning["message"].as_str().unwrap();
    assert!(
        message.starts_with("the store could not be closed: "),
        "{message}"
    );
    assert!(message.ends_with("may require --take-over"), "{message}");
    assert_eq!(last["warning_count"], 1);
}

/// SlateDB says that it is closed then, and not why.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_when_a_store_is_closed_loses_nothing_and_is_reported() {
    let folder = store().await;
    let said = faulty(folder.path(), "log-only", &["run", "--yes", "--json"]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    let last = said.stdout.lines().last().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    let message = last["warnings"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("the store was not closed cleanly: everything is durable in its log, but not yet in its other files; check that the object store has space"),
        "{message}"
    );
    let said = faulty(folder.path(), "full:100000", &["run", "--yes", "--json"]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    let last = said.stdout.lines().last().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!((&last["migrated"], &last["failed"]), (&0.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_without_migrations_says_which_line_it_lacks() {
    let folder = store().await;
    let before = contents(folder.path()).unwrap();
    for args in [&["migrations"][..], &["plan"], &["run", "--yes"]] {
        let said = tool(
            env!("CARGO_BIN_EXE_unlinked-admin"),
            folder.path(),
            None,
            args,
        );
        says(&said, 1, "use my_workflows as _;");
    }
    assert!(contents(folder.path()).unwrap() == before);
}
