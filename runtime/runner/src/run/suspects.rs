//! The processes that were in user code when a program ended, and what became of them.
//!
//! A process whose code ends the program would end every program that runs. It may do so
//! twice. The execution that takes over from a dead one reads which processes were in user
//! code (`in_user_code.rs`). In the transaction of its claim, each of them becomes a
//! suspect. Before the execution continues, it tries each suspect alone
//! (`drivers/suspects.rs`). If the program ends again, exactly one process was in user
//! code, and that process fails in all later executions with the same code.
//!
//! A process that was in user code by coincidence survives that, and is migrated. So does a
//! process whose code runs alone for a while before the program ends: somebody may have
//! killed the program. Some code ends the program only beside other code. Its process fails after
//! `MOST_DEATHS` ends of a program, which no coincidence explains.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use state_migration_core::store_api::claim::{self, Holder};
use state_migration_core::store_api::row;
use state_migration_core::{
    Error, EventStore, FailureClass, Fingerprint, Hop, MigrationError, MigrationRegistry, RowWrite,
    RunId, Stage, StreamId, VersionStatus, WorkflowId,
};

use crate::run::in_user_code::{Folder, InUserCode, LeftByDryRun};
use crate::run::run_log::is_dead;
use crate::run::{Plan, RunKind, Runs, Store, rows};
use crate::stages::history::HistoryRun;
use crate::user_code::threads::never_returned;

/// Number of ends of a program after which a process fails that was in user code each
/// time, although its code has returned whenever it was run alone. Programs that are
/// killed from outside soon after each start meet the same processes several times.
const MOST_DEATHS: u32 = 10;

/// A process that was in user code when a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspectRow {
    /// The run of the program that ended last.
    pub(crate) run: RunId,
    /// The fingerprint of the code of its route.
    pub(crate) code: Fingerprint,
    /// Number of times that the program ended.
    pub(crate) deaths: u32,
    pub(crate) verdict: Verdict,
    /// Whether its code ran alone for a while, and the program did not end at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) slow: bool,
}

/// What is known of a suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is to be tried alone.
    Suspected,
    /// Its code returned when it was tried alone.
    Survived,
    /// Its code did not return when it was tried alone.
    NeverReturned,
    /// Its code ended the program, and is not run again.
    EndedProgram,
}

/// The fingerprint of the code of a route.
pub(crate) fn code_of(hops: &[Hop]) -> Fingerprint {
    Fingerprint::of_bytes(&serde_json::to_vec(hops).unwrap_or_default())
}

impl SuspectRow {
    /// The row of a process that was in user code when the program of `run` ended.
    fn after_death(before: Option<Self>, run: RunId, code: Fingerprint) -> Self {
        let Some(before) = before else {
            return Self {
                run,
                code,
                deaths: 1,
                verdict: Verdict::Suspected,
                slow: false,
            };
        };
        let deaths = before.deaths.saturating_add(1);
        let verdict = match before.verdict {
            Verdict::Survived if deaths < MOST_DEATHS => Verdict::Suspected,
            // A program that is killed from outside is killed while slow code runs.
            Verdict::Suspected if before.slow && deaths < MOST_DEATHS => Verdict::Suspected,
            Verdict::NeverReturned => Verdict::NeverReturned,
            Verdict::Suspected | Verdict::Survived | Verdict::EndedProgram => Verdict::EndedProgram,
        };
        Self {
            run,
            code,
            deaths,
            verdict,
            slow: false,
        }
    }

    /// The failure of the process; `None` if its code may be run.
    fn failure(&self, stream: &StreamId) -> Option<MigrationError> {
        match self.verdict {
            Verdict::Suspected | Verdict::Survived => None,
            Verdict::NeverReturned => Some(never_returned(stream.clone())),
            Verdict::EndedProgram => Some(ended_program(stream)),
        }
    }
}

/// The failure of a process whose code ended the program.
fn ended_program(stream: &StreamId) -> MigrationError {
    MigrationError::new(
        Stage::Converting,
        FailureClass::EndedProgram,
        stream,
        "the program ended twice while its code worked on this process (abort, stack overflow, exit, or out of memory); correct the code and retry",
    )
}

const NOT_TRIED_YET: &str = "not tried: a program ended while its code worked on this process; the next run tries the process alone";

