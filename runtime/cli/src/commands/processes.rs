//! The command `processes`.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::num::NonZeroUsize;

use serde::Serialize;
use state_migration_core::{
    Baseline, EventStore, Head, RunId, Selection, StreamId, TenantId, WorkflowId,
};
use state_migration_runner::Runs;
use state_migration_runner::forecast::census::ProcessCounts;
use state_migration_store::SlateDbReader;

use crate::context::{Context, option};
use crate::exit_code::{Exit, Failure};
use crate::heads::Heads;
use crate::history::History;
use crate::run_selector::WhichRun;
use crate::selection::number;
use crate::view::output::{Answer, plain, table, to_type};
use crate::view::tenants::{self, TenantLine, tenant_table};

/// List processes, one by one
///
/// Reads the heads of the streams in order, so a list that matches few
/// processes of a large store takes as long as `status`. Writes nothing and
/// does not fence a writer.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  processes --store ./loans --at loan@2011\n  processes --store ./loans --migrated-by last --limit 100\n  processes --store ./loans --failed-in last --by-tenant\n  processes --store ./loans --held --json"
)]
pub(crate) struct Processes {
    /// List processes of this workflow (repeatable)
    #[arg(long, value_name = "NAME")]
    workflow: Vec<String>,
    /// List processes at this version, such as `loan@2011` (repeatable)
    #[arg(long, value_name = "VERSION")]
    at: Vec<String>,
    /// List processes of this tenant (repeatable)
    #[arg(long, value_name = "TENANT")]
    tenant: Vec<TenantId>,
    /// List streams whose ids start with this prefix
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// List processes that an operator holds
    #[arg(long)]
    held: bool,
    /// List processes that an undo took to their version
    #[arg(long)]
    undone: bool,
    /// List processes that are finished
    #[arg(long, conflicts_with = "in_flight")]
    finished: bool,
    /// List processes that are not finished
    #[arg(long)]
    in_flight: bool,
    /// List processes whose last migration is of this run
    #[arg(long, value_name = "RUN")]
    migrated_by: Option<WhichRun>,
    /// List processes that failed in this run
    #[arg(long, value_name = "RUN", conflicts_with = "migrated_by")]
    failed_in: Option<WhichRun>,
    /// List the processes after this stream, in order of stream ids
    #[arg(long, value_name = "STREAM")]
    after: Option<StreamId>,
    /// Count the processes of each tenant, and list none
    #[arg(long, conflicts_with_all = ["after", "limit"])]
    by_tenant: bool,
    /// List at most N processes
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<NonZeroUsize>, default_value = "20")]
    limit: NonZeroUsize,
}

#[derive(Debug, Serialize)]
struct ProcessList {
    processes: Vec<ProcessLine>,
    /// The counts by tenant, if requested instead of the list.
    tenants: Option<Vec<TenantLine>>,
    /// The value of `--after` that continues the list, if there may be more.
    next_after: Option<String>,
    /// Streams whose heads cannot be read, with the reason.
    unreadable: Vec<Unreadable>,
    next: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ProcessLine {
    stream: String,
    version: String,
    /// Sequence number of the last event.
    sequence: u64,
    /// The event that a replay starts from.
    baseline: Option<u64>,
    finished: bool,
    held: bool,
    undone: bool,
}

#[derive(Debug, Serialize)]
struct Unreadable {
    stream: String,
    message: String,
}

/// The run that the listed processes were migrated by, or failed in.
enum OfRun {
    Any,
    MigratedBy(RunId),
    FailedIn(RunId),
}

impl Processes {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let reader = context.reader().await?;
        let listed = self.list(context, &reader).await;
        if listed.as_ref().is_ok_and(ProcessList::is_empty) {
            self.warn_of_unknown_names(context, &reader).await?;
        }
        // Nothing was written, so that a failure to close is harmless.
        let _ = reader.close().await;
        context.output.answer(&listed?)?;
        Ok(Exit::Done)
    }

    async fn list(
        &self,
        context: &Context,
        reader: &SlateDbReader,
    ) -> Result<ProcessList, Failure> {
        let runs = Runs::of(reader).ok_or_else(|| context.keeps_no_runs())?;
        let of_run = self.of_run(context, &runs).await?;
        let selection = self.selection();
        let (mut processes, mut unreadable) = (Vec::new(), Vec::new());
        let limit = self.limit.get();
        let mut tenants = BTreeMap::<_, ProcessCounts>::new();
        let mut heads = Heads::of(reader, &selection, self.after.clone());
        while let Some((stream, head)) = heads.next().await? {
            let head = match head {
                Ok(head) => head,
                Err(error) => {
                    unreadable.push(Unreadable {
                        stream: stream.to_string(),
                        message: error.to_string(),
                    });
                    continue;
                }
            };
            if !self.matches(&head) || !of_run.matches(reader, &runs, &stream, &head).await? {
                continue;
            }
            if self.by_tenant {
                let of_tenant = tenants.entry(tenants::tenant_of(&stream));
                of_tenant.or_default().add(&head, false);
                continue;
            }
            // One more than listed, to detect whether there is more.
            processes.push(ProcessLine::of(&stream, &head));
            if processes.len() > limit {
                break;
            }
        }
        let more = processes.len() > limit;
        processes.truncate(limit);
        let last = processes.last().map(|process| process.stream.clone());
        let next_after = last.filter(|_| more);
        let next = next_after.iter();
        let next = next.map(|after| context.command_line(&self.continued(after)));
        let tenants = tenants.into_iter();
        let tenants = tenants.map(|(tenant, counts)| TenantLine::of(None, tenant, counts));
        Ok(ProcessList {
            next: next.collect(),
            tenants: self.by_tenant.then(|| tenants.collect()),
            processes,
            next_after,
            unreadable,
        })
    }

