//! Runs of all kinds, and what their reports must say.

use std::cell::Cell;
use std::num::NonZeroU32;

use fastrand::Rng;
use futures_util::future::join_all;
use state_migration::{
    ErrorKind, FailureClass, MigrationReport, Process, RunControl, RunId, RunKind, RunState,
    Selection, Subject,
};

use super::check;
use super::life::Life;
use super::model::{Stream, Wrong};
use super::operations;
use super::steps::{Operator, Run, Selected};
use super::workflows::{Code, Version};
use crate::stores::{differences, dump_all};
use crate::torture_of_version;

/// A process before a run.
struct Before {
    n: usize,
    version: Version,
    closed: bool,
}

/// The processes that a run is for.
fn before(life: &Life<'_>, selection: &Selection) -> Vec<Before> {
    let model = life.world.model.borrow();
    let mut all = Vec::new();
    for (n, stream) in model.streams.iter().enumerate() {
        let Some(version) = stream.version() else {
            continue;
        };
        let closed = stream.sum().closed;
        let selected = selection.selects(stream.id())
            && selection.selects_workflow(version.id().name())
            && selection.selects_finished(closed)
            && selection.limit().is_none();
        if selected && !stream.may_be_held() {
            all.push(Before { n, version, closed });
        }
    }
    all
}

/// The processes that a run has to leave where they stand.
fn aside(life: &Life<'_>, selection: &Selection) -> Vec<(usize, Version)> {
    let model = life.world.model.borrow();
    let streams = model.streams.iter().enumerate();
    let is_aside = |(n, stream): (usize, &Stream)| {
        let version = stream.version()?;
        let selected = selection.selects(stream.id())
            && selection.selects_workflow(version.id().name())
            && selection.selects_finished(stream.sum().closed);
        (stream.is_held() || !selected).then_some((n, version))
    };
    streams.filter_map(is_aside).collect()
}

/// A run touches nothing that it is not for.
fn unselected_processes_are_unchanged(
    life: &Life<'_>,
    aside: &[(usize, Version)],
) -> Result<(), Wrong> {
    let model = life.world.model.borrow();
    for (n, version) in aside {
        let stream = &model.streams[*n];
        if stream.version() != Some(*version) {
            return Err(Wrong::other(format!(
                "{} stood at {version:?}, and a run that was not for it took it to {:?}",
                stream.id(),
                stream.version()
            )));
        }
    }
    Ok(())
}

fn selection(life: &Life<'_>, selected: Selected, rng: &mut Rng) -> Selection {
    let all = Selection::all();
    match selected {
        Selected::All => all,
        Selected::InFlight => all.in_flight(),
        Selected::Tenant => all.tenant(life.identity(life.any(rng)).tenant_id().clone()),
        Selected::Workflow => all.workflow(["parcel", "meter"][rng.usize(0..2)]),
        Selected::Percent(percent) => all.percent(f64::from(percent)),
        Selected::First(count) => all.first(count),
    }
}

pub(super) async fn run(
    life: &Life<'_>,
    run: &Run,
    rng: &mut Rng,
    is_quiet: bool,
) -> Result<(), Wrong> {
    check::touched(life.held()).await?;
    let selection = selection(life, run.selected, rng);
    let (before, aside) = (before(life, &selection), aside(life, &selection));
    let runner = life
        .runner(run.code)?
        .select(selection)
        .chunk_processes(run.chunk)
        .count_up_to_date(run.full)
        .yield_to_writers(run.yields)
        .check_determinism(run.twice);
    let control = runner.control();
    control.throttle(run.throttle.and_then(NonZeroU32::new));
    let over = Cell::new(false);
    let goes = async {
        let report = runner.run().await;
        over.set(true);
        report
    };
    let mut seeds = rng.clone();
    let writers = (0..run.writers).map(|_| {
        let rng = Rng::with_seed(seeds.u64(..));
        write(life, rng, run.appends, &over)
    });
    let mut operator_rng = Rng::with_seed(rng.u64(..));
    let (report, written, operated) = tokio::join!(
        goes,
        join_all(writers),
        operate(life, run, &control, &mut operator_rng, &over)
    );
    written.into_iter().collect::<Result<Vec<()>, _>>()?;
    operated?;
    if life.is_closed() {
        return Ok(());
    }
    check::touched(life.held()).await?;
    let is_alone = run.writers == 0 && run.operator == Operator::Looks;
    let holds = run.operator == Operator::Holds;
    reported(life, run.code, &report, run.operator == Operator::Opens)?;
    if !holds {
        is_done(life, run.code, &report, &before)?;
    }
    // What others open is moved, and so is what another run is for.
    let by_others = [Operator::Holds, Operator::Opens, Operator::RunsToo];
    if !by_others.contains(&run.operator) {
        unselected_processes_are_unchanged(life, &aside)?;
    }
    if is_quiet && is_alone {
        failed_by_rule(life, run.code, &report)?;
    }
    Ok(())
}

