//! What undo, redo and verify do with one process: they replay its whole history.
//!
//! The history is replayed in one or two lines. The recorded line takes each baseline as it
//! is. The corrected line computes each baseline again with the code of this program. User
//! code runs here. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use state_migration_core::baseline;
use state_migration_core::fold::{AnyState, EventView};
use state_migration_core::redaction::{self, Lists};
use state_migration_core::{
    Baseline, BaselineKind, Erasure, Error, Event, FailureClass, Fingerprint, Head, Hop, MIGRATED,
    Migration, MigrationError, MigrationRegistry, NewEvent, RunId, SkippedBy, Stage, StreamId,
    VersionCode, VersionStatus, WorkflowId,
};

use crate::rewritten::StateAfter;
use crate::run::totals::RunTotals;
use crate::run::{Plan, RunKind, suspects};
use crate::run_context::RunContext;
use crate::stages::convert::{self, Converted};
use crate::stages::due;
use crate::stages::fold::{self, RunningFold};
use crate::stages::scan::Scanned;
use crate::user_code::panics::{DropGuarded, WAY_OUT, catch, short};
use crate::user_code::round_trip;

/// Maximum number of events of a process that one commit removes.
const EVENTS_AT_ONCE: u64 = 16_384;

/// The removal of events of a process.
#[derive(Debug, Clone)]
pub(crate) struct Erased {
    pub(crate) erasure: Erasure,
    /// Whether nothing is left to remove afterwards.
    pub(crate) is_complete: bool,
}

impl Erased {
    /// Number of events that are removed.
    pub(crate) fn events(&self) -> u64 {
        self.erasure.before - self.erasure.head.first_kept
    }
}

/// A run over the history of processes.
#[derive(Debug)]
pub(crate) struct HistoryRun {
    kind: RunKind,
    /// The run whose migrations it is about; `None`: all runs.
    of: Option<RunId>,
    /// The plan of that run, if it is known.
    plan: Option<Arc<Plan>>,
    id: RunId,
    migrations: Arc<MigrationRegistry>,
    codes: BTreeMap<WorkflowId, VersionCode>,
    /// The fingerprint of all code that may run.
    pub(crate) code: Fingerprint,
    /// Whether nothing is written.
    dry: bool,
}

/// The result for one process.
pub(crate) enum Outcome {
    /// A new baseline.
    Changed(Box<Converted>),
    Verified,
    Skipped(SkippedBy),
}

impl HistoryRun {
    /// `None` for a run that migrates.
    pub(crate) fn of(run: &RunContext, id: RunId) -> Option<Self> {
        let history = Self::of_kind(&run.kind, id, &run.migrations, run.dry)?;
        Some(Self {
            plan: run.history_of.clone(),
            ..history
        })
    }

    /// The same from its parts.
    pub(crate) fn of_kind(
        kind: &RunKind,
        id: RunId,
        migrations: &Arc<MigrationRegistry>,
        dry: bool,
    ) -> Option<Self> {
        let of = match kind {
            RunKind::Undo { of } | RunKind::Redo { of } => Some(*of),
            RunKind::Verify { of } => *of,
            RunKind::Erase => None,
            RunKind::Migrate | RunKind::Retry { .. } | RunKind::Lazy => return None,
        };
        let all = migrations.migrations().iter().chain(migrations.undos());
        let versions = all.flat_map(|migration| [migration.source(), migration.target()]);
        let codes = versions.filter_map(|at| Some((at.clone(), migrations.code_of(at)?)));
        let routes = migrations.routes().flat_map(|route| route.baseline_hops());
        let routes: Vec<Hop> = routes.collect();
        Some(Self {
            kind: kind.clone(),
            of,
            plan: None,
            id,
            migrations: migrations.clone(),
            codes: codes.collect(),
            code: suspects::code_of(&routes),
            dry,
        })
    }

    /// The code of a plan, as in [`code`](Self::code).
    pub(crate) fn code_of(plan: &Plan) -> Fingerprint {
        let hops = plan.routes.iter().flat_map(|route| route.hops.clone());
        let hops: Vec<Hop> = hops.collect();
        suspects::code_of(&hops)
    }

    /// Whether it writes baselines.
    pub(crate) fn writes(&self) -> bool {
        !matches!(self.kind, RunKind::Verify { .. })
    }

    /// Whether a process is skipped because of its head alone.
    pub(crate) fn skips(&self, head: &Head) -> Option<SkippedBy> {
        let mut skipped = SkippedBy::default();
        if self.migrations.newest(head.workflow_id.name()).is_none() {
            skipped.other_workflow = 1;
        } else if head.baseline.is_none() {
            // It was born at its version.
            skipped.never_migrated = 1;
        } else if head.held && self.writes() {
            skipped.held = 1;
        } else if self.erases() && Some(head.first_kept) >= head.baseline {
            skipped.already_there = 1;
        } else {
            return None;
        }
        Some(skipped)
    }

