//! The commands `hold` and `release`.

use std::fmt::{self, Write};

use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;
use state_migration_control_socket::protocol::{self, By};
use state_migration_core::{EventStore, StreamId};
use state_migration_runner::Runs;
use state_migration_runner::run::actions::HeldProcess;

use crate::context::{Context, last_word, option};
use crate::exit_code::{Exit, Failure, Reason};
use crate::local::{AuditArgs, user};
use crate::store::Claim;
use crate::stream_file::StreamFile;
use crate::take_over::TakeOver;
use crate::view::format::counted;
use crate::view::output::{Answer, BOLD, plain, to_type};

/// Number of processes that are printed one by one.
const PRINTED: usize = 20;

/// Exclude processes from all runs
///
/// Runs count a process as held and do not migrate it, until `release` includes
/// it again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  hold process/bank/500007 --store ./loans --reason 'in court'\n  hold process/bank/500007 --socket ./control --reason 'in court'"
)]
pub(crate) struct Hold {
    #[command(flatten)]
    streams: Streams,
    /// Record why the processes are held
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: String,
    /// Record who holds the processes [default: the name of the user]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    actor: Option<String>,
    #[command(flatten)]
    take_over: TakeOver,
}

/// Include held processes in later runs again
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  release process/bank/500007 --store ./loans\n  release process/bank/500007 --socket ./control"
)]
pub(crate) struct Release {
    #[command(flatten)]
    streams: Streams,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    take_over: TakeOver,
}

/// The processes of a command.
#[derive(Debug, clap::Args)]
struct Streams {
    /// The streams of the processes
    #[arg(value_name = "STREAM", required_unless_present = "from")]
    stream: Vec<StreamId>,
    /// Also the streams that a file names, one in each line; `-` reads the
    /// standard input
    #[arg(long, value_name = "FILE")]
    from: Option<StreamFile>,
}

impl Streams {
    fn all(self) -> Vec<StreamId> {
        let file = self.from.iter().flat_map(StreamFile::streams).cloned();
        let file: Vec<StreamId> = file.collect();
        let mut all: Vec<StreamId> = self.stream.into_iter().chain(file).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// The new state of the processes.
#[derive(Debug, Serialize)]
struct HoldView {
    held: bool,
    actor: Option<String>,
    reason: Option<String>,
    processes: Vec<HeldLine>,
    next: Vec<String>,
}

#[derive(Debug, Serialize)]
struct HeldLine {
    stream: String,
    /// The version that the process is at.
    version: String,
    /// Whether the process was held before.
    was_held: bool,
}

impl Hold {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let by = By {
            actor: Some(self.actor.unwrap_or_else(user)),
            reason: self.reason,
        };
        decide(context, self.streams.all(), true, by, self.take_over).await
    }
}

impl Release {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let by = self.audit.by();
        decide(context, self.streams.all(), false, by, self.take_over).await
    }
}

async fn decide(
    context: &Context,
    streams: Vec<StreamId>,
    held: bool,
    by: By,
    take_over: TakeOver,
) -> Result<Exit, Failure> {
    let processes = match context.client() {
        Some(client) => {
            let by = by.clone();
            client.hold(protocol::Hold { streams, by }, held).await?
        }
        None => in_store(context, &streams, held, &by, take_over).await?,
    };
    let next = match (&processes[..], held) {
        ([process], true) => format!("release {}", last_word(process.stream.as_str())),
        ([process], false) => format!("plan{}", option("--stream", process.stream.as_str())),
        _ => "status".to_owned(),
    };
    let processes = processes.into_iter().map(|process| HeldLine {
        stream: process.stream.to_string(),
        version: process.version.to_string(),
        was_held: process.was_held,
    });
    let By { actor, reason } = by;
    context.output.answer(&HoldView {
        held,
        actor: actor.filter(|_| held),
        reason: held.then_some(reason),
        processes: processes.collect(),
        next: vec![context.command_line(&next)],
    })?;
    Ok(Exit::Done)
}

/// Holds or releases the processes of a store that no service has open.
async fn in_store(
    context: &Context,
    streams: &[StreamId],
    held: bool,
    by: &By,
    take_over: TakeOver,
) -> Result<Vec<HeldProcess>, Failure> {
    // Check before the store is opened for writing, which fences other writers.
    let reader = context.reader().await?;
    let mut processes = Vec::with_capacity(streams.len());
    for stream in streams {
        let Some(head) = reader.head(stream).await? else {
            reader.close().await?;
            return Err(Failure::environment(
                Reason::NoSuchProcess,
                format!("stream {stream} does not exist; check its id"),
            )
            .stream(stream)
            .next(context.command_line("status")));
        };
        processes.push(HeldProcess {
            stream: stream.clone(),
            version: head.workflow_id,
            was_held: head.held,
        });
    }
    reader.close().await?;
    if !held && processes.iter().all(|process| !process.was_held) {
        // Nothing has to be written, so that no other writer has to be fenced.
        return Ok(processes);
    }
    let store = context.writer(take_over, Claim::Any).await?;
    let changed = async {
        let runs = Runs::of(&store).ok_or_else(|| context.keeps_no_runs())?;
        let actor = by.actor.as_deref().unwrap_or_default();
        Ok::<_, Failure>(runs.set_holds(streams, held, actor, &by.reason).await?)
    };
    let changed = changed.await;
    let closed = store.close().await;
    let changed = changed?;
    closed.map_err(|error| {
        let now = if held { "held" } else { "released" };
        let which = counted(changed.len() as u64, "process is", "processes are");
        Failure::environment(
            Reason::StoreUnavailable,
            format!("{which} {now}, but {error}; check the store"),
        )
        .next(context.command_line("status"))
    })?;
    Ok(changed)
}

impl Answer for HoldView {
    const KIND: &'static str = "hold";

    fn text(&self, out: &mut String) -> fmt::Result {
        for process in self.processes.iter().take(PRINTED) {
            let (stream, version) = (plain(&process.stream), plain(&process.version));
            match (self.held, process.was_held) {
                (true, _) => {
                    let actor = plain(self.actor.as_deref().unwrap_or_default());
                    let reason = plain(self.reason.as_deref().unwrap_or_default());
                    writeln!(out, "{stream} at {version} is held by {actor}: {reason}")?;
                }
                (false, true) => writeln!(out, "{stream} at {version} is released")?,
                (false, false) => writeln!(out, "{stream} at {version} was not held")?,
            }
        }
        if self.processes.len() > PRINTED {
            let more = (self.processes.len() - PRINTED) as u64;
            writeln!(
                out,
                "and {}",
                counted(more, "more process", "more processes")
            )?;
        }
        if self.held && self.processes.len() == 1 {
            for next in &self.next {
                writeln!(out, "{BOLD}to release it:{BOLD:#} {next}")?;
            }
            return Ok(());
        }
        to_type(&self.next, out)
    }
}
