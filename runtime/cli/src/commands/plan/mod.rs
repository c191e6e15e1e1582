//! The command `plan`.

mod estimate;
mod warnings;

use std::fmt::{self, Write};

use serde::Serialize;
use state_migration_core::WorkflowId;
use state_migration_runner::{ChangedStep, MigrationRunner, Plan, PlannedRoute, Runs};

use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::history::History;
use crate::remote::service;
use crate::selection::PlanArgs;
use crate::version_counts::{ProcessCounts, VersionCounts};
use crate::version_status::{VersionDecision, VersionDecisions, VersionState};
use crate::view::format::{self, count};
use crate::view::output::{Answer, BOLD, DIM, WARN, plain, table, to_type};
use crate::view::run_summary::{RunLine, latest};
use estimate::{Estimate, Sample, sample};

/// Show what a run would do, and the fingerprint that confirms it
///
/// Writes nothing and does not fence a service that writes to the store. The
/// fingerprint covers the selection, the routes with the code of their
/// migrations, and the options; `run --plan` is refused if any of them has
/// changed. The duration is estimated from an earlier run over this store, or
/// else from a dry run over a sample of the processes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plan --store ./loans\n  plan --store ./loans --workflow loan --percent 5\n  plan --store ./loans --tenant bank --limit 100 --json"
)]
pub(crate) struct ShowPlan {
    #[command(flatten)]
    planned: PlanArgs,
    /// Dry-run at most N processes; 0 disables the sample
    #[arg(long, value_name = "N", default_value_t = 256)]
    sample: usize,
}

/// The plan of a run, with counts, an estimate and warnings.
#[derive(Debug, Serialize)]
struct PlanView {
    fingerprint: String,
    /// As text.
    selection: String,
    count_all: bool,
    check_determinism: bool,
    deadline_ms: u64,
    /// Number of processes to migrate.
    due: u64,
    versions: Vec<Version>,
    routes: Vec<RouteView>,
    estimate: Estimate,
    /// Result of a dry run over a sample.
    sample: Option<Sample>,
    warnings: Vec<String>,
    next: Vec<String>,
}

/// The selected processes at a version.
#[derive(Debug, Serialize)]
struct Version {
    version: String,
    processes: u64,
    in_flight: u64,
    held: u64,
    due: u64,
    #[serde(flatten)]
    decision: VersionDecision,
}

/// The route of the processes at one version.
#[derive(Debug, Serialize)]
struct RouteView {
    from: String,
    to: String,
    due: u64,
    hops: Vec<HopView>,
}

#[derive(Debug, Serialize)]
struct HopView {
    from: String,
    to: String,
    /// The function, with its file, line and package.
    by: Option<String>,
    note: Option<String>,
    fingerprint: String,
    /// Whether the migration was edited after a run had applied it.
    edited: bool,
}

impl ShowPlan {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if let Some(client) = context.client() {
            return service::plan(context, &client, &self.planned).await;
        }
        let migrations = context.migrations()?;
        self.planned.check(&migrations)?;
        let reader = context.reader().await?;
        let runs = Runs::of(&reader).ok_or_else(|| context.keeps_no_runs())?;
        let runner = MigrationRunner::new(migrations.clone(), reader.clone(), reader.clone());
        let runner = self.planned.apply(runner);
        let plan = runner
            .plan()
            .map_err(|error| Failure::refused(Reason::MigrationsInvalid, error.to_string()))?;
        let unknown_names = runner.unknown_names(&plan.selection).await?;
        let decisions = VersionDecisions::of_linked();
        let is_behind = |version: &WorkflowId| {
            let mut routes = plan.routes.iter();
            routes.any(|route| route.from == *version)
        };
        let counts = VersionCounts::of(&reader, &plan.selection, is_behind).await?;
        let versions: Vec<Version> = counts
            .versions
            .iter()
            .map(|(version, counted)| Version::new(version, counted, &decisions))
            .collect();
        let changed = runs.changed_steps(&plan).await?;
        let sample = sample(&reader, &migrations, &self.planned, &counts, self.sample).await;
        let due = counts.due() as u64;
        let estimate = Estimate::new(&runs, due, sample.as_ref()).await?;
        let history = History::Store(runs, Some(reader.clone()));
        let holder = latest(&history, 0).await?.holder.filter(RunLine::is_open);
        let shown = PlanView {
            fingerprint: plan.fingerprint.to_string(),
            selection: plan.selection.to_string(),
            count_all: plan.options.count_up_to_date,
            check_determinism: plan.options.check_determinism,
            deadline_ms: plan.options.deadline_ms,
            due,
            routes: routes(&plan, &counts, &changed),
            warnings: warnings::all(
                &reader,
                holder.as_ref(),
                &counts,
                &decisions,
                &changed,
                sample.as_ref(),
            )
            .await?
            .into_iter()
            .chain(warnings::of_nothing(
                &plan.selection,
                unknown_names,
                &counts,
            ))
            .collect(),
            next: self.next(context, &plan, due, holder.as_ref()),
            versions,
            estimate,
            sample,
        };
        context.output.answer(&shown)?;
        Ok(Exit::Done)
    }

    fn next(
        &self,
        context: &Context,
        plan: &Plan,
        due: u64,
        holder: Option<&RunLine>,
    ) -> Vec<String> {
        // A new run is refused until that run has ended.
        if let Some(run) = holder {
            return vec![context.command_line(&format!("resume {}", run.number))];
        }
        if due == 0 && !self.planned.count_all {
            return Vec::new();
        }
        let arguments = self.planned.arguments();
        vec![context.command_line(&format!("run --plan {}{arguments}", plan.fingerprint))]
    }
}