    /// Warns of names that match nothing, with which a list would look like an empty store.
    async fn warn_of_unknown_names(
        &self,
        context: &Context,
        reader: &SlateDbReader,
    ) -> Result<(), Failure> {
        let present = reader.present_versions().await?;
        let is_present = |at: &&String| present.iter().any(|it| it.to_string() == **at);
        for at in self.at.iter().filter(|at| !is_present(at)) {
            context.output.warn(&format!(
                "no process is at {at}; give a version as NAME@VERSION, see `status`"
            ));
        }
        let is_of = |name: &&String| present.iter().any(|it| it.name() == *name);
        for name in self.workflow.iter().filter(|name| !is_of(name)) {
            context
                .output
                .warn(&format!("no process is of workflow {name}; see `status`"));
        }
        if let Ok(migrations) = context.migrations() {
            let runner = context.runner(migrations, reader);
            for unknown in runner.unknown_names(&self.selection()).await? {
                context.output.warn(&unknown);
            }
        }
        Ok(())
    }

    async fn of_run(&self, context: &Context, runs: &Runs) -> Result<OfRun, Failure> {
        let history = History::from(runs.clone());
        Ok(match (&self.migrated_by, &self.failed_in) {
            (Some(run), _) => OfRun::MigratedBy(run.find(&history, context).await?.id),
            (None, Some(run)) => OfRun::FailedIn(run.find(&history, context).await?.id),
            (None, None) => OfRun::Any,
        })
    }

    fn selection(&self) -> Selection {
        let mut selection = Selection::all();
        for tenant in &self.tenant {
            selection = selection.tenant(tenant.clone());
        }
        if let Some(prefix) = &self.prefix {
            selection = selection.prefix(prefix.clone());
        }
        selection
    }

    fn matches(&self, head: &Head) -> bool {
        let version = &head.workflow_id;
        let is_of = |name: &String| name == version.name();
        let is_at = |at: &String| *at == version.to_string();
        (self.workflow.is_empty() || self.workflow.iter().any(is_of))
            && (self.at.is_empty() || self.at.iter().any(is_at))
            && (!self.held || head.held)
            && (!self.undone || head.undone)
            && (!self.finished || head.finished)
            && (!self.in_flight || !head.finished)
    }

    /// The command that continues the list.
    fn continued(&self, after: &str) -> String {
        let mut line = "processes".to_owned();
        let mut add = |name: &str, value: &str| line += &option(name, value);
        for name in &self.workflow {
            add("--workflow", name);
        }
        for at in &self.at {
            add("--at", at);
        }
        for tenant in &self.tenant {
            add("--tenant", tenant.as_str());
        }
        if let Some(prefix) = &self.prefix {
            add("--prefix", prefix);
        }
        if let Some(run) = &self.migrated_by {
            add("--migrated-by", &run.to_string());
        }
        if let Some(run) = &self.failed_in {
            add("--failed-in", &run.to_string());
        }
        add("--after", after);
        for (given, name) in [
            (self.held, "held"),
            (self.undone, "undone"),
            (self.finished, "finished"),
            (self.in_flight, "in-flight"),
        ] {
            if given {
                let _ = write!(line, " --{name}");
            }
        }
        let _ = write!(line, " --limit {}", self.limit);
        line
    }
}

impl OfRun {
    async fn matches(
        &self,
        reader: &SlateDbReader,
        runs: &Runs,
        stream: &StreamId,
        head: &Head,
    ) -> Result<bool, Failure> {
        match self {
            Self::Any => Ok(true),
            Self::MigratedBy(run) => {
                let Some(at) = head.baseline else {
                    return Ok(false);
                };
                let event = reader.read_all(stream, at.saturating_sub(1), 1).await?;
                let baseline = event.first().map(Baseline::from_event);
                Ok(baseline.is_some_and(|it| it.is_ok_and(|it| it.run == *run)))
            }
            Self::FailedIn(run) => Ok(runs.failure(*run, stream).await?.is_some()),
        }
    }
}

impl ProcessList {
    /// Whether no process was found.
    fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.tenants.as_ref().is_none_or(Vec::is_empty)
    }
}

impl ProcessLine {
    fn of(stream: &StreamId, head: &Head) -> Self {
        Self {
            stream: stream.to_string(),
            version: WorkflowId::to_string(&head.workflow_id),
            sequence: head.sequence,
            baseline: head.baseline,
            finished: head.finished,
            held: head.held,
            undone: head.undone,
        }
    }

    /// The flags as text.
    fn flags(&self) -> String {
        let flags = [
            (self.held, "held"),
            (self.undone, "undone"),
            (self.finished, "finished"),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set);
        let flags: Vec<&str> = flags.map(|(_, flag)| *flag).collect();
        match flags.is_empty() {
            true => "-".to_owned(),
            false => flags.join(", "),
        }
    }
}

impl Answer for ProcessList {
    const KIND: &'static str = "processes";

    fn text(&self, out: &mut String) -> fmt::Result {
        if let Some(tenants) = self.tenants.as_ref().filter(|all| !all.is_empty()) {
            out.push_str(&tenant_table(tenants));
        } else if self.processes.is_empty() {
            writeln!(out, "no processes")?;
        } else {
            let rows = self.processes.iter().map(|process| {
                vec![
                    plain(&process.stream),
                    plain(&process.version),
                    process.sequence.to_string(),
                    process.flags(),
                ]
            });
            out.push_str(&table(&["STREAM", "VERSION", "EVENTS", "FLAGS"], rows));
        }
        for stream in &self.unreadable {
            let (id, message) = (plain(&stream.stream), plain(&stream.message));
            writeln!(out, "unreadable: {id}: {message}")?;
        }
        to_type(&self.next, out)
    }
}
