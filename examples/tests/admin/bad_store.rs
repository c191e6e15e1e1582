//! Unusable stores: the error is one sentence with the right exit code, arrives
//! within seconds, and nothing is written.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use state_migration::SlateDbStore;

use crate::program::{Ran, bare, command, finish, run, run_json, wait};
use crate::sample::Sample;
use crate::schema::assert_valid;

/// Those that look, and those that change something.
const LOOKING: [&[&str]; 3] = [&["status"], &["plan"], &["inspect", "process/bank/500007"]];
const CHANGING: [&[&str]; 3] = [
    &["run", "--yes"],
    &["resume", "1"],
    &["hold", "process/bank/500007", "--reason", "x"],
];

/// The same for a command that logs what is tried again: nothing is, so that it
/// is said soon.
#[track_caller]
fn at_once(mut command: Command, code: i32) -> String {
    command.args(["--log", "slatedb=info"]);
    let mut said = finish(command);
    let is_log = |line: &&str| !line.starts_with("error: ") && !line.starts_with("next: ");
    for line in said.stderr.lines().filter(is_log) {
        assert!(
            !line.contains("retrying object store operation"),
            "{said:?}"
        );
    }
    let rest = said.stderr.lines().filter(|line| !is_log(line));
    said.stderr = rest.map(|line| format!("{line}\n")).collect();
    sentence(said, code)
}

/// What was said is one sentence, and perhaps what to type next.
#[track_caller]
fn sentence(said: Ran, code: i32) -> String {
    let said = said.exits(code);
    assert_eq!(said.stdout, "");
    let mut lines = said.stderr.lines();
    let first = lines.next().unwrap_or_default();
    let message = first.strip_prefix("error: ");
    let message = message.unwrap_or_else(|| panic!("{said:?}"));
    for line in lines {
        assert!(line.starts_with("next: loans-admin "), "{said:?}");
    }
    message.to_owned()
}

/// Runs commands, each of which has to say this and change nothing.
#[track_caller]
fn all_say(sample: &Sample, commands: &[&[&str]], code: i32, expected: &str) {
    let before = everything(sample.folder());
    for args in commands {
        let message = at_once(command(sample, args), code);
        assert!(message.contains(expected), "{args:?}: {message}");
        assert!(everything(sample.folder()) == before, "{args:?} wrote");
    }
    let document = run_json(sample, commands[0]).exits(code).json();
    assert_valid(&document);
    assert_eq!(
        (&document["kind"], &document["exit"]),
        (&"error".into(), &code.into())
    );
}

/// Every file and folder, byte for byte.
fn everything(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.append(&mut everything(&path));
            all.push((path, None));
        } else {
            let bytes = fs::read(&path).unwrap();
            all.push((path, Some(bytes)));
        }
    }
    all.sort();
    all
}

pub(crate) fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

#[test]
fn a_store_that_is_not_there_is_neither_read_nor_made() {
    let sample = Sample::empty();
    let no_store = "the store ./loans cannot be opened: the store does not exist";
    all_say(&sample, &LOOKING, 1, no_store);
    all_say(&sample, &CHANGING, 1, no_store);
    let taking_over = [&["run", "--yes", "--take-over"][..]];
    all_say(&sample, &taking_over, 1, no_store);
    // Nor where there is only a folder.
    fs::create_dir(sample.store()).unwrap();
    all_say(&sample, &LOOKING, 1, no_store);
    all_say(&sample, &CHANGING, 1, no_store);
}

#[test]
fn a_folder_with_other_data_is_not_changed() {
    let sample = Sample::empty();
    fs::write(sample.store(), "of somebody's").unwrap();
    let no_folder = "the folder ./loans cannot be used for a store; check its path";
    all_say(&sample, &LOOKING, 1, no_folder);
    all_say(&sample, &CHANGING, 1, no_folder);

    let sample = Sample::empty();
    fs::create_dir(sample.store()).unwrap();
    fs::write(sample.store().join("thesis.tex"), "\\begin").unwrap();
    all_say(&sample, &LOOKING, 1, "the store does not exist");
    all_say(
        &sample,
        &CHANGING[..1],
        1,
        "the folder contains \"thesis.tex\" but no store",
    );
}