    /// Whether it removes events, for which it needs heads alone.
    pub(crate) fn erases(&self) -> bool {
        self.kind == RunKind::Erase
    }

    /// The failure of a process that is newer than this program: its program may need the
    /// events.
    pub(crate) fn newer(&self, stream: &StreamId, head: &Head) -> Option<MigrationError> {
        let version = &head.workflow_id;
        match self.migrations.version_status(version) {
            VersionStatus::NoRoute => {
                let failed = due::no_route(&self.migrations, stream.clone(), version);
                Some(failed).filter(|it| it.class == FailureClass::NewerThanProgram)
            }
            _ => None,
        }
    }

    /// What is removed of a process that is not skipped, in one commit.
    pub(crate) fn erasure(&self, stream: &StreamId, head: &Head) -> Erased {
        let baseline = head.baseline.unwrap_or(head.first_kept);
        let most = match self.dry {
            true => u64::MAX,
            false => EVENTS_AT_ONCE,
        };
        let before = baseline.min(head.first_kept.saturating_add(most));
        Erased {
            erasure: Erasure {
                stream: stream.clone(),
                head: head.clone(),
                before,
            },
            is_complete: before == baseline,
        }
    }

    /// Whether the run may have migrated a process to a version before this one. At a version
    /// that the run migrates from, it has not, or was undone.
    fn may_be_before(&self, version: &WorkflowId) -> bool {
        let routes = self.plan.iter().flat_map(|plan| &plan.routes);
        let mut routes = routes.filter(|route| route.from.name() == version.name());
        match routes.next() {
            None => false,
            Some(first) => first.from != *version && routes.all(|it| it.from != *version),
        }
    }

    fn is_of(&self, run: RunId) -> bool {
        self.of.is_none_or(|of| of == run)
    }

    fn code_at(&self, stream: &StreamId, at: &WorkflowId) -> Result<&VersionCode, MigrationError> {
        self.codes.get(at).ok_or_else(|| {
            MigrationError::new(
                Stage::Routing,
                FailureClass::MissingRoute,
                stream,
                format!("no migration from or to {at} is linked; use a program that has one"),
            )
        })
    }

    /// The linked migrations along recorded hops.
    fn hops(
        &self,
        stream: &StreamId,
        from: &WorkflowId,
        hops: &[Hop],
    ) -> Result<Vec<&Migration>, MigrationError> {
        let mut at = from.clone();
        let mut found = Vec::with_capacity(hops.len());
        for hop in hops {
            let to = WorkflowId::new(at.name().to_owned(), hop.to.clone());
            let Some(edge) = self.migrations.edge(&at, &to) else {
                return Err(MigrationError::new(
                    Stage::Routing,
                    FailureClass::MissingRoute,
                    stream,
                    format!(
                        "the migration {at}->{} of its history is not linked; use a program that has it",
                        to.version()
                    ),
                ));
            };
            found.push(edge);
            at = to;
        }
        Ok(found)
    }

    /// The way back along hops: for each of them from the last on, the undo function, or
    /// nothing where the hop changed only the version. `None`: there is no way back.
    fn way_back(&self, from: &WorkflowId, hops: &[Hop]) -> Option<Vec<&Migration>> {
        let mut stops = vec![from.clone()];
        let to = |hop: &Hop| WorkflowId::new(from.name().to_owned(), hop.to.clone());
        stops.extend(hops.iter().map(to));
        let mut back = Vec::new();
        for two in stops.windows(2).rev() {
            let (before, after) = (&two[0], &two[1]);
            match self.migrations.edge(after, before) {
                Some(undo) => back.push(undo),
                None if self.migrations.edge(before, after)?.is_identity() => {}
                None => return None,
            }
        }
        Some(back)
    }

    /// Decides a process whose whole history was read.
    pub(crate) fn process(&self, scanned: &Scanned) -> Result<Outcome, MigrationError> {
        let Scanned {
            stream,
            head,
            events,
            ..
        } = scanned;
        let mut baselines = Vec::new();
        for event in events.iter().filter(|event| event.event_type == MIGRATED) {
            baselines.push(parsed(
                stream,
                event.sequence,
                event.schema_version,
                &event.payload,
            )?);
        }
        let first = baselines.first().map(Baseline::source);
        let first = first.unwrap_or_else(|| head.workflow_id.clone());
        let is_redo = |it: &Baseline| matches!(it.kind, BaselineKind::Redo { .. });
        let corrects = self.corrects() || baselines.iter().any(is_redo);
        let is_whole = head.first_kept == 1;
        let mut replay = Replay::begin(self, stream, first, corrects, is_whole)?;
        let mut baselines = baselines.into_iter();
        for event in events {
            let is_baseline = event.event_type == MIGRATED;
            let baseline = baselines.by_ref().take(usize::from(is_baseline)).next();
            replay.apply(
                self,
                HistoryEvent::new(event.sequence, event.into(), baseline),
            )?;
        }
        replay.finish(self, head)
    }

