//! The life of one program: it takes steps until it crashes, its store is of no
//! use any more, or there are no more steps.

use std::future::pending;
use std::sync::Arc;

use fastrand::Rng;
use slatedb::fail_parallel::FailPointRegistry;
use state_migration::{MigrationRegistry, MigrationRunner, RunState, Runs, SlateDbStore};

use super::check;
use super::clock::LifeClock;
use super::faults::{Faults, Rates};
use super::history;
use super::interference;
use super::model::{Kind, Wrong};
use super::operations;
use super::runs;
use super::steps::{Act, Step};
use super::workflows::Code;
use super::world::{End, World};
use crate::stores::{differences, dump};

/// A program of a world.
pub(super) struct Life<'w> {
    pub(super) world: &'w World<'w>,
    pub(super) clock: Arc<LifeClock>,
    pub(super) faults: Arc<Faults>,
    pub(super) store: SlateDbStore,
    pub(super) fail_points: Arc<FailPointRegistry>,
}

pub(super) type Runner = MigrationRunner<MigrationRegistry, SlateDbStore, SlateDbStore>;

impl Life<'_> {
    /// A runner with some code.
    pub(super) fn runner(&self, code: Code) -> Result<Runner, Wrong> {
        let migrations = code
            .migrations()
            .map_err(|error| Wrong::other(error.to_string()))?;
        let (events, snapshots) = (self.store.clone(), self.store.clone());
        // What was undone is migrated again by the next run.
        let runner = MigrationRunner::new(migrations, events, snapshots);
        Ok(runner.actor(code.name()).again(true))
    }

    /// The runs that the store knows of.
    pub(super) fn runs(&self) -> Result<Runs, Wrong> {
        Runs::of(&self.store).ok_or_else(|| Wrong::other("the store keeps no runs"))
    }

    /// The store, and what it is held to.
    pub(super) fn held(&self) -> check::Held<'_> {
        check::Held {
            store: &self.store,
            model: &self.world.model,
            counts: &self.world.counts,
        }
    }

    /// Whether SlateDB has given up.
    pub(super) fn is_closed(&self) -> bool {
        self.store.db().status().close_reason.is_some()
    }
}

/// Takes one step, and compares. Returns how the life ended, if it did.
pub(super) async fn take(life: &mut Life<'_>, step: &Step) -> Result<Option<End>, Wrong> {
    life.world.count("steps");
    life.faults.set(step.seed, step.rates);
    life.faults.crash_in(step.crash);
    let mut rng = Rng::with_seed(step.seed);
    let is_quiet = step.rates == Rates::NONE && step.crash.is_none();
    let acted = act(life, &step.act, &mut rng, is_quiet).await;
    life.faults.set(step.seed, Rates::NONE);
    if step.crash.is_some() {
        life.faults.crash_in(None);
        if excused(life, acted)?.is_none() {
            life.faults.die();
            pending::<()>().await;
        }
        return Ok(Some(End::Restart));
    }
    if let Some(end) = excused(life, acted)? {
        return Ok(Some(end));
    }
    if life.is_closed() {
        return Ok(Some(End::Restart));
    }
    let compared = check::touched(life.held()).await;
    excused(life, compared.map(|()| None))
}

/// Turns failed reads that are not violations into the end of a life. Reads fail
/// after SlateDB has closed the store, or with an error to retry. The next life reads
/// the whole store when it begins, and a failure there is a violation.
fn excused(life: &Life<'_>, acted: Result<Option<End>, Wrong>) -> Result<Option<End>, Wrong> {
    match acted {
        Err(wrong) if wrong.is_unread() && life.is_closed() => Ok(Some(End::Restart)),
        Err(wrong) if wrong.kind == Kind::Unavailable => {
            life.world.count("reads to be tried again");
            Ok(Some(End::Restart))
        }
        acted => acted,
    }
}

