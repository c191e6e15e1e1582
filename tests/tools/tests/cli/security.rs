//! The operator's tool: ids from the command line, and what it prints.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use state_migration::{
    EventStore, ExpectedSequence, NewEvent, SlateDbStore, StreamId, Workflow, WorkflowId,
};
use state_migration_tests::orders::{self, OrderV1};
use state_migration_tests::secrets::{SECRET, is_silent};
use state_migration_tests::stores::contents;
use tempfile::TempDir;

async fn store() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    let store = SlateDbStore::open_local(&place).await.unwrap();
    for n in 0..4 {
        orders::place(&store, &store, n).await.unwrap();
    }
    // What stands in these is a secret, and neither of them can be read.
    for (n, payload) in [
        (7, format!(r#"{{"Placed":{{"euro":"{SECRET}"}}}}"#)),
        (8, format!(r#"{{"{SECRET}":{{}}}}"#)),
    ] {
        let event = NewEvent::new(WorkflowId::of::<OrderV1>(), "OrderPlaced", 1, payload);
        let stream = orders::identity::<OrderV1>(n).stream_id().clone();
        let event = vec![event.unwrap()];
        store
            .append(&stream, ExpectedSequence::NoStream, event)
            .await
            .unwrap();
    }
    store.close().await.unwrap();
    folder
}

fn tool<A: AsRef<OsStr>>(folder: &Path, args: impl IntoIterator<Item = A>) -> Output {
    // Orders are linked into it, and it has no fault where none is asked for.
    let mut command = Command::new(env!("CARGO_BIN_EXE_faulty-admin"));
    command.args(args).arg("--store").arg(folder.join("store"));
    command.current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("STATE_MIGRATION_"))
        {
            command.env_remove(name);
        }
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_from_the_command_line_stay_in_their_place() {
    let folder = store().await;
    let before = contents(folder.path()).unwrap();
    let long = "x".repeat(2_000);
    let ids: [&[u8]; 14] = [
        b"",
        b"..",
        b"../../etc/passwd",
        b"/etc/passwd",
        b"process/../..",
        b"process/shop/../../../store/manifest",
        b"process/shop/000001\n",
        b"process/shop/000001\x1b[2J",
        b"process/shop/\xff\xfe",
        b"\xc3\x28",
        b"process/shop/00000",
        b"process/shop",
        b"%2e%2e%2f",
        long.as_bytes(),
    ];
    for id in ids {
        let id = OsStr::from_bytes(id);
        for command in [
            &["inspect"][..],
            &["plan", "--stream"],
            &["plan", "--tenant"],
            &["run", "--yes", "--dry-run", "--stream"],
            &["hold", "--reason", "a test"],
            &["show"],
        ] {
            // Without colours, escapes are taken out of what goes into a pipe.
            let coloured = ["--color", "always"].iter();
            let mut args: Vec<OsString> = coloured.chain(command).map(Into::into).collect();
            args.push(id.to_owned());
            let output = tool(folder.path(), &args);
            let said = said(&output);
            // Exit codes of the tool; a panic would be 101.
            assert!(
                matches!(output.status.code(), Some(0..=4)),
                "{args:?}: {said}"
            );
            assert!(!said.contains("root:"), "{args:?}: {said}");
            assert!(!steers(&said), "{args:?} controls the terminal: {said:?}");
            assert!(!said.contains("panicked"), "{args:?}: {said}");
            is_silent(&format!("{args:?}"), &said);
        }
    }
    assert!(
        contents(folder.path()).unwrap() == before,
        "nothing was written"
    );
}

/// What clears a screen, names a window and rings, in one byte and in two.
const STEERS: &str = "\u{1b}[2J\u{9b}2J\u{1b}]0;x\u{7}";

/// Names of workflows, versions and types are not checked like ids, and words of
/// people are any text.
///
/// To see it fail: leave `plain` out where one of them is printed.
#[tokio::test(flavor = "multi_thread")]
async fn words_from_a_store_or_a_command_line_steer_no_terminal() {
    let folder = store().await;
    let place = folder.path().join("store");
    let store = SlateDbStore::open_local(&place).await.unwrap();
    for (n, name, version) in [
        (20, format!("ghost{STEERS}"), "v1".to_owned()),
        (21, "order".to_owned(), format!("v1{STEERS}")),
    ] {
        let version = WorkflowId::new(name, version);
        let event = NewEvent::new(version, format!("Order{STEERS}"), 1, r#""x""#).unwrap();
        let stream = orders::identity::<OrderV1>(n).stream_id().clone();
        let none = ExpectedSequence::NoStream;
        store.append(&stream, none, vec![event]).await.unwrap();
    }
    store.close().await.unwrap();
    for command in [
        &["migrations"][..],
        &["graph"],
        &["status"],
        &["plan"],
        &["plan", "--workflow", STEERS],
        &["run", "--dry-run"],
        &["run", "--yes", "--actor", STEERS, "--reason", STEERS],
        &["run", "--yes", "--workflow", STEERS],
        &["run", "--yes", "--plan", STEERS],
        &["run", "--yes", "--tenant", STEERS],
        &[
            "hold",
            "process/shop/000021",
            "--actor",
            STEERS,
            "--reason",
            STEERS,
        ],
        &["inspect", "process/shop/000020"],
        &["inspect", "process/shop/000021"],
        &["inspect", STEERS],
        &["retry", "last"],
        &["retry", "last", "--class", STEERS],
        &["resume", STEERS],
        &["runs"],
        &["show", "last"],
        &["show", STEERS],
        &["status", "--socket", STEERS],
        &["status", "--settings", STEERS],
    ] {
        let args = [command, &["--color", "always", "--log", "trace"]].concat();
        let output = tool(folder.path(), &args);
        let said = said(&output);
        assert!(
            matches!(output.status.code(), Some(0..=4)),
            "{args:?}: {said}"
        );
        assert!(!steers(&said), "{args:?} controls the terminal: {said:?}");
    }
}

/// Whether something in what was said steers a terminal: all but colours, which
/// are the tool's own, and line ends.
fn steers(said: &str) -> bool {
    let mut escapes = said.match_indices('\u{1b}');
    escapes.any(|(at, _)| !is_a_colour(&said[at..]))
        || said.contains(|c: char| c.is_control() && !matches!(c, '\u{1b}' | '\n' | '\t'))
}

/// Whether a text starts with what sets a colour, and no more than that.
fn is_a_colour(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("\u{1b}[") else {
        return false;
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';');
    end.is_some_and(|end| rest[end..].starts_with('m'))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_inspect_shows_what_is_in_a_process() {
    let folder = store().await;
    for command in [
        &["migrations"][..],
        &["graph"],
        &["status"],
        &["plan"],
        &["run", "--dry-run"],
        &["run", "--yes"],
        &["retry", "last"],
        &["runs"],
        &["show", "last"],
    ] {
        for more in [&[][..], &["--json"], &["--log", "trace"]] {
            let args = [command, more].concat();
            let output = tool(folder.path(), &args);
            let said = said(&output);
            assert!(
                matches!(output.status.code(), Some(0 | 2 | 4)),
                "{args:?}: {said}"
            );
            is_silent(&format!("{args:?}"), &said);
        }
    }
    // It is there, and it failed.
    let shown = said(&tool(folder.path(), ["show", "1"]));
    assert!(
        shown.contains("000007") && shown.contains("expected u64"),
        "{shown}"
    );
    // What can be read is shown by the command that is there for it.
    let id = StreamId::new("process/shop/000003").unwrap();
    let inspected = said(&tool(folder.path(), ["inspect", id.as_str()]));
    assert!(inspected.contains("euro"), "{inspected}");
    assert_eq!(OrderV1::VERSION, "v1");
}
