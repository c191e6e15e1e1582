//! The check whether a program has a store open. A store whose state cannot be
//! determined counts as open.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use slatedb::object_store::memory::InMemory;
use slatedb_common::clock::{DefaultSystemClock, SystemClock, SystemClockTicker};
use state_migration::{
    Error, ErrorKind, EventStore, ExpectedSequence, InUse, NewEvent, SlateDbReader, SlateDbStore,
    StreamId, WorkflowId,
};

use crate::opening::{contents, is_there, open, place};

/// The key of the mark of the last writer that closed the store.
const MARK: &[u8] = b"ue";

/// The running program `hold-child`, which is killed when this value is dropped.
struct Program {
    child: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Program {
    fn start(folder: &Path, how: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hold-child"))
            .arg(folder)
            .arg(how)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let input = child.stdin.take().unwrap();
        Self {
            child,
            input,
            lines,
        }
    }

    /// One that has the store open.
    fn holding(folder: &Path) -> Self {
        let mut program = Self::start(folder, "open");
        assert!(program.line().starts_with("opened "));
        program
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn tell(&mut self, what: &str) -> String {
        writeln!(self.input, "{what}").unwrap();
        self.line()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn unless_in_use(folder: &Path) -> Result<SlateDbStore, Error> {
    let opening = SlateDbStore::local_builder(folder).unwrap();
    tokio::time::timeout(Duration::from_secs(120), opening.open_unless_in_use())
        .await
        .expect("an open ends")
}

async fn refused(folder: &Path) -> InUse {
    let refused = match unless_in_use(folder).await {
        Ok(_) => panic!("the store was opened"),
        Err(refused) => refused,
    };
    let ErrorKind::InUse(in_use) = refused.kind() else {
        panic!("{refused}");
    };
    let said = format!(
        "the store {} cannot be opened: {in_use}; wait until the store is closed, work inside that program, or, if that program is dead, take over the store with `open_unless_alive()`",
        folder.display()
    );
    assert_eq!(refused.to_string(), said);
    in_use.as_ref().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_closed_is_opened_and_one_that_is_not_there_is_made() {
    let folder = tempfile::tempdir().unwrap();
    for epoch in 1..4 {
        let store = unless_in_use(&folder.path().join("new")).await.unwrap();
        assert_eq!(store.db().manifest().writer_epoch(), epoch);
        // The mark is of the writer before.
        let before = store.db().get(MARK).await.unwrap();
        let expected = (epoch > 1).then(|| format!("\x02{{\"epoch\":{}}}", epoch - 1));
        assert_eq!(before, expected.map(Into::into));
        store.close().await.unwrap();
    }
    let bucket = Arc::new(InMemory::new());
    for _ in 0..2 {
        let store = SlateDbStore::builder("orders", bucket.clone());
        let store = store.open_unless_in_use().await.unwrap();
        let second = SlateDbStore::builder("orders", bucket.clone());
        let second = second.open_unless_in_use().await.unwrap_err();
        assert!(matches!(second.kind(), ErrorKind::InUse(_)), "{second}");
        store.close().await.unwrap();
    }
}

/// To see it fail: open without looking for the mark.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_writes_is_not_fenced_and_continues() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).await.unwrap().close().await.unwrap();
    let mut program = Program::holding(folder.path());
    let writing = tokio::task::spawn_blocking(move || {
        for n in 0..60 {
            assert_eq!(program.tell(&format!("place {n}")), "done");
            std::thread::sleep(Duration::from_millis(50));
        }
        program
    });
    let in_use = refused(folder.path()).await;
    assert!((in_use.epoch, in_use.writes) == (2, true), "{in_use:?}");
    assert!(in_use.quiet_for.unwrap() < Duration::from_secs(60));
    let mut program = writing.await.unwrap();
    assert_eq!(program.tell("place 60"), "done");
    assert_eq!(program.tell("close"), "done");

    let store = unless_in_use(folder.path()).await.unwrap();
    for n in 0..=60 {
        assert!(is_there(&store, n).await, "order {n}");
    }
}

/// To see it fail: take it that a store in which nothing is written is free.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_program_is_not_fenced_and_continues() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::holding(folder.path());
    assert_eq!(program.tell("place 1"), "done");
    let in_use = refused(folder.path()).await;
    assert!((in_use.epoch, in_use.writes) == (1, false), "{in_use:?}");
    assert_eq!(in_use.is_alive, Some(true));
    assert!(in_use.quiet_for.unwrap() >= Duration::from_secs(2));
    assert_eq!(program.tell("place 2"), "done");
}

/// To see it fail: let `Openings::are_over` be false.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_program_that_has_ended_is_opened() {
    for end in ["kill", "end"] {
        let folder = tempfile::tempdir().unwrap();
        let mut program = Program::holding(folder.path());
        assert_eq!(program.tell("place 1"), "done");
        match end {
            "kill" => program.kill(),
            _ => {
                program.tell("end");
                program.child.wait().unwrap();
            }
        }
        let reader = SlateDbReader::open_local(folder.path()).await.unwrap();
        assert_eq!(reader.in_use().await.unwrap(), None);
        reader.close().await.unwrap();
        let store = unless_in_use(folder.path()).await.unwrap();
        assert!(is_there(&store, 1).await);
        store.close().await.unwrap();
        assert_eq!(marks(folder.path()), Vec::<PathBuf>::new());
    }
}

/// The files of the marks of programs.
fn marks(folder: &Path) -> Vec<PathBuf> {
    let marks = std::fs::read_dir(folder.join("openings")).unwrap();
    let marks = marks.map(|mark| mark.unwrap().path());
    marks.filter(|mark| mark.extension().is_none()).collect()
}

/// Moves the programs of the marks to another machine.
fn elsewhere(folder: &Path) {
    in_another_container(folder);
    for mark in marks(folder) {
        let _ = std::fs::remove_file(mark.with_extension("lock"));
    }
}

/// Moves the programs of the marks to another container of this machine, whose process ids
/// mean nothing here.
fn in_another_container(folder: &Path) {
    for mark in marks(folder) {
        let text = String::from_utf8(std::fs::read(&mark).unwrap()).unwrap();
        let (before, machine) = text.split_once("\"machine\":\"").unwrap();
        let text = format!("{before}\"machine\":\"another {machine}");
        std::fs::write(&mark, text).unwrap();
    }
}

/// To see it fail: let `Program::is_alive` ignore the machine, or do not watch in
/// `open_unless_alive`.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_was_killed_elsewhere_cannot_be_told_from_an_idle_one() {
    let folder = tempfile::tempdir().unwrap();
    // The writer before closed the store.
    open(folder.path()).await.unwrap().close().await.unwrap();
    let mut program = Program::holding(folder.path());
    assert_eq!(program.tell("place 1"), "done");
    program.kill();
    elsewhere(folder.path());
    let before = contents(folder.path());
    let in_use = refused(folder.path()).await;
    assert!((in_use.epoch, in_use.writes) == (2, false), "{in_use:?}");
    assert_eq!(in_use.is_alive, None);
    assert_eq!(contents(folder.path()), before);

    let begun = Instant::now();
    let quiet = Duration::from_secs(6);
    let builder = SlateDbStore::local_builder(folder.path()).unwrap();
    let store = builder.open_unless_alive(quiet).await.unwrap();
    let waited = begun.elapsed() + in_use.quiet_for.unwrap();
    assert!(waited > quiet, "{waited:?}");
    assert!(is_there(&store, 1).await);
    store.close().await.unwrap();
    unless_in_use(folder.path()).await.unwrap();
}

/// To see it fail: leave out `Lock::hold`.
#[tokio::test(flavor = "multi_thread")]
async fn the_programs_of_other_containers_are_known_to_be_alive_or_to_have_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::holding(folder.path());
    assert_eq!(program.tell("place 1"), "done");
    in_another_container(folder.path());
    let in_use = refused(folder.path()).await;
    assert_eq!(in_use.is_alive, Some(true));
    let builder = SlateDbStore::local_builder(folder.path()).unwrap();
    let taken_over = builder.open_unless_alive(Duration::ZERO).await;
    taken_over.map(drop).unwrap_err();
    assert_eq!(program.tell("place 2"), "done");
    program.kill();
    let store = unless_in_use(folder.path()).await.unwrap();
    assert!(is_there(&store, 1).await && is_there(&store, 2).await);
    store.close().await.unwrap();
    assert_eq!(marks(folder.path()), Vec::<PathBuf>::new());
}