/// A writer that appends while a run is in progress.
async fn write(
    life: &Life<'_>,
    mut rng: Rng,
    appends: u32,
    over: &Cell<bool>,
) -> Result<(), Wrong> {
    for _ in 0..appends {
        if over.get() || life.is_closed() {
            break;
        }
        for _ in 0..rng.u32(0..4) {
            tokio::task::yield_now().await;
        }
        let n = life.any(&mut rng);
        let before = life.world.counts.borrow().get("appends");
        operations::append(life, &mut rng, n).await?;
        let more = life.world.counts.borrow().get("appends") - before;
        if !over.get() {
            // Another one may have been counted meanwhile.
            life.world.count_all("appends under migration", more.min(1));
        }
    }
    Ok(())
}

/// The actions of an operator while a run is in progress.
async fn operate(
    life: &Life<'_>,
    run: &Run,
    control: &RunControl,
    rng: &mut Rng,
    over: &Cell<bool>,
) -> Result<(), Wrong> {
    for _ in 0..rng.u32(0..30) {
        tokio::task::yield_now().await;
    }
    match run.operator {
        Operator::Looks => {}
        Operator::Pauses => {
            control.pause();
            for _ in 0..rng.u32(1..30) {
                tokio::task::yield_now().await;
            }
            life.world.count("pauses");
            control.unpause();
        }
        Operator::Cancels => {
            if !over.get() {
                life.world.count("cancels");
                control.cancel();
            }
        }
        Operator::Holds => {
            for _ in 0..3 {
                operations::hold(life, rng).await?;
            }
        }
        Operator::Opens => open_some(life, rng, false).await?,
        Operator::RunsToo => {
            let report = life.runner(Code::Corrected)?.run().await;
            if !over.get() && control.is_in_progress() && control.progress().run.is_some() {
                let state = report.state;
                if state.is_some() && !over.get() && !is_ended(control) {
                    return Err(Wrong::other(format!(
                        "a second run was not refused: {report}"
                    )));
                }
                life.world.count("second runs refused");
            }
        }
    }
    Ok(())
}

fn is_ended(control: &RunControl) -> bool {
    let state = control.progress().state;
    state.is_done() || state == RunState::Cancelled
}

/// What a report counts is what was migrated.
pub(super) fn reported(
    life: &Life<'_>,
    code: Code,
    report: &MigrationReport,
    opens: bool,
) -> Result<(), Wrong> {
    let mut model = life.world.model.borrow_mut();
    let Some(run) = report.run else {
        return Ok(());
    };
    let seen = model.migrated_by(run);
    life.world.count_all("processes migrated", seen as u64);
    let ended = matches!(
        report.state,
        Some(RunState::Done | RunState::DoneWithErrors | RunState::Cancelled)
    );
    if report.migrated > seen || (ended && !opens && report.migrated != seen) {
        return Err(Wrong::other(format!(
            "a run of {code:?} reports {} migrated, and {seen} were: {report}",
            report.migrated
        )));
    }
    if ended && report.migrated == seen {
        for stream in &mut model.streams {
            stream.is_durable(run);
        }
    }
    Ok(())
}

/// A run that is done leaves nothing behind of what it was for.
fn is_done(
    life: &Life<'_>,
    code: Code,
    report: &MigrationReport,
    before: &[Before],
) -> Result<(), Wrong> {
    if report.state != Some(RunState::Done) {
        return Ok(());
    }
    life.world.count("runs done");
    let model = life.world.model.borrow();
    for process in before {
        let stream = &model.streams[process.n];
        let target = code.target(process.version);
        let closed_since = !process.closed && stream.sum().closed;
        if stream.version() < Some(target) && !closed_since {
            return Err(Wrong::other(format!(
                "a run of {code:?} is done, but {} is at {:?}: {report}",
                stream.id(),
                stream.version()
            )));
        }
    }
    Ok(())
}

/// Without faults and other writers, only the failures that the rules require occur.
fn failed_by_rule(life: &Life<'_>, code: Code, report: &MigrationReport) -> Result<(), Wrong> {
    let model = life.world.model.borrow();
    let by_rule = |subject: &Subject, class: FailureClass| match class {
        FailureClass::Refused | FailureClass::Panic => {
            let found = model.streams.iter().find(|known| subject == known.id());
            found.is_some_and(|known| {
                let version = known.version();
                version.is_some_and(|version| !code.takes(version, &known.sum()))
            })
        }
        FailureClass::UnknownVersion | FailureClass::NewerThanProgram => code == Code::FirstSteps,
        _ => false,
    };
    if let Some(error) = report
        .errors
        .iter()
        .find(|error| !by_rule(&error.subject, error.class))
    {
        return Err(Wrong::other(format!(
            "a run of {code:?} failed without a reason ({}): {error}",
            error.class
        )));
    }
    Ok(())
}

