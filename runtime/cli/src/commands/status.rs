//! The command `status`.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use serde::Serialize;
use state_migration_core::{InUse, WorkflowId};
use state_migration_runner::forecast::census::Census;
use state_migration_runner::forecast::version_status::{
    VersionDecision, VersionDecisions, VersionState,
};
use state_migration_runner::forecast::{AtVersion, Versions};
use state_migration_runner::{RunState, Runs};

use crate::commands::plan::warnings::{self, unreadable};
use crate::commands::removal;
use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::history::History;
use crate::other_code::OtherCode;
use crate::remote::service;
use crate::store;
use crate::view::format::count;
use crate::view::output::{Answer, WARN, plain, table, to_type};
use crate::view::run_summary::{LatestRuns, RUNS, RunLine, latest, run_table};
use crate::view::tenants::{TenantLine, of_workflows, tenant_table};
use crate::view::version;

/// Show how many processes are at each version, and the last runs
///
/// A process is in flight until it is finished, which its last append or a run
/// records. A process is held if an operator excludes it from runs: see
/// `hold`. Counting reads one small row for each process. The command writes
/// nothing and does not fence a writer.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  status --store ./loans\n  status --store ./loans --by-tenant\n  status --store ./loans --workflow loan --json\n  status --store ./loans --can-remove loan@2011"
)]
pub(crate) struct Status {
    /// Show only this workflow (repeatable)
    #[arg(long, value_name = "NAME")]
    workflow: Vec<String>,
    /// Also count the processes of each tenant
    #[arg(long)]
    by_tenant: bool,
    /// Show instead whether the code of this version can be removed from the
    /// program: exit code 0 if so, otherwise 2
    #[arg(long, value_name = "VERSION", value_parser = removal::version, conflicts_with_all = ["workflow", "by_tenant"])]
    can_remove: Option<WorkflowId>,
    /// Treat what cannot be undone, redone or verified afterwards as a reason
    /// to keep the code
    #[arg(long, requires = "can_remove")]
    keep_undo: bool,
}

#[derive(Debug, Serialize)]
struct StatusView {
    store: String,
    /// By workflow and version.
    versions: Vec<Version>,
    /// By version and tenant, if requested.
    tenants: Option<Vec<TenantLine>>,
    /// Streams whose version cannot be read.
    unreadable: u64,
    /// Whether a program has the store open, or ended without closing it.
    in_use: bool,
    /// That program, if it left its mark.
    opened_by: Option<OpenedBy>,
    /// The last runs, latest first.
    runs: Vec<RunLine>,
    warnings: Vec<String>,
    next: Vec<String>,
}

#[derive(Debug, Serialize)]
struct OpenedBy {
    program: String,
    pid: u32,
    host: String,
    user: String,
    /// When it opened the store.
    since: String,
    /// Whether the program runs; `None` for a program of another machine.
    alive: Option<bool>,
}

impl OpenedBy {
    fn of(in_use: InUse) -> Option<Self> {
        let program = in_use.program?;
        Some(Self {
            program: program.name,
            pid: program.pid,
            host: program.host,
            user: program.user,
            since: in_use.opened?.to_string(),
            alive: in_use.is_alive,
        })
    }
}

/// The processes at a version.
#[derive(Debug, Serialize)]
pub(crate) struct Version {
    version: String,
    processes: u64,
    in_flight: u64,
    held: u64,
    undone: u64,
    #[serde(flatten)]
    decision: VersionDecision,
}

/// Whether a version is of these workflows. No workflows are all.
pub(crate) fn is_shown(version: &WorkflowId, workflows: &[String]) -> bool {
    workflows.is_empty() || workflows.iter().any(|name| name == version.name())
}

/// The versions of these workflows, or of all.
pub(crate) fn versions(counted: Versions, workflows: &[String]) -> Vec<Version> {
    let versions = counted.versions.into_iter();
    let versions = versions.filter(|at| is_shown(&at.version, workflows));
    let version = |at: AtVersion| Version {
        version: at.version.to_string(),
        processes: at.counts.processes,
        in_flight: at.counts.in_flight,
        held: at.counts.held,
        undone: at.counts.undone,
        decision: at.decision,
    };
    versions.map(version).collect()
}

/// Whether a run would find an outdated process among these.
pub(crate) fn any_outdated(versions: &[Version]) -> bool {
    let mut versions = versions.iter();
    versions.any(|version| version.decision.status == VersionState::Outdated)
}

/// The warnings about undone processes at these versions.
pub(crate) fn undone(versions: &[Version]) -> impl Iterator<Item = String> {
    let outdated = versions
        .iter()
        .filter(|version| version.decision.status == VersionState::Outdated);
    outdated.filter_map(|version| warnings::undone(version.undone, &version.version))
}

