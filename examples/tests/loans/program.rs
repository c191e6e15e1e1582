//! Execution of the program, and its output.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use state_migration_examples::sample;

/// What a run of the program left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The JSON object of the last line.
    pub(crate) fn json(&self) -> Value {
        let last = self.stdout.lines().last();
        serde_json::from_str(last.unwrap_or_else(|| panic!("nothing on stdout: {self:?}"))).unwrap()
    }
}

pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_loans"))
}

/// Runs the program without `--log`.
pub(crate) fn run_on_sample(store: &Path) -> Run {
    Run::new(
        command()
            .args(["--json", "--store"])
            .arg(store)
            .output()
            .unwrap(),
    )
}

pub(crate) fn run(log: &Path, store: &Path) -> Run {
    Run::new(
        command()
            .args(["--json", "--log"])
            .arg(log)
            .arg("--store")
            .arg(store)
            .output()
            .unwrap(),
    )
}

/// The JSON object of a run in which everything went well.
pub(crate) fn good(run: &Run) -> Value {
    assert_eq!(run.code, Some(0), "{run:?}");
    run.json()
}

/// The same result with what only a first run has set to what a second has.
pub(crate) fn as_second(first: &Value) -> Value {
    let mut second = first.clone();
    second["imported"] = 0.into();
    second["migrated"] = 0.into();
    second
}

/// Invented applications as XES.
pub(crate) fn invented(applications: u32) -> String {
    let mut log = Vec::new();
    sample::write_log(&mut log, applications).unwrap();
    String::from_utf8(log).unwrap()
}

pub(crate) fn packed(log: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(log).unwrap();
    packed.finish().unwrap()
}

pub(crate) fn write(folder: &Path, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, contents).unwrap();
    path
}

/// Whether tests have their full size, as those of `tests/` have it.
pub(crate) fn full_size(test: &str) -> bool {
    let full = match std::env::var("STATE_MIGRATION_TEST_SIZE").as_deref() {
        Err(_) | Ok("gate") => false,
        Ok("full") => true,
        Ok(size) => panic!("STATE_MIGRATION_TEST_SIZE is {size:?}; give it gate or full"),
    };
    if !full {
        skipped(test, "STATE_MIGRATION_TEST_SIZE is not full");
    }
    full
}

/// The real log, if the folder with it is known.
pub(crate) fn real_log(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("STATE_MIGRATION_DATA");
    if folder.is_none() {
        skipped(
            test,
            "STATE_MIGRATION_DATA does not name the folder with bpic2012.xes.gz",
        );
    }
    Some(PathBuf::from(folder?).join("bpic2012.xes.gz"))
}

fn skipped(test: &str, why: &str) {
    // Not by `eprintln!`, which is not shown of a test that passes.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "SKIPPED {test}: {why}").unwrap();
}