    /// Whether states are computed again from the first event on.
    pub(crate) fn corrects(&self) -> bool {
        matches!(self.kind, RunKind::Redo { .. })
    }
}

fn parsed(
    stream: &StreamId,
    sequence: u64,
    schema_version: u32,
    payload: &[u8],
) -> Result<Baseline, MigrationError> {
    baseline::parse(schema_version, payload).map_err(|bad| {
        let error = bad.at(stream, sequence);
        MigrationError {
            sequence: Some(sequence),
            ..MigrationError::of(Stage::Reading, stream, &error)
        }
    })
}

/// An event of a history.
pub(crate) struct HistoryEvent<'a> {
    sequence: u64,
    view: EventView<'a>,
    baseline: Option<Baseline>,
}

impl<'a> HistoryEvent<'a> {
    fn new(sequence: u64, view: EventView<'a>, baseline: Option<Baseline>) -> Self {
        Self {
            sequence,
            view,
            baseline,
        }
    }

    /// Whether it corrects a state, so that the states before it are computed again.
    pub(crate) fn is_redo(&self) -> bool {
        let kind = self.baseline.as_ref().map(|baseline| &baseline.kind);
        matches!(kind, Some(BaselineKind::Redo { .. }))
    }

    /// An event of a process that is too large for a page.
    pub(crate) fn of(event: &'a Event) -> Result<Self, MigrationError> {
        let baseline = match event.event_type == MIGRATED {
            true => Some(parsed(
                &event.stream_id,
                event.sequence,
                event.schema_version,
                &event.payload,
            )?),
            false => None,
        };
        Ok(Self::new(event.sequence, event.into(), baseline))
    }
}

/// A migration that a line has taken and not undone.
struct Level {
    run: RunId,
    sequence: u64,
    /// The version before it.
    from: WorkflowId,
    route: Vec<Hop>,
    /// The fold before it; `None` if the events before it were erased.
    below: Option<RunningFold>,
    /// Number of the process's own events since.
    events: u64,
}

/// The state of a process, as one line of its history gives it.
struct Line {
    version: WorkflowId,
    /// `None` if the events so far were erased.
    fold: Option<RunningFold>,
    levels: Vec<Level>,
}

impl Line {
    fn begin(
        run: &HistoryRun,
        stream: &StreamId,
        first: &WorkflowId,
        is_whole: bool,
    ) -> Result<Self, MigrationError> {
        let fold = match is_whole {
            true => Some(start(run.code_at(stream, first)?, stream)?),
            false => None,
        };
        Ok(Self {
            fold,
            version: first.clone(),
            levels: Vec::new(),
        })
    }

    fn apply(&mut self, stream: &StreamId, event: &HistoryEvent<'_>) -> Result<(), MigrationError> {
        match &mut self.fold {
            Some(fold) => fold::apply(fold, stream, event.sequence, event.view)?,
            None => return Err(erased(stream, event.sequence)),
        }
        if let Some(level) = self.levels.last_mut() {
            level.events += 1;
        }
        Ok(())
    }

    /// A copy of the fold.
    fn fork(&self, stream: &StreamId) -> Result<Option<RunningFold>, MigrationError> {
        self.fold
            .as_ref()
            .map(|fold| fold::fork(fold, stream))
            .transpose()
    }

    fn push(&mut self, sequence: u64, baseline: &Baseline, below: Option<RunningFold>) {
        self.levels.push(Level {
            run: baseline.run,
            sequence,
            from: self.version.clone(),
            route: baseline.route.clone(),
            below,
            events: 0,
        });
    }

    /// Removes the migration of a run and those after it.
    fn pop(&mut self, run: RunId) -> Option<Level> {
        let at = self.levels.iter().rposition(|level| level.run == run)?;
        let events: u64 = self.levels[at..].iter().map(|level| level.events).sum();
        let removed = self.levels.drain(at..).next();
        if let Some(below) = self.levels.last_mut() {
            below.events += events;
        }
        removed
    }

    /// Continues with a fold of a version.
    fn continue_at(&mut self, version: WorkflowId, fold: Option<RunningFold>) {
        (self.version, self.fold) = (version, fold);
    }
}