impl Version {
    fn new(version: &WorkflowId, counted: &ProcessCounts, decisions: &VersionDecisions) -> Self {
        Self {
            version: version.to_string(),
            processes: counted.processes,
            in_flight: counted.in_flight,
            held: counted.held,
            due: counted.due,
            decision: decisions.about(version),
        }
    }
}

/// The routes with processes to migrate.
fn routes(plan: &Plan, counts: &VersionCounts, changed: &[ChangedStep]) -> Vec<RouteView> {
    let due = |at: &WorkflowId| counts.versions.get(at).map_or(0, |counted| counted.due);
    plan.routes
        .iter()
        .filter(|route| due(&route.from) > 0)
        .map(|route| RouteView::new(route, due(&route.from), plan, changed))
        .collect()
}

impl RouteView {
    fn new(route: &PlannedRoute, due: u64, plan: &Plan, changed: &[ChangedStep]) -> Self {
        let mut at = route.from.clone();
        let mut hops = Vec::with_capacity(route.hops.len());
        for hop in &route.hops {
            let to = WorkflowId::new(at.name().to_owned(), hop.to.clone());
            let mut steps = plan.steps.iter();
            let step = steps.find(|step| step.from == at && step.to == to);
            hops.push(HopView {
                from: at.to_string(),
                to: to.to_string(),
                by: step.map(|step| step.by.clone()),
                note: step.and_then(|step| step.note.clone()),
                fingerprint: hop.code.to_string(),
                edited: changed.iter().any(|step| step.from == at && step.to == to),
            });
            at = to;
        }
        Self {
            from: route.from.to_string(),
            to: at.to_string(),
            due,
            hops,
        }
    }
}

impl Answer for PlanView {
    const KIND: &'static str = "plan";

    fn text(&self, out: &mut String) -> fmt::Result {
        let mut line = |name: &str, value: &str| writeln!(out, "{DIM}{name:11}{DIM:#} {value}");
        line("plan", &format!("{BOLD}{}{BOLD:#}", self.fingerprint))?;
        line("processes", &self.selection)?;
        let deadline = std::time::Duration::from_millis(self.deadline_ms);
        let mut options = vec![format!("deadline {}", format::duration(deadline))];
        options.extend(self.count_all.then(|| "count all".to_owned()));
        options.extend(
            self.check_determinism
                .then(|| "check determinism".to_owned()),
        );
        line("options", &options.join(", "))?;
        if !self.versions.is_empty() {
            let rows = self.versions.iter().map(|version| {
                vec![
                    plain(&version.version),
                    count(version.processes),
                    count(version.in_flight),
                    count(version.held),
                    count(version.due),
                    version.decision.text(),
                ]
            });
            let header = [
                "VERSION",
                "PROCESSES",
                "IN FLIGHT",
                "HELD",
                "TO MIGRATE",
                "STATUS",
            ];
            write!(out, "\n{}", table(&header, rows))?;
        }
        for way in &self.routes {
            let processes = format::counted(way.due, "process", "processes");
            writeln!(
                out,
                "\n{BOLD}{} -> {}{BOLD:#}: {processes}",
                way.from, way.to
            )?;
            for hop in &way.hops {
                let edited = if hop.edited {
                    "  edited since an earlier run"
                } else {
                    ""
                };
                writeln!(
                    out,
                    "  {} -> {}  {DIM}{}{DIM:#}{WARN}{edited}{WARN:#}",
                    hop.from, hop.to, hop.fingerprint
                )?;
                if let Some(by) = &hop.by {
                    writeln!(out, "    {}", plain(by))?;
                }
                if let Some(note) = &hop.note {
                    writeln!(out, "    {}", plain(note))?;
                }
            }
        }
        writeln!(out)?;
        let mut line = |name: &str, value: &str| writeln!(out, "{DIM}{name:11}{DIM:#} {value}");
        line("to migrate", &count(self.due))?;
        if self.due > 0 {
            line("time", &self.estimate.time())?;
            if let Some(bytes) = self.estimate.read_bytes {
                let bytes = format::bytes(bytes);
                line("to read", &format!("about {bytes} of events and states"))?;
            }
        }
        if let Some(sample) = &self.sample {
            line("sample", &sample.text())?;
        }
        if !self.warnings.is_empty() {
            writeln!(out)?;
        }
        for warning in &self.warnings {
            writeln!(out, "{WARN}warning:{WARN:#} {warning}")?;
        }
        if self.next.is_empty() {
            writeln!(out, "\nnothing to do")?;
        }
        to_type(&self.next, out)
    }
}

/// Whether a run fails the processes of a version because they have no route.
fn is_stray(decision: &VersionDecision) -> bool {
    matches!(
        decision.status,
        VersionState::UnknownVersion | VersionState::NewerThanProgram | VersionState::Undecided
    )
}