#[test]
fn a_store_that_is_named_wrongly_is_told_how_to_name_one() {
    for (url, why) in [
        (
            "ftp://host/loans",
            "invalid store `ftp://host/loans`: unsupported URL scheme `ftp`",
        ),
        ("file://loans", "invalid store `file://loans`"),
        ("s3://bucket/loans", "build it with the feature `aws`"),
        ("az://container/loans", "build it with the feature `azure`"),
        ("gs://bucket/loans", "build it with the feature `gcp`"),
    ] {
        let message = sentence(finish(bare(&["status", "--store", url])), 1);
        assert!(message.contains(why), "{message}");
    }
    let message = sentence(finish(bare(&["status"])), 1);
    assert!(message.contains("add `--store URL`"), "{message}");
    let said = finish(bare(&["status", "--store", "memory:"])).exits(0);
    assert_eq!(said.stderr, "");
    for args in [
        &["run", "--yes", "--store", "memory:"][..],
        &["resume", "last", "--store", "memory:"],
        &[
            "hold",
            "process/bank/1",
            "--reason",
            "x",
            "--store",
            "memory:",
        ],
    ] {
        finish(bare(args)).exits(1);
    }
    let message = sentence(finish(bare(&["run", "--yes", "--store", "memory:"])), 1);
    assert!(
        message.contains("give a folder or the URL of a store"),
        "{message}"
    );
    let help = finish(bare(&["run", "--help"])).exits(0).stdout;
    assert!(!help.contains("memory:"), "{help}");

    let sample = Sample::new();
    let url = format!("file://{}", sample.store().display());
    let there = finish(bare(&["status", "--store", &url])).exits(0);
    let said = run(&sample, &["status"]).exits(0).stdout;
    assert_eq!(there.stdout.lines().next(), said.lines().next());
}

