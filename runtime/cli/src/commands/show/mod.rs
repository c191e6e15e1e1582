//! The command `show`.

mod failures;

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use state_migration_core::{FailureClass, Selection, StreamId};
use state_migration_runner::{Execution, Plan, RunAction, RunCounts, RunRecord, SnapshotUse};

use crate::context::{Context, last_word, option};
use crate::exit_code::{Exit, Failure};
use crate::local::classes;
use crate::other_code::{counts_at_ends, fits, has_failed_with_this_code, ways_on};
use crate::run_selector::WhichRun;
use crate::selection::number;
use crate::view::format::{self, count};
use crate::view::output::{Answer, BAD, BOLD, DIM, plain, table, to_type};
use crate::view::run_summary::RunLine;
use crate::view::summary::{done_by, further, retry, skipped_parts};
use crate::view::totals::Total;
use failures::{Grouped, Listed, OfTenant, grouped, listed};

/// Default number of failures per list.
const PAGE: NonZeroUsize = NonZeroUsize::new(20).unwrap();

/// Show a run and its failures
///
/// Groups the failures by class, with examples of each. With --class, --after
/// or --limit, lists single failures instead.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  show last --store ./loans\n  show 1 --store ./loans --class refused --limit 50"
)]
pub(crate) struct Show {
    /// Show this run: a number, an id, the start of an id, or `last`
    #[arg(value_name = "RUN")]
    run: WhichRun,
    /// List the failures of this class (repeatable)
    #[arg(long, value_name = "CLASS")]
    class: Vec<FailureClass>,
    /// List the failures after this stream, in order of stream ids
    #[arg(long, value_name = "STREAM")]
    after: Option<StreamId>,
    /// List at most N failures
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<NonZeroUsize>)]
    limit: Option<NonZeroUsize>,
    /// Also count the failures of each tenant
    #[arg(long)]
    by_tenant: bool,
}

/// Everything known about a run.
#[derive(Debug, Serialize)]
struct RunView {
    #[serde(flatten)]
    run: RunLine,
    /// Whether the run is known to be in progress.
    #[serde(skip)]
    is_in_progress: bool,
    /// The number of the earlier run that the run is about.
    #[serde(skip)]
    number_of: Option<u64>,
    plan: PlanView,
    counts: RunCounts,
    totals: Vec<Total>,
    /// Who started and resumed the run, oldest first.
    executed: Vec<ExecutionView>,
    /// What was requested of the run while it was in progress, oldest first.
    requests: Vec<RequestView>,
    took_over: Option<String>,
    /// The limit in processes per second.
    throttle: Option<NonZeroU32>,
    /// The failures by class, most frequent first; empty if single failures are listed.
    failures: Vec<Grouped>,
    /// The failures by tenant and class, if requested.
    tenants: Option<Vec<OfTenant>>,
    /// Single failures, if requested.
    listed: Option<Listed>,
    next: Vec<String>,
}

/// An execution of the run.
#[derive(Debug, Serialize)]
struct ExecutionView {
    number: u32,
    actor: String,
    reason: String,
    program: String,
    pid: u32,
    host: String,
    user: String,
    started: String,
    ended: Option<String>,
    /// The fingerprint of the plan, if it is not that of the run.
    plan: Option<String>,
    took_over: Option<String>,
    /// Processes that this execution migrated, those that it took further, and those that
    /// failed.
    migrated: u64,
    migrated_further: u64,
    failed: u64,
    /// Failures of earlier executions that this one decided again.
    decided_again: u64,
    /// The error that stopped it before the end of the run.
    stopped_by: Option<String>,
}

impl ExecutionView {
    /// The executions of a run with these counts.
    fn all(executions: Vec<Execution>, counts: &RunCounts) -> Vec<Self> {
        let ends = counts_at_ends(&executions, counts);
        let each = executions.into_iter().zip(ends);
        each.map(|(execution, end)| Self::of(execution, &end))
            .collect()
    }

    /// An execution, at whose end the run has these counts.
    fn of(execution: Execution, end: &RunCounts) -> Self {
        let counts = execution.counts(end);
        Self {
            migrated: counts.migrated,
            migrated_further: counts.migrated_further,
            failed: counts.failed,
            decided_again: execution.decided_again,
            stopped_by: execution.stopped_by,
            number: execution.number,
            actor: execution.actor,
            reason: execution.reason,
            program: execution.program.name,
            pid: execution.program.pid,
            host: execution.program.host,
            user: execution.program.user,
            started: execution.started.to_string(),
            ended: execution.ended.map(|at| at.to_string()),
            plan: execution.plan.map(|plan| plan.fingerprint.to_string()),
            took_over: execution.took_over.map(|run| run.to_string()),
        }
    }

