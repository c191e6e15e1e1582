//! The command `inspect`.

mod change;
mod stream;

use std::fmt::{self, Write};
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use state_migration_core::{EventStore, Hold, ProcessRegistry, RegistryKey, StreamId};
use state_migration_runner::forecast::version_status::{VersionDecision, VersionDecisions};
use state_migration_runner::{HoldAction, Runs};

use crate::context::{Context, last_word};
use crate::exit_code::{Exit, Failure, Reason};
use crate::selection::{duration, number};
use crate::view::format;
use crate::view::output::{Answer, BAD, BOLD, DIM, WARN, plain, table, to_type};
use crate::view::version;
use change::Change;
use stream::Stream;

/// Show everything known about one process
///
/// Prints the version, status, registry keys, migrations and events of the
/// process, and the state before and after the next migration (the last
/// migration for an up-to-date process).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  inspect process/bank/500007 --store ./loans\n  inspect process/bank/500007 --store ./loans --after 20 --payloads"
)]
pub(crate) struct Inspect {
    /// Inspect the process of this stream
    #[arg(value_name = "STREAM")]
    stream: StreamId,
    /// Show the events after event N
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// Show at most N events
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<NonZeroUsize>, default_value = "20")]
    limit: NonZeroUsize,
    /// Show the payloads of the events, too
    #[arg(long)]
    payloads: bool,
    /// Stop user code that takes longer than this
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    deadline: Duration,
}

/// Everything known about a process.
#[derive(Debug, Serialize)]
struct ProcessView {
    stream: String,
    /// The version that the process is at.
    version: String,
    #[serde(flatten)]
    at_version: VersionDecision,
    /// Sequence number of the last event.
    sequence: u64,
    /// The event that a replay starts from.
    baseline: Option<u64>,
    /// The first event that was not erased.
    first_event: u64,
    finished: bool,
    held: bool,
    /// Who holds the process, and why.
    hold: Option<HeldBy>,
    /// Every hold and release, oldest first.
    holds: Vec<Held>,
    keys: Vec<Key>,
    migrations: Vec<Migrated>,
    events: Vec<Line>,
    change: Option<Change>,
    /// Records that could not be read.
    problems: Vec<String>,
    next: Vec<String>,
}

/// Who holds a process, and why.
#[derive(Debug, Serialize)]
struct HeldBy {
    actor: String,
    reason: String,
}

/// A hold or a release of the process.
#[derive(Debug, Serialize)]
struct Held {
    held: bool,
    actor: String,
    reason: String,
    program: String,
    pid: u32,
    host: String,
    user: String,
    time: String,
}

impl From<HoldAction> for Held {
    fn from(action: HoldAction) -> Self {
        let HoldAction { program, .. } = action;
        Self {
            held: action.held,
            actor: action.actor,
            reason: action.reason,
            program: program.name,
            pid: program.pid,
            host: program.host,
            user: program.user,
            time: action.time.to_string(),
        }
    }
}

impl Held {
    fn text(&self) -> String {
        format::entry(&self.time, "", &self.actor, &self.reason)
    }
}

/// A key of the process in the process registry.
#[derive(Debug, Serialize)]
struct Key {
    kind: &'static str,
    key: String,
}

/// A past migration of the process.
#[derive(Debug, Serialize)]
struct Migrated {
    sequence: u64,
    time: String,
    from: String,
    to: String,
    run: String,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Step {
    to: String,
    fingerprint: String,
}

/// An event.
#[derive(Debug, Serialize)]
struct Line {
    sequence: u64,
    time: String,
    #[serde(rename = "type")]
    event_type: String,
    schema_version: u32,
    version: String,
    bytes: u64,
    payload: Option<Box<RawValue>>,
}

impl Inspect {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let reader = context.reader().await?;
        let inspected = self.look(context, &reader).await;
        // Nothing was written, so that a failure to close is harmless.
        let _ = reader.close().await;
        context.output.answer(&inspected?)?;
        Ok(Exit::Done)
    }