#[test]
fn settings_that_are_wrong_are_named_with_their_place() {
    let sample = Sample::new();
    let file = sample.folder().join("slatedb.toml");
    for (text, why) in [
        (
            "flush_intervall = \"1s\"",
            "unknown SlateDB setting `flush_intervall` in the settings file slatedb.toml",
        ),
        (
            "l0_max_ssts = \"many\"",
            "invalid value for the setting `l0_max_ssts` of the file slatedb.toml: ",
        ),
        (
            "[",
            "cannot parse the settings file slatedb.toml: TOML parse error",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let commands = [
            &["status", "--settings", "slatedb.toml"][..],
            &["run", "--yes", "--settings", "slatedb.toml"],
        ];
        all_say(&sample, &commands, 1, why);
    }
    let absent = [&["status", "--settings", "absent.toml"][..]];
    all_say(
        &sample,
        &absent,
        1,
        "cannot read the settings file absent.toml",
    );
    for (name, value, why) in [
        (
            "SLATEDB_FLUSH_INTERVALL",
            "1s",
            "the variable SLATEDB_FLUSH_INTERVALL is for",
        ),
        (
            "SLATEDB_L0_MAX_SSTS",
            "many",
            "invalid value for the setting `l0_max_ssts` of the variable SLATEDB_L0_MAX_SSTS: ",
        ),
    ] {
        let mut status = command(&sample, &["status"]);
        status.env(name, value);
        let message = sentence(finish(status), 1);
        assert!(message.contains(why), "{message}");
    }
    // Addresses of a service named `slatedb`, which Kubernetes sets in every container.
    let mut status = command(&sample, &["status"]);
    status.env("SLATEDB_PORT", "tcp://10.0.0.1:80");
    status.env("SLATEDB_SERVICE_HOST", "10.0.0.1");
    status.env("SLATEDB_PORT_80_TCP_PROTO", "tcp");
    let said = finish(status).exits(0);
    assert_eq!(
        said.stderr,
        "warning: ignored SLATEDB_PORT, SLATEDB_PORT_80_TCP_PROTO, SLATEDB_SERVICE_HOST, which a container platform sets for a service; SlateDB has no such setting\n"
    );
    // Variables go before the file.
    fs::write(&file, "l0_max_ssts = \"many\"").unwrap();
    let mut status = command(&sample, &["status", "--settings", "slatedb.toml"]);
    status.env("SLATEDB_L0_MAX_SSTS", "9");
    finish(status).exits(0);
}

/// The newest manifest of the store.
fn manifest(sample: &Sample) -> PathBuf {
    let files = fs::read_dir(sample.store().join("manifest")).unwrap();
    files.map(|file| file.unwrap().path()).max().unwrap()
}

#[test]
fn a_damaged_manifest_is_reported() {
    let sample = Sample::new();
    let manifest = manifest(&sample);
    let whole = fs::read(&manifest).unwrap();
    let garbled: Vec<u8> = whole.iter().map(|byte| byte ^ 0x5A).collect();
    let cut = whole[..whole.len() / 2].to_vec();
    for damaged in [Vec::new(), vec![0], cut, garbled, vec![0xFF; 400]] {
        fs::write(&manifest, &damaged).unwrap();
        let damage = "the store ./loans cannot be opened: its manifest could not be read: the database is damaged or was written by another version of SlateDB; restore the newest file under `manifest` (with an earlier one, the store returns to that time) from a backup (SlateDB says: ";
        all_say(&sample, &LOOKING[..1], 1, damage);
        all_say(&sample, &CHANGING[..1], 1, damage);
    }
    for file in fs::read_dir(sample.store().join("manifest")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    all_say(&sample, &LOOKING[..1], 1, "the manifest is missing, but ");
    all_say(&sample, &CHANGING[..1], 1, "the manifest is missing, but ");
}

#[test]
fn a_store_of_a_newer_format_is_not_changed() {
    let sample = Sample::new();
    in_runtime(async {
        let store = SlateDbStore::open_local(sample.store()).await.unwrap();
        store.db().put(b"mformat\0\x01", [3]).await.unwrap();
        store.close().await.unwrap();
    });
    let newer = "the store ./loans cannot be opened: the store has format 3, but this release reads formats up to 2; upgrade state-migration";
    all_say(&sample, &LOOKING, 1, newer);
    all_say(&sample, &CHANGING, 1, newer);
}

/// The id of a user without write permissions.
#[cfg(unix)]
const UNPRIVILEGED_USER: u32 = 65_534;

#[cfg(unix)]
fn chmod(folder: &Path, folders: u32, files: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            chmod(&path, folders, files);
        } else {
            fs::set_permissions(&path, fs::Permissions::from_mode(files)).unwrap();
        }
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(folders)).unwrap();
}