    /// What the execution did.
    fn counts(&self, kind: &str) -> String {
        let (number, done) = (self.number, done_by(kind));
        let mut text = format!("{number}: {} {done}", count(self.migrated));
        if self.migrated_further > 0 {
            let _ = write!(text, ", {} migrated further", count(self.migrated_further));
        }
        let _ = write!(text, ", {} failed", count(self.failed));
        if self.decided_again > 0 {
            let again = format::counted(self.decided_again, "failure", "failures");
            let _ = write!(text, ", {again} decided again");
        }
        text
    }

    fn text(&self) -> String {
        let Self {
            actor,
            program,
            pid,
            host,
            ..
        } = self;
        let started = self.started.get(..19).unwrap_or(&self.started);
        let actor = plain(actor);
        let mut text = format!("{started}Z by {actor}, {program} (pid {pid} on {host})");
        if let Some(plan) = &self.plan {
            let _ = write!(text, ", by force with plan {plan}");
        }
        if self.took_over.is_some() {
            text += ", took over the store";
        }
        if !self.reason.is_empty() {
            let _ = write!(text, ": {}", plain(&self.reason));
        }
        text
    }
}

/// A request to the run.
#[derive(Debug, Serialize)]
struct RequestView {
    /// As text, such as `throttle 500`.
    request: String,
    actor: String,
    reason: String,
    time: String,
}

impl From<RunAction> for RequestView {
    fn from(action: RunAction) -> Self {
        Self {
            request: action.action.to_string(),
            actor: action.actor,
            reason: action.reason,
            time: action.time.to_string(),
        }
    }
}

impl RequestView {
    fn text(&self) -> String {
        let request = format!(" {}", self.request);
        format::entry(&self.time, &request, &self.actor, &self.reason)
    }
}

/// The plan of the run.
#[derive(Debug, Serialize)]
struct PlanView {
    fingerprint: String,
    /// As text.
    selection: String,
    /// The same in full.
    #[serde(serialize_with = "all_parts")]
    selected: Selection,
    routes: Vec<String>,
    count_all: bool,
    check_determinism: bool,
    deadline_ms: u64,
    snapshots: SnapshotUse,
}

/// Writes a selection with all its parts, since the rows of runs leave out some of them.
fn all_parts<S: Serializer>(selection: &Selection, serializer: S) -> Result<S::Ok, S::Error> {
    let mut parts = serde_json::to_value(selection).map_err(S::Error::custom)?;
    if let Some(parts) = parts.as_object_mut() {
        for part in ["matching", "except_failed_in"] {
            parts.entry(part).or_insert(serde_json::Value::Null);
        }
    }
    parts.serialize(serializer)
}

impl PlanView {
    fn of(plan: &Plan) -> Self {
        let routes = plan.routes.iter().map(|route| {
            let mut text = route.from.to_string();
            for hop in &route.hops {
                let _ = write!(text, " -> {}", hop.to);
            }
            text
        });
        Self {
            fingerprint: plan.fingerprint.to_string(),
            selection: plan.selection.to_string(),
            selected: plan.selection.clone(),
            routes: routes.collect(),
            count_all: plan.options.count_up_to_date,
            check_determinism: plan.options.check_determinism,
            deadline_ms: plan.options.deadline_ms,
            snapshots: plan.options.snapshots,
        }
    }
}

/// The migrations of this program, compared with those of the run.
struct Code {
    /// Whether the last execution had the same.
    is_same: bool,
    /// Whether a newer program has migrated processes of the store.
    is_older: bool,
    /// Whether each execution with failures had the same.
    failed: bool,
}