/// To see it fail: let `open_unless_alive` open the store if it is not written to.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_alive_or_writes_is_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::holding(folder.path());
    assert_eq!(program.tell("place 1"), "done");
    let take_over = async || {
        let builder = SlateDbStore::local_builder(folder.path()).unwrap();
        let refused = builder.open_unless_alive(Duration::ZERO).await;
        let refused = refused.map(drop).unwrap_err();
        match refused.kind() {
            ErrorKind::InUse(in_use) => in_use.clone(),
            _ => panic!("{refused}"),
        }
    };
    let in_use = take_over().await;
    assert_eq!((in_use.is_alive, in_use.writes), (Some(true), false));
    let by = in_use.program.as_ref().unwrap();
    assert_eq!(
        (by.name.as_str(), by.pid),
        ("hold-child", program.child.id())
    );
    let said = in_use.to_string();
    let begins = format!("hold-child (pid {} on {}, user ", by.pid, by.host);
    assert!(said.starts_with(&begins), "{said}");
    assert!(said.contains(") has this store open (since 20"), "{said}");

    elsewhere(folder.path());
    let writing = tokio::task::spawn_blocking(move || {
        for n in 0..60 {
            assert_eq!(program.tell(&format!("place {}", n + 2)), "done");
            std::thread::sleep(Duration::from_millis(50));
        }
        program
    });
    let in_use = take_over().await;
    assert_eq!((in_use.is_alive, in_use.writes), (None, true));
    assert_eq!(writing.await.unwrap().tell("place 99"), "done");
}