async fn act(
    life: &mut Life<'_>,
    act: &Act,
    rng: &mut Rng,
    is_quiet: bool,
) -> Result<Option<End>, Wrong> {
    life.world.count(act.name());
    match act {
        Act::Append(times) => {
            operations::append_some(life, rng, *times).await?;
        }
        Act::WrongPlace => {
            operations::wrong_place(life, rng).await?;
        }
        Act::WrongVersion => {
            operations::wrong_version(life, rng).await?;
        }
        Act::Race(writers) => {
            operations::race(life, rng, *writers).await?;
        }
        Act::Snapshot => {
            operations::snapshot(life, rng).await?;
        }
        Act::Registry => {
            operations::registry(life, rng).await?;
        }
        Act::Hold => {
            operations::hold(life, rng).await?;
        }
        Act::Open => {
            runs::open_some(life, rng, is_quiet).await?;
        }
        Act::Run(run) => {
            runs::run(life, run, rng, is_quiet).await?;
        }
        Act::DryRun(code) => {
            runs::dry_run(life, *code, is_quiet).await?;
        }
        Act::Rehearse(code) => {
            history::rehearse(life, *code, is_quiet).await?;
        }
        Act::Verify => {
            history::verify(life, rng, is_quiet).await?;
        }
        Act::Undo => {
            history::undo(life, rng, is_quiet).await?;
        }
        Act::Erase => {
            history::erase(life, rng, is_quiet).await?;
        }
        Act::Resume => {
            runs::resume(life, is_quiet).await?;
        }
        Act::Retry => {
            runs::retry(life).await?;
        }
        Act::Idle(millis) => {
            tokio::time::sleep(std::time::Duration::from_millis(*millis)).await;
        }
        Act::Jump(millis) => {
            life.world.jump(*millis);
            operations::append_some(life, rng, 2).await?;
        }
        Act::Scan => {
            interference::scan(life, rng).await?;
        }
        Act::Fence => {
            return interference::fence(life, rng).await;
        }
        Act::Reopen => {
            // What cannot be written is lost as by a crash.
            drop(life.store.close().await);
            return Ok(Some(End::Closed));
        }
        Act::FailPoint(point) => {
            interference::fail_point(life, rng, *point).await?;
        }
        Act::Outage(requests) => {
            life.faults.outage(*requests);
            operations::append_some(life, rng, 3).await?;
        }
    }
    Ok(None)
}

/// The end of a world. Corrected code migrates all outdated processes, a second run
/// changes nothing, and the store has the same content after it is opened again.
pub(super) async fn finish(life: &mut Life<'_>) -> Result<(), Wrong> {
    check::whole(life.held(), false).await?;
    let unread = |error| Wrong::unread("a process cannot be put back", &error);
    let held: Vec<_> = {
        let model = life.world.model.borrow();
        let is_there = model.streams.iter().enumerate();
        is_there
            .filter(|(_, stream)| !stream.is_empty())
            .map(|(n, stream)| (n, stream.id().clone()))
            .collect()
    };
    for (n, stream) in held {
        life.world.model.borrow_mut().streams[n].held().ask(false);
        life.runs()?
            .release(&stream, "the torture", "at random")
            .await
            .map_err(unread)?;
        life.world.model.borrow_mut().streams[n]
            .held()
            .acknowledge();
    }
    let report = life.runner(Code::Corrected)?.run().await;
    if report.state != Some(RunState::Done) {
        return Err(Wrong::other(format!("the last run is not done: {report}")));
    }
    check::whole(life.held(), false).await?;
    for stream in &life.world.model.borrow().streams {
        if stream.version() != stream.version().map(|version| version.newest()) {
            return Err(Wrong::other(format!(
                "{} is at {:?} after the last run",
                stream.id(),
                stream.version()
            )));
        }
    }
    let unread = |error: slatedb::Error| Wrong::other(format!("the store cannot be read: {error}"));
    let before = dump(&life.store).await.map_err(unread)?;
    let again = life.runner(Code::Corrected)?.run().await;
    let after = dump(&life.store).await.map_err(unread)?;
    let differ = differences(&before, &after);
    if again.migrated > 0 || !again.is_ok() || !differ.is_empty() {
        return Err(Wrong::twice(format!(
            "a run with nothing to do migrated {} and changed {differ:?}",
            again.migrated
        )));
    }
    let closed = life.store.close().await;
    closed.map_err(|error| Wrong::unread("the store cannot be closed", &error))?;
    let opened = life.world.open(&life.clock, &life.faults).await;
    (life.store, life.fail_points) =
        opened.map_err(|error| Wrong::unread("the store cannot be opened", &error))?;
    check::whole(life.held(), true).await
}
