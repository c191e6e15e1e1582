//! The program that is killed.

use std::cell::Cell;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use state_migration::{
    Error, ErrorKind, EventStore, ExpectedSequence, MigrationRunner, NewEvent, ProcessIdentity,
    RunKind, RunState, Runs, SlateDbStore,
};

use super::Size;
use super::lines::Line;
use crate::torture::workflows::{Code, Happened, Version, pad};
use crate::torture::world::processes;
use crate::torture_of_version;

struct Child {
    store: SlateDbStore,
    processes: Vec<ProcessIdentity>,
    in_progress: Cell<bool>,
    /// Counts up from where no other life has counted.
    token: Cell<u64>,
}

fn say(line: &Line) {
    // One write, so that a line is there as a whole as soon as it is said.
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
}

/// How long a program lives that nothing kills; others say enough within seconds.
const LONGEST: Duration = Duration::from_secs(600);

/// Appends and migrates until it is killed.
pub async fn live(folder: &Path, seed: u64, life: u64) {
    // Who waits for a line is told, whatever the rest of the program hangs in.
    std::thread::spawn(|| {
        std::thread::sleep(LONGEST);
        say(&Line::Failed("said too little in ten minutes".to_owned()));
    });
    if let Err(error) = continue_life(folder, seed, life).await {
        say(&Line::Failed(error.to_string()));
        // To be killed, and not to end by itself.
        std::future::pending::<()>().await;
    }
}

async fn continue_life(folder: &Path, seed: u64, life: u64) -> Result<(), Error> {
    let store = SlateDbStore::open_local(folder).await?;
    say(&Line::Opened);
    let size = Size::of(seed);
    let mut rng = Rng::with_seed(seed ^ 0x464f_4c44);
    let mut processes = processes(&mut rng, size.processes);
    // Each program finds some that the ones before it did not know.
    let known = size.processes as u64 * life / size.lives;
    processes.truncate(usize::try_from(known).unwrap_or(1).max(1));
    let child = Child {
        store,
        processes,
        in_progress: Cell::new(false),
        token: Cell::new(life << 32),
    };
    let mut rng = Rng::with_seed(seed.wrapping_add(life));
    let runs = child.run_repeatedly(Rng::with_seed(rng.u64(..)));
    let writers = (0..size.writers).map(|_| child.append_repeatedly(Rng::with_seed(rng.u64(..))));
    let all = futures_util::future::try_join_all(writers);
    futures_util::future::try_join(all, runs).await.map(drop)
}

impl Child {
    async fn append_repeatedly(&self, mut rng: Rng) -> Result<(), Error> {
        loop {
            let process = rng.usize(0..self.processes.len());
            self.append(process, &mut rng).await?;
        }
    }

    async fn append(&self, process: usize, rng: &mut Rng) -> Result<(), Error> {
        let identity = &self.processes[process];
        let stream = identity.stream_id();
        let head = self.store.head(stream).await?;
        let at = head
            .as_ref()
            .map_or(&identity.workflow_id, |head| &head.workflow_id);
        let Some(version) = Version::of(at) else {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("{stream} is at the unknown version {at}"),
            ));
        };
        let after = head.map_or(0, |head| head.sequence);
        let token = self.token.get();
        self.token.set(token + 1);
        let (grams, len) = (rng.u64(0..5_000), rng.usize(0..200));
        let event = Happened::Weighed {
            token,
            grams,
            pad: pad(len),
        };
        let event = torture_of_version!(version, W => NewEvent::of::<W>(&event))?;
        let expected = match after {
            0 => ExpectedSequence::NoStream,
            after => ExpectedSequence::Exact(after),
        };
        say(&Line::Asks {
            token,
            process,
            after,
            version,
            grams,
            len,
        });
        let appended = self.store.append(stream, expected, vec![event]).await;
        match appended {
            Ok(_) => say(&Line::Acknowledged {
                token,
                in_progress: self.in_progress.get(),
            }),
            Err(error) => match error.kind() {
                ErrorKind::Conflict
                | ErrorKind::Migrated { .. }
                | ErrorKind::WrongVersion { .. } => {
                    say(&Line::Refused { token });
                }
                _ => return Err(error),
            },
        }
        Ok(())
    }

    /// Resumes an interrupted run, and starts runs in a loop.
    async fn run_repeatedly(&self, mut rng: Rng) -> Result<(), Error> {
        loop {
            let left = match Runs::of(&self.store) {
                Some(runs) => runs.list().await?,
                None => Vec::new(),
            };
            // A run that another run took over is not resumed.
            let left = left
                .into_iter()
                .next_back()
                .filter(|run| run.kind == RunKind::Migrate && !run.state.is_done());
            let code = left.as_ref().and_then(|run| Code::of(&run.actor));
            let code = code.unwrap_or(match rng.u32(0..3) {
                0 => Code::Broken,
                _ => Code::Corrected,
            });
            let migrations = code
                .migrations()
                .map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
            let runner = MigrationRunner::new(migrations, self.store.clone(), self.store.clone())
                .actor(code.name())
                .chunk_processes(rng.usize(1..64))
                .yield_to_writers(rng.bool());
            self.in_progress.set(true);
            let report = match &left {
                Some(run) => runner.resume(run.id).await,
                None => runner.run().await,
            };
            self.in_progress.set(false);
            let done = matches!(
                report.state,
                Some(RunState::Done | RunState::DoneWithErrors)
            );
            match report.run {
                Some(run) if done => say(&Line::Ran {
                    run,
                    migrated: report.migrated,
                    resumed: left.is_some(),
                }),
                // No process was due.
                None if done => {}
                _ => {
                    return Err(Error::new(
                        ErrorKind::Invalid,
                        format!("a run did not come to its end: {report}"),
                    ));
                }
            }
        }
    }
}
