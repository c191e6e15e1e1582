//! An estimate of the duration and the reads of a run, from a dry run over a sample and
//! from earlier runs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use state_migration_core::{FailureClass, MigrationError, MigrationRegistry, Selection, Subject};
use state_migration_runner::{MigrationRunner, RunKind, Runs};
use state_migration_store::SlateDbReader;
use tokio::time::timeout;

use crate::exit_code::Failure;
use crate::selection::PlanArgs;
use crate::version_counts::VersionCounts;
use crate::view::format::{self, count};
use crate::view::output::plain;

/// Time limit of a sample: it is cancelled after this time, and abandoned after as much
/// again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The estimated cost of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Estimate {
    /// Number of processes to migrate.
    pub(crate) processes: u64,
    pub(crate) time_ms: Option<u64>,
    pub(crate) basis: Basis,
    /// The run that `time_ms` is derived from, if any.
    pub(crate) run: Option<u64>,
    /// Bytes of events and states to read.
    pub(crate) read_bytes: Option<u64>,
}

/// The basis of the estimated time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Basis {
    /// No measurement.
    #[default]
    Nothing,
    /// A dry run over a sample. The run takes longer, since it also writes.
    Sample,
    /// The rate of an earlier run over this store.
    EarlierRun,
}

/// A dry run over a sample of the due processes.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) processes: u64,
    pub(crate) took_ms: u64,
    pub(crate) read_bytes: u64,
    pub(crate) failed: u64,
    pub(crate) failures: Vec<SampleFailures>,
}

/// The failures of one class in a sample.
#[derive(Debug, Serialize)]
pub(crate) struct SampleFailures {
    pub(crate) class: FailureClass,
    pub(crate) count: u64,
    /// The first process that failed.
    pub(crate) subject: Subject,
    pub(crate) message: String,
}

/// Dry-runs a sample of at most `most` processes, within a time limit. Returns `None`
/// if no process was tried.
pub(crate) async fn sample(
    reader: &SlateDbReader,
    migrations: &MigrationRegistry,
    planned: &PlanArgs,
    counts: &VersionCounts,
    most: usize,
) -> Option<Sample> {
    let streams: Vec<_> = counts.sample(most).cloned().collect();
    if streams.is_empty() {
        return None;
    }
    let mut selection = Selection::all().streams(streams);
    if planned.in_flight {
        selection = selection.in_flight();
    }
    let runner = MigrationRunner::new(migrations.clone(), reader.clone(), reader.clone());
    let runner = planned
        .apply(runner)
        .select(selection)
        .count_up_to_date(false)
        .check_determinism(planned.check_determinism);
    let control = runner.control();
    let begun = Instant::now();
    let mut run = Box::pin(runner.dry_run());
    let report = match timeout(PATIENCE, &mut run).await {
        Ok(report) => Some(report),
        Err(_) => {
            control.cancel();
            timeout(PATIENCE, run).await.ok()
        }
    };
    let took = begun.elapsed();
    let counts = control.progress().counts;
    let errors = report.map(|report| report.errors).unwrap_or_default();
    Some(Sample {
        processes: counts.migrated + counts.failed + counts.skipped_by.finished as u64,
        took_ms: format::millis(took),
        read_bytes: counts.bytes,
        failed: counts.failed,
        failures: by_class(errors),
    })
    .filter(|sample| sample.processes > 0)
}

fn by_class(errors: Vec<MigrationError>) -> Vec<SampleFailures> {
    let mut classes: BTreeMap<FailureClass, SampleFailures> = BTreeMap::new();
    for error in errors {
        classes
            .entry(error.class)
            .or_insert_with(|| SampleFailures {
                class: error.class,
                count: 0,
                subject: error.subject,
                message: error.message,
            })
            .count += 1;
    }
    classes.into_values().collect()
}

impl Estimate {
    pub(crate) async fn new(
        runs: &Runs,
        due: u64,
        sample: Option<&Sample>,
    ) -> Result<Self, Failure> {
        let mut estimate = Self {
            processes: due,
            read_bytes: sample.map(|sample| scaled(sample.read_bytes, due, sample.processes)),
            ..Self::default()
        };
        if due == 0 {
            return Ok(estimate);
        }
        if let Some((run, processes, took)) = earlier(runs).await? {
            estimate.time_ms = Some(scaled(format::millis(took), due, processes));
            estimate.basis = Basis::EarlierRun;
            estimate.run = Some(run);
        } else if let Some(sample) = sample {
            estimate.time_ms = Some(scaled(sample.took_ms, due, sample.processes));
            estimate.basis = Basis::Sample;
        }
        Ok(estimate)
    }

    /// The estimate and its basis, as text.
    pub(crate) fn time(&self) -> String {
        let time = self
            .time_ms
            .map(Duration::from_millis)
            .map(format::duration);
        match (time, self.basis, self.run) {
            (Some(time), Basis::EarlierRun, Some(run)) => {
                format!(
                    "about {time}, from the rate of run {run}, including its throttle and pauses"
                )
            }
            (Some(time), Basis::Sample, _) => format!(
                "at least {time}, from the sample, which reads and converts but does not write"
            ),
            _ => "unknown: nothing was measured".to_owned(),
        }
    }
}

impl Sample {
    /// The result in one line; failures are shown as warnings.
    pub(crate) fn text(&self) -> String {
        let Self {
            processes,
            took_ms,
            failed,
            ..
        } = self;
        let took = format::duration(Duration::from_millis(*took_ms));
        let tried = format::counted(*processes, "process", "processes");
        match failed {
            0 => format!("dry run of {tried} in {took}, none failed"),
            failed => format!("dry run of {tried} in {took}, {} failed", count(*failed)),
        }
    }

    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        self.failures.iter().map(|failed| {
            let processes = format::counted(self.processes, "process", "processes");
            format!(
                "in a sample of {processes}, {} would fail with class {}; the first is {}: {}",
                count(failed.count),
                failed.class,
                failed.subject,
                plain(&failed.message)
            )
        })
    }
}

/// Minimum number of processes of a run whose rate is meaningful.
const TELLING: u64 = 100;

/// The last run whose rate is meaningful: executed once, to its end, over enough
/// processes.
async fn earlier(runs: &Runs) -> Result<Option<(u64, u64, Duration)>, Failure> {
    for run in runs.list().await?.into_iter().rev() {
        let Some(ended) = run.ended else { continue };
        if run.kind != RunKind::Migrate || !run.state.is_done() || run.executions != 1 {
            continue;
        }
        let counts = runs.counts(run.id).await?;
        let processes = counts.migrated + counts.failed;
        if processes >= TELLING {
            let took = format::between(run.started, ended);
            return Ok(Some((run.number, processes, took)));
        }
    }
    Ok(None)
}

/// Scales a value measured for `of` processes to `processes`.
fn scaled(value: u64, processes: u64, of: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(processes) / u128::from(of.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}
