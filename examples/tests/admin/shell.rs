//! The commands that the program suggests after `next:`, executed in a shell.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::examples::with_runs;
use crate::program::{Ran, finish, program, tell, wait};
use crate::sample::Sample;
use crate::service::Service;

/// A service, and the shapes of the lines that were typed to go to it.
struct Typed {
    service: Service,
    shapes: BTreeSet<String>,
}

/// A line in a shell that finds the programs.
fn line(folder: &Path, line: &str) -> Command {
    let programs = Path::new(crate::PROGRAM).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut typed = program("sh", &["-e", "-c", line]);
    typed
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", programs.display()));
    typed
}

/// Types a line that was said of a store; it ends like this.
#[track_caller]
pub(crate) fn typed(said: &str, sample: &Sample, code: i32) -> Ran {
    finish(line(sample.folder(), said)).exits(code)
}

/// The command without what is another in each run: `resume N`, `run --plan PLAN`.
fn shape(line: &str) -> String {
    let (_, command) = line.split_once(" --socket ./control ").unwrap_or_else(|| {
        panic!("it goes to no service: {line}");
    });
    let is_hex = |word: &str| word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let masked = command.split(' ').map(|word| match word.len() {
        36 if is_hex(word) => "ID",
        25 if is_hex(word) => "PLAN",
        _ if word.parse::<u64>().is_ok() => "N",
        _ => word,
    });
    masked.collect::<Vec<_>>().join(" ")
}

impl Typed {
    fn start(sample: Sample) -> Self {
        Self {
            service: Service::start(sample),
            shapes: BTreeSet::new(),
        }
    }

    fn again(self) -> Self {
        let Self { service, shapes } = self;
        let service = service.again();
        Self { service, shapes }
    }

    /// The line that was said, and that it is the only one.
    #[track_caller]
    fn only(&mut self, said: &Ran) -> String {
        let next = said.next();
        assert_eq!(next.len(), 1, "{said:?}");
        self.shapes.insert(shape(&next[0]));
        next.into_iter().next().unwrap()
    }

    /// Types the one line that was said; it ends like this.
    #[track_caller]
    fn follow(&mut self, said: &Ran, code: i32) -> Ran {
        let next = self.only(said);
        self.typed(&next, code)
    }

    /// Types each line that was said; each ends like this.
    #[track_caller]
    fn follow_all(&mut self, said: &Ran, codes: &[i32]) -> Vec<Ran> {
        let next = said.next();
        assert_eq!(next.len(), codes.len(), "{said:?}");
        self.shapes.extend(next.iter().map(|line| shape(line)));
        let each = next.iter().zip(codes);
        each.map(|(line, code)| self.typed(line, *code)).collect()
    }

    #[track_caller]
    fn typed(&self, typed: &str, code: i32) -> Ran {
        finish(line(self.service.sample.folder(), typed)).exits(code)
    }

    /// Types the line that was said, and does not wait for its end.
    #[track_caller]
    fn begin(&mut self, said: &Ran) -> Child {
        let next = self.only(said);
        // A signal is for the program, and not for its shell.
        let mut typed = line(self.service.sample.folder(), &format!("exec {next}"));
        let typed = typed.stdout(Stdio::piped()).stderr(Stdio::piped());
        typed.spawn().unwrap()
    }

    #[track_caller]
    fn ask(&self, args: &[&str], code: i32) -> Ran {
        finish(self.service.tool(args)).exits(code)
    }
}

#[test]
fn every_next_line_of_a_service_can_be_typed_as_it_stands() {
    let mut typed = Typed::start(with_runs(false));
    // Two runs are over, and all failed in the second one.
    let status = typed.ask(&["status"], 0);
    let shown = typed.follow(&status, 0);
    typed.follow_all(&shown, &[0, 2]);
    let page = typed.ask(&["show", "2", "--limit", "1"], 0);
    typed.follow_all(&page, &[0, 2]);
    let plan = typed.ask(&["plan", "--percent", "5", "--deadline", "1m30s"], 0);
    let ran = typed.follow(&plan, 0);
    typed.follow(&ran, 0);
    let unmeant = typed.ask(&["run", "--tenant", "bank", "--count-all"], 4);
    let plan = typed.follow(&unmeant, 0);
    let ran = typed.follow(&plan, 2);
    // All were refused, and by the same code they would be again.
    typed.follow(&ran, 0);
    typed.follow(&typed.ask(&["status"], 0), 0);
    let another = typed.ask(&["run", "--plan", "0123456789abcdef"], 4);
    typed.follow(&another, 0);
    let dry = typed.ask(
        &[
            "run",
            "--dry-run",
            "--limit",
            "1",
            "--stream",
            "process/bank/500007",
        ],
        0,
    );
    typed.follow(&dry, 0);
    for (args, code) in [
        (&["runs"][..], 0),
        (&["show", "17"], 1),
        (&["resume", "1"], 1),
        (&["retry", "1"], 1),
        (&["pause"], 1),
    ] {
        typed.follow(&typed.ask(args, code), 0);
    }
    typed.service.end().exits(0);
    let expected = [
        "plan",
        "plan --stream process/bank/500007 --limit N",
        "plan --tenant bank --count-all",
        "retry N",
        "run --plan PLAN --percent N --deadline 1m30s",
        "run --plan PLAN --tenant bank --count-all",
        "runs",
        "show N",
        "show N --after process/bank/x1 --limit N",
        "show N --class refused",
        "status",
    ];
    assert_eq!(typed.shapes, expected.map(ToOwned::to_owned).into());
}

