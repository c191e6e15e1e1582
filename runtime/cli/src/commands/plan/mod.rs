//! The command `plan`.

pub(crate) mod warnings;

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;
use state_migration_control_socket::protocol::{ForecastRequest, Planned};
use state_migration_core::{EventStore as _, InUse, WorkflowId};
use state_migration_runner::forecast::estimate::Estimate;
use state_migration_runner::forecast::sample::Sample;
use state_migration_runner::forecast::version_status::{VersionDecision, VersionState};
use state_migration_runner::forecast::{AtVersion, Forecast};
use state_migration_runner::run::Confirmation;
use state_migration_runner::{
    ChangedStep, Plan, PlannedPredicate, PlannedRoute, Runs, SnapshotUse,
};

use crate::context::{Context, last_word};
use crate::exit_code::{Exit, Failure, Reason};
use crate::history::History;
use crate::local::program_fit;
use crate::local::throttle;
use crate::other_code::OtherCode;
use crate::remote::{ServiceClient, service};
use crate::selection::{Limit, PlanArgs};
use crate::store;
use crate::view::format::{self, count, counted};
use crate::view::output::{Answer, BOLD, DIM, WARN, plain, table, to_type};
use crate::view::run_summary::{RunLine, latest};
use crate::view::version;

/// Number of streams up to which a suggested command repeats their options.
const MANY: usize = 20;

/// Show what a run would do, and the fingerprint that confirms it
///
/// Writes nothing and does not fence a service that writes to the store. The
/// fingerprint covers the selection, the routes with the code of their
/// migrations, the options, and the id of the store; `run --plan` is refused
/// if any of them differs, but not if the number of processes does: see
/// `--at-most`. A copy of a store has the id of its original. The duration is
/// estimated from a dry run over a sample of the processes, which takes a few
/// seconds at most. With --socket, the service counts and tries its own
/// processes with its own code, so code that ends its program ends the
/// service; --sample 0 runs no code.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plan --store ./loans\n  plan --store ./loans --workflow loan --percent 5\n  plan --store ./loans --throttle 500\n  plan --store ./loans --tenant bank --limit 100 --json"
)]
pub(crate) struct ShowPlan {
    #[command(flatten)]
    planned: PlanArgs,
    /// Dry-run at most N processes; 0 disables the sample
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    sample: usize,
    /// Estimate a run that is limited to N processes per second; `off` for a
    /// run without the limit of the service
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = throttle)]
    throttle: Option<Limit>,
}

/// The plan of a run, with counts, an estimate and warnings.
#[derive(Debug, Serialize)]
struct PlanView {
    /// Of the plan and the store.
    fingerprint: String,
    store_id: Option<String>,
    /// As text.
    selection: String,
    predicate: Vec<PredicateView>,
    count_all: bool,
    check_determinism: bool,
    deadline_ms: u64,
    snapshots: SnapshotUse,
    /// Number of processes to migrate.
    due: u64,
    /// Whether the run may find that it is not for some of them.
    #[serde(skip)]
    is_upper_bound: bool,
    versions: Vec<Version>,
    routes: Vec<RouteView>,
    estimate: Estimate,
    /// Result of a dry run over a sample.
    sample: Option<Sample>,
    warnings: Vec<String>,
    next: Vec<String>,
}

/// The code of the predicate of the selection for one version.
#[derive(Debug, Serialize)]
pub(crate) struct PredicateView {
    version: String,
    fingerprint: String,
}

impl PredicateView {
    pub(crate) fn of(predicate: &PlannedPredicate) -> Self {
        Self {
            version: predicate.at.to_string(),
            fingerprint: predicate.code.to_string(),
        }
    }

    pub(crate) fn text(&self) -> String {
        format!(
            "for {}, fingerprint {}",
            plain(&self.version),
            self.fingerprint
        )
    }
}