    async fn look(
        &self,
        context: &Context,
        reader: &state_migration_store::SlateDbReader,
    ) -> Result<ProcessView, Failure> {
        let stream = &self.stream;
        let Some(head) = reader.head(stream).await? else {
            return Err(self.not_there(context, reader).await?);
        };
        let runs = Runs::of(reader).ok_or_else(|| context.keeps_no_runs())?;
        let hold = runs.held(stream).await?;
        let holds = runs.holds(stream).await?;
        let keys = match stream.process() {
            Some((tenant, process)) => reader.keys_of(&tenant, &process).await?,
            None => Vec::new(),
        };
        let read = Stream::read(
            reader,
            stream,
            (head.first_kept, head.sequence),
            self.after,
            self.limit.get(),
        )
        .await?;
        let decisions = VersionDecisions::of_linked();
        let change = match context.migrations() {
            Ok(migrations) => {
                Change::of(reader, &migrations, stream, &head, &read, self.deadline).await?
            }
            // The version status explains the missing change.
            Err(_) => None,
        };
        let mut next = Vec::new();
        if let Some(last) = read.lines.last().map(|line| line.sequence)
            && last < head.sequence
        {
            let payloads = if self.payloads { " --payloads" } else { "" };
            next.push(context.command_line(&format!(
                "inspect --after {last} --limit {}{payloads} {}",
                self.limit,
                last_word(stream.as_str())
            )));
        }
        Ok(ProcessView {
            stream: stream.to_string(),
            version: head.workflow_id.to_string(),
            at_version: decisions.about(&head.workflow_id),
            sequence: head.sequence,
            baseline: head.baseline,
            first_event: head.first_kept,
            finished: head.finished,
            held: head.held,
            hold: hold.map(HeldBy::from),
            holds: holds.into_iter().map(Held::from).collect(),
            keys: keys.iter().map(Key::of).collect(),
            migrations: read.migrations.iter().map(Migrated::of).collect(),
            events: read
                .lines
                .iter()
                .map(|event| Line::of(event, self.payloads))
                .collect(),
            change,
            problems: read.problems,
            next,
        })
    }

    /// The failure of a stream without events.
    async fn not_there(
        &self,
        context: &Context,
        reader: &state_migration_store::SlateDbReader,
    ) -> Result<Failure, Failure> {
        let stream = &self.stream;
        let meant = StreamId::new(format!("process/{stream}"));
        if let Ok(meant) = meant
            && reader.head(&meant).await?.is_some()
        {
            return Ok(Failure::environment(
                Reason::NoSuchProcess,
                format!("stream {stream} does not exist; the stream of the process is {meant}"),
            )
            .stream(stream)
            .next(context.command_line(&format!("inspect {}", last_word(meant.as_str())))));
        }
        Ok(Failure::environment(Reason::NoSuchProcess, format!(
            "stream {stream} does not exist; check the tenant and the process in process/TENANT/PROCESS"
        ))
        .stream(stream)
        .next(context.command_line("status")))
    }
}

impl From<Hold> for HeldBy {
    fn from(hold: Hold) -> Self {
        Self {
            actor: hold.actor.into(),
            reason: hold.reason.into(),
        }
    }
}

impl Key {
    fn of(key: &RegistryKey) -> Self {
        let (_, kind, key) = key.parts();
        Self {
            kind,
            key: key.to_owned(),
        }
    }
}

impl Migrated {
    fn of(migration: &stream::Migration) -> Self {
        let baseline = &migration.baseline;
        let steps = baseline.route.iter().map(|hop| Step {
            to: hop.to.clone(),
            fingerprint: hop.code.to_string(),
        });
        Self {
            sequence: migration.sequence,
            time: migration.time.to_string(),
            from: baseline.source().to_string(),
            to: baseline.target().to_string(),
            run: baseline.run.to_string(),
            steps: steps.collect(),
        }
    }