/// Whether a failure says only that the process was not tried.
pub(crate) fn is_not_tried(error: &MigrationError) -> bool {
    error.message == NOT_TRIED_YET
}

/// The failure of a process whose code a run tries alone, which only a run does.
fn not_tried_yet(stream: &StreamId) -> MigrationError {
    MigrationError::new(
        Stage::Converting,
        FailureClass::EndedProgram,
        stream,
        NOT_TRIED_YET,
    )
}

/// The processes whose code is not run, each with the code and the failure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decided(Arc<BTreeMap<StreamId, (Fingerprint, MigrationError)>>);

impl Decided {
    pub(crate) fn of(rows: impl IntoIterator<Item = (StreamId, SuspectRow)>) -> Self {
        Self::with(rows, SuspectRow::failure)
    }

    fn with(
        rows: impl IntoIterator<Item = (StreamId, SuspectRow)>,
        failure: impl Fn(&SuspectRow, &StreamId) -> Option<MigrationError>,
    ) -> Self {
        let decided = |(stream, row): (StreamId, SuspectRow)| {
            let failure = failure(&row, &stream)?;
            Some((stream, (row.code, failure)))
        };
        Self(Arc::new(rows.into_iter().filter_map(decided).collect()))
    }

    /// What is known to a program that only reads and must not end. It runs no code that may
    /// end it: neither that of a suspect nor of a process that a dead execution, or a dead
    /// dry run with this code, had in user code.
    pub(crate) async fn for_reading(
        store: &Store,
        migrations: &MigrationRegistry,
    ) -> Result<Self, Error> {
        let mut rows = Vec::new();
        let linked = linked_code(migrations).to_string();
        for left in Folder::of(store.scratch_folder()).left_by_dry_runs()? {
            if left.code == linked {
                let code = |at: &WorkflowId| match migrations.version_status(at) {
                    VersionStatus::Behind(route) => Some(code_of(&route.baseline_hops())),
                    _ => None,
                };
                rows.extend(first_deaths(store, &left, RunId::random(), code).await?);
            }
        }
        // Where a process has several rows, the last one counts.
        rows.extend(all(store).await?);
        let holder = claim::holder(&**store).await?;
        if let Some(dead) = holder.filter(|holder| is_dead(holder, store)) {
            rows.extend(left_by(store, &dead).await?);
        }
        Ok(Self::with(rows, |row, stream| match row.verdict {
            Verdict::Suspected => Some(not_tried_yet(stream)),
            _ => row.failure(stream),
        }))
    }

    /// The failure of a process if it is decided for this code. Other code is run.
    pub(crate) fn failure(&self, stream: &StreamId, code: Fingerprint) -> Option<MigrationError> {
        let (_, failure) = self.0.get(stream).filter(|(of, _)| *of == code)?;
        Some(failure.clone())
    }
}

fn read(stream: &StreamId, row: bytes::Bytes) -> Result<SuspectRow, Error> {
    row::read(row, format_args!("the record of {stream} as a suspect"))
}

/// All suspects of a store.
pub(crate) async fn all(store: &Store) -> Result<Vec<(StreamId, SuspectRow)>, Error> {
    const PAGE: usize = 512;
    let mut found: Vec<(StreamId, SuspectRow)> = Vec::new();
    let mut after = None;
    loop {
        let page = store.rows(rows::SUSPECTS, after.as_deref(), PAGE).await?;
        let at_end = page.len() < PAGE;
        after = page.last().map(|(key, _)| key.to_vec());
        for (key, row) in page {
            let stream = rows::suspect_stream(&key)?;
            let row = read(&stream, row)?;
            found.push((stream, row));
        }
        if at_end {
            return Ok(found);
        }
    }
}

/// One suspect of a store.
pub(crate) async fn one(store: &Store, stream: &StreamId) -> Result<Option<SuspectRow>, Error> {
    let row = crate::run::run_log::row(store, &rows::suspect(stream)).await?;
    row.map(|row| read(stream, row)).transpose()
}