#[test]
fn every_next_line_about_a_run_in_a_service_can_be_typed_as_it_stands() {
    let mut typed = Typed::start(Sample::new());
    let status = typed.ask(&["status"], 0);
    typed.follow(&status, 0);
    let slow = ["run", "--yes", "--throttle", "20"];
    let driver = typed.service.begin(&slow);
    typed.service.until_migrated(1);
    let watcher = typed.begin(&typed.ask(&["run", "--yes"], 4));
    for args in [
        &["status"][..],
        &["plan"],
        &["show", "1"],
        &["throttle", "20"],
        &["unpause"],
    ] {
        let next = typed.only(&typed.ask(args, 0));
        assert!(next.ends_with(" watch"), "{next}");
    }
    let paused = typed.ask(&["pause"], 0);
    let unpause = typed.follow(&paused, 0);
    let mut leaver = typed.begin(&unpause);
    let mut lines = BufReader::new(leaver.stderr.as_mut().unwrap());
    lines.read_line(&mut String::new()).unwrap();
    tell(&leaver, "-INT");
    let left = wait(leaver).exits(3);
    let next = typed.only(&left);
    assert!(next.ends_with(" watch"), "{next}");

    let cancelled = typed.ask(&["cancel"], 0);
    let watched = wait(watcher).exits(3);
    assert_eq!(typed.only(&watched), typed.only(&cancelled));
    let driven = wait(driver).exits(3);
    let next = driven.json()["next"][0].as_str().unwrap().to_owned();
    typed.shapes.insert(shape(&next));
    for (args, code) in [(&["status"][..], 0), (&["show", "1"], 0)] {
        let said = typed.ask(args, code);
        typed.only(&said);
    }

    // Its service is killed in its middle.
    typed.ask(&["throttle", "20"], 0);
    let resumed = typed.begin(&cancelled);
    typed
        .service
        // It claims the store before its state changes.
        .until("it is resumed", |status| status["state"] == "running");
    typed.service.kill();
    let lost = wait(resumed).exits(1);
    typed = typed.again();
    let status = typed.follow(&lost, 0);
    let resume = typed.only(&status);
    for (args, code) in [
        (&["plan"][..], 0),
        (&["runs"], 0),
        (&["show", "last"], 0),
        (&["run", "--yes"], 4),
    ] {
        let next = typed.only(&typed.ask(args, code));
        assert!(next.contains(" resume "), "{next}");
    }
    let done = typed.typed(&resume, 0);
    typed.follow(&done, 0);

    // One that does not say how its run ended.
    let nothing = typed.ask_a_forgetful_one();
    let next = nothing.next().remove(0);
    assert!(next.ends_with(" --socket ./forgetful show last"), "{next}");
    typed.typed(&next, 0);
    typed.service.end().exits(0);
    let expected = [
        "unpause",
        "plan",
        "resume ID",
        "resume N",
        "status",
        "watch",
    ];
    assert_eq!(typed.shapes, expected.map(ToOwned::to_owned).into());
}

impl Typed {
    /// What is said of a service that knows no report of the run that it was
    /// asked for; then it is this service.
    fn ask_a_forgetful_one(&self) -> Ran {
        let folder = self.service.sample.folder();
        let mut real = UnixStream::connect(folder.join("control")).unwrap();
        real.write_all(b"{\"version\":2,\"request\":\"status\"}\n")
            .unwrap();
        let mut status = String::new();
        BufReader::new(real).read_line(&mut status).unwrap();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let progress = &status["progress"];
        let answer = serde_json::json!({
            "version": 2, "answer": "ended", "report": null, "progress": progress,
        });
        let place = folder.join("forgetful");
        let forgetful = UnixListener::bind(&place).unwrap();
        let answers = thread::spawn(move || {
            let (client, _) = forgetful.accept().unwrap();
            let mut client = BufReader::new(client);
            client.read_line(&mut String::new()).unwrap();
            writeln!(client.get_mut(), "{answer}").unwrap();
        });
        let run = line(folder, "loans-admin run --yes --socket ./forgetful");
        let said = finish(run).exits(1);
        answers.join().unwrap();
        fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink("control", &place).unwrap();
        said
    }
}

/// A shell need not find the program by its name.
#[test]
fn a_program_that_was_started_by_its_path_names_it() {
    let sample = Sample::new();
    let programs = sample.folder().join("my programs");
    fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(crate::PROGRAM, programs.join("tool-1.2")).unwrap();
    let sh = |line: &str| {
        let mut sh = program("sh", &["-e", "-c", line]);
        sh.current_dir(sample.folder());
        finish(sh)
    };
    let status = sh("'./my programs/tool-1.2' status --store ./loans").exits(0);
    let next = "'./my programs/tool-1.2' --store ./loans plan";
    assert!(
        status.stdout.ends_with(&format!("\nnext: {next}\n")),
        "{status:?}"
    );
    sh(next).exits(0);
    let wrong = sh("'./my programs/tool-1.2' statsu --json").exits(1).json();
    assert_eq!(wrong["next"][0], "'./my programs/tool-1.2' --help");
    // In the help it is the name.
    let help = sh("'./my programs/tool-1.2' status --help").exits(0).stdout;
    assert!(help.contains("\nUsage: tool-1.2 status "), "{help}");
}
