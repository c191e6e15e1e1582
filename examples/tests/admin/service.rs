//! A run inside a live service, driven by the tool through the control socket
//! while the service writes to the same loans.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use state_migration::{EventStore, SlateDbReader, StreamId};

use crate::program::{Ran, bare, command, finish, run_json, tell, wait};
use crate::sample::Sample;
use crate::store_state::stands;

/// Longer than anything here takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The example service over the store of a sample.
pub(crate) struct Service {
    child: Option<Child>,
    pub(crate) sample: Sample,
}

impl Service {
    pub(crate) fn start(sample: Sample) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_loans-service"))
            .current_dir(sample.folder())
            .args(["--store", "./loans", "--socket", "./control"])
            .args(["--journal", "./journal"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "listening on ./control\n");
        // Nothing more is said before it ends; the pipe stays open.
        child.stdout = Some(said.into_inner());
        Self {
            child: Some(child),
            sample,
        }
    }

    /// Ends it as the system does.
    pub(crate) fn end(&mut self) -> Ran {
        let child = self.child.take().unwrap();
        tell(&child, "-TERM");
        wait(child)
    }

    /// Ends it with no warning.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it once more over the same store.
    pub(crate) fn again(mut self) -> Self {
        Self::start(std::mem::replace(&mut self.sample, Sample::empty()))
    }

    pub(crate) fn signal(&self, signal: &str) {
        tell(self.child.as_ref().unwrap(), signal);
    }

    /// What it has appended so far: stream, sequence number, version and item.
    pub(crate) fn journal(&self) -> Vec<[String; 4]> {
        let text = fs::read_to_string(self.sample.folder().join("journal")).unwrap();
        let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        complete
            .lines()
            .map(|line| {
                let parts: Vec<String> = line.split('\t').map(ToOwned::to_owned).collect();
                parts.try_into().unwrap()
            })
            .collect()
    }