/// Starts a fold of a version.
fn start(code: &VersionCode, stream: &StreamId) -> Result<RunningFold, MigrationError> {
    match catch(|| code.fold()) {
        Ok(fold) => Ok(DropGuarded::new(fold)),
        Err(bad) => Err(MigrationError::new(
            Stage::Folding,
            bad.class,
            stream,
            bad.message + WAY_OUT,
        )),
    }
}

/// The state of a fold that has come to its end.
fn state_of(stream: &StreamId, fold: RunningFold) -> Result<DropGuarded<AnyState>, MigrationError> {
    match catch(|| fold.take().map(|fold| fold.finish())) {
        Ok(state) => Ok(DropGuarded::new(state)),
        Err(bad) => Err(MigrationError::new(
            Stage::Folding,
            bad.class,
            stream,
            bad.message + WAY_OUT,
        )),
    }
}

/// A fold that continues from a converted state.
fn fold_from(
    code: &VersionCode,
    stream: &StreamId,
    state: DropGuarded<AnyState>,
) -> Result<RunningFold, MigrationError> {
    let mut fold = start(code, stream)?;
    let begun = catch(|| match (fold.get_mut(), state.take()) {
        (Some(fold), Some(state)) => fold.begin_with(state).map_err(|error| error.to_string()),
        _ => Err("the conversion left no state".to_owned()),
    });
    let (class, message) = match begun {
        Ok(Ok(())) => return Ok(fold),
        Ok(Err(message)) => (FailureClass::UnreadableState, message),
        Err(bad) => (bad.class, bad.message),
    };
    Err(MigrationError::new(
        Stage::Converting,
        class,
        stream,
        message + WAY_OUT,
    ))
}

/// The state of a fold as JSON.
fn encoded(
    code: &VersionCode,
    stream: &StreamId,
    fold: RunningFold,
) -> Result<String, MigrationError> {
    try_encoded(code, stream, fold)?.ok_or_else(|| {
        let message = format!("it is not known how `{}` is serialized", code.state_type());
        unserializable(code, stream, FailureClass::Unserializable, &message)
    })
}

/// The state as JSON; `None` if it is not known how it is serialized.
fn try_encoded(
    code: &VersionCode,
    stream: &StreamId,
    fold: RunningFold,
) -> Result<Option<String>, MigrationError> {
    let state = state_of(stream, fold)?;
    let failed = |class, message: &str| unserializable(code, stream, class, message);
    let json = catch(|| match state.get().map(|state| code.encode(state)) {
        Some(json) => json.transpose().map_err(|error| short(error.to_string())),
        None => Err("the fold left no state".to_owned()),
    });
    match json {
        Ok(Ok(json)) => Ok(json.map(|json| String::from_utf8_lossy(&json).into_owned())),
        Ok(Err(message)) => Err(failed(FailureClass::Unserializable, &message)),
        Err(bad) => Err(failed(bad.class, &bad.message)),
    }
}

fn unserializable(
    code: &VersionCode,
    stream: &StreamId,
    class: FailureClass,
    message: &str,
) -> MigrationError {
    let message = format!("{}: {message}{WAY_OUT}", code.version());
    MigrationError::new(Stage::Encoding, class, stream, message)
}

fn erased(stream: &StreamId, sequence: u64) -> MigrationError {
    MigrationError {
        subject: stream.into(),
        stage: Stage::Reading,
        class: FailureClass::Erased,
        sequence: Some(sequence),
        message: format!(
            "the events before event {sequence} were erased, so this state cannot be computed again"
        ),
    }
}

/// A replay of the history of a process.
pub(crate) struct Replay {
    stream: StreamId,
    /// The version before the first event that is left, if events before it were erased.
    erased_to: Option<WorkflowId>,
    recorded: Line,
    corrected: Option<Line>,
    /// Whether the run was undone since it migrated the process.
    is_undone: bool,
    /// Whether a state was corrected since the last migration.
    is_redone: bool,
    /// Number of baselines that were verified.
    verified: u64,
    differences: Vec<MigrationError>,
}

impl Replay {
    /// Begins before the first event, at the version that it has. A history is not whole if
    /// its first events were erased.
    pub(crate) fn begin(
        run: &HistoryRun,
        stream: &StreamId,
        first: WorkflowId,
        corrects: bool,
        is_whole: bool,
    ) -> Result<Self, MigrationError> {
        let line = || Line::begin(run, stream, &first, is_whole);
        let (recorded, corrected) = (line()?, corrects.then(line).transpose()?);
        Ok(Self {
            stream: stream.clone(),
            erased_to: (!is_whole).then_some(first),
            recorded,
            corrected,
            is_undone: false,
            is_redone: false,
            verified: 0,
            differences: Vec::new(),
        })
    }