    /// Formats steps as `2012 0123456789abcdef, 2013 0123456789abcdef`.
    fn steps(&self) -> String {
        let steps = self.steps.iter();
        let steps: Vec<String> = steps
            .map(|step| format!("{} {}", step.to, step.fingerprint))
            .collect();
        steps.join(", ")
    }
}

impl Line {
    fn of(event: &state_migration_core::Event, payloads: bool) -> Self {
        let payload = std::str::from_utf8(&event.payload).ok();
        let payload = payload.filter(|_| payloads);
        Self {
            sequence: event.sequence,
            time: event.time.to_string(),
            event_type: event.event_type.to_string(),
            schema_version: event.schema_version,
            version: event.workflow_id.to_string(),
            bytes: event.payload.len() as u64,
            payload: payload.and_then(|text| RawValue::from_string(text.to_owned()).ok()),
        }
    }
}

impl Answer for ProcessView {
    const KIND: &'static str = "inspect";

    fn text(&self, out: &mut String) -> fmt::Result {
        let mut line = |name: &str, text: &str| writeln!(out, "{DIM}{name:10}{DIM:#} {text}");
        line("stream", &format!("{BOLD}{}{BOLD:#}", plain(&self.stream)))?;
        let version = plain(&self.version);
        line(
            "version",
            &format!("{version}, after event {}", self.sequence),
        )?;
        line("status", &version::status(&self.at_version))?;
        if let Some(baseline) = self.baseline {
            line("baseline", &format!("event {baseline}"))?;
        }
        if self.first_event > 1 {
            let erased = format!("the events before event {}", self.first_event);
            line("erased", &erased)?;
        }
        if self.finished {
            line("finished", "yes")?;
        }
        if self.held {
            let of = |part: fn(&HeldBy) -> &String| {
                plain(self.hold.as_ref().map_or("?", |hold| part(hold)))
            };
            let (actor, reason) = (of(|hold| &hold.actor), of(|hold| &hold.reason));
            line("held", &format!("{WARN}by {actor}: {reason}{WARN:#}"))?;
        }
        for hold in &self.holds {
            let name = if hold.held { "hold" } else { "release" };
            line(name, &plain(&hold.text()))?;
        }
        for key in &self.keys {
            line("key", &format!("{} {}", key.kind, plain(&key.key)))?;
        }
        if !self.migrations.is_empty() {
            let rows = self.migrations.iter().map(|migrated| {
                vec![
                    migrated.sequence.to_string(),
                    migrated.time.clone(),
                    plain(&migrated.from),
                    plain(&migrated.to),
                    migrated.run.clone(),
                    plain(&migrated.steps()),
                ]
            });
            let header = ["EVENT", "MIGRATED", "FROM", "TO", "RUN", "STEPS"];
            write!(out, "\n{}", table(&header, rows))?;
        }
        if !self.events.is_empty() {
            let payloads = self.events.iter().any(|event| event.payload.is_some());
            let mut header = vec!["EVENT", "TIME", "TYPE", "SCHEMA", "SIZE"];
            if payloads {
                header.push("PAYLOAD");
            }
            let rows = self.events.iter().map(|event| {
                let mut row = vec![
                    event.sequence.to_string(),
                    event.time.clone(),
                    plain(&event.event_type),
                    event.schema_version.to_string(),
                    format::bytes(event.bytes),
                ];
                if payloads {
                    let payload = event.payload.as_ref().map_or("", |payload| payload.get());
                    row.push(plain(payload));
                }
                row
            });
            write!(out, "\n{}", table(&header, rows))?;
        }
        if let Some(change) = &self.change {
            writeln!(out)?;
            change.text(out)?;
        }
        for problem in &self.problems {
            writeln!(out, "{BAD}problem:{BAD:#} {}", plain(problem))?;
        }
        to_type(&self.next, out)
    }
}