/// The command, run by a user without any permissions of its own.
#[cfg(unix)]
fn as_unprivileged_user(mut command: Command) -> Command {
    use std::os::unix::process::CommandExt as _;
    let root = fs::metadata("/proc/self").is_ok_and(|me| {
        use std::os::unix::fs::MetadataExt as _;
        me.uid() == 0
    });
    if root {
        command.uid(UNPRIVILEGED_USER).gid(UNPRIVILEGED_USER);
    }
    command
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_only_be_read_is_read_and_not_written() {
    let sample = Sample::new();
    chmod(sample.folder(), 0o555, 0o444);
    let before = everything(sample.folder());
    let reading = finish(as_unprivileged_user(command(&sample, &["status"]))).exits(0);
    assert!(reading.stdout.contains("loan@2011"), "{reading:?}");
    for args in [&["run", "--yes"][..], &["run", "--yes", "--take-over"]] {
        let message = at_once(as_unprivileged_user(command(&sample, args)), 1);
        assert!(
            message.starts_with("the store ./loans cannot be opened: the file openings/")
                && message.contains(" could not be written: access is denied; check the credentials, or the permissions of the files"),
            "{message}"
        );
    }
    assert!(everything(sample.folder()) == before);

    // Nor is a store read without read permission.
    chmod(sample.folder(), 0o755, 0o400);
    chmod(&sample.store(), 0o700, 0o400);
    for args in [&["status"][..], &["run", "--yes"]] {
        let message = sentence(finish(as_unprivileged_user(command(&sample, args))), 1);
        assert!(message.contains("ermission"), "{message}");
    }
    chmod(sample.folder(), 0o755, 0o644);
    assert_eq!(
        everything(sample.folder()).len(),
        before.len(),
        "something was made"
    );
}

#[test]
fn a_store_that_a_program_has_open_is_left_to_it() {
    let sample = Sample::new();
    in_runtime(async {
        let service = SlateDbStore::open_local(sample.store()).await.unwrap();
        let dry: [&[&str]; 1] = [&["run", "--dry-run"]];
        for args in LOOKING.iter().chain(&dry) {
            run(&sample, args).exits(0);
        }
        for args in CHANGING.iter().filter(|args| args[0] != "resume") {
            let said = run(&sample, args).exits(4);
            let next = "next: loans-admin --store ./loans status\n";
            assert!(said.stderr.ends_with(next), "{said:?}");
            let message = sentence(said, 4);
            assert!(
                message.starts_with("the store ./loans cannot be opened: admin-")
                    && message.contains(&format!("(pid {} on ", std::process::id()))
                    && message.contains(") has this store open (since 20"),
                "{message}"
            );
            assert!(!message.contains("--take-over"), "{message}");
            assert!(message.contains("`--socket PATH`"), "{message}");
        }
        let document = run_json(&sample, &["run", "--yes"]).exits(4).json();
        assert_valid(&document);
        // It still has it. While it writes, the way to end that is not offered.
        let writes = tokio::spawn({
            let service = service.clone();
            async move {
                loop {
                    service.db().put(b"uz", b"1").await.unwrap();
                    service.flush().await.unwrap();
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        });
        for args in CHANGING.iter().filter(|args| args[0] != "resume") {
            let said = run(&sample, args).exits(4);
            let next = "next: loans-admin --store ./loans status\n";
            assert!(said.stderr.ends_with(next), "{said:?}");
            assert!(
                said.stderr.contains(" has this store open (since 20"),
                "{said:?}"
            );
        }
        // A release without a held process does not fence the program.
        let stream = "process/bank/500007";
        run(&sample, &["release", stream, "--take-over"]).exits(0);
        assert!(!writes.is_finished());
        writes.abort();

        // The program is alive.
        run(&sample, &["run", "--yes", "--take-over"]).exits(4);
        service.db().put(b"uz", b"2").await.unwrap();
        service.flush().await.unwrap();
        run(&sample, &["run", "--yes", "--fence-live-program"]).exits(0);
        let put = service.db().put(b"uz", b"2").await;
        let is_fenced = put.is_err() || service.flush().await.is_err();
        assert!(is_fenced, "the program can still write");
    });
    // The tool closed the store, so a further command opens it.
    run(&sample, &["hold", "process/bank/500007", "--reason", "x"]).exits(0);
}

#[test]
fn a_run_whose_store_is_taken_over_explains_itself() {
    let sample = Sample::new();
    let slow = [
        "run",
        "--yes",
        "--throttle",
        "60",
        "--progress-interval",
        "50ms",
    ];
    let mut slow = command(&sample, &slow);
    slow.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = slow.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("loan: ") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended too soon");
    }
    // A pipe that is full would stop it.
    let rest = std::thread::spawn(move || {
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        rest
    });
    let status = in_runtime(async {
        let store = SlateDbStore::open_local(sample.store()).await.unwrap();
        let status = child.wait().unwrap();
        store.close().await.unwrap();
        status
    });
    let stderr = rest.join().unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    let said = stderr.rsplit_once("error: ").unwrap().1;
    assert!(
        said.starts_with("another program took over the store during run "),
        "{stderr}"
    );
    let next = said.lines().last().unwrap();
    assert!(
        next.starts_with("next: loans-admin --store ./loans resume "),
        "{stderr}"
    );

    let resume = next.strip_prefix("next: loans-admin ").unwrap();
    let mut again = bare(&resume.split(' ').collect::<Vec<_>>());
    again.current_dir(sample.folder());
    let again = again.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    wait(again.unwrap()).exits(0);
    let stands = run_json(&sample, &["status"]).exits(0).json();
    assert_eq!(stands["runs"][0]["state"], "done", "{stands}");
}