    /// The state so far, as the code of this program gives it; `None` if the events were
    /// erased, or if it is not known how the state is serialized.
    pub(crate) fn state(
        &self,
        run: &HistoryRun,
        sequence: u64,
    ) -> Result<Option<StateAfter>, MigrationError> {
        let Some(line) = &self.corrected else {
            return Ok(None);
        };
        let Some(fold) = line.fork(&self.stream)? else {
            return Ok(None);
        };
        let code = run.code_at(&self.stream, &line.version)?;
        let state = try_encoded(code, &self.stream, fold)?;
        Ok(state.map(|state| StateAfter {
            sequence,
            at: line.version.to_string(),
            state: state.into(),
        }))
    }

    /// Replays the next event.
    pub(crate) fn apply(
        &mut self,
        run: &HistoryRun,
        event: HistoryEvent<'_>,
    ) -> Result<(), MigrationError> {
        let Some(baseline) = &event.baseline else {
            if self.recorded.fold.is_none() {
                return Ok(());
            }
            self.recorded.apply(&self.stream, &event)?;
            if let Some(corrected) = &mut self.corrected {
                corrected.apply(&self.stream, &event)?;
            }
            return Ok(());
        };
        if self.recorded.fold.is_none() {
            return self.begin_at(run, &event, baseline);
        }
        if baseline.source() != self.recorded.version {
            let message = format!(
                "the `{MIGRATED}` event {} of stream {} leads from {}, but the process was at {}; restore the event from a backup (nothing was changed)",
                event.sequence,
                self.stream,
                baseline.source(),
                self.recorded.version
            );
            return Err(MigrationError::of(
                Stage::Reading,
                &self.stream,
                &Error::corrupt(message),
            ));
        }
        match baseline.kind {
            BaselineKind::Undo { of, exact } => self.undo(run, &event, baseline, of, exact),
            BaselineKind::Redo { sequence, .. } => self.redo(run, &event, baseline, sequence),
            _ => self.migrate(run, &event, baseline),
        }
    }

    /// Begins with the first baseline whose events below were erased. Its state is taken as
    /// it is.
    fn begin_at(
        &mut self,
        run: &HistoryRun,
        event: &HistoryEvent<'_>,
        baseline: &Baseline,
    ) -> Result<(), MigrationError> {
        if self.verifies(run, baseline) {
            self.compare(
                run,
                event,
                baseline,
                Err(erased(&self.stream, event.sequence)),
            );
        }
        let migrated_by = match baseline.kind {
            BaselineKind::Undo { of, .. } => {
                self.is_undone |= run.is_of(of);
                None
            }
            BaselineKind::Redo { of, .. } => Some(of),
            _ => Some(baseline.run),
        };
        let target = baseline.target();
        for line in std::iter::once(&mut self.recorded).chain(&mut self.corrected) {
            line.version = baseline.source();
            if let Some(migrated_by) = migrated_by {
                line.push(event.sequence, baseline, None);
                line.levels[0].run = migrated_by;
            }
            let mut fold = start(run.code_at(&self.stream, &target)?, &self.stream)?;
            fold::apply(&mut fold, &self.stream, event.sequence, event.view)?;
            line.continue_at(target.clone(), Some(fold));
        }
        Ok(())
    }

    fn verifies(&self, run: &HistoryRun, baseline: &Baseline) -> bool {
        !run.writes() && run.is_of(baseline.run)
    }

    fn migrate(
        &mut self,
        run: &HistoryRun,
        event: &HistoryEvent<'_>,
        baseline: &Baseline,
    ) -> Result<(), MigrationError> {
        let stream = &self.stream;
        if run.is_of(baseline.run) {
            self.is_undone = false;
        }
        self.is_redone = false;
        let target = baseline.target();
        let converted = |fold: RunningFold| {
            let hops = run.hops(stream, &baseline.source(), &baseline.route)?;
            let state = convert::along(stream, hops, state_of(stream, fold)?)?;
            fold_from(run.code_at(stream, &target)?, stream, state)
        };
        let below = self.recorded.fork(stream)?;
        if self.verifies(run, baseline) {
            let expected = match self.recorded.fork(stream)? {
                Some(fold) => converted(fold),
                None => Err(erased(stream, event.sequence)),
            };
            self.compare(run, event, baseline, expected);
        }
        let stream = &self.stream;
        if let Some(corrected) = &mut self.corrected {
            let below = corrected.fork(stream)?;
            corrected.push(event.sequence, baseline, below);
            let fold = corrected.fold.take();
            let fold = fold.ok_or_else(|| erased(stream, event.sequence))?;
            let hops = run.hops(stream, &baseline.source(), &baseline.route)?;
            let state = convert::along(stream, hops, state_of(stream, fold)?)?;
            let fold = fold_from(run.code_at(stream, &target)?, stream, state)?;
            corrected.continue_at(target.clone(), Some(fold));
        }
        self.recorded.push(event.sequence, baseline, below);
        self.restore(run, event, target)
    }