/// The processes that a dead execution had in user code, as suspects. The claim that takes
/// over from it writes their rows.
pub(crate) async fn left_by(
    store: &Store,
    holder: &Holder,
) -> Result<Vec<(StreamId, SuspectRow)>, Error> {
    let in_user_code = Folder::of(store.scratch_folder()).left_by(holder.execution)?;
    if in_user_code.is_empty() {
        return Ok(Vec::new());
    }
    let Some((plan, kind)) = plan_of(store, holder.run).await? else {
        return Ok(Vec::new());
    };
    let is_retry = matches!(kind, RunKind::Retry { .. });
    let is_history = matches!(kind, RunKind::Undo { .. } | RunKind::Redo { .. });
    // A retry is a new attempt, whatever earlier runs have found out. If the program ends
    // again, nothing of that is forgotten.
    let counts = |row: &SuspectRow| {
        !is_retry || row.run == holder.run || row.verdict == Verdict::EndedProgram
    };
    let mut suspects = Vec::new();
    for stream in in_user_code {
        // A process that has failed in this run keeps its failure, and its code may
        // still be running on an abandoned thread.
        let failure = rows::failure(holder.run, &stream);
        if crate::run::run_log::row(store, &failure).await?.is_some() {
            continue;
        }
        // A process that cannot be read fails when the run reaches it.
        let Ok(Some(head)) = store.head(&stream).await else {
            continue;
        };
        let code = match is_history {
            true => Some(HistoryRun::code_of(&plan)),
            false => code_at(&plan, &head.workflow_id),
        };
        let Some(code) = code else {
            continue;
        };
        let before = one(store, &stream).await?;
        let before = before.filter(|row| row.code == code && counts(row));
        let row = SuspectRow::after_death(before, holder.run, code);
        suspects.push((stream, row));
    }
    Ok(suspects)
}

/// The processes that a dead dry run had in user code, as suspects of a run, unless a run
/// has found out something about them with the same code.
async fn first_deaths(
    store: &Store,
    left: &LeftByDryRun,
    run: RunId,
    code_at: impl Fn(&WorkflowId) -> Option<Fingerprint>,
) -> Result<Vec<(StreamId, SuspectRow)>, Error> {
    let mut suspects = Vec::new();
    for stream in &left.streams {
        // A process that cannot be read fails when the run reaches it.
        let Ok(Some(head)) = store.head(stream).await else {
            continue;
        };
        let Some(code) = code_at(&head.workflow_id) else {
            continue;
        };
        let before = one(store, stream).await?;
        if before.is_none_or(|before| before.code != code) {
            suspects.push((stream.clone(), SuspectRow::after_death(None, run, code)));
        }
    }
    Ok(suspects)
}

/// What dead dry runs had in user code, for the claim of a run.
pub(crate) struct DeadDryRuns {
    folder: Folder,
    left: Vec<LeftByDryRun>,
}

impl DeadDryRuns {
    pub(crate) fn of(store: &Store) -> Result<Self, Error> {
        let folder = Folder::of(store.scratch_folder());
        let left = folder.left_by_dry_runs()?;
        Ok(Self { folder, left })
    }

    /// Those of a rehearsal, which leaves them to the next run.
    pub(crate) fn none(store: &Store) -> Self {
        Self {
            folder: Folder::of(store.scratch_folder()),
            left: Vec::new(),
        }
    }

    /// The suspects of a run with this plan. Whether their code is that of the dry run does
    /// not matter: a process that was wrongly suspected is migrated by its trial.
    pub(crate) async fn suspects(
        &self,
        store: &Store,
        run: RunId,
        plan: &Plan,
    ) -> Result<Vec<(StreamId, SuspectRow)>, Error> {
        let mut suspects = Vec::new();
        for left in &self.left {
            let code = |at: &WorkflowId| code_at(plan, at);
            suspects.extend(first_deaths(store, left, run, code).await?);
        }
        Ok(suspects)
    }

    /// Forgets them, after the claim has written its suspects.
    pub(crate) fn forget(&self) {
        for left in &self.left {
            self.folder.remove_dry_run(left);
        }
    }
}

/// The file that names the processes which a dry run has in user code; `None` if the store
/// is open only for reading.
pub(crate) fn file_of_dry_run(
    store: &Store,
    migrations: &MigrationRegistry,
) -> Result<Option<Arc<InUserCode>>, Error> {
    if !store.is_single_writer() {
        return Ok(None);
    }
    Folder::of(store.scratch_folder()).create_for_dry_run(linked_code(migrations))
}

/// The fingerprint of the code of all routes of a program.
fn linked_code(migrations: &MigrationRegistry) -> Fingerprint {
    let hops: Vec<Hop> = migrations
        .routes()
        .flat_map(|route| route.baseline_hops())
        .collect();
    code_of(&hops)
}