impl Show {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let runs = context.history().await?;
        let record = self.run.find(&runs, context).await?;
        let counts = runs.counts(record.id).await?;
        let executions = runs.executions(record.id).await?;
        let actions = runs.actions(record.id).await?;
        let totals = Total::all(&runs.totals(record.id).await?);
        let (all, claim) = runs.list_claimed().await?;
        let run = RunLine::of(&runs, &record, &counts, &all, claim).await?;
        let lists = !self.class.is_empty() || self.after.is_some() || self.limit.is_some();
        // Grouping reads all failures, of which there may be very many.
        let (failures, tenants) = match lists && !self.by_tenant {
            true => (Vec::new(), Vec::new()),
            false => grouped(&runs, record.id).await?,
        };
        let failures = match lists {
            true => Vec::new(),
            false => failures,
        };
        let listed = match lists {
            true => {
                let limit = self.limit.unwrap_or(PAGE).get();
                let after = self.after.as_ref();
                Some(listed(&runs, record.id, &self.class, after, limit).await?)
            }
            false => None,
        };
        // The state in a store may be that of a program that was killed.
        let is_in_progress = run.is_claiming() && runs.is_open_elsewhere().await?;
        let same_code = fits(context, &record, record.last_plan(&executions));
        let code = Code {
            is_same: same_code,
            is_older: runs.check_program(context).await.is_err(),
            failed: has_failed_with_this_code(context, &record, &executions, &counts),
        };
        let next = self.next(
            context,
            &run,
            is_in_progress,
            &failures,
            listed.as_ref(),
            &code,
        );
        context.output.answer(&RunView {
            is_in_progress,
            number_of: number_of(&record, &all),
            totals,
            plan: PlanView::of(&record.plan),
            executed: ExecutionView::all(executions, &counts),
            requests: actions.into_iter().map(RequestView::from).collect(),
            took_over: took_over(&record),
            throttle: record.throttle,
            run,
            counts,
            failures,
            tenants: self.by_tenant.then_some(tenants),
            listed,
            next,
        })?;
        Ok(Exit::Done)
    }

    /// The next commands, most likely first.
    fn next(
        &self,
        context: &Context,
        run: &RunLine,
        is_in_progress: bool,
        failures: &[Grouped],
        listed: Option<&Listed>,
        code: &Code,
    ) -> Vec<String> {
        let mut next = Vec::new();
        let number = run.number;
        if let Some(listed) = listed
            && let Some(after) = &listed.next_after
        {
            let mut line = format!("show {number}");
            line += &classes(&self.class);
            let after = option("--after", after);
            let _ = write!(line, "{after} --limit {}", listed.limit);
            next.push(context.command_line(&line));
        }
        if is_in_progress && context.global.socket.is_some() {
            next.push(context.command_line("watch"));
        } else if run.is_open() && code.is_older {
            // The program that has executed the run is another one.
        } else if run.is_open()
            && !is_in_progress
            && !code.is_same
            && context.global.socket.is_none()
        {
            let ways = ways_on(context, (number, run.what), run.claims_store);
            next.extend(ways.into_iter().map(|(command, _)| command));
        } else if run.is_open() && !is_in_progress {
            next.push(context.command_line(&format!("resume {number}")));
        }
        let example = match listed {
            Some(listed) => listed.failures.first(),
            None => failures.first().and_then(|group| group.examples.first()),
        };
        if example.is_none() && run.failed > 0 {
            next.push(context.command_line(&format!("show {number}")));
        }
        if let Some(example) = example {
            // `inspect` does not work through a service.
            next.extend(context.in_store(&format!("inspect {}", last_word(&example.stream))));
            if listed.is_none()
                && let Some(group) = failures.first()
            {
                next.push(context.command_line(&format!("show {number} --class {}", group.class)));
            }
            // What an undo or a redo has left is for another undo or redo.
            if !run.is_open() && !matches!(run.what, "undo" | "redo" | "erase") {
                let again = |class: &FailureClass| code.failed && class.needs_other_code();
                let rest: Vec<_> = self.class.iter().copied().filter(|it| !again(it)).collect();
                let line = match (self.class.is_empty(), rest.is_empty()) {
                    (false, true) => None,
                    (false, false) => Some(format!("retry {number}{}", classes(&rest))),
                    (true, _) => {
                        let failed: Vec<_> = match listed {
                            None => failures.iter().map(|group| group.class).collect(),
                            Some(listed) => {
                                let listed = listed.failures.iter().map(|it| it.class);
                                Vec::from_iter(listed.collect::<BTreeSet<_>>())
                            }
                        };
                        retry(&number.to_string(), failed.into_iter(), code.failed)
                    }
                };
                next.extend(line.map(|line| context.command_line(&line)));
            }
        }
        next
    }
}

fn took_over(record: &RunRecord) -> Option<String> {
    record.took_over.map(|run| run.to_string())
}

/// The number of the earlier run that a run is about.
fn number_of(record: &RunRecord, all: &[RunRecord]) -> Option<u64> {
    let of = record.kind.of()?;
    let of = all.iter().find(|run| run.id == of)?;
    Some(of.number)
}

impl Answer for RunView {
    const KIND: &'static str = "show";