    /// Continues the recorded line with the state of a baseline.
    fn restore(
        &mut self,
        run: &HistoryRun,
        event: &HistoryEvent<'_>,
        target: WorkflowId,
    ) -> Result<(), MigrationError> {
        let mut fold = start(run.code_at(&self.stream, &target)?, &self.stream)?;
        fold::apply(&mut fold, &self.stream, event.sequence, event.view)?;
        self.recorded.continue_at(target, Some(fold));
        Ok(())
    }

    fn undo(
        &mut self,
        run: &HistoryRun,
        event: &HistoryEvent<'_>,
        baseline: &Baseline,
        of: RunId,
        exact: bool,
    ) -> Result<(), MigrationError> {
        let stream = self.stream.clone();
        let target = baseline.target();
        let expected = |line: &mut Line| -> Result<RunningFold, MigrationError> {
            let now = line.fold.take();
            let level = line.pop(of);
            if exact {
                let below = level.and_then(|level| level.below);
                return below.ok_or_else(|| erased(&stream, event.sequence));
            }
            let now = now.ok_or_else(|| erased(&stream, event.sequence))?;
            let hops = run.hops(&stream, &baseline.source(), &baseline.route);
            let state = convert::along(&stream, hops?, state_of(&stream, now)?)?;
            fold_from(run.code_at(&stream, &target)?, &stream, state)
        };
        let verifies = self.verifies(run, baseline);
        let is_redone = std::mem::take(&mut self.is_redone);
        let levels = self.recorded.levels.len();
        let undone: Vec<u64> = self.recorded.levels.iter().map(|it| it.sequence).collect();
        let recorded = expected(&mut self.recorded);
        if exact {
            // Nothing of the states that were undone is left.
            let left = self.recorded.levels.len().min(levels);
            let undone = &undone[left..];
            self.differences.retain(|difference| {
                let at = difference.sequence;
                at.is_none_or(|at| !undone.contains(&at))
            });
        }
        let mut corrected_state = None;
        if let Some(corrected) = &mut self.corrected {
            let fold = expected(corrected)?;
            if verifies && is_redone {
                corrected_state = Some(fold::fork(&fold, &stream)?);
            }
            corrected.continue_at(target.clone(), Some(fold));
        }
        if verifies {
            self.compare(run, event, baseline, corrected_state.map_or(recorded, Ok));
        }
        self.is_undone |= run.is_of(of);
        self.restore(run, event, target)
    }

    fn redo(
        &mut self,
        run: &HistoryRun,
        event: &HistoryEvent<'_>,
        baseline: &Baseline,
        corrects: u64,
    ) -> Result<(), MigrationError> {
        // The wrong state has no effect any more, nor has a state that follows from it.
        self.differences
            .retain(|difference| difference.sequence.is_none_or(|at| at < corrects));
        if self.verifies(run, baseline) {
            let corrected = match &self.corrected {
                Some(corrected) => corrected.fork(&self.stream)?,
                None => None,
            };
            let corrected = corrected.ok_or_else(|| erased(&self.stream, event.sequence));
            self.compare(run, event, baseline, corrected);
        }
        self.is_redone = true;
        self.restore(run, event, baseline.target())
    }

    /// Compares the state of a baseline with what it should be.
    fn compare(
        &mut self,
        run: &HistoryRun,
        event: &HistoryEvent<'_>,
        baseline: &Baseline,
        expected: Result<RunningFold, MigrationError>,
    ) {
        self.verified += 1;
        let compared = expected.and_then(|fold| {
            let code = run.code_at(&self.stream, &baseline.target())?;
            let expected = encoded(code, &self.stream, fold)?;
            Ok(difference(code, baseline.state.get(), &expected))
        });
        let error = match compared {
            Ok(None) => return,
            Ok(Some(difference)) => {
                let edited = run.edited(baseline);
                MigrationError::new(
                    Stage::Converting,
                    FailureClass::VerifiesDifferently,
                    &self.stream,
                    format!(
                        "the recorded state and the state computed again differ: {difference}; {edited}"
                    ),
                )
            }
            Err(error) => error,
        };
        self.differences.push(MigrationError {
            sequence: Some(event.sequence),
            ..error
        });
    }

