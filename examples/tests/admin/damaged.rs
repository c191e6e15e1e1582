//! Damaged files of a store: reported at once, with the file if it is known, and
//! never taken for a temporary outage.

use std::fs;
use std::path::{Path, PathBuf};

use state_migration::SlateDbStore;

use crate::bad_store::in_runtime;
use crate::program::{Ran, command, finish};
use crate::read_only_commands::unreadable_amount;
use crate::sample::Sample;

/// Runs a command that says what is tried again.
fn logged(sample: &Sample, args: &[&str]) -> Ran {
    let mut command = command(sample, args);
    command.args(["--log", "slatedb=info"]);
    finish(command)
}

/// The command ends with this sentence, and nothing was tried again.
#[track_caller]
fn is_told(sample: &Sample, args: &[&str], what: &str, sentence: &str) {
    let before = sample.files();
    let said = logged(sample, args).exits(1);
    assert!(said.stderr.contains(sentence), "{what} {args:?}: {said:?}");
    let again = said.stderr.contains("retrying object store operation");
    assert!(!again, "{what} {args:?}: {said:?}");
    assert!(sample.files() == before, "{what} {args:?} wrote");
}

/// The files of a folder that have something in them.
fn files(sample: &Sample, folder: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(sample.store().join(folder)).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let name = |file: PathBuf| file.strip_prefix(sample.store()).unwrap().to_owned();
    files
        .filter(|file| file.metadata().unwrap().len() > 0)
        .filter(|file| file.extension().is_some_and(|kind| kind == "sst"))
        .map(name)
        .collect()
}

/// What may have become of a file.
fn damages(whole: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let garbled = whole.iter().map(|byte| byte ^ 0x5A).collect();
    [
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("garbled", garbled),
    ]
}

fn with(whole: &Sample, file: &Path, bytes: &[u8]) -> Sample {
    let sample = whole.copied();
    fs::write(sample.store().join(file), bytes).unwrap();
    sample
}

#[test]
fn a_file_of_data_that_is_damaged_is_named_at_once() {
    let whole = Sample::new();
    let files = files(&whole, "compacted");
    assert!(!files.is_empty());
    for file in files {
        let bytes = fs::read(whole.store().join(&file)).unwrap();
        let sentence = format!(
            "the file {} of the database is damaged; restore the file from a backup (SlateDB says: ",
            file.display()
        );
        for (what, damaged) in damages(&bytes) {
            let sample = with(&whole, &file, &damaged);
            for args in [
                &["status"][..],
                &["plan"],
                &["run", "--yes"],
                &["run", "--dry-run"],
            ] {
                is_told(&sample, args, what, &sentence);
            }
        }
        // A block of events, which only those come by who read them.
        let mut flipped = bytes;
        let middle = flipped.len() / 3;
        flipped[middle] ^= 0x5A;
        let sample = with(&whole, &file, &flipped);
        let again = "retrying object store operation";
        let said = logged(&sample, &["plan"]).exits(0);
        assert!(said.stdout.contains(&sentence), "{said:?}");
        assert!(!said.stderr.contains(again), "{said:?}");
        // Whose events are in it is left out, and the others are moved.
        let said = logged(&sample, &["run", "--yes"]).exits(2);
        assert!(said.stdout.contains(&sentence), "{said:?}");
        assert!(!said.stderr.contains(again), "{said:?}");
        assert!(said.stdout.contains(" corrupt)"), "{said:?}");
        assert!(said.stdout.contains("done with errors"), "{said:?}");
    }
}

/// What a program wrote that was killed is in its log only.
#[test]
fn a_damaged_file_of_the_log_is_named_at_once() {
    let sample = Sample::new();
    let killed = in_runtime(async {
        let store = SlateDbStore::open_local(sample.store()).await.unwrap();
        unreadable_amount(&store, "x1").await;
        let killed = sample.copied();
        store.close().await.unwrap();
        killed
    });
    let log = files(&killed, "wal").into_iter().max().unwrap();
    let bytes = fs::read(killed.store().join(&log)).unwrap();
    for (what, damaged) in damages(&bytes) {
        let sample = with(&killed, &log, &damaged);
        let told = match what {
            "empty" => "of the log is empty, although records were written to it",
            _ => "is damaged; restore the file from a backup",
        };
        for args in [&["status"][..], &["run", "--yes"]] {
            is_told(&sample, args, what, told);
            let said = finish(command(&sample, args)).exits(1);
            let named = format!("the file {} of the ", log.display());
            assert!(said.stderr.contains(&named), "{what} {args:?}: {said:?}");
        }
    }
}
