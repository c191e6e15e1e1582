//! The status of a service.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;
use state_migration_control_socket::protocol::{self, Request};
use state_migration_runner::{Progress, RunState};

use crate::commands::status::{Version, any_outdated, undone, version_table, versions};
use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::history::History;
use crate::remote::client::ServiceClient;
use crate::selection::{PlanArgs, no_migration};
use crate::view::format::{self, count};
use crate::view::output::{Answer, BAD, BOLD, DIM, WARN, plain, to_type};
use crate::view::progress::{idle, rate, rounded};
use crate::view::run_summary::{LatestRuns, RUNS, RunLine, latest, run_table};
use crate::view::tenants::{TenantLine, of_workflows, tenant_table};

/// The state of a service and its run.
#[derive(Debug, Serialize)]
pub(crate) struct Service {
    /// Whether a run is in progress, paused or not.
    in_progress: bool,
    /// The run in progress, or else the last one. `None` for a dry run, which leaves no
    /// record.
    run: Option<String>,
    /// Its number in the store, if the store records runs.
    number: Option<u64>,
    /// Whether this describes a dry run, or a rehearsal.
    dry_run: bool,
    /// Whether it is a rehearsal.
    rehearsal: bool,
    /// `None` before the first run.
    state: Option<RunState>,
    /// Whether the run was interrupted when an earlier process of the service ended.
    interrupted: bool,
    /// Whether a pause is requested.
    pausing: bool,
    /// Limit in processes per second.
    throttle: Option<u32>,
    migrated: u64,
    failed: u64,
    skipped: u64,
    expected: Option<u64>,
    per_second: f64,
    time_left_ms: Option<u64>,
    /// The time without progress of the run in progress, if it is long.
    idle_ms: Option<u64>,
    /// What the run in progress waits for.
    waits_for: Option<String>,
    /// The error that stopped the run before its end.
    stopped_by: Option<String>,
    /// The versions that processes are at; only for `status`.
    versions: Option<Vec<Version>>,
    /// By version and tenant, if requested.
    tenants: Option<Vec<TenantLine>>,
    /// The last runs, latest first; only for `status`.
    runs: Option<Vec<RunLine>>,
    warnings: Vec<String>,
    next: Vec<String>,
}

/// Whether the last run of a service ended because it could not use its store any more.
fn has_lost_its_store(status: &protocol::Status) -> bool {
    let Progress { run, state, .. } = &status.progress;
    let is_open = matches!(
        state,
        RunState::Planned | RunState::Running | RunState::Paused
    );
    !status.in_progress && run.is_some() && is_open
}

impl Service {
    pub fn new(context: &Context, status: &protocol::Status) -> Self {
        let progress = &status.progress;
        let run = progress.run.filter(|_| !progress.dry_run);
        let run = run.map(|run| run.to_string());
        let next = match (&run, status.in_progress) {
            (_, true) if status.pausing => "unpause".to_owned(),
            (_, true) => "watch".to_owned(),
            (Some(run), false) if !progress.state.is_done() => format!("resume {run}"),
            (Some(run), false) if progress.counts.failed > 0 => format!("show {run}"),
            _ => "plan".to_owned(),
        };
        Self {
            in_progress: status.in_progress,
            dry_run: progress.dry_run,
            rehearsal: progress.rehearsal,
            state: (progress.run.is_some() || status.in_progress).then_some(progress.state),
            interrupted: has_lost_its_store(status),
            pausing: status.pausing,
            throttle: status.per_second.map(std::num::NonZeroU32::get),
            migrated: progress.counts.migrated,
            failed: progress.counts.failed,
            skipped: progress.counts.skipped(),
            expected: progress.expected,
            per_second: rounded(progress.per_second),
            time_left_ms: progress.time_left.map(format::millis),
            idle_ms: progress
                .idle
                .filter(|_| status.in_progress)
                .map(format::millis),
            waits_for: idle::text(progress).filter(|_| status.in_progress),
            stopped_by: progress.stopped_by.as_ref().map(ToString::to_string),
            versions: None,
            tenants: None,
            runs: None,
            warnings: Vec::new(),
            next: vec![context.command_line(&next)],
            run,
            number: None,
        }
    }