pub(crate) fn write(stream: &StreamId, row: &SuspectRow) -> Result<RowWrite, Error> {
    Ok(RowWrite::put(rows::suspect(stream), row::write(row)?))
}

/// The plan of the last execution of a run, and the kind of the run.
async fn plan_of(store: &Store, run: RunId) -> Result<Option<(Plan, RunKind)>, Error> {
    let Some(runs) = Runs::of(store as &dyn EventStore) else {
        return Ok(None);
    };
    let Some(record) = runs.get(run).await? else {
        return Ok(None);
    };
    let executions = runs.executions(run).await?;
    let plan = record.last_plan(&executions).clone();
    Ok(Some((plan, record.kind)))
}

/// The fingerprint of the code that a plan has for the processes at a version.
fn code_at(plan: &Plan, version: &WorkflowId) -> Option<Fingerprint> {
    let mut routes = plan.routes.iter();
    let route = routes.find(|route| route.from == *version)?;
    Some(code_of(&route.hops))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn run(n: u128) -> RunId {
        RunId::from_uuid(Uuid::from_u128(n))
    }

    fn verdict_after(before: Verdict, deaths: u32) -> (Verdict, u32) {
        verdict_after_one(before, deaths, false)
    }

    fn verdict_after_one(before: Verdict, deaths: u32, slow: bool) -> (Verdict, u32) {
        let before = SuspectRow {
            run: run(1),
            code: Fingerprint::default(),
            deaths,
            verdict: before,
            slow,
        };
        let row = SuspectRow::after_death(Some(before), run(2), Fingerprint::default());
        assert_eq!(row.run, run(2));
        (row.verdict, row.deaths)
    }

    #[test]
    fn a_process_fails_after_its_second_death_unless_it_has_survived_alone() {
        let first = SuspectRow::after_death(None, run(1), Fingerprint::default());
        assert_eq!((first.verdict, first.deaths), (Verdict::Suspected, 1));
        let ended = Verdict::EndedProgram;
        assert_eq!(verdict_after(Verdict::Suspected, 1), (ended, 2));
        assert_eq!(
            verdict_after(Verdict::Survived, 1),
            (Verdict::Suspected, 2),
            "in user code by coincidence"
        );
        let last = MOST_DEATHS - 1;
        assert_eq!(
            verdict_after(Verdict::Survived, last - 1),
            (Verdict::Suspected, last)
        );
        assert_eq!(verdict_after(Verdict::Survived, last), (ended, MOST_DEATHS));
        let slow = |deaths| verdict_after_one(Verdict::Suspected, deaths, true);
        assert_eq!(slow(1), (Verdict::Suspected, 2), "killed from outside");
        assert_eq!(slow(last), (ended, MOST_DEATHS));
        assert_eq!(verdict_after(ended, 2), (ended, 3));
        let stuck = Verdict::NeverReturned;
        assert_eq!(verdict_after(stuck, 1), (stuck, 2));
    }

    #[test]
    fn a_decision_is_for_one_code() {
        let stream = StreamId::new("process/t/p").unwrap();
        let (one, two) = (Fingerprint::of_bytes(b"1"), Fingerprint::of_bytes(b"2"));
        let mut row = SuspectRow::after_death(None, run(1), one);
        let decided = |row: &SuspectRow| Decided::of([(stream.clone(), row.clone())]);
        assert_eq!(decided(&row).failure(&stream, one), None);
        row = SuspectRow::after_death(Some(row), run(1), one);
        let failure = decided(&row).failure(&stream, one).unwrap();
        assert_eq!(failure.class, FailureClass::EndedProgram);
        assert_eq!(decided(&row).failure(&stream, two), None);
    }

    #[test]
    fn the_row_on_disk_is_this() {
        let row = SuspectRow::after_death(None, run(0x0102), Fingerprint::of_bytes(b"code"));
        let written = row::write(&row).unwrap();
        let code = row.code.to_string();
        assert_eq!(
            std::str::from_utf8(&written[1..]).unwrap(),
            format!(
                r#"{{"run":"00000000-0000-0000-0000-000000000102","code":"{code}","deaths":1,"verdict":"suspected"}}"#
            )
        );
        assert_eq!(row::read::<SuspectRow>(written.into(), "it").unwrap(), row);
    }
}
