//! The program `migrate-child`, and the lines that it prints.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use state_migration::RunId;

/// A line that the program prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    Opened,
    Run(RunId),
    /// The number of durably migrated processes.
    Durable(u64),
    /// The run ended without an error.
    Migrated(u64),
    /// This run claims the store.
    Claimed(RunId),
    Fenced(String),
    Failed(String),
}

impl Line {
    fn parse(line: &str) -> Self {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        match what {
            "opened" => Self::Opened,
            "run" => Self::Run(rest.parse().unwrap()),
            "durable" => Self::Durable(rest.parse().unwrap()),
            "migrated" => Self::Migrated(rest.parse().unwrap()),
            "claimed" => Self::Claimed(rest.parse().unwrap()),
            "fenced" => Self::Fenced(rest.to_owned()),
            "failed" => Self::Failed(rest.to_owned()),
            _ => panic!("the program printed {line:?}"),
        }
    }
}

/// The running program, which is killed when this value is dropped.
pub(crate) struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Program {
    /// Starts the program: how it opens the store, with chunks of how many
    /// processes, and how many it moves in a second, at most.
    pub(crate) fn start(folder: &Path, how: &str, chunk: u32, per_second: Option<u32>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_migrate-child"))
            .arg(folder)
            .arg(how)
            .arg(chunk.to_string())
            .args(per_second.map(|rate| rate.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line; `None` when the program has ended.
    pub(crate) fn line(&mut self) -> Option<Line> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).unwrap();
        (read > 0).then(|| Line::parse(line.trim_end()))
    }

    /// Reads lines until at least `processes` processes are durably migrated; `false`
    /// if the program ended before.
    pub(crate) fn durable(&mut self, processes: u64) -> bool {
        loop {
            match self.line() {
                Some(Line::Durable(n)) if n >= processes => return true,
                Some(Line::Failed(why)) => panic!("{why}"),
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// All lines up to its end.
    pub(crate) fn finish(&mut self) -> Vec<Line> {
        let lines = std::iter::from_fn(|| self.line()).collect();
        assert!(self.child.wait().unwrap().success());
        lines
    }

    /// Kills the program.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal to the program, such as `-STOP` or `-CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").arg(signal).arg(id).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be gone already, or frozen.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
