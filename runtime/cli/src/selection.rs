//! The options that are part of a plan, shared by `plan`, `run` and a dry run.

use std::fmt::{self, Write as _};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use state_migration_control_socket::protocol::PlanRequest;
use state_migration_core::{MigrationRegistry, RunId, Selection, StreamId, TenantId};
use state_migration_runner::{MigrationRunner, RunKind, RunRecord, SnapshotUse};

use crate::context::{Context, option};
use crate::exit_code::{Failure, Reason};
use crate::history::History;
use crate::run_selector::WhichRun;
use crate::stream_file::StreamFile;
use crate::view::format;

/// Options that are part of a plan: with the same ones, `plan` and `run` come
/// to the same fingerprint.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PlanArgs {
    /// Select processes of this workflow (repeatable)
    #[arg(long, value_name = "NAME", help_heading = "Selection")]
    pub(crate) workflow: Vec<String>,
    /// Select processes of this tenant (repeatable)
    #[arg(long, value_name = "TENANT", help_heading = "Selection")]
    pub(crate) tenant: Vec<TenantId>,
    /// Select streams whose ids start with this prefix
    #[arg(long, value_name = "PREFIX", help_heading = "Selection")]
    pub(crate) prefix: Option<String>,
    /// Select this stream (repeatable)
    #[arg(long, value_name = "STREAM", help_heading = "Selection")]
    pub(crate) stream: Vec<StreamId>,
    /// Select the streams that a file names, one in each line; `-` reads the
    /// standard input
    #[arg(long, value_name = "FILE", help_heading = "Selection")]
    pub(crate) streams_from: Option<StreamFile>,
    /// Select the first N processes, in order of their stream ids
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<NonZeroUsize>, help_heading = "Selection")]
    pub(crate) limit: Option<NonZeroUsize>,
    /// Select a share of the processes by hash, as a canary: the same in every
    /// run, and included in every larger share
    #[arg(long, value_name = "PERCENT", value_parser = percent, help_heading = "Selection")]
    pub(crate) percent: Option<f64>,
    /// Select processes that are not finished
    #[arg(long, help_heading = "Selection")]
    pub(crate) in_flight: bool,
    /// Select processes whose state matches this predicate of the program; see
    /// `predicate!`
    #[arg(long, value_name = "NAME", help_heading = "Selection")]
    pub(crate) matching: Option<String>,
    /// Leave out processes that failed in this run with the same code [without
    /// RUN: the last run with failures]
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "last", help_heading = "Selection")]
    leave_out_failed: Option<WhichRun>,
    /// That run, once it is found.
    #[arg(skip)]
    left_out: Option<(RunId, u64)>,
    /// Also count up-to-date processes, which reads every stream
    #[arg(long, help_heading = "Execution")]
    pub(crate) count_all: bool,
    /// Run user code twice for each process, and fail a process whose results
    /// differ
    #[arg(long, help_heading = "Execution")]
    pub(crate) check_determinism: bool,
    /// Fail a process whose user code takes longer than this [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Execution")]
    pub(crate) deadline: Option<Duration>,
    /// Start from snapshots where that saves much, ignore them, or compare them
    /// with the events and fail a process that they differ for [default: start;
    /// a dry run compares]
    #[arg(long, value_name = "USE", value_parser = snapshot_use, help_heading = "Execution")]
    pub(crate) snapshots: Option<SnapshotUse>,
}

/// What is done with snapshots.
pub(crate) fn snapshot_use(text: &str) -> Result<SnapshotUse, String> {
    let all = [
        SnapshotUse::Start,
        SnapshotUse::Ignore,
        SnapshotUse::Compare,
    ];
    let mut named = all.into_iter().filter(|it| it.to_string() == text);
    let found = named.next();
    found.ok_or_else(|| "expected `start`, `ignore` or `compare`".to_owned())
}

/// A number of processes per second, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<NonZeroU32>);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("off"),
        }
    }
}

pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    if text == "off" {
        return Ok(Limit(None));
    }
    let number = text.parse().map(|number| Limit(Some(number)));
    number.map_err(|_| "expected a positive integer or `off`; use `pause` to stop a run".to_owned())
}

/// Applies the checks that are given; the others are up to the run: a dry run checks
/// determinism, and a retry checks what the earlier run did.
pub(crate) fn with_checks<M, ES, SS>(
    runner: MigrationRunner<M, ES, SS>,
    check_determinism: bool,
    deadline: Option<Duration>,
    snapshots: Option<SnapshotUse>,
) -> MigrationRunner<M, ES, SS> {
    let runner = match check_determinism {
        true => runner.check_determinism(true),
        false => runner,
    };
    let runner = match snapshots {
        Some(snapshots) => runner.snapshots(snapshots),
        None => runner,
    };
    match deadline {
        Some(deadline) => runner.deadline(deadline),
        None => runner,
    }
}

