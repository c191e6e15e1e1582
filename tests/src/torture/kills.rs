//! Programs that are really killed: a child appends and migrates in a folder on
//! disk, says what it asks for and what was acknowledged, and gets `SIGKILL` at
//! a moment drawn from the seed. Then the folder is compared with what it said.

mod child;
mod lines;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fastrand::Rng;
use state_migration::{MigrationRunner, RunId, RunState, SlateDbStore};

pub use child::live;

use self::lines::Line;
use super::check::{self, Held};
use super::counts::Counts;
use super::model::{Asked, Model, Wrong};
use super::workflows::{Code, Happened, pad};
use super::world::processes;

/// How much there is in a folder, and how much its programs do at once.
struct Size {
    processes: usize,
    writers: u64,
    /// How many lines a program says at most before it is killed.
    lines: usize,
    /// How many programs a folder sees.
    lives: u64,
}

impl Size {
    /// A third of the folders is small, so that each process is written often.
    fn of(seed: u64) -> Self {
        match seed.is_multiple_of(3) {
            true => Self {
                processes: 240,
                writers: 4,
                lines: 400,
                lives: 40,
            },
            false => Self {
                processes: 1_000,
                writers: 64,
                lines: 7_000,
                lives: 10,
            },
        }
    }
}

/// A folder, and what it is held to.
pub struct Folder {
    seed: u64,
    place: PathBuf,
    model: RefCell<Model>,
    counts: RefCell<Counts>,
    rng: Rng,
    lives: u64,
}

fn no_child(error: std::io::Error) -> Wrong {
    Wrong::other(format!("the child cannot be driven: {error}"))
}

impl Folder {
    /// A folder in which nothing is yet.
    #[must_use]
    pub fn new(seed: u64, place: &Path) -> Self {
        Self {
            seed,
            place: place.to_owned(),
            model: RefCell::new(model(seed)),
            counts: RefCell::default(),
            rng: Rng::with_seed(seed ^ 0x4b49_4c4c),
            lives: 0,
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// How many programs are to be killed in it.
    #[must_use]
    pub fn lives(&self) -> u64 {
        Size::of(self.seed).lives
    }

    /// Starts a program, kills it, and compares.
    ///
    /// # Errors
    /// The folder is not as it must be.
    pub fn kill_one(&mut self, program: &Path) -> Result<(), Wrong> {
        self.lives += 1;
        let mut child = Command::new(program)
            .arg("--child")
            .arg(&self.place)
            .args(["--seed", &self.seed.to_string()])
            .args(["--life", &self.lives.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(no_child)?;
        let said = self.until_killed(&mut child);
        let ended = child.wait().map_err(no_child)?;
        let said = said?;
        if ended.success() || ended.code().is_some() {
            return Err(Wrong::other(format!(
                "the child was to be killed, and ended by itself: {ended}"
            )));
        }
        let mut counts = self.counts.borrow_mut();
        counts.add("real kills", 1);
        drop(counts);
        self.compare(said)
    }

    /// Reads what the child says, up to a moment, and from then on what it had
    /// said by the time it was dead.
    fn until_killed(&mut self, child: &mut Child) -> Result<Vec<Line>, Wrong> {
        let Some(out) = child.stdout.take() else {
            return Err(Wrong::other("the child has no output"));
        };
        let (after, later) = match self.rng.u32(0..10) {
            // As it opens the store.
            0 => (0, Duration::from_micros(self.rng.u64(0..60_000))),
            _ => (
                self.rng.usize(1..Size::of(self.seed).lines),
                Duration::from_micros(self.rng.u64(0..10_000)),
            ),
        };
        let mut said = Vec::new();
        let mut lines = BufReader::new(out).lines();
        // A program that fails prints `failed` as its last line.
        while said.len() < after && !matches!(said.last(), Some(Line::Failed(_))) {
            match lines.next() {
                Some(line) => said.push(Line::parse(&line.map_err(no_child)?)?),
                None => break,
            }
        }
        std::thread::sleep(later);
        child.kill().map_err(no_child)?;
        for line in lines {
            let line = line.map_err(no_child)?;
            // The last line may be cut.
            match Line::parse(&line) {
                Ok(line) => said.push(line),
                Err(_) => break,
            }
        }
        Ok(said)
    }

    fn compare(&self, said: Vec<Line>) -> Result<(), Wrong> {
        let mut reports = Vec::new();
        let mut asked: BTreeMap<u64, (Asked, u64)> = BTreeMap::new();
        for line in said {
            let mut model = self.model.borrow_mut();
            let mut counts = self.counts.borrow_mut();
            match line {
                Line::Asks {
                    token,
                    process,
                    after,
                    version,
                    grams,
                    len,
                } => {
                    let event = Happened::Weighed {
                        token,
                        grams,
                        pad: pad(len),
                    };
                    let ask = model.ask(process, after, version, vec![event]);
                    asked.insert(token, (ask, 1));
                }
                Line::Acknowledged { token, in_progress } => {
                    if let Some((ask, events)) = asked.get(&token) {
                        model.acknowledge(*ask);
                        counts.add("appends", 1);
                        counts.add("events acknowledged", *events);
                        counts.add("appends under migration", u64::from(in_progress));
                    }
                }
                Line::Refused { token } => {
                    if let Some((ask, _)) = asked.get(&token) {
                        model.refuse(*ask);
                        counts.add("appends refused", 1);
                    }
                }
                Line::Ran {
                    run,
                    migrated,
                    resumed,
                } => {
                    counts.add("resumes", u64::from(resumed));
                    counts.add("runs done", 1);
                    counts.add("processes migrated", migrated as u64);
                    reports.push((run, migrated));
                }
                Line::Opened => {}
                Line::Failed(why) => return Err(Wrong::other(why)),
            }
        }
        self.look(&reports, false)
    }

    /// Opens the folder as the next program would, and compares all of it.
    fn look(&self, reports: &[(RunId, usize)], last: bool) -> Result<(), Wrong> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(no_child)?;
        runtime.block_on(async {
            let store = SlateDbStore::open_local(&self.place).await;
            let store =
                store.map_err(|error| Wrong::unread("the folder cannot be opened", &error))?;
            let held = Held {
                store: &store,
                model: &self.model,
                counts: &self.counts,
            };
            check::whole(held, true).await?;
            for (run, migrated) in reports {
                let seen = self.model.borrow().migrated_by(*run);
                if seen != *migrated {
                    return Err(Wrong::other(format!(
                        "run {run} reported {migrated} migrated, and {seen} were"
                    )));
                }
            }
            if last {
                let migrations = Code::Corrected.migrations();
                let migrations = migrations.map_err(|error| Wrong::other(error.to_string()))?;
                let runner = MigrationRunner::new(migrations, store.clone(), store.clone());
                let report = runner.run().await;
                if report.state != Some(RunState::Done) {
                    return Err(Wrong::other(format!("the last run is not done: {report}")));
                }
                check::whole(held, false).await?;
                let mut counts = self.counts.borrow_mut();
                counts.add("events found", self.model.borrow().events());
            }
            drop(store);
            Ok(())
        })
    }

    /// Migrates what is left, and compares for the last time.
    ///
    /// # Errors
    /// The folder is not as it must be.
    pub fn finish(&self) -> Result<(), Wrong> {
        self.look(&[], true)
    }
}

/// What a folder of a seed may hold.
fn model(seed: u64) -> Model {
    let mut rng = Rng::with_seed(seed ^ 0x464f_4c44);
    Model::new(processes(&mut rng, Size::of(seed).processes))
}
