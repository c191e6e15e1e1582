//! Compiles every case under `cases/`: those of `fail` are refused with the
//! text in their `.stderr`, those of `pass` are accepted, and run.
//!
//! The texts are those of one compiler, the one in `rust-toolchain.toml`; on
//! another, a case must still be refused, with any text. To write the texts
//! again: `TRYBUILD=overwrite cargo test -p state-migration-ui-tests`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many cases there are. A pattern that matches no file tests nothing.
const REFUSED: usize = 305;
const ACCEPTED: usize = 21;

/// The compiler that wrote the texts.
const COMPILER: &str = "1.95.0";

/// What the refused cases include, beside their folder.
const PREAMBLES: [&str; 2] = ["event.rs", "workflows.rs"];

/// Names a folder with copies of the refused cases, without texts.
const COPIES: &str = "STATE_MIGRATION_REFUSED_CASES";

#[test]
fn every_mistake_is_refused_with_its_text() {
    if let Some(copies) = env::var_os(COPIES) {
        refuse(Path::new(&copies));
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/fail");
    let cases = files(&folder, "rs");
    assert_eq!(cases.len(), REFUSED, "cases under {}", folder.display());
    if env::var_os("TRYBUILD").is_none() {
        let texts: Vec<PathBuf> = cases
            .iter()
            .map(|case| case.with_extension("stderr"))
            .collect();
        assert_eq!(files(&folder, "stderr"), texts, "one text for each case");
    }
    let compiler = compiler();
    if compiler == COMPILER {
        refuse(Path::new("cases/fail"));
    } else {
        // Not by `eprintln!`, which is not shown of a test that passes.
        writeln!(
            std::io::stderr(),
            "*** rustc is {compiler} and not {COMPILER}: the TEXTS OF ERRORS ARE NOT COMPARED"
        )
        .unwrap();
        refuse_with_any_text(&folder, &cases);
    }
}

#[test]
fn every_accepted_form_compiles_and_runs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/pass");
    assert_eq!(
        files(&folder, "rs").len(),
        ACCEPTED,
        "cases under {}",
        folder.display()
    );
    trybuild::TestCases::new().pass("cases/pass/*.rs");
}

fn refuse(folder: &Path) {
    trybuild::TestCases::new().compile_fail(folder.join("*/*.rs"));
}

/// Has trybuild write the texts of copies, which it does where a case is refused.
fn refuse_with_any_text(folder: &Path, cases: &[PathBuf]) {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refused");
    let copies = root.join("fail");
    if root.exists() {
        fs::remove_dir_all(&root).unwrap();
    }
    fs::create_dir_all(&root).unwrap();
    for preamble in PREAMBLES {
        fs::copy(folder.with_file_name(preamble), root.join(preamble)).unwrap();
    }
    for case in cases {
        let copy = copies.join(case.strip_prefix(folder).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(case, copy).unwrap();
    }
    // trybuild takes its orders from the environment, which only a new process
    // can have changed safely.
    let status = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "every_mistake_is_refused_with_its_text",
            "--nocapture",
        ])
        .env("TRYBUILD", "overwrite")
        .env(COPIES, &copies)
        .status()
        .unwrap();
    assert!(status.success(), "a case is accepted: {status}");
    assert_eq!(files(&copies, "stderr").len(), cases.len());
}

/// All files of a kind under a folder, sorted.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The release of the compiler that compiles the cases.
fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(rustc).arg("-vV").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    let release = version
        .lines()
        .find_map(|line| line.strip_prefix("release: "));
    release
        .expect("a release in the output of `rustc -vV`")
        .to_owned()
}