/// The selected processes at a version.
#[derive(Debug, Serialize)]
struct Version {
    version: String,
    processes: u64,
    in_flight: u64,
    held: u64,
    undone: u64,
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
    /// Whether the fingerprint covers the code that the function calls; null if its author
    /// wrote the fingerprint.
    covers_calls: Option<bool>,
    /// Whether the migration was edited after a run had applied it.
    edited: bool,
}

/// What a store or a service knows of a run.
struct Looked {
    planned: Planned,
    /// About the store or the service.
    warnings: Vec<String>,
    /// The commands about a run that another run has to wait for.
    first: Vec<String>,
    /// Whether this program would refuse to run: another program has the store open, or this
    /// program does not fit the store.
    is_refused: bool,
}

impl ShowPlan {
    pub(crate) async fn run(mut self, context: &Context) -> Result<Exit, Failure> {
        self.planned.find_run(context).await?;
        let Looked {
            planned:
                Planned {
                    plan,
                    confirmation,
                    store_id,
                    forecast,
                },
            mut warnings,
            first,
            is_refused,
        } = match context.client() {
            Some(client) => self.in_service(context, &client).await?,
            None => self.in_store(context).await?,
        };
        warnings.extend(warnings::all(&plan, &forecast));
        let streams = self.planned.stream.len();
        if forecast.due > 0 && streams > MANY {
            warnings.push(format!(
                "{} were given; give the same options to `run --plan {confirmation}`, or name the streams in a file with --streams-from",
                counted(streams as u64, "--stream option", "--stream options")
            ));
        }
        let next = match is_refused || forecast.refused.is_some() {
            true => Vec::new(),
            false => self.next(context, &confirmation, &forecast, first),
        };
        let Forecast {
            versions,
            due,
            estimate,
            sample,
            edited,
            ..
        } = forecast;
        let versions = versions.versions;
        context.output.answer(&PlanView {
            fingerprint: confirmation.to_string(),
            store_id: store_id.map(|id| id.to_string()),
            selection: plan.selection.to_string(),
            predicate: plan.predicate.iter().map(PredicateView::of).collect(),
            count_all: plan.options.count_up_to_date,
            check_determinism: plan.options.check_determinism,
            deadline_ms: plan.options.deadline_ms,
            snapshots: plan.options.snapshots,
            due,
            is_upper_bound: plan.selection.reads_more_than_heads(),
            routes: routes(&plan, &versions, &edited),
            versions: versions.into_iter().map(Version::from).collect(),
            estimate,
            sample,
            warnings,
            next,
        })?;
        Ok(Exit::Done)
    }

    async fn in_store(&self, context: &Context) -> Result<Looked, Failure> {
        let migrations = context.migrations()?;
        self.planned.check(context, &migrations)?;
        let reader = context.reader().await?;
        let runs = Runs::of(&reader).ok_or_else(|| context.keeps_no_runs())?;
        let runner = self.planned.apply(context.runner(migrations, &reader));
        let plan = runner
            .plan()
            .map_err(|error| Failure::refused(Reason::MigrationsInvalid, error.to_string()))?;
        let throttle = self.throttle.and_then(|limit| limit.0);
        let forecast = runner
            .forecast(runner.run_options(), &plan, throttle, self.sample)
            .await?;
        let history = History::Store(runs, Some(reader.clone()));
        let holder = latest(&history, 0).await?.holder.filter(RunLine::is_open);
        let mut warnings = Vec::new();
        let in_use = reader.in_use().await?;
        let is_alive = in_use.as_ref().is_some_and(InUse::appears_alive);
        let is_elsewhere = is_alive && holder.as_ref().is_some_and(RunLine::is_claiming);
        warnings.extend(in_use.as_ref().map(store::in_use));
        let other_code = match holder.as_ref().filter(|_| !is_elsewhere) {
            Some(run) => OtherCode::of(context, &history, run).await?,
            None => None,
        };
        let first = match other_code {
            Some(other_code) => {
                warnings.push(other_code.warning);
                other_code.next
            }
            None => {
                let note = holder.as_ref().and_then(|run| run.blocking_note(is_alive));
                warnings.extend(note);
                let resume = holder.map(|run| format!("resume {}", run.number));
                resume.iter().map(|it| context.command_line(it)).collect()
            }
        };
        let present = reader.present_versions().await?;
        let misfit = program_fit::check_workflows(context, &present).err();
        warnings.extend(misfit.iter().map(|misfit| misfit.message().to_owned()));
        let is_misfit = misfit.is_some();
        let store_id = reader.durable_id().await?;
        Ok(Looked {
            planned: Planned {
                confirmation: plan.confirmation(store_id),
                store_id,
                plan,
                forecast,
            },
            warnings,
            first,
            is_refused: is_alive || is_misfit,
        })
    }