/// A copy that is made while a program has the store open is not open in that program.
#[tokio::test(flavor = "multi_thread")]
async fn the_mark_of_a_program_is_not_that_of_a_copy() {
    let parent = tempfile::tempdir().unwrap();
    let (original, copy) = (parent.path().join("original"), parent.path().join("copy"));
    let mut program = Program::holding(&original);
    assert_eq!(program.tell("place 1"), "done");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(&original)
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success());
    let in_use = refused(&copy).await;
    assert_eq!((in_use.program, in_use.is_alive), (None, None));
    let builder = SlateDbStore::local_builder(&copy).unwrap();
    let store = builder.open_unless_alive(Duration::ZERO).await.unwrap();
    assert!(is_there(&store, 1).await);
    assert_eq!(program.tell("place 2"), "done");
}

/// To see it fail: let the mark say the path of the folder only.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_renamed_keeps_the_marks_of_its_programs() {
    let parent = tempfile::tempdir().unwrap();
    let (before, after) = (parent.path().join("before"), parent.path().join("after"));
    let mut program = Program::holding(&before);
    assert_eq!(program.tell("place 1"), "done");
    std::fs::rename(&before, &after).unwrap();
    let in_use = refused(&after).await;
    assert_eq!(in_use.is_alive, Some(true));
    let builder = SlateDbStore::local_builder(&after).unwrap();
    builder
        .open_unless_alive(Duration::ZERO)
        .await
        .map(drop)
        .unwrap_err();
    program.kill();
    let store = unless_in_use(&after).await.unwrap();
    assert!(is_there(&store, 1).await);
}

/// To see it fail: let the mark say the identity of the folder only.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_the_place_of_the_original_names_the_program_that_has_it_open() {
    let parent = tempfile::tempdir().unwrap();
    let (store, moved) = (parent.path().join("store"), parent.path().join("moved"));
    let mut program = Program::holding(&store);
    assert_eq!(program.tell("place 1"), "done");
    std::fs::rename(&store, &moved).unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(&moved)
        .arg(&store)
        .status();
    assert!(copied.unwrap().success());
    for folder in [&store, &moved] {
        assert_eq!(refused(folder).await.is_alive, Some(true), "{folder:?}");
    }
}

/// To see it fail: ignore the error of `Mark::put`.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_leave_its_mark_does_not_open_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    place(&store, 1).await;
    store.close().await.unwrap();
    // Root may write to every folder, but not to a file as if it were one.
    let openings = folder.path().join("openings");
    std::fs::remove_dir_all(&openings).unwrap();
    std::fs::write(&openings, "").unwrap();
    let before = contents(folder.path());
    let failed = unless_in_use(folder.path()).await.map(drop).unwrap_err();
    assert_eq!(*failed.kind(), ErrorKind::Unavailable);
    let cause = std::error::Error::source(&failed).unwrap().to_string();
    assert!(
        cause.contains(", which names this program, could not be written"),
        "{cause}"
    );
    assert_eq!(contents(folder.path()), before);
    std::fs::remove_file(&openings).unwrap();
    let store = unless_in_use(folder.path()).await.unwrap();
    assert!(is_there(&store, 1).await);
}

/// To see it fail: do not call `Mark::failed`.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_fails_does_not_make_the_store_appear_open() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    place(&store, 1).await;
    store.close().await.unwrap();
    let files = std::fs::read_dir(folder.path().join("compactions")).unwrap();
    let newest = files.map(|file| file.unwrap().path()).max().unwrap();
    let whole = std::fs::read(&newest).unwrap();
    std::fs::write(&newest, &whole[..20]).unwrap();
    // In this program and in another one, which is alive when this one asks.
    let mut other = Program::start(folder.path(), "unless-in-use");
    assert!(other.line().starts_with("failed "));
    for _ in 0..2 {
        let failed = unless_in_use(folder.path()).await.map(drop).unwrap_err();
        assert_eq!(*failed.kind(), ErrorKind::Corrupt, "{failed}");
    }
    std::fs::write(&newest, &whole).unwrap();
    let store = unless_in_use(folder.path()).await.unwrap();
    assert!(is_there(&store, 1).await);
}