    fn text(&self, out: &mut String) -> fmt::Result {
        let Self { run, counts, .. } = self;
        let mut line = |name: &str, value: &str| writeln!(out, "{DIM}{name:10}{DIM:#} {value}");
        line("run", &format!("{BOLD}{}{BOLD:#}  {}", run.number, run.run))?;
        let of = run.of.as_ref().map(|id| match self.number_of {
            Some(number) => format!("run {number}"),
            None => format!("run {id}"),
        });
        let what = match &of {
            Some(of) => format!("{} of {of}", run.what),
            None => run.what.to_owned(),
        };
        line("what", &what)?;
        let holds = match (run.is_claiming(), self.is_in_progress) {
            (true, true) => ", in the program that has the store open",
            (true, false) => "; the run claims the store, so the run is in progress or was killed",
            (false, _) => "",
        };
        line("state", &format!("{}{holds}", run.state()))?;
        if let Some(note) = run.note() {
            line("note", &note)?;
        }
        let last = self.executed.last();
        if let Some(error) = last.and_then(|last| last.stopped_by.as_deref()) {
            line("stopped by", &plain(error))?;
        }
        line("actor", &plain(&run.actor))?;
        line("reason", &plain(&run.reason))?;
        line("plan", &self.plan.fingerprint)?;
        let selection = &self.plan.selection;
        let which = match run.what {
            "retry" => "failed in",
            _ => "were migrated by",
        };
        let processes = match of {
            None => selection.clone(),
            Some(of) if selection == "everything" => format!("those that {which} {of}"),
            Some(of) => format!("those that {which} {of}; {selection}"),
        };
        line("processes", &processes)?;
        for route in &self.plan.routes {
            line("route", &plain(route))?;
        }
        line("options", &self.options())?;
        let times = match run.executions {
            0 | 1 => String::new(),
            more => format!("; started {more} times"),
        };
        line("started", &format!("{}{times}", run.began))?;
        for (name, text) in self.history() {
            line(name, &plain(&text))?;
        }
        if let (Some(took), Some(ended)) = (run.took_ms, &run.ended) {
            let ended = ended.get(..19).unwrap_or(ended);
            let took = format::duration(std::time::Duration::from_millis(took));
            line("ended", &format!("{ended}Z, after {took}"))?;
        }
        if let Some(other) = &self.took_over {
            line("took over", other)?;
        }
        line(done_by(run.what), &count(counts.migrated))?;
        if counts.erased > 0 {
            line("events", &count(counts.erased))?;
        }
        if counts.migrated_further > 0 {
            line("further", &further(counts.migrated_further))?;
        }
        for total in &self.totals {
            line("total", &total.text())?;
        }
        line("failed", &count(counts.failed))?;
        line("skipped", &skipped_text(counts))?;
        if self.executed.len() > 1 {
            for execution in &self.executed {
                line("execution", &execution.counts(run.what))?;
            }
        }
        line("read", &format::bytes(counts.bytes))?;
        self.failures_text(out)?;
        to_type(&self.next, out)
    }
}

impl RunView {
    /// When the run was resumed, and what was requested of it, in order of time.
    fn history(&self) -> Vec<(&'static str, String)> {
        let again = self.executed.iter().filter(|it| it.number > 1);
        let again = again.map(|it| (&it.started, "resumed", it.text()));
        let requests = self.requests.iter();
        let requests = requests.map(|it| (&it.time, "requested", it.text()));
        let mut all: Vec<_> = again.chain(requests).collect();
        all.sort_by_key(|(time, ..)| *time);
        all.into_iter()
            .map(|(_, name, text)| (name, text))
            .collect()
    }

    /// The options that a resumed run keeps.
    fn options(&self) -> String {
        let deadline = Duration::from_millis(self.plan.deadline_ms);
        let mut options = format!("deadline {}", format::duration(deadline));
        if self.plan.check_determinism {
            options += ", check determinism";
        }
        if let Some(snapshots) = self.plan.snapshots.described() {
            let _ = write!(options, ", {snapshots}");
        }
        if let Some(throttle) = self.throttle {
            let _ = write!(options, ", throttle {}/s", count(throttle.get().into()));
        }
        options
    }

    fn failures_text(&self, out: &mut String) -> fmt::Result {
        if self.listed.is_none() {
            for group in &self.failures {
                let failures = format::counted(group.count, "failure", "failures");
                writeln!(out, "\n{BAD}{}{BAD:#}: {failures}", group.class)?;
                for example in &group.examples {
                    writeln!(out, "  {}", example.text())?;
                }
                let rest = group.count - group.examples.len() as u64;
                if rest > 0 {
                    writeln!(out, "  … and {} more", count(rest))?;
                }
            }
        }
        if let Some(tenants) = self.tenants.as_ref().filter(|all| !all.is_empty()) {
            let rows = tenants.iter().map(|of_it| {
                vec![
                    plain(of_it.tenant.as_deref().unwrap_or("-")),
                    of_it.class.to_string(),
                    count(of_it.count),
                ]
            });
            write!(out, "\n{}", table(&["TENANT", "CLASS", "FAILURES"], rows))?;
        }
        if let Some(listed) = &self.listed {
            writeln!(out)?;
            for failure in &listed.failures {
                writeln!(out, "{}", failure.text())?;
            }
            if listed.failures.is_empty() {
                writeln!(out, "no failures")?;
            }
        }
        Ok(())
    }
}

fn skipped_text(counts: &RunCounts) -> String {
    let parts = skipped_parts(&counts.skipped_by);
    match parts.is_empty() {
        true => "0".to_owned(),
        false => parts.join(", "),
    }
}