    async fn in_service(
        &self,
        context: &Context,
        client: &ServiceClient,
    ) -> Result<Looked, Failure> {
        service::check(client, &self.planned).await?;
        let request = ForecastRequest {
            which: self.planned.run_options(),
            sample: self.sample,
            per_second: self.throttle.map(|limit| limit.0),
        };
        let planned = client.plan(request).await?;
        let (warning, first) = service::blocking_run(client).await?.unzip();
        Ok(Looked {
            planned,
            warnings: warning.into_iter().collect(),
            first: first.iter().map(|it| context.command_line(it)).collect(),
            is_refused: false,
        })
    }

    fn next(
        &self,
        context: &Context,
        plan: &Confirmation,
        forecast: &Forecast,
        first: Vec<String>,
    ) -> Vec<String> {
        // A new run is refused until that run has ended.
        if !first.is_empty() {
            return first;
        }
        if forecast.due == 0 && !self.planned.count_all {
            return Vec::new();
        }
        if let Some(sample) = &forecast.sample
            && sample.processes > 0
            && sample.failed == sample.processes
            && let Some(failures) = sample.failures.first()
        {
            let stream = failures.subject.stream();
            let inspect = stream
                .map(|stream| format!("inspect {}", last_word(stream.as_str())))
                .and_then(|inspect| context.in_store(&inspect));
            // `inspect` does not work through a service.
            let migrations = || context.command_line("migrations");
            return vec![inspect.unwrap_or_else(migrations)];
        }
        if self.planned.stream.len() > MANY {
            return Vec::new();
        }
        let mut arguments = self.planned.arguments();
        if let Some(limit) = self.throttle {
            let _ = write!(arguments, " --throttle {limit}");
        }
        vec![context.command_line(&format!("run --plan {plan}{arguments}"))]
    }
}

impl From<AtVersion> for Version {
    fn from(at: AtVersion) -> Self {
        Self {
            version: at.version.to_string(),
            processes: at.counts.processes,
            in_flight: at.counts.in_flight,
            held: at.counts.held,
            undone: at.counts.undone,
            due: at.counts.due,
            decision: at.decision,
        }
    }
}