    /// Decides the process after its last event.
    pub(crate) fn finish(
        mut self,
        run: &HistoryRun,
        head: &Head,
    ) -> Result<Outcome, MigrationError> {
        if self.recorded.version != head.workflow_id {
            let message = format!(
                "the head of stream {} is at {}, but its events lead to {}; restore the head from a backup (nothing was changed)",
                self.stream, head.workflow_id, self.recorded.version
            );
            let error = Error::corrupt(message);
            return Err(MigrationError::of(Stage::Reading, &self.stream, &error));
        }
        match run.kind {
            RunKind::Undo { of } => self.finish_undo(run, head, of),
            RunKind::Redo { of } => self.finish_redo(run, head, of),
            _ if self.verified == 0 => self.not_found(run, head),
            _ if self.differences.is_empty() => Ok(Outcome::Verified),
            _ => Err(self.differences.swap_remove(0)),
        }
    }

    fn finish_undo(
        mut self,
        run: &HistoryRun,
        head: &Head,
        of: RunId,
    ) -> Result<Outcome, MigrationError> {
        let levels = &self.recorded.levels;
        let Some(at) = levels.iter().rposition(|level| level.run == of) else {
            return self.without_migration(run, head);
        };
        let cannot = |message: String| {
            MigrationError::new(
                Stage::Converting,
                FailureClass::CannotUndo,
                &self.stream,
                message,
            )
        };
        if let Some(later) = levels.get(at + 1) {
            return Err(cannot(format!(
                "run {} migrated the process further; undo that run first",
                later.run
            )));
        }
        if levels[at].below.is_none() {
            return Err(erased(&self.stream, levels[at].sequence));
        }
        let (events, from, route) = (
            levels[at].events,
            levels[at].from.clone(),
            levels[at].route.clone(),
        );
        let exact = events == 0;
        let back = run.way_back(&from, &route).filter(|_| !exact);
        let hops: Vec<Hop> = back
            .iter()
            .flatten()
            .map(|it| Hop {
                to: it.target().version().to_owned(),
                code: it.fingerprint(),
            })
            .collect();
        if !exact && back.is_none() {
            return Err(cannot(format!(
                "the process has {events} events since the run, and no `undo` function leads from {} back to {}; link one, or correct the process by later events",
                head.workflow_id,
                from.version()
            )));
        }
        let line = match self.corrected.take_if(|_| self.is_redone) {
            Some(corrected) => corrected,
            None => self.recorded,
        };
        let Line {
            fold, mut levels, ..
        } = line;
        let fold = match back {
            None => levels.swap_remove(at).below,
            Some(back) => {
                let now = fold.ok_or_else(|| erased(&self.stream, head.sequence))?;
                let state = convert::along(&self.stream, back, state_of(&self.stream, now)?)?;
                Some(fold_from(
                    run.code_at(&self.stream, &from)?,
                    &self.stream,
                    state,
                )?)
            }
        };
        let fold = fold.ok_or_else(|| erased(&self.stream, head.sequence))?;
        let kind = BaselineKind::Undo { of, exact };
        let mut converted = run.baseline(&self.stream, head, from, hops, kind, fold)?;
        converted.by_function = !exact;
        Ok(Outcome::Changed(Box::new(converted)))
    }

    /// The result for a process that has no migration of the run any more, or never had.
    fn without_migration(&self, run: &HistoryRun, head: &Head) -> Result<Outcome, MigrationError> {
        match self.is_undone {
            true => Ok(Outcome::Skipped(SkippedBy::with(|counts| {
                counts.already_there = 1;
            }))),
            false => self.not_found(run, head),
        }
    }

    /// The result for a process in whose events there is nothing of the run.
    fn not_found(&self, run: &HistoryRun, head: &Head) -> Result<Outcome, MigrationError> {
        let erased_to = self.erased_to.as_ref();
        if !erased_to.is_some_and(|version| run.may_be_before(version)) {
            return Ok(Outcome::Skipped(SkippedBy::with(|counts| {
                counts.not_selected = 1;
            })));
        }
        let sequence = head.first_kept;
        Err(MigrationError {
            sequence: Some(sequence),
            ..MigrationError::new(
                Stage::Reading,
                FailureClass::Erased,
                &self.stream,
                format!(
                    "the events before event {sequence} were erased, and with them what the run may have recorded"
                ),
            )
        })
    }