    /// Adds the last runs in the store, including those before the service was started.
    ///
    /// They replace the state if no run is in progress and the service has only
    /// executed a dry run, or if the last run was interrupted.
    fn of_late(&mut self, context: &Context, latest: LatestRuns) {
        let is_run = |line: &&RunLine| line.what != "lazy";
        let mut all = latest.lines.iter().chain(&latest.holder);
        let own = all.find(|line| Some(&line.run) == self.run.as_ref());
        self.number = own.map(|line| line.number);
        if let (Some(run), Some(number)) = (&self.run, self.number) {
            for next in &mut self.next {
                *next = next.replace(run, &number.to_string());
            }
        }
        let last = latest.interrupted();
        let last = last.or_else(|| latest.lines.iter().find(is_run));
        if let Some(last) = last
            && !self.in_progress
            && (self.run.is_none() || last.interrupted)
        {
            let next = match last.state {
                _ if last.is_open() => format!("resume {}", last.number),
                RunState::DoneWithErrors => format!("show {}", last.number),
                _ => "plan".to_owned(),
            };
            let same = self.run.as_ref() == Some(&last.run);
            *self = Self {
                run: Some(last.run.clone()),
                number: Some(last.number),
                dry_run: false,
                rehearsal: false,
                state: Some(last.state),
                interrupted: last.interrupted,
                migrated: last.migrated,
                failed: last.failed,
                skipped: last.skipped,
                expected: None,
                per_second: 0.0,
                time_left_ms: None,
                idle_ms: None,
                waits_for: None,
                stopped_by: self.stopped_by.take().filter(|_| same),
                versions: self.versions.take(),
                tenants: self.tenants.take(),
                runs: None,
                warnings: std::mem::take(&mut self.warnings),
                next: vec![context.command_line(&next)],
                ..*self
            };
        }
        self.warnings
            .extend(latest.interrupted().and_then(RunLine::note));
        self.runs = Some(latest.lines);
    }
}

/// The command `status`.
pub(crate) async fn status(
    context: &Context,
    client: &ServiceClient,
    workflows: &[String],
    by_tenant: bool,
) -> Result<Exit, Failure> {
    let status = client.send(Request::Status).await?;
    if !workflows.is_empty() {
        has_migrations(client, workflows).await?;
    }
    let mut service = Service::new(context, &status);
    let mut exit = Exit::Done;
    // What the service knows of its run is shown even if its store cannot be read.
    let outdated = match client.versions(by_tenant).await {
        Ok(mut counted) => {
            let tenants = counted.tenants.take();
            let versions = versions(counted, workflows);
            let outdated = any_outdated(&versions);
            service.warnings.extend(undone(&versions));
            service.versions = Some(versions);
            service.tenants = tenants.map(|tenants| of_workflows(tenants, workflows));
            outdated
        }
        Err(failure) => {
            service.warnings.push(failure.message().to_owned());
            exit = Exit::Environment;
            true
        }
    };
    // Read after the status, so that a run that has ended meanwhile is shown as ended.
    let latest = async {
        let history = History::of_late(client.clone(), RUNS).await?;
        latest(&history, RUNS).await
    };
    match latest.await {
        Ok(latest) => service.of_late(context, latest),
        Err(_) if exit == Exit::Environment => {}
        Err(failure) => service.warnings.push(failure.message().to_owned()),
    }
    let plan = context.command_line("plan");
    if !outdated {
        service.next.retain(|next| *next != plan);
    }
    context.output.answer(&service)?;
    Ok(exit)
}

/// Refuses workflows without migrations in the service.
async fn has_migrations(client: &ServiceClient, workflows: &[String]) -> Result<(), Failure> {
    let linked = client.migrations().await?;
    let migrations = linked.migrations.iter();
    let names = migrations.filter_map(|it| it.from.rsplit_once('@'));
    let known: BTreeSet<&str> = names.map(|(name, _)| name).collect();
    for name in workflows {
        if !known.contains(name.as_str()) {
            return Err(no_migration("the service", name, known));
        }
    }
    Ok(())
}

/// Refuses selected workflows without migrations in the service.
pub(crate) async fn check(client: &ServiceClient, options: &PlanArgs) -> Result<(), Failure> {
    match options.workflow.as_slice() {
        [] => Ok(()),
        workflows => has_migrations(client, workflows).await,
    }
}

impl Answer for Service {
    const KIND: &'static str = "service";

