//! The program `risky-admin` over a store of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// A store of parcels.
pub(crate) struct Parcels {
    folder: tempfile::TempDir,
    deadline_ms: u64,
}

/// What the service says at its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) migrated: u64,
    pub(crate) failed: u64,
    pub(crate) state: String,
    /// The class of each failure, by the number of the parcel; others have the highest
    /// number.
    pub(crate) classes: BTreeMap<u64, String>,
    pub(crate) peak_kib: u64,
    pub(crate) threads: u64,
}

impl Ended {
    /// Reads the lines of a service; `None` if it did not come to its end.
    pub(crate) fn read(lines: impl Iterator<Item = String>) -> Option<Self> {
        let mut ended = Self::default();
        for line in lines {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words.as_slice() {
                ["failed", subject, class] => {
                    let n = subject
                        .rsplit('/')
                        .next()
                        .unwrap()
                        .parse()
                        .unwrap_or(u64::MAX);
                    ended.classes.insert(n, (*class).to_owned());
                }
                ["peak", kib] => ended.peak_kib = kib.parse().unwrap(),
                ["threads", threads] => ended.threads = threads.parse().unwrap(),
                ["ended", migrated, failed, state] => {
                    ended.migrated = migrated.parse().unwrap();
                    ended.failed = failed.parse().unwrap();
                    ended.state = (*state).to_owned();
                    return Some(ended);
                }
                _ => {}
            }
        }
        None
    }
}

/// A service in progress, which is killed when this is dropped.
pub(crate) struct Service {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Service {
    fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads until this many parcels are migrated, some of them by this program after it has
    /// tried its suspects; `false` if the service ended before.
    pub(crate) fn durable(&mut self, parcels: u64) -> bool {
        let mut before = None;
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            let Some(durable) = line.strip_prefix("durable ") else {
                continue;
            };
            let durable: u64 = durable.parse().unwrap();
            if durable >= parcels && durable > *before.get_or_insert(durable) {
                return true;
            }
        }
        false
    }

    /// Reads until the run has begun.
    pub(crate) fn begun(&mut self) {
        let begun = self.lines.by_ref().map(Result::unwrap);
        let is_of_a_run =
            |line: &String| line.starts_with("durable ") || line.starts_with("trying ");
        let mut begun = begun.filter(is_of_a_run);
        assert!(begun.next().is_some());
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success(), "{signal}");
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Option<Ended> {
        let ended = Ended::read(self.lines.by_ref().map(Result::unwrap));
        self.child.wait().unwrap();
        ended
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a command whose output is not read.
fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

impl Parcels {
    /// A store of `count` parcels with these fates.
    pub(crate) fn new(count: u64, fates: &[&str], deadline_ms: u64) -> Self {
        let parcels = Self {
            folder: tempfile::tempdir().unwrap(),
            deadline_ms,
        };
        let store = parcels.store();
        let filled = parcels
            .command()
            .arg("fill")
            .arg(store)
            .arg(count.to_string())
            .args(fates)
            .output()
            .unwrap();
        assert!(filled.status.success(), "{filled:?}");
        parcels
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The folder of the store and the log.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_risky-admin"));
        command
            .env("RISKY_LOG", self.log())
            .env("RISKY_DEADLINE_MS", self.deadline_ms.to_string())
            // No core file for each death.
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null());
        command
    }

    /// Starts the service.
    pub(crate) fn serve(&self) -> Service {
        let mut command = self.command();
        command.arg("serve").arg(self.store());
        Service::start(command)
    }

    /// Starts a service that waits for requests, and waits until it listens.
    pub(crate) fn listen(&self) -> Service {
        let mut command = self.command();
        command.arg("listen").arg(self.store()).arg(self.socket());
        let mut service = Service::start(command);
        let listening = service.lines.next().map(Result::unwrap);
        assert_eq!(listening.as_deref(), Some("listening"));
        service
    }

    /// Runs a command of the tool through the socket of the service.
    pub(crate) fn client(&self, args: &[&str]) -> Output {
        self.with("--socket", &self.socket(), args)
            .output()
            .unwrap()
    }

    pub(crate) fn start_client(&self, args: &[&str]) -> Child {
        start(self.with("--socket", &self.socket(), args))
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Runs a command of the tool.
    pub(crate) fn tool(&self, args: &[&str]) -> Output {
        self.with("--store", &self.store(), args).output().unwrap()
    }

    /// Runs a command of the tool as another user.
    pub(crate) fn tool_as(&self, user: u32, args: &[&str]) -> Output {
        let mut command = self.with("--store", &self.store(), args);
        command.uid(user).gid(user).current_dir(self.folder());
        command.output().unwrap()
    }

    pub(crate) fn start_tool(&self, args: &[&str]) -> Child {
        start(self.with("--store", &self.store(), args))
    }

    /// A command of the tool for a store or a socket.
    fn with(&self, option: &str, path: &Path, args: &[&str]) -> Command {
        let mut command = self.command();
        command.args(args).arg(option).arg(path);
        command
    }

    /// How often each parcel has ended a program.
    pub(crate) fn deaths(&self) -> BTreeMap<u64, u64> {
        let mut deaths = BTreeMap::new();
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        for line in log.lines() {
            *deaths.entry(line.parse().unwrap()).or_default() += 1;
        }
        deaths
    }

    /// Whether the folder of the processes in user code is there.
    pub(crate) fn in_user_code(&self) -> bool {
        self.store().join("in-user-code").exists()
    }
}
