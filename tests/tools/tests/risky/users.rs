//! Programs of several users over one store.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use crate::child::Parcels;

const OTHER_USER: u32 = 65_534;

/// Whether this test may start programs of another user.
fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Gives a store to a user, except for what programs put there afterwards.
fn give(parcels: &Parcels, user: u32) {
    let mut folders = vec![parcels.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        chown(&folder, Some(user), Some(user)).unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            chown(&path, Some(user), Some(user)).unwrap();
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
}

/// The test fails if the folder of the processes in user code belongs to the user who has
/// created it.
#[test]
fn a_process_that_ended_the_program_of_root_is_named_by_that_of_another_user() {
    if !is_root() {
        return;
    }
    let parcels = Parcels::new(200, &["aborts@50"], 1_000);
    give(&parcels, OTHER_USER);
    let aborted = parcels.tool(&["run", "--yes"]);
    assert_eq!(aborted.status.code(), None, "{aborted:?}");
    assert!(parcels.in_user_code());
    // Each writes a line for each death.
    fs::remove_file(parcels.log()).unwrap();
    let resume = || parcels.tool_as(OTHER_USER, &["resume", "last"]);
    let aborted = resume();
    assert_eq!(aborted.status.code(), None, "{aborted:?}");
    let ended = resume();
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(!parcels.in_user_code());
}

/// The test fails if an error about the file of a dead program, or of the own one, is taken
/// for a missing file.
#[test]
fn a_run_that_cannot_use_the_files_of_the_processes_in_user_code_is_refused() {
    let parcels = Parcels::new(200, &["aborts@50"], 1_000);
    let aborted = parcels.tool(&["run", "--yes"]);
    assert_eq!(aborted.status.code(), None, "{aborted:?}");
    let root = is_root();
    let tool = |args: &[&str]| match root {
        true => parcels.tool_as(OTHER_USER, args),
        false => parcels.tool(args),
    };
    if root {
        give(&parcels, OTHER_USER);
    }
    let folder = parcels.store().join("in-user-code");
    let refused = |args: &[&str]| {
        let refused = tool(args);
        let code = if args.contains(&"--dry-run") { 3 } else { 1 };
        assert_eq!(refused.status.code(), Some(code), "{args:?}: {refused:?}");
        let text = [&refused.stdout[..], &refused.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(
            text.contains(&format!("cannot use {}", folder.display())),
            "{text}"
        );
        assert!(
            text.contains("access is denied, the owner is user "),
            "{text}"
        );
        assert!(
            text.contains("(chown -R, or chmod -R), or remove the folder"),
            "{text}"
        );
    };
    let rights = |mode| fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
    let all: [&[&str]; 4] = [
        &["resume", "last"],
        &["run", "--yes", "--take-over"],
        &["run", "--dry-run"],
        &["plan"],
    ];
    // The folder cannot be read.
    rights(0o000);
    for args in all {
        refused(args);
    }
    // Its file cannot be read.
    rights(0o755);
    for file in fs::read_dir(&folder).unwrap() {
        fs::set_permissions(file.unwrap().path(), Permissions::from_mode(0o000)).unwrap();
    }
    for args in all {
        refused(args);
    }
    // No file can be written there.
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    if root {
        chown(&folder, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    }
    rights(0o555);
    refused(&["resume", "last"]);
    assert_eq!(parcels.deaths().values().sum::<u64>(), 1);
    fs::remove_dir(&folder).unwrap();
    let aborted = tool(&["resume", "last"]);
    assert_eq!(
        aborted.status.code(),
        None,
        "the file was lost: {aborted:?}"
    );
    let aborted = tool(&["resume", "last"]);
    assert_eq!(aborted.status.code(), None, "{aborted:?}");
    let ended = tool(&["resume", "last"]);
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
}