/// A duration in whole milliseconds.
pub(crate) fn millis(deadline: Duration) -> NonZeroU64 {
    // A parsed deadline is at least a millisecond.
    NonZeroU64::new(format::millis(deadline)).unwrap_or(NonZeroU64::MIN)
}

/// The options that [`PlanArgs::is_by_stream`] refuses.
pub(crate) const NOT_BY_STREAM: [&str; 6] = [
    "limit",
    "in_flight",
    "matching",
    "leave_out_failed",
    "count_all",
    "snapshots",
];

impl PlanArgs {
    pub(crate) fn selection(&self) -> Selection {
        let mut selection = Selection::all();
        for name in &self.workflow {
            selection = selection.workflow(name);
        }
        for tenant in &self.tenant {
            selection = selection.tenant(tenant.clone());
        }
        if let Some(prefix) = &self.prefix {
            selection = selection.prefix(prefix);
        }
        let file = self.streams_from.iter().flat_map(StreamFile::streams);
        let streams: Vec<StreamId> = self.stream.iter().chain(file).cloned().collect();
        if !streams.is_empty() {
            selection = selection.streams(streams);
        }
        if let Some(limit) = self.limit {
            selection = selection.first(limit.get());
        }
        if let Some(percent) = self.percent {
            selection = selection.percent(percent);
        }
        self.by_state(selection)
    }

    /// Adds the restrictions that need more than a stream and its version.
    pub(crate) fn by_state(&self, mut selection: Selection) -> Selection {
        if self.in_flight {
            selection = selection.in_flight();
        }
        if let Some(predicate) = &self.matching {
            selection = selection.matching(predicate);
        }
        if let Some((run, _)) = self.left_out {
            selection = selection.except_failed_in(run);
        }
        selection
    }

    /// Refuses what a command cannot select by, or has no use for.
    pub(crate) fn is_by_stream(&self, command: &str) -> Result<(), Failure> {
        let options = [
            ("--limit", self.limit.is_some()),
            ("--in-flight", self.in_flight),
            ("--matching", self.matching.is_some()),
            ("--leave-out-failed", self.leave_out_failed.is_some()),
            ("--count-all", self.count_all),
            ("--snapshots", self.snapshots.is_some()),
        ];
        match options.iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((option, _)) => Err(Failure::environment(
                Reason::Usage,
                format!(
                    "`{command}` does not support {option}; select workflows, tenants, streams or a share by hash"
                ),
            )),
        }
    }

    /// Finds the run whose failures are left out. Without a run that has failures, none
    /// are.
    pub(crate) async fn find_run(&mut self, context: &Context) -> Result<(), Failure> {
        let Some(which) = &self.leave_out_failed else {
            return Ok(());
        };
        let runs = context.history().await?;
        let run = match which {
            WhichRun::Last => last_with_failures(&runs).await?,
            WhichRun::Named(_) => Some(which.find(&runs, context).await?),
        };
        runs.close().await?;
        self.left_out = run.map(|run| (run.id, run.number));
        Ok(())
    }

    /// Applies the options to a runner.
    pub(crate) fn apply<M, ES, SS>(
        &self,
        runner: MigrationRunner<M, ES, SS>,
    ) -> MigrationRunner<M, ES, SS> {
        let runner = runner
            .select(self.selection())
            .count_up_to_date(self.count_all);
        with_checks(
            runner,
            self.check_determinism,
            self.deadline,
            self.snapshots,
        )
    }

    /// The options as a request to a service; an absent option means the setting of the
    /// service.
    pub(crate) fn run_options(&self) -> PlanRequest {
        PlanRequest {
            selection: Some(self.selection()).filter(|it| *it != Selection::all()),
            count_all: self.count_all.then_some(true),
            check_determinism: self.check_determinism.then_some(true),
            deadline_ms: self.deadline.map(millis),
            snapshots: self.snapshots,
        }
    }

    /// Refuses an unknown predicate, and a workflow without migrations: its name is
    /// probably mistyped, and the run would do nothing.
    pub(crate) fn check(
        &self,
        context: &Context,
        migrations: &MigrationRegistry,
    ) -> Result<(), Failure> {
        if let Some(name) = &self.matching
            && context.predicates.named(name).is_none()
        {
            return Err(Failure::environment(
                Reason::UnknownPredicate,
                format!(
                    "this program has no predicate {name:?} ({}); correct --matching, or register the predicate with `Cli::predicates`",
                    context.predicates.known()
                ),
            ));
        }
        for name in &self.workflow {
            if migrations.newest(name).is_none() {
                return Err(no_migration("this program", name, migrations.names()));
            }
        }
        Ok(())
    }

    /// The options as command-line arguments, each with a leading space.
    pub(crate) fn arguments(&self) -> String {
        let mut line = String::new();
        let mut option = |name: &str, value: &str| line += &option(name, value);
        for name in &self.workflow {
            option("--workflow", name);
        }
        for tenant in &self.tenant {
            option("--tenant", tenant.as_str());
        }
        if let Some(prefix) = &self.prefix {
            option("--prefix", prefix);
        }
        for stream in &self.stream {
            option("--stream", stream.as_str());
        }
        if let Some(file) = &self.streams_from {
            option("--streams-from", file.path());
        }
        if let Some(limit) = self.limit {
            option("--limit", &limit.to_string());
        }
        if let Some(percent) = self.percent {
            option("--percent", &percent.to_string());
        }
        if let Some(predicate) = &self.matching {
            option("--matching", predicate);
        }
        if let Some((_, number)) = &self.left_out {
            option("--leave-out-failed", &number.to_string());
        }
        if let Some(deadline) = self.deadline {
            let deadline = humantime::format_duration(deadline).to_string();
            option("--deadline", &deadline.replace(' ', ""));
        }
        if let Some(snapshots) = self.snapshots {
            option("--snapshots", &snapshots.to_string());
        }
        for (flag, is_set) in [
            ("--in-flight", self.in_flight),
            ("--count-all", self.count_all),
            ("--check-determinism", self.check_determinism),
        ] {
            if is_set {
                let _ = write!(line, " {flag}");
            }
        }
        line
    }
}