    fn text(&self, out: &mut String) -> fmt::Result {
        let mut line = |name: &str, value: &str| writeln!(out, "{DIM}{name:10}{DIM:#} {value}");
        let run = match (&self.run, self.number) {
            (Some(run), Some(number)) => Some(format!("{BOLD}{number}{BOLD:#}  {run}")),
            (run, _) => run.clone(),
        };
        match (&run, self.in_progress) {
            (None, true) if self.rehearsal => line("run", "a rehearsal, in progress on a copy")?,
            (None, false) if self.rehearsal => line("last run", "a rehearsal, on a copy")?,
            (None, true) if self.dry_run => line("run", "a dry run, in progress; writes nothing")?,
            (None, false) if self.dry_run => line("last run", "a dry run, which wrote nothing")?,
            (Some(run), true) => line("run", &format!("{run}, in progress"))?,
            (None, true) => line("run", "about to begin")?,
            (Some(run), false) => line("last run", run)?,
            (None, false) => line("run", "none yet")?,
        }
        if self.run.is_some() || self.dry_run {
            let pausing = match self.pausing && self.state != Some(RunState::Paused) {
                true => format!(", {WARN}pausing{WARN:#}"),
                false => String::new(),
            };
            let state = match self.interrupted {
                true => format!("{BAD}interrupted{BAD:#}"),
                false => self
                    .state
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            };
            line("state", &format!("{state}{pausing}"))?;
            let of = self.expected.map(|all| format!(" of {}", count(all)));
            let of = of.unwrap_or_default();
            if let Some(error) = &self.stopped_by {
                line("stopped by", &plain(error))?;
            }
            line("migrated", &format!("{}{of}", count(self.migrated)))?;
            line("failed", &count(self.failed))?;
            line("skipped", &count(self.skipped))?;
        }
        if let Some(waits) = &self.waits_for {
            line("progress", &format!("{WARN}{waits}{WARN:#}"))?;
        } else if self.in_progress {
            line("rate", &rate(self.per_second))?;
            if let Some(left) = self.time_left_ms {
                line("time left", &format::duration(Duration::from_millis(left)))?;
            }
        }
        let throttle = self.throttle.map(u64::from);
        let throttle = throttle.map_or_else(|| "none".to_owned(), |n| format!("{}/s", count(n)));
        line("throttle", &throttle)?;
        if let Some(versions) = self.versions.as_ref().filter(|all| !all.is_empty()) {
            write!(out, "\n{}", version_table(versions))?;
        }
        if let Some(tenants) = self.tenants.as_ref().filter(|all| !all.is_empty()) {
            write!(out, "\n{}", tenant_table(tenants))?;
        }
        if let Some(runs) = self.runs.as_ref().filter(|all| !all.is_empty()) {
            write!(out, "\n{}", run_table(runs))?;
        }
        if !self.warnings.is_empty() {
            writeln!(out)?;
        }
        for warning in &self.warnings {
            writeln!(out, "{WARN}warning:{WARN:#} {warning}")?;
        }
        to_type(&self.next, out)
    }
}

/// The reason why a service cannot start a run, and the suggested next command.
pub(crate) async fn blocking_run(
    client: &ServiceClient,
) -> Result<Option<(String, String)>, Failure> {
    if client.send(Request::Status).await?.in_progress {
        let warning = "a run is in progress in this service, which executes one run at a time; watch or cancel that run first";
        return Ok(Some((warning.to_owned(), "watch".to_owned())));
    }
    let latest = async {
        let history = History::of_late(client.clone(), 0).await?;
        latest(&history, 0).await
    };
    // A store without a history of runs has no interrupted run.
    let latest = latest.await.ok();
    let run = latest.as_ref().and_then(LatestRuns::interrupted);
    Ok(run.and_then(|run| Some((run.note()?, format!("resume {}", run.number)))))
}

#[cfg(test)]
mod tests {
    use state_migration_core::RunId;

    use super::*;

    #[test]
    fn a_run_that_ended_and_is_not_over_has_lost_its_store() {
        let mut status = protocol::Status {
            in_progress: false,
            pausing: false,
            per_second: None,
            progress: Progress::default(),
        };
        // No run yet.
        assert!(!has_lost_its_store(&status));
        status.progress.run = Some(RunId::random());
        for (state, in_progress, lost) in [
            (RunState::Running, false, true),
            (RunState::Paused, false, true),
            (RunState::Running, true, false),
            (RunState::Cancelled, false, false),
            (RunState::DoneWithErrors, false, false),
        ] {
            (status.progress.state, status.in_progress) = (state, in_progress);
            assert_eq!(has_lost_its_store(&status), lost, "{state} {in_progress}");
        }
    }
}