    fn finish_redo(
        mut self,
        run: &HistoryRun,
        head: &Head,
        of: RunId,
    ) -> Result<Outcome, MigrationError> {
        let level = self.recorded.levels.iter().rfind(|level| level.run == of);
        let Some((sequence, is_whole)) = level.map(|it| (it.sequence, it.below.is_some())) else {
            return self.without_migration(run, head);
        };
        if !is_whole {
            return Err(erased(&self.stream, sequence));
        }
        let code = run.code_at(&self.stream, &head.workflow_id)?;
        let both = self
            .recorded
            .fold
            .take()
            .zip(self.corrected.and_then(|line| line.fold));
        let (recorded, corrected) = both.ok_or_else(|| erased(&self.stream, sequence))?;
        let copy = fold::fork(&corrected, &self.stream)?;
        let recorded = encoded(code, &self.stream, recorded)?;
        let again = encoded(code, &self.stream, copy)?;
        let Some(difference) = difference(code, &recorded, &again) else {
            return Ok(Outcome::Skipped(SkippedBy::with(|counts| {
                counts.already_there = 1;
            })));
        };
        let kind = BaselineKind::Redo { of, sequence };
        let version = head.workflow_id.clone();
        let new = run.baseline(&self.stream, head, version, Vec::new(), kind, corrected);
        let mut converted = new?;
        converted.difference = Some(difference);
        Ok(Outcome::Changed(Box::new(converted)))
    }
}

/// The first difference of two states of a version, without values.
fn difference(code: &VersionCode, recorded: &str, again: &str) -> Option<String> {
    let difference = redaction::difference(recorded, again, Lists::InOrder)?;
    // A set has no order.
    let is_reordered = redaction::difference(recorded, again, Lists::InAnyOrder).is_none()
        && round_trip::reorders_by(recorded, |json| round_trip::by_code(code, json));
    (!is_reordered).then_some(difference)
}

impl HistoryRun {
    /// What to know about a difference.
    fn edited(&self, baseline: &Baseline) -> &'static str {
        match baseline.kind {
            BaselineKind::Redo { .. } => {
                return "the state was recorded by a redo, whose program may have had other code: redo the run that migrated the process if the code of this program is right";
            }
            BaselineKind::Undo { exact: true, .. } => {
                return "the state was recorded by an undo from the old events: check `apply`, and the code that it calls";
            }
            _ => {}
        }
        let mut at = baseline.source();
        for hop in &baseline.route {
            let to = WorkflowId::new(at.name().to_owned(), hop.to.clone());
            let linked = self.migrations.edge(&at, &to).map(Migration::fingerprint);
            if linked.is_some_and(|linked| linked != hop.code) {
                return "the migration was edited since: redo the run if the edit is a correction";
            }
            at = to;
        }
        "the migration has the same fingerprint as then: check `apply`, and the code that both call"
    }

    /// The event that records a new baseline.
    fn baseline(
        &self,
        stream: &StreamId,
        head: &Head,
        to: WorkflowId,
        route: Vec<Hop>,
        kind: BaselineKind,
        fold: RunningFold,
    ) -> Result<Converted, MigrationError> {
        let code = self.code_at(stream, &to)?;
        let finished = fold.get().map(|fold| catch(|| fold.is_finished()));
        let finished = match finished {
            Some(Ok(finished)) => finished,
            Some(Err(bad)) => {
                let message = bad.message + WAY_OUT;
                return Err(MigrationError::new(
                    Stage::Folding,
                    bad.class,
                    stream,
                    message,
                ));
            }
            None => false,
        };
        let json = encoded(code, stream, fold)?;
        round_trip::check_by(code, stream, &json)?;
        let unserializable = |error: serde_json::Error| {
            let class = FailureClass::Unserializable;
            MigrationError::new(Stage::Encoding, class, stream, error.to_string())
        };
        let baseline = Baseline {
            workflow: to.name().to_owned(),
            from: head.workflow_id.version().to_owned(),
            to: to.version().to_owned(),
            route,
            run: self.id,
            kind,
            state_schema_version: code.schema_version(),
            state: RawValue::from_string(json.clone()).map_err(unserializable)?,
        };
        let is_undo = matches!(kind, BaselineKind::Undo { .. });
        let payload = baseline.to_payload().map_err(unserializable)?;
        let event = NewEvent::migrated(to, payload, finished);
        Ok(Converted {
            stream: stream.clone(),
            head: head.clone(),
            event: match is_undo {
                true => event.undoing(),
                false => event,
            },
            state: json.into(),
            totals: RunTotals::default(),
            by_function: false,
            difference: None,
        })
    }
}

/// Checks that two executions of user code gave the same result.
pub(crate) fn compare(
    stream: &StreamId,
    first: Outcome,
    second: Result<Outcome, MigrationError>,
) -> Result<Outcome, MigrationError> {
    let same = match (&first, &second) {
        (Outcome::Changed(first), Ok(Outcome::Changed(second))) => {
            first.state == second.state
                || redaction::difference(first.json(), second.json(), Lists::InAnyOrder).is_none()
        }
        (Outcome::Verified, Ok(Outcome::Verified)) => true,
        (Outcome::Skipped(_), Ok(Outcome::Skipped(_))) => true,
        _ => false,
    };
    match same {
        true => Ok(first),
        false => Err(convert::non_deterministic(stream, "two different results")),
    }
}