/// A dry run changes nothing.
pub(super) async fn dry_run(life: &Life<'_>, code: Code, is_quiet: bool) -> Result<(), Wrong> {
    let rows = dump_all(&life.store).await;
    let report = life.runner(code)?.dry_run().await;
    let (Ok(before), Ok(after)) = (rows, dump_all(&life.store).await) else {
        return Ok(());
    };
    let differ = differences(&before, &after);
    if !report.dry_run || !differ.is_empty() {
        return Err(Wrong::other(format!(
            "a dry run changed {differ:?}: {report}"
        )));
    }
    match is_quiet {
        true => failed_by_rule(life, code, &report),
        false => Ok(()),
    }
}

/// Resumes the last run that did not end.
pub(super) async fn resume(life: &Life<'_>, is_quiet: bool) -> Result<(), Wrong> {
    check::touched(life.held()).await?;
    let Ok(runs) = life.runs()?.list().await else {
        return Ok(());
    };
    let is_undone = |of: RunId| runs.iter().any(|run| run.kind == RunKind::Undo { of });
    let left = runs.iter().rev().find(|run| {
        !run.state.is_done()
            && !is_undone(run.id)
            && run.kind != RunKind::Lazy
            && Code::of(&run.actor).is_some()
    });
    let Some(left) = left else {
        return Ok(());
    };
    let code = Code::of(&left.actor).unwrap_or(Code::Corrected);
    // A retry is for some of them only.
    let before = match left.kind {
        RunKind::Migrate => before(life, &left.plan.selection),
        _ => Vec::new(),
    };
    let aside = aside(life, &left.plan.selection);
    let report = life.runner(code)?.resume(left.id).await;
    if life.is_closed() {
        return Ok(());
    }
    check::touched(life.held()).await?;
    if report.run == Some(left.id) && report.state.is_some() {
        life.world.count("resumes");
    } else if is_quiet {
        return Err(Wrong::other(format!("a run cannot be resumed: {report}")));
    }
    // The model finds out by itself what an erasure has removed.
    if left.kind == RunKind::Erase {
        return Ok(());
    }
    reported(life, code, &report, true)?;
    unselected_processes_are_unchanged(life, &aside)?;
    is_done(life, code, &report, &before)
}

/// Tries again what failed, with corrected code.
pub(super) async fn retry(life: &Life<'_>) -> Result<(), Wrong> {
    let Ok(runs) = life.runs()?.list().await else {
        return Ok(());
    };
    let failed: Vec<RunId> = runs
        .iter()
        .filter(|run| run.state == RunState::DoneWithErrors)
        .filter(|run| matches!(run.kind, RunKind::Migrate | RunKind::Retry { .. }))
        .map(|run| run.id)
        .collect();
    let Some(of) = failed.last() else {
        return Ok(());
    };
    let report = life.runner(Code::Corrected)?.retry(*of, &[]).await;
    if life.is_closed() {
        return Ok(());
    }
    life.world.count("retries");
    check::touched(life.held()).await?;
    reported(life, Code::Corrected, &report, false)
}

/// Opens processes under their newest version, and appends to them.
pub(super) async fn open_some(life: &Life<'_>, rng: &mut Rng, is_quiet: bool) -> Result<(), Wrong> {
    let runner = life.runner(Code::Corrected)?;
    for _ in 0..rng.u32(1..5) {
        let n = life.any(rng);
        let (identity, version, held) = {
            let model = life.world.model.borrow();
            let stream = &model.streams[n];
            let Some(version) = stream.version() else {
                continue;
            };
            (stream.identity.clone(), version, stream.may_be_held())
        };
        let newest = version.newest();
        let opened = torture_of_version!(newest, W => {
            let opened: Result<Process<W>, _> = runner.open::<W>(identity).await;
            opened.map(|process| process.sequence())
        });
        match opened {
            Ok(_) => life.world.count("processes opened"),
            Err(error) if *error.kind() == ErrorKind::Corrupt => {
                return Err(Wrong::unread(
                    format!("process {n} cannot be opened"),
                    &error,
                ));
            }
            // Until the next run, which takes it again.
            Err(error) if matches!(error.kind(), ErrorKind::Undone { .. }) => {
                life.world.count("undone processes refused");
            }
            // The run that claims the store may not have selected this process.
            Err(error) if matches!(error.kind(), ErrorKind::WrongVersion { .. }) => {
                let claimed = life.runs()?.claimed_by().await;
                if is_quiet && !held && matches!(claimed, Ok(None)) {
                    return Err(Wrong::other(format!(
                        "process {n} was not migrated when it was opened: {error}"
                    )));
                }
            }
            Err(error) if is_quiet => {
                return Err(Wrong::other(format!(
                    "process {n} cannot be opened: {error}"
                )));
            }
            Err(_) => {}
        }
    }
    Ok(())
}