/// The last run that a person started and in which processes failed.
async fn last_with_failures(runs: &History) -> Result<Option<RunRecord>, Failure> {
    let mut records = runs.list().await?;
    records.retain(|run| run.kind != RunKind::Lazy);
    records.sort_by_key(|run| run.number);
    while let Some(run) = records.pop() {
        if !runs.failures(run.id, &[], None, 1).await?.is_empty() {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// The failure of a workflow that `who` has no migrations for.
pub(crate) fn no_migration<'a>(
    who: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Failure {
    let known: Vec<&str> = known.into_iter().collect();
    let known = match known.as_slice() {
        [] => "no workflow has migrations".to_owned(),
        known => format!("workflows with migrations: {}", known.join(", ")),
    };
    Failure::environment(
        Reason::UnknownWorkflow,
        format!(
            "{who} has no migration for workflow {name:?} ({known}); correct --workflow, or link the crate with its migrations"
        ),
    )
}

/// Parses a duration such as `10s`, `1m30s` or `250ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => {
            Err("expected a duration greater than zero, such as 10s or 250ms".into())
        }
        Ok(duration) if duration.subsec_nanos() % 1_000_000 != 0 => {
            Err("expected whole milliseconds, such as 10s or 250ms".into())
        }
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!(
            "{error}; expected a duration such as 10s, 1m30s or 250ms"
        )),
    }
}

/// Parses a positive integer.
pub(crate) fn number<N: FromStr>(text: &str) -> Result<N, String> {
    let is_too_large = text.bytes().all(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    text.parse().map_err(|_| match is_too_large {
        true => "the number is too large; give a smaller number, or omit the option".into(),
        false => "expected a positive integer; correct the value, or omit the option".into(),
    })
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim_end();
    match number.parse::<f64>() {
        // Shares are in steps of 0.01 %, and an empty share is not a canary.
        Ok(percent) if (0.01..=100.0).contains(&percent) => Ok(percent),
        _ => Err("expected a number from 0.01 to 100".into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_limit_is_a_number_or_off() {
        assert_eq!(limit("50"), Ok(Limit(NonZeroU32::new(50))));
        assert_eq!(limit("off"), Ok(Limit(None)));
        for bad in ["0", "-1", "fast", ""] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        planned: PlanArgs,
    }

    fn read(line: &str) -> PlanArgs {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().planned
    }

    #[test]
    fn options_written_out_again_select_the_same() {
        let line = "--workflow loan --workflow offer --tenant bank --prefix process/bank/1 --stream process/bank/17 --limit 5 --percent 2.5 --deadline 1m30s --in-flight --count-all --check-determinism";
        let planned = read(line);
        assert_eq!(planned.arguments(), format!(" {line}"));
        assert_eq!(
            planned.selection().to_string(),
            "workflow loan or offer, tenant bank, streams with prefix process/bank/1, 1 stream by id, 2.5 % by hash, in flight, the first 5"
        );
        assert_eq!(read("").arguments(), "");
        assert_eq!(read("").selection(), Selection::all());
        assert_eq!(
            read("--workflow it's").arguments(),
            r" --workflow 'it'\''s'"
        );
        assert_eq!(read("--tenant=-x").arguments(), " --tenant=-x");
    }

    #[test]
    fn an_invalid_share_or_duration_is_refused() {
        for bad in ["0", "-1", "101", "NaN", "inf", "x", "", "0.001"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
        assert_eq!(percent("5"), Ok(5.0));
        assert_eq!(percent("5 %"), Ok(5.0));
        let said = [
            ("4294967296", "too large"),
            ("0", "expected a positive integer"),
            ("-1", "expected a positive integer"),
            ("", "expected a positive integer"),
        ];
        for (bad, says) in said {
            let error = number::<std::num::NonZeroU32>(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
        for bad in ["0s", "10", "x", "", "1ns", "1500us"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    }
}