/// The clock of a machine, set back by an hour.
#[derive(Debug)]
struct SetBack(DefaultSystemClock);

impl SystemClock for SetBack {
    fn now(&self) -> DateTime<Utc> {
        self.0.now() - TimeDelta::hours(1)
    }

    fn sleep<'a>(
        &'a self,
        duration: Duration,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.0.sleep(duration)
    }

    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        self.0.ticker(duration)
    }
}

/// To see it fail: remove the mark of each store that is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_record_that_it_has_closed_the_store_is_not_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    place(&store, 1).await;
    store.close().await.unwrap();
    for writes in [true, false] {
        let builder = SlateDbStore::local_builder(folder.path()).unwrap();
        let clock = Arc::new(SetBack(DefaultSystemClock::new()));
        let behind = builder.configure(move |database| database.with_system_clock(clock.clone()));
        let behind = behind.open_unless_in_use().await.unwrap();
        if writes {
            let event = NewEvent::new(WorkflowId::new("order", "1"), "Placed", 1, "{}");
            let stream = StreamId::new("process/shop/behind").unwrap();
            let expected = ExpectedSequence::NoStream;
            let refused = behind.append(&stream, expected, vec![event.unwrap()]).await;
            let refused = refused.unwrap_err().to_string();
            assert!(
                refused.contains("the system clock is 60 min behind"),
                "{refused}"
            );
        }
        let _ = behind.close().await;
        // This program is alive, and its attempt has failed.
        let store = unless_in_use(folder.path()).await.unwrap();
        assert!(is_there(&store, 1).await);
        store.close().await.unwrap();
    }
}

/// To see it fail: let the mark say the epoch that the database is at.
#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_handle_says_nothing_about_its_successor() {
    for wait in [Duration::ZERO, Duration::from_secs(3)] {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).await.unwrap();
        place(&first, 1).await;
        let second = open(folder.path()).await.unwrap();
        // After a while the first one notices.
        tokio::time::sleep(wait).await;
        let _ = first.close().await;
        assert_eq!(second.db().get(MARK).await.unwrap(), None);
        assert_eq!(refused(folder.path()).await.epoch, 2);
        place(&second, 2).await;
        second.close().await.unwrap();

        let third = unless_in_use(folder.path()).await.unwrap();
        assert!(is_there(&third, 1).await && is_there(&third, 2).await);
    }
}

/// To see it fail: open without the epoch that was seen.
#[tokio::test(flavor = "multi_thread")]
async fn of_programs_that_open_a_closed_store_at_once_one_gets_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for round in 1..4 {
        let store = open(path).await.unwrap();
        place(&store, round).await;
        store.close().await.unwrap();
        let mut programs: Vec<_> = (0..4)
            .map(|_| Program::start(path, "unless-in-use"))
            .collect();
        let said: Vec<String> = programs.iter_mut().map(Program::line).collect();
        let opened: Vec<_> = (0..4)
            .filter(|program| said[*program].starts_with("opened "))
            .collect();
        assert_eq!(opened.len(), 1, "{said:?}");
        let epoch = said[opened[0]].strip_prefix("opened ").unwrap();
        for said in said.iter().filter(|said| !said.starts_with("opened ")) {
            assert!(said.starts_with(&format!("in-use {epoch} ")), "{said}");
        }
        let winner = &mut programs[opened[0]];
        assert_eq!(winner.tell(&format!("place {}", 100 + round)), "done");
        assert_eq!(winner.tell("close"), "done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_wants_what_is_there_makes_nothing() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::create_dir(parent.path().join("empty")).unwrap();
    let before = contents(parent.path());
    for name in ["new", "new/below", "empty"] {
        let folder = parent.path().join(name);
        let existing = || {
            let builder = SlateDbStore::local_builder(&folder).unwrap();
            builder.only_existing()
        };
        for refused in [
            existing().open().await,
            existing().open_unless_claimed().await,
            existing().open_unless_in_use().await,
        ] {
            let refused = refused.map(drop).unwrap_err();
            assert_eq!(*refused.kind(), ErrorKind::Invalid, "{refused}");
            assert_eq!(
                refused.to_string(),
                format!(
                    "the store {} cannot be opened: the store does not exist and is not created; check the path, or start the program that creates the store",
                    folder.display()
                )
            );
        }
        assert_eq!(contents(parent.path()), before);
    }
    let folder = parent.path().join("store");
    open(&folder).await.unwrap().close().await.unwrap();
    let builder = SlateDbStore::local_builder(&folder).unwrap();
    builder.only_existing().open_unless_in_use().await.unwrap();
}
