//! Rehearsals, and what is done about the history of processes.

use fastrand::Rng;
use state_migration::{
    FailureClass, MigrationReport, RunId, RunKind, RunRecord, RunState, Selection,
};

use super::check;
use super::life::Life;
use super::model::Wrong;
use super::runs::reported;
use super::workflows::Code;
use crate::stores::{differences, dump_all};

/// A rehearsal changes nothing in the store, and leaves no copy of it.
pub(super) async fn rehearse(life: &Life<'_>, code: Code, is_quiet: bool) -> Result<(), Wrong> {
    let rows = dump_all(&life.store).await;
    let report = life.runner(code)?.rehearse().await;
    let (Ok(before), Ok(after)) = (rows, dump_all(&life.store).await) else {
        return Ok(());
    };
    let differ = differences(&before, &after);
    if !differ.is_empty() {
        return Err(Wrong::other(format!(
            "a rehearsal changed {differ:?}: {report}"
        )));
    }
    if report.state == Some(RunState::Done) {
        life.world.count("rehearsals done");
        if report.verified != report.migrated + report.migrated_further {
            return Err(Wrong::other(format!(
                "a rehearsal verified {} of the states that it made: {report}",
                report.verified
            )));
        }
    }
    let is_refused = report.rehearsed.is_none();
    let claimed = life.runs()?.claimed_by().await;
    if is_quiet && is_refused && matches!(claimed, Ok(None)) && code != Code::FirstSteps {
        return Err(Wrong::other(format!("no rehearsal was made: {report}")));
    }
    if report.warning_count > 0 && is_quiet {
        return Err(Wrong::other(format!("a rehearsal left its copy: {report}")));
    }
    Ok(())
}

/// The runs that have migrated something, and their code.
async fn migrating(life: &Life<'_>) -> Result<Vec<(RunRecord, Code)>, Wrong> {
    let Ok(runs) = life.runs()?.list().await else {
        return Ok(Vec::new());
    };
    let migrates = |run: &RunRecord| {
        matches!(
            run.kind,
            RunKind::Migrate | RunKind::Retry { .. } | RunKind::Lazy
        )
    };
    let runs = runs.into_iter().filter(migrates);
    Ok(runs
        .map(|run| {
            let code = Code::of(&run.actor).unwrap_or(Code::Corrected);
            (run, code)
        })
        .collect())
}

/// What these runs cannot decide: what was erased, and what other code is needed for.
fn undecided(report: &MigrationReport) -> Vec<FailureClass> {
    let excused = [
        FailureClass::Erased,
        FailureClass::CannotUndo,
        FailureClass::MissingRoute,
        FailureClass::UnknownVersion,
        FailureClass::NewerThanProgram,
        FailureClass::Refused,
        FailureClass::Panic,
        FailureClass::Run,
    ];
    let classes = report.failed_by_class.keys().copied();
    classes.filter(|class| !excused.contains(class)).collect()
}

/// Every recorded state is what its events add up to, so that there is nothing to correct.
pub(super) async fn verify(life: &Life<'_>, rng: &mut Rng, is_quiet: bool) -> Result<(), Wrong> {
    let runner = life.runner(Code::Corrected)?;
    let report = runner.verify(None).await;
    if report
        .failed_by_class
        .contains_key(&FailureClass::VerifiesDifferently)
        || (is_quiet && !undecided(&report).is_empty())
    {
        return Err(Wrong::other(format!("a state is not verified: {report}")));
    }
    life.world
        .count_all("states verified", report.verified as u64);
    let runs = migrating(life).await?;
    if runs.is_empty() || rng.bool() {
        return Ok(());
    }
    let (of, _) = &runs[rng.usize(..runs.len())];
    let report = runner.redo(of.id).await;
    if report.migrated > 0 {
        return Err(Wrong::other(format!("a right state is redone: {report}")));
    }
    Ok(())
}

/// Takes back what one of the last runs has migrated, all of it or one process. The model
/// knows what each `$migrated` event has to be.
pub(super) async fn undo(life: &Life<'_>, rng: &mut Rng, is_quiet: bool) -> Result<(), Wrong> {
    check::touched(life.held()).await?;
    let mut runs = migrating(life).await?;
    runs.reverse();
    runs.truncate(4);
    if runs.is_empty() {
        return Ok(());
    }
    let (of, code) = &runs[rng.usize(..runs.len())];
    let (code, of) = (*code, of.id);
    let one = rng.u32(0..3) == 0;
    let selection = match one {
        true => {
            let stream = life.identity(life.any(rng)).stream_id().clone();
            Selection::all().streams([stream])
        }
        false => Selection::all(),
    };
    let report = life.runner(code)?.select(selection).undo(of).await;
    if life.is_closed() {
        return Ok(());
    }
    check::touched(life.held()).await?;
    reported(life, code, &report, false)?;
    if is_quiet && !undecided(&report).is_empty() {
        return Err(Wrong::other(format!("an undo failed: {report}")));
    }
    life.world
        .count_all("processes undone", report.migrated as u64);
    if report.state == Some(RunState::Done) && report.migrated > 0 && !one && is_quiet {
        stays_undone(life, code, of).await?;
    }
    Ok(())
}

/// The same code does not migrate again, unless that is meant.
async fn stays_undone(life: &Life<'_>, code: Code, of: RunId) -> Result<(), Wrong> {
    let again = life.runner(code)?.again(false).dry_run().await;
    let is_refused = again
        .errors
        .iter()
        .any(|error| error.class == FailureClass::Undone);
    match is_refused {
        true => Ok(()),
        false => Err(Wrong::twice(format!(
            "run {of} was undone, and would run again: {again}"
        ))),
    }
}

/// Removes events: some of the processes, or all.
pub(super) async fn erase(life: &Life<'_>, rng: &mut Rng, is_quiet: bool) -> Result<(), Wrong> {
    check::touched(life.held()).await?;
    let selection = match rng.bool() {
        true => Selection::all().percent(f64::from(rng.u32(1..60))),
        false => Selection::all(),
    };
    for stream in &mut life.world.model.borrow_mut().streams {
        stream.may_be_erased();
    }
    let report = life
        .runner(Code::Corrected)?
        .select(selection)
        .erase()
        .await;
    if life.is_closed() {
        return Ok(());
    }
    check::touched(life.held()).await?;
    life.world.count_all("events erased", report.erased as u64);
    if is_quiet && !undecided(&report).is_empty() {
        return Err(Wrong::other(format!("an erasure failed: {report}")));
    }
    Ok(())
}