/// The routes with processes to migrate.
fn routes(plan: &Plan, versions: &[AtVersion], edited: &[ChangedStep]) -> Vec<RouteView> {
    let due = |at: &WorkflowId| {
        let mut versions = versions.iter();
        let version = versions.find(|version| version.version == *at);
        version.map_or(0, |version| version.counts.due)
    };
    plan.routes
        .iter()
        .filter(|route| due(&route.from) > 0)
        .map(|route| RouteView::new(route, due(&route.from), plan, edited))
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
                covers_calls: step.and_then(|step| step.covers_calls),
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
        line("store id", self.store_id.as_deref().unwrap_or("none"))?;
        line("processes", &self.selection)?;
        for predicate in &self.predicate {
            line("predicate", &predicate.text())?;
        }
        let deadline = Duration::from_millis(self.deadline_ms);
        let mut options = vec![format!("deadline {}", format::duration(deadline))];
        options.extend(self.count_all.then(|| "count all".to_owned()));
        options.extend(
            self.check_determinism
                .then(|| "check determinism".to_owned()),
        );
        options.extend(self.snapshots.described().map(ToOwned::to_owned));
        line("options", &options.join(", "))?;
        if !self.versions.is_empty() {
            let rows = self.versions.iter().map(|version| {
                vec![
                    plain(&version.version),
                    count(version.processes),
                    count(version.in_flight),
                    count(version.held),
                    count(version.due),
                    version::status(&version.decision),
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
        let hops = self.routes.iter().flat_map(|way| &way.hops);
        let alone: BTreeSet<&str> = hops
            .filter(|hop| hop.covers_calls == Some(false))
            .map(|hop| &*hop.to)
            .collect();
        writeln!(out)?;
        let mut line = |name: &str, value: &str| writeln!(out, "{DIM}{name:11}{DIM:#} {value}");
        if !alone.is_empty() {
            let functions = format::counted(alone.len() as u64, "function", "functions");
            let what = format!("code that is called by {functions} above: see the key `covers`");
            line("not covered", &what)?;
        }
        let most = if self.is_upper_bound { "at most " } else { "" };
        line("to migrate", &format!("{most}{}", count(self.due)))?;
        if self.due > 0 {
            line("time", &time(&self.estimate, self.sample.as_ref()))?;
            if let Some(bytes) = self.estimate.read_bytes {
                let bytes = format::bytes(bytes);
                line("to read", &format!("about {bytes} of events and states"))?;
            }
        }
        if let Some(sample) = &self.sample {
            line("sample", &tried(sample, self.due))?;
        }
        if !self.warnings.is_empty() {
            writeln!(out)?;
        }
        for warning in &self.warnings {
            writeln!(out, "{WARN}warning:{WARN:#} {}", plain(warning))?;
        }
        if self.next.is_empty() && self.due == 0 {
            writeln!(out, "\nnothing to do")?;
        }
        to_type(&self.next, out)
    }
}

/// The estimated time, as text.
fn time(estimate: &Estimate, sample: Option<&Sample>) -> String {
    let shown = |ms: u64| format::duration(Duration::from_millis(ms));
    let limit = estimate.throttle.map(|limit| {
        let limit = count(limit.get().into());
        format!(", limited to {limit}/s")
    });
    let limit = limit.unwrap_or_default();
    match (estimate.low_ms, estimate.high_ms, sample) {
        (Some(low), Some(high), _) if shown(low) == shown(high) => {
            format!("about {}{limit}", shown(low))
        }
        (Some(low), Some(high), _) => format!("{} to {}{limit}", shown(low), shown(high)),
        (Some(low), None, _) => format!("at least {}{limit}", shown(low)),
        (None, _, Some(sample)) => {
            format!(
                "unknown: no process was converted in {}",
                shown(sample.took_ms)
            )
        }
        (None, _, None) => "unknown: no sample was taken".to_owned(),
    }
}

/// The sample in one line; the failures are shown as warnings.
fn tried(sample: &Sample, due: u64) -> String {
    let Sample {
        processes,
        left_out,
        chosen,
        conversions,
        took_ms,
        failed,
        not_tried,
        ..
    } = sample;
    let tried = processes + left_out;
    let due = counted(due.max(tried), "process", "processes");
    let selected = match left_out {
        0 => String::new(),
        _ => format!(" {} selected,", count(*processes)),
    };
    let took = format::duration(Duration::from_millis(*took_ms));
    let times = match conversions {
        2 => "twice",
        _ => "once",
    };
    let failed = match failed {
        0 => "none".to_owned(),
        failed => count(*failed),
    };
    let mut text = format!(
        "{} of {due} tried in {took},{selected} each converted {times}; {failed} failed",
        count(tried)
    );
    if *not_tried > 0 {
        let _ = write!(
            text,
            "; {} not tried, which were in user code when a program ended",
            count(*not_tried)
        );
    }
    if tried + not_tried < *chosen {
        let _ = write!(text, "; ended early, before {} were tried", count(*chosen));
    }
    text
}

/// Whether a run fails the processes of a version because they have no route.
fn is_stray(decision: &VersionDecision) -> bool {
    matches!(
        decision.status,
        VersionState::UnknownVersion | VersionState::NewerThanProgram | VersionState::Undecided
    )
}