pub(crate) fn version_table(versions: &[Version]) -> String {
    let rows = versions.iter().map(|version| {
        vec![
            plain(&version.version),
            count(version.processes),
            count(version.in_flight),
            count(version.held),
            version::status(&version.decision),
        ]
    });
    let header = ["VERSION", "PROCESSES", "IN FLIGHT", "HELD", "STATUS"];
    table(&header, rows)
}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if let Some(version) = &self.can_remove {
            return removal::run(context, version, self.keep_undo).await;
        }
        if let Some(client) = context.client() {
            return service::status(context, &client, &self.workflow, self.by_tenant).await;
        }
        let decisions = VersionDecisions::of_linked();
        let reader = context.reader().await?;
        let census = Census::of_all(&reader, self.by_tenant).await?;
        let mut counted = Versions::new(&census, &decisions);
        self.check(context, &counted, &decisions)?;
        let tenants = counted.tenants.take();
        let tenants = tenants.map(|tenants| of_workflows(tenants, &self.workflow));
        let runs = Runs::of(&reader).ok_or_else(|| context.keeps_no_runs())?;
        let runs = History::Store(runs, Some(reader.clone()));
        let latest = latest(&runs, RUNS).await?;
        let in_use = reader.in_use().await?;
        let mut warnings = Vec::from_iter(in_use.as_ref().map(store::in_use));
        if let Some(problem) = decisions.problem() {
            warnings.push(problem.to_string());
        }
        warnings.extend(unreadable(&counted));
        let is_alive = in_use.as_ref().is_some_and(InUse::appears_alive);
        let unfinished = latest.holder.as_ref().or(latest.lines.first());
        // A run in a living program is controlled through that program.
        let is_elsewhere = |run: &&RunLine| is_alive && run.is_claiming();
        let unfinished = unfinished.filter(|run| run.is_open() && !is_elsewhere(run));
        let other_code = match unfinished {
            Some(run) => OtherCode::of(context, &runs, run).await?,
            None => None,
        };
        match &other_code {
            Some(other_code) => warnings.push(other_code.warning.clone()),
            None => {
                let holder = latest.holder.as_ref();
                warnings.extend(holder.and_then(|run| run.blocking_note(is_alive)));
            }
        }
        let streams = counted.unreadable.as_ref().map(|it| it.streams);
        let versions = versions(counted, &self.workflow);
        warnings.extend(undone(&versions));
        let mut next = next(context, &versions, &latest, &decisions, is_alive);
        if let Some(other_code) = other_code.filter(|_| !is_alive) {
            next = other_code.next;
        }
        context.output.answer(&StatusView {
            store: context.global.store.clone().unwrap_or_default(),
            versions,
            tenants,
            unreadable: streams.unwrap_or(0),
            in_use: in_use.is_some(),
            opened_by: in_use.and_then(OpenedBy::of),
            runs: latest.lines,
            warnings,
            next,
        })?;
        Ok(Exit::Done)
    }

    /// Refuses an unknown workflow.
    ///
    /// Its name is probably mistyped, and the empty result would look as if no process
    /// was left.
    fn check(
        &self,
        context: &Context,
        counted: &Versions,
        decisions: &VersionDecisions,
    ) -> Result<(), Failure> {
        let there = counted.versions.iter().map(|at| at.version.name());
        let known: BTreeSet<&str> = there.chain(decisions.workflows()).collect();
        for name in &self.workflow {
            if !known.contains(name.as_str()) {
                let known = Vec::from_iter(known).join(", ");
                return Err(Failure::environment(Reason::UnknownWorkflow, format!(
                    "workflow {name:?} has no processes and is not linked into this program (known workflows: {}); correct --workflow",
                    if known.is_empty() { "none" } else { &known }
                ))
                .next(context.command_line("status")));
            }
        }
        Ok(())
    }
}

/// The next command: first about an unfinished run, then about outdated processes.
fn next(
    context: &Context,
    versions: &[Version],
    latest: &LatestRuns,
    decisions: &VersionDecisions,
    is_alive: bool,
) -> Vec<String> {
    let last = latest.holder.as_ref().or(latest.lines.first());
    if latest.interrupted().is_none() && decisions.problem().is_some() {
        return vec![context.command_line("migrations")];
    }
    let command = match last {
        // The run is controlled through the program that has the store open.
        Some(last) if last.is_open() && is_alive => return Vec::new(),
        Some(last) if last.is_open() => format!("resume {}", last.number),
        Some(last) if last.state == RunState::DoneWithErrors => format!("show {}", last.number),
        _ if any_outdated(versions) => "plan".to_owned(),
        _ => return Vec::new(),
    };
    vec![context.command_line(&command)]
}

impl Answer for StatusView {
    const KIND: &'static str = "status";

    fn text(&self, out: &mut String) -> fmt::Result {
        if self.versions.is_empty() {
            writeln!(out, "no processes")?;
        } else {
            out.push_str(&version_table(&self.versions));
        }
        if let Some(tenants) = self.tenants.as_ref().filter(|all| !all.is_empty()) {
            write!(out, "\n{}", tenant_table(tenants))?;
        }
        if self.runs.is_empty() {
            writeln!(out, "\nno runs yet")?;
        } else {
            write!(out, "\n{}", run_table(&self.runs))?;
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
