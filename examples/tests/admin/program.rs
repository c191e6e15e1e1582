//! Execution of the program, and its output.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sample::Sample;
use crate::schema::assert_valid;

/// How long a command may take before the test gives it up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the program left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Every JSON document that was printed, a line each, as the schema has it.
    pub(crate) fn documents(&self) -> Vec<Value> {
        let read = |line: &str| {
            let document = serde_json::from_str(line);
            let document = document.unwrap_or_else(|error| panic!("{error}: {self:?}"));
            assert_valid(&document);
            document
        };
        self.stdout.lines().map(read).collect()
    }

    /// The last JSON document, which is the answer.
    pub(crate) fn json(&self) -> Value {
        let last = self.documents().pop();
        last.unwrap_or_else(|| panic!("nothing on standard output: {self:?}"))
    }

    /// The command lines that it says may be typed next.
    pub(crate) fn next(&self) -> Vec<String> {
        let labels = ["next:", "or:", "to release it:", ""];
        let lines = self.stdout.lines().chain(self.stderr.lines());
        let is_command = |line: &str| {
            labels.iter().find_map(|label| {
                let line = line.trim().strip_prefix(label)?.trim_start();
                let program = line.split(' ').next()?;
                (std::path::Path::new(crate::PROGRAM)
                    .with_file_name(program)
                    .is_file()
                    && !program.is_empty())
                .then(|| line.to_owned())
            })
        };
        lines.filter_map(is_command).collect()
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// The program over the store of a sample, in the folder of the sample.
pub(crate) fn command(sample: &Sample, args: &[&str]) -> Command {
    let mut command = bare(args);
    command
        .current_dir(sample.folder())
        .args(["--store", "./loans"]);
    command
}

/// The tool, without the environment variables of the user who runs the tests.
pub(crate) fn bare(args: &[&str]) -> Command {
    program(crate::PROGRAM, args)
}

/// A program, without the environment variables of the user who runs the tests.
pub(crate) fn program(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    // The program sees its bare name, as if a shell had found it in PATH.
    let name = Path::new(program).file_name().unwrap();
    command.arg0(name);
    let ours = |name: &str| {
        name.starts_with("SLATEDB_")
            || name.starts_with("STATE_MIGRATION_")
            || name.starts_with("CLICOLOR")
            || name == "NO_COLOR"
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(ours) {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs the program over the store of a sample.
pub(crate) fn run(sample: &Sample, args: &[&str]) -> Ran {
    finish(command(sample, args))
}

/// Runs the program over the store of a sample, for its JSON.
pub(crate) fn run_json(sample: &Sample, args: &[&str]) -> Ran {
    let mut command = command(sample, args);
    command.arg("--json");
    finish(command)
}

/// Tells a program something, as an operator or the system does: `-INT`.
pub(crate) fn tell(child: &Child, signal: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args([signal, &id]).status().unwrap();
    assert!(sent.success(), "{signal}");
}

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command) -> Ran {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    wait(child.spawn().unwrap())
}

/// Waits for the end of a child, and reads what is piped of its output.
pub(crate) fn wait(mut child: Child) -> Ran {
    let stdout = read_all(child.stdout.take());
    let stderr = read_all(child.stderr.take());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
            panic!("still there after {PATIENCE:?}: {stdout}{stderr}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    Ran {
        code: status.code(),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

fn read_all(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_string(&mut text).unwrap();
        }
        text
    })
}
