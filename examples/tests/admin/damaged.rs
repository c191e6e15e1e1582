//! Files of a store that are damaged: said at once, with the file where that is
//! known, and never taken for an outage that is over soon.

use std::fs;
use std::path::{Path, PathBuf};

use crate::program::{command, finish};
use crate::sample::Sample;

/// The files with data in them.
fn files(sample: &Sample) -> Vec<PathBuf> {
    let folders = ["compacted", "wal"].map(|folder| sample.store().join(folder));
    let in_folder = |folder: &PathBuf| fs::read_dir(folder).unwrap();
    let files = folders.iter().flat_map(in_folder);
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// What may have become of a file, and whether SlateDB can tell which one it is.
fn damages(whole: &[u8]) -> [(&'static str, bool, Vec<u8>); 5] {
    let flipped_at = |at: usize| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x5A;
        bytes
    };
    [
        ("cut", false, whole[..whole.len() / 2].to_vec()),
        ("one byte less", false, whole[..whole.len() - 1].to_vec()),
        ("empty", false, Vec::new()),
        ("garbled", false, whole.iter().map(|byte| byte ^ 0x5A).collect()),
        ("one byte other", true, flipped_at(whole.len() / 3)),
    ]
}

#[test]
fn a_file_that_is_damaged_is_told_of_at_once() {
    let whole = Sample::new();
    for file in files(&whole) {
        let name = file.strip_prefix(whole.store()).unwrap();
        let bytes = fs::read(&file).unwrap();
        for (what, _, damaged) in damages(&bytes) {
            let sample = whole.copied();
            fs::write(sample.store().join(name), &damaged).unwrap();
            let before = sample.files();
            for args in [&["status"][..], &["plan"], &["run", "--yes"]] {
                let mut command = command(&sample, args);
                command.args(["--log", "slatedb=info"]);
                let said = finish(command);
                println!("{} {what} {args:?}: {:?} {}", Path::new(name).display(), said.code, said.stderr);
            }
            let _ = before;
        }
    }
}