    /// Waits until it has appended some more.
    fn until_appended(&self, more: usize) {
        let (appended, begun) = (self.journal().len(), Instant::now());
        while self.journal().len() < appended + more {
            assert!(begun.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The tool, which goes through the socket.
    pub(crate) fn tool(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command
            .current_dir(self.sample.folder())
            .args(["--socket", "./control"]);
        command
    }

    pub(crate) fn ask(&self, args: &[&str]) -> Ran {
        let mut command = self.tool(args);
        command.arg("--json");
        finish(command)
    }

    /// The tool at work in the background.
    pub(crate) fn begin(&self, args: &[&str]) -> Child {
        let mut command = self.tool(args);
        let command = command.args(["--json", "--progress-interval", "100ms"]);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        self.ask(&["status"]).exits(0).json()
    }

    /// Waits until something holds of the status.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if holds(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {status}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn until_migrated(&self, at_least: u64) -> Value {
        self.until("some are migrated", |status| migrated(status) >= at_least)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn migrated(status: &Value) -> u64 {
    status["migrated"].as_u64().unwrap()
}

/// Where the loans stand, as a reader beside the service sees it.
fn standing(sample: &Sample) -> Vec<(String, u64)> {
    let status = run_json(sample, &["status", "--workflow", "loan"]).exits(0);
    let status = status.json();
    let versions = status["versions"].as_array().unwrap().iter();
    let at = versions.map(|version| {
        let processes = version["processes"].as_u64().unwrap();
        (version["version"].as_str().unwrap().to_owned(), processes)
    });
    at.collect()
}

/// A run from start to end loses no event and fences no writer.
#[test]
fn a_run_in_a_live_service_is_driven_to_its_end() {
    let mut service = Service::start(Sample::new());
    let status = service.status();
    assert_eq!(status["in_progress"], false);
    assert_eq!(status["run"], Value::Null);
    assert_eq!(status["state"], Value::Null);
    let loans = &status["versions"][1];
    assert_eq!(loans["version"], "loan@2011");
    assert_eq!(loans["processes"], 240);
    assert_eq!(loans["route"], "loan@2011 -> 2012 -> 2013");

    // The service and this binary hold the same migrations.
    let plan = service.ask(&["plan"]).exits(0).json();
    let fingerprint = plan["fingerprint"].as_str().unwrap();
    let beside = run_json(&service.sample, &["plan", "--sample", "0"]).exits(0);
    assert_eq!(beside.json()["fingerprint"], fingerprint);

    let unmeant = service.ask(&["run"]).exits(4).json();
    assert_eq!(unmeant["kind"], "error");
    let another = format!("0123456789abcdef{}", &fingerprint[16..]);
    let another = service.ask(&["run", "--plan", &another]);
    let message = another.exits(4).json()["message"].to_string();
    assert!(message.contains(" is out of date (now "), "{message}");

    let by = ["--actor", "ann", "--reason", "release 7"];
    let driver =
        service.begin(&[&["run", "--plan", fingerprint, "--throttle", "30"][..], &by].concat());
    let status = service.until_migrated(10);
    assert_eq!(status["in_progress"], true);
    assert_eq!(status["throttle"], 30);
    let run = status["run"].as_str().unwrap().to_owned();
    let watcher = service.begin(&["watch"]);

    let second = service.ask(&["run", "--yes"]).exits(4).json();
    let message = second["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("run {run} is in progress in this service")));
    assert!(
        second["next"][0]
            .as_str()
            .unwrap()
            .ends_with("--socket ./control watch")
    );

    // While the run is paused, no loan is migrated and the service still appends.
    let paused = service.ask(&["pause"]).exits(0).json();
    assert_eq!(paused["state"], "paused");
    thread::sleep(Duration::from_millis(700));
    let (at, stands, appended) = (
        migrated(&service.status()),
        standing(&service.sample),
        service.journal().len(),
    );
    assert!((10..200).contains(&at), "{at}");
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(migrated(&service.status()), at);
    assert_eq!(standing(&service.sample), stands);
    assert_eq!(
        stands.iter().map(|(_, processes)| processes).sum::<u64>(),
        240
    );
    assert_eq!(stands.len(), 2, "{stands:?}");
    let since = service.journal().len();
    assert!(
        since >= appended + 5,
        "{appended} appended before the pause, {since} after it"
    );
    let runs = service.ask(&["runs"]).exits(0).json();
    assert_eq!(runs["runs"][0]["state"], "paused");
    assert_eq!(runs["runs"][0]["claims_store"], true);

    let throttled = service.ask(&["throttle", "60"]).exits(0).json();
    assert_eq!(throttled["throttle"], 60);
    let unpaused = service.ask(&["unpause"]).exits(0).json();
    assert_eq!(unpaused["state"], "running");
    service.until_migrated(at + 20);

    let cancelled = service.ask(&["cancel"]).exits(0).json();
    assert_eq!(cancelled["in_progress"], false);
    assert_eq!(cancelled["state"], "cancelled");
    let driven = wait(driver).exits(3);
    let lines = driven.documents();
    assert!(lines.len() > 3, "{lines:?}");
    assert!(
        lines[..lines.len() - 1]
            .iter()
            .all(|line| line["kind"] == "progress")
    );
    let ended = driven.json();
    assert_eq!(
        (&ended["kind"], &ended["state"]),
        (&"run".into(), &"cancelled".into())
    );
    assert_eq!(ended["run"], run);
    let so_far = migrated(&ended);
    assert!((at + 20..240).contains(&so_far), "{so_far}");
    assert!(
        ended["next"][0]
            .as_str()
            .unwrap()
            .ends_with("--socket ./control resume 1")
    );
    let watched = wait(watcher).exits(3);
    assert!(watched.documents().len() > 1);
    assert_eq!(watched.json()["state"], "cancelled");

    service.ask(&["throttle", "off"]).exits(0);
    let resumed = service.ask(&["resume", "last"]).exits(0).json();
    assert_eq!(
        (&resumed["state"], &resumed["run"]),
        (&"done".into(), &run.clone().into())
    );
    assert_eq!((migrated(&resumed), &resumed["failed"]), (240, &0.into()));
    let shown = service.ask(&["show", &run[..8]]).exits(0).json();
    assert_eq!(
        (&shown["actor"], &shown["reason"]),
        (&"ann".into(), &"release 7".into())
    );
    assert_eq!(
        (&shown["executions"], &shown["state"]),
        (&2.into(), &"done".into())
    );
    let nothing = service.ask(&["resume", "1"]).exits(1).json();
    assert!(nothing["message"].to_string().contains("nothing to resume"));
    let nothing = service.ask(&["retry", "1"]).exits(1).json();
    assert!(nothing["message"].to_string().contains("no failures"));
    let idle = service.ask(&["pause"]).exits(1).json();
    assert!(
        idle["message"]
            .to_string()
            .contains("no run is in progress")
    );

    // The service appends under the new version, and ends without an error.
    service.until_appended(5);
    let said = service.end().exits(0);
    assert_eq!(said.stderr, "", "it was fenced, or lost an event");
    let journal = service.journal();
    assert_eq!(said.stdout, format!("{} events appended\n", journal.len()));
    everything_is_there(&service.sample, &journal);
    assert!(!service.sample.folder().join("control").exists());
}

/// To see it fail: let `Meter` not know that a run is rehearsed.
#[test]
fn a_live_service_rehearses_and_continues() {
    let mut service = Service::start(Sample::new());
    let before = service.status();
    // Only the program that has the store open can copy it.
    let beside = run_json(&service.sample, &["rehearse"]).exits(4).json();
    assert_eq!(beside["reason"], "store_in_use", "{beside}");
    let rehearsed = service.ask(&["rehearse"]).exits(0).json();
    let counts = ["migrated", "verified", "failed"].map(|count| rehearsed[count].clone());
    let due = before["versions"].as_array().unwrap().iter();
    let due = due.filter(|at| at["status"] == "outdated");
    let due: u64 = due.map(|at| at["processes"].as_u64().unwrap()).sum();
    assert!(counts[0].as_u64().unwrap() >= due, "{rehearsed}");
    assert_eq!((&counts[1], &counts[2]), (&counts[0], &0.into()));
    assert_eq!(rehearsed["run"], Value::Null);
    let next = rehearsed["next"][0].as_str().unwrap();
    assert!(next.ends_with(" --socket ./control plan"), "{next}");
    // It continues, and knows of no run.
    service.until_appended(5);
    let after = service.status();
    assert_eq!(
        (&after["run"], &after["dry_run"]),
        (&Value::Null, &true.into())
    );
    assert_eq!(after["runs"], serde_json::json!([]));
    let ran = service.ask(&["run", "--yes"]).exits(0).json();
    assert_eq!(ran["number"], 1, "{ran}");
    let said = service.end().exits(0);
    assert_eq!(said.stderr, "", "it was fenced, or lost an event");
    everything_is_there(&service.sample, &service.journal());
}

/// What is asked through the socket is answered as fully as from the store beside it.
#[test]
fn a_service_answers_as_fully_as_its_store() {
    let service = Service::start(Sample::new());
    for options in [
        &[][..],
        &["--percent", "5"],
        &["--limit", "10", "--check-determinism"],
        &["--sample", "0", "--throttle", "20"],
        &["--tenant", "absent"],
    ] {
        let plan = [&["plan"][..], options].concat();
        let through = service.ask(&plan).exits(0).json();
        let beside = run_json(&service.sample, &plan).exits(0).json();
        for field in [
            "kind",
            "fingerprint",
            "selection",
            "due",
            "versions",
            "routes",
        ] {
            assert_eq!(through[field], beside[field], "{options:?}");
        }
        let sample = |plan: &Value| {
            let fields = ["processes", "chosen", "conversions", "failed", "failures"];
            fields.map(|field| plan["sample"][field].clone())
        };
        assert_eq!(sample(&through), sample(&beside), "{options:?}");
        for bound in ["low_ms", "high_ms", "throttle"] {
            let known = [&through, &beside].map(|plan| plan["estimate"][bound].is_u64());
            assert_eq!(known[0], known[1], "{options:?}: {bound}");
        }
        // Beside the service, the run would be refused.
        assert_eq!(beside["next"], serde_json::json!([]), "{options:?}");
        let next = through["next"][0].as_str();
        let is_run = next.is_some_and(|next| next.contains("--socket ./control run --plan "));
        assert_eq!(is_run, through["due"] != 0, "{options:?}: {next:?}");
    }
    let beside = run_json(&service.sample, &["status"]).exits(0).json();
    assert_eq!(service.status()["versions"], beside["versions"]);
    let of_loans = service
        .ask(&["status", "--workflow", "loan"])
        .exits(0)
        .json();
    assert_eq!(of_loans["versions"].as_array().unwrap().len(), 1);
    let through = service.ask(&["migrations"]).exits(0).json();
    let beside = run_json(&service.sample, &["migrations"]).exits(0).json();
    assert_eq!(through, beside);
    let own = service.ask(&["graph"]).exits(1).json();
    let message = own["message"].as_str().unwrap();
    assert!(
        message.contains("draws the migrations of this program"),
        "{message}"
    );
    // A run is counted by the service before it begins.
    let many = service
        .ask(&["run", "--yes", "--at-most", "239"])
        .exits(4)
        .json();
    assert_eq!(many["reason"], "too_many_due");
    assert_eq!(service.status()["run"], Value::Null);
    service.ask(&["run", "--yes", "--at-most", "240"]).exits(0);
}

#[test]
fn a_service_that_ends_tells_the_tool_how_its_run_ended() {
    let mut service = Service::start(Sample::new());
    let driver = service.begin(&["run", "--yes", "--throttle", "30"]);
    let watcher = service.begin(&["watch"]);
    service.until_migrated(5);
    assert_eq!(service.end().exits(0).stderr, "");
    let ended = wait(driver).exits(3).json();
    assert_eq!(ended["state"], "cancelled");
    assert!((5..240).contains(&migrated(&ended)), "{ended}");
    let watched = wait(watcher);
    // It may have asked before the run began.
    if watched.code != Some(1) {
        assert_eq!(watched.exits(3).json()["state"], "cancelled");
    }
}

/// Every event that the service had appended is in its stream, once.
fn everything_is_there(sample: &Sample, journal: &[[String; 4]]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let reader = SlateDbReader::open_local(sample.store()).await.unwrap();
        for version in ["2011", "2013"] {
            let under = journal.iter().filter(|[_, _, at, _]| at == version);
            assert!(under.count() > 5, "too few under {version}");
        }
        for [stream, sequence, version, item] in journal {
            let sequence: u64 = sequence.parse().unwrap();
            let stream = StreamId::new(stream).unwrap();
            let found = reader.read_all(&stream, sequence - 1, 1).await.unwrap();
            let event = &found[0];
            assert_eq!(
                (event.sequence, event.workflow_id.version()),
                (sequence, version.as_str())
            );
            let payload = String::from_utf8_lossy(&event.payload);
            assert!(payload.contains(&format!("\"{item}\"")), "{payload}");
        }
        for stream in reader
            .list_streams(Some("process/bank/"), None, 1_000)
            .await
            .unwrap()
        {
            let head = reader.head(&stream).await.unwrap().unwrap();
            assert_eq!(head.workflow_id.to_string(), "loan@2013");
        }
        reader.close().await.unwrap();
    });
}

/// Ctrl-C ends a run in a service as it ends one's own; a tool that is killed
/// leaves it to the service.
#[test]
fn a_tool_that_is_interrupted_cancels_and_one_that_is_killed_does_not() {
    let mut service = Service::start(Sample::new());
    let driver = service.begin(&["run", "--yes", "--throttle", "30"]);
    service.until_migrated(5);
    tell(&driver, "-INT");
    let ended = wait(driver).exits(3).json();
    assert_eq!(ended["state"], "cancelled");
    assert_eq!(service.status()["in_progress"], false);

    let mut driver = service.begin(&["resume", "last"]);
    let watcher = service.begin(&["watch"]);
    let before = service.until("it is resumed", |status| status["in_progress"] == true);
    driver.kill().unwrap();
    driver.wait().unwrap();
    service.until_migrated(migrated(&before) + 10);
    // The run continues after its watcher has disconnected.
    tell(&watcher, "-INT");
    let left = wait(watcher);
    if left.code != Some(1) {
        // The signal came before the run was resumed.
        let left = left.exits(3).json();
        assert!(
            left["message"]
                .to_string()
                .contains("the run continues in the service")
        );
    }
    assert_eq!(service.status()["in_progress"], true);

    // A service that ends leaves a run that can be resumed.
    let said = service.end().exits(0);
    assert_eq!(said.stderr, "");
    let runs = run_json(&service.sample, &["runs"]).exits(0).json();
    assert_eq!(runs["runs"][0]["state"], "cancelled");
    let resumed = run_json(&service.sample, &["resume", "last", "--throttle", "5000"]);
    assert_eq!(migrated(&resumed.exits(0).json()), 240);
}

/// Two fixed command lines of a job, one beside the service and one through its socket,
/// are killed at drawn moments. The service appends all the time and never loses its
/// writer, and a single run migrates each loan once.
#[test]
fn a_job_that_is_killed_thirty_times_leaves_the_writer_to_the_service() {
    let mut service = Service::start(Sample::new());
    let job = ["run", "--yes", "--or-resume", "--throttle", "25"];
    let beside = |service: &Service| command(&service.sample, &job);
    let through = |service: &Service| service.tool(&job);
    let mut killed = 0;
    for kill in 1..=30_u64 {
        let mut job = match kill % 2 {
            0 => beside(&service),
            _ => through(&service),
        };
        job.stdout(Stdio::null()).stderr(Stdio::null());
        let mut job = job.spawn().unwrap();
        thread::sleep(Duration::from_millis(20 + kill * 7_919 % 300));
        job.kill().unwrap();
        killed += usize::from(job.wait().unwrap().code().is_none());
    }
    assert!(killed >= 5, "{killed} of 30 were killed");
    let refused = finish(beside(&service)).exits(4);
    assert!(
        refused.stderr.contains("has this store open"),
        "{refused:?}"
    );
    service.until("all are migrated", |status| {
        migrated(status) == 240 && status["in_progress"] == false
    });
    finish(through(&service)).exits(0);

    service.until_appended(5);
    let said = service.end().exits(0);
    assert_eq!(said.stderr, "", "it was fenced, or lost an event");
    everything_is_there(&service.sample, &service.journal());
    let runs = run_json(&service.sample, &["runs"]).exits(0).json();
    let runs = runs["runs"].as_array().unwrap();
    let counts: Vec<_> = runs
        .iter()
        .map(|run| (migrated(run), &run["failed"]))
        .collect();
    assert_eq!(counts, [(240, &0.into())]);
    assert_eq!(stands(&service.sample).migrations, [(1, 240)].into());
}

/// One sentence each, and exit code 1.
#[test]
fn an_unreachable_service_is_reported() {
    let sample = Sample::empty();
    let folder = sample.folder();
    let ask = |socket: &str, args: &[&str]| {
        let mut command = bare(args);
        command
            .current_dir(folder)
            .args(["--socket", socket, "--json"]);
        let begun = Instant::now();
        let message = finish(command).exits(1).json()["message"].clone();
        assert!(begun.elapsed() < Duration::from_secs(20));
        message.as_str().unwrap().to_owned()
    };
    let socket: PathBuf = folder.join("dead");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    fs::write(folder.join("notes"), "mine").unwrap();
    for command in [
        &["status"][..],
        &["run", "--yes"],
        &["resume", "1"],
        &["watch"],
        &["runs"],
    ] {
        let message = ask("./none", command);
        assert!(
            message.starts_with("no control socket at ./none; start the service"),
            "{message}"
        );
        let message = ask("./dead", command);
        assert!(
            message.starts_with("no service listens on the control socket ./dead"),
            "{message}"
        );
        let message = ask("./notes", command);
        assert!(
            message.starts_with("./notes is not a control socket"),
            "{message}"
        );
    }
    let message = ask(&format!("./{}", "x".repeat(120)), &["status"]);
    assert!(
        message.contains("is too long; give --socket a shorter path"),
        "{message}"
    );
    let message = ask("./none", &["inspect", "process/bank/500001"]);
    assert!(
        message.ends_with("use --store instead of --socket"),
        "{message}"
    );

    // Something else listens there, that says nothing sensible.
    let other = std::os::unix::net::UnixListener::bind(folder.join("other")).unwrap();
    let answers = thread::spawn(move || {
        let (mut client, _) = other.accept().unwrap();
        std::io::Write::write_all(&mut client, b"220 mail.example.org ESMTP\r\n").unwrap();
        let _ = std::io::copy(&mut client, &mut std::io::sink());
    });
    let message = ask("./other", &["status"]);
    assert!(
        message.contains("does not speak version 2 of the control protocol"),
        "{message}"
    );
    answers.join().unwrap();

    // Without --socket, there is no service to send the request to.
    let mut command = bare(&["pause", "--json"]);
    command.current_dir(folder);
    let message = finish(command).exits(1).json()["message"].to_string();
    assert!(message.contains("add `--socket PATH`"), "{message}");
}

/// A second service does not take the socket, nor the store.
#[test]
fn a_second_service_is_refused_before_it_harms_the_first() {
    let mut service = Service::start(Sample::new());
    let mut second = Command::new(env!("CARGO_BIN_EXE_loans-service"));
    second.current_dir(service.sample.folder()).args([
        "--store",
        "./loans",
        "--socket",
        "./control",
    ]);
    let refused = finish(second).exits(1);
    assert!(
        refused
            .stderr
            .starts_with("error: another service listens on the control socket ./control"),
        "{refused:?}"
    );
    service.until_appended(5);
    assert_eq!(service.end().exits(0).stderr, "");

    // One that was killed leaves its socket, and the next one takes it.
    let mut service = service.again();
    service.kill();
    assert!(service.sample.folder().join("control").exists());
    let message = service.ask(&["status"]).exits(1).json()["message"].to_string();
    assert!(message.contains("no service listens on"), "{message}");
    let mut service = service.again();
    assert_eq!(service.status()["in_progress"], false);
    service.end().exits(0);
}

/// The socket is for the user that the service runs as.
#[test]
fn another_user_is_kept_out() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;

    const UNPRIVILEGED_USER: u32 = 65_534;
    let service = Service::start(Sample::new());
    let folder = service.sample.folder();
    // Every user can list the folder; only the permissions of the socket refuse.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let socket = fs::metadata(folder.join("control")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    if socket.uid() != 0 {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let mut command = service.tool(&["status", "--json"]);
    command.uid(UNPRIVILEGED_USER).gid(UNPRIVILEGED_USER);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = match child.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: another user cannot reach the program ({error})");
            return;
        }
        child => child.unwrap(),
    };
    let refused = wait(child).exits(1).json();
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.starts_with("permission denied on the control socket ./control"),
        "{message}"
    );
}
