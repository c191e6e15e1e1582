//! The commands `hold` and `release`.

use clap::builder::NonEmptyStringValueParser;
use std::fmt::{self, Write};

use serde::Serialize;
use state_migration_core::{EventStore, Head, StreamId};
use state_migration_runner::Runs;

use crate::context::{Context, last_word, option};
use crate::exit_code::{Exit, Failure, Reason};
use crate::local::{AuditArgs, user};
use crate::store::Claim;
use crate::take_over::TakeOver;
use crate::view::output::{Answer, BOLD, plain, to_type};

/// Exclude a process from all runs
///
/// Runs count the process as held and do not migrate it, until `release`
/// includes it again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  hold process/bank/500007 --store ./loans --reason 'in court'")]
pub(crate) struct Hold {
    /// Hold the process of this stream
    #[arg(value_name = "STREAM")]
    stream: StreamId,
    /// Record why the process is held
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Record who holds the process [default: the name of the user]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    actor: Option<String>,
    #[command(flatten)]
    take_over: TakeOver,
}

/// Include a held process in later runs again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  release process/bank/500007 --store ./loans")]
pub(crate) struct Release {
    /// Release the process of this stream
    #[arg(value_name = "STREAM")]
    stream: StreamId,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    take_over: TakeOver,
}

/// The new state of a process.
#[derive(Debug, Serialize)]
struct HoldView {
    stream: String,
    /// The version that the process is at.
    version: String,
    held: bool,
    /// Whether the process was held before.
    was_held: bool,
    actor: Option<String>,
    reason: Option<String>,
    next: Vec<String>,
}

impl Hold {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let actor = self.actor.unwrap_or_else(user);
        let by = (actor, self.reason);
        decide(context, self.stream, true, by, self.take_over).await
    }
}

impl Release {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let by = (self.audit.actor(), self.audit.reason().to_owned());
        decide(context, self.stream, false, by, self.take_over).await
    }
}

async fn decide(
    context: &Context,
    stream: StreamId,
    held: bool,
    (actor, reason): (String, String),
    take_over: TakeOver,
) -> Result<Exit, Failure> {
    // Check before the store is opened for writing, which fences other writers.
    let reader = context.reader().await?;
    let head = reader.head(&stream).await?;
    reader.close().await?;
    let Some(head) = head else {
        return Err(Failure::environment(
            Reason::NoSuchProcess,
            format!("stream {stream} does not exist; check its id"),
        )
        .stream(&stream)
        .next(context.command_line("status")));
    };
    if !held && !head.held {
        // Nothing has to be written, so that no other writer has to be fenced.
        return print(context, &stream, &head, (false, None));
    }
    let store = context.writer(take_over, Claim::Any).await?;
    let decided = async {
        let runs = Runs::of(&store).ok_or_else(|| context.keeps_no_runs())?;
        let was_held = store.head(&stream).await?.is_some_and(|head| head.held);
        match held {
            true => runs.hold(&stream, &actor, &reason).await?,
            false if was_held => runs.release(&stream, &actor, &reason).await?,
            false => {}
        }
        Ok::<_, Failure>((was_held, held.then_some((actor, reason))))
    };
    let decided = decided.await;
    let closed = store.close().await;
    let decided = decided?;
    closed.map_err(|error| {
        let now = match decided.1 {
            Some(_) => "is held",
            None => "is not held",
        };
        Failure::environment(
            Reason::StoreUnavailable,
            format!("{stream} {now} now, but {error}; check the store"),
        )
        .stream(&stream)
        .next(context.command_line("status"))
    })?;
    print(context, &stream, &head, decided)
}

fn print(
    context: &Context,
    stream: &StreamId,
    head: &Head,
    (was_held, by): (bool, Option<(String, String)>),
) -> Result<Exit, Failure> {
    let held = by.is_some();
    let (actor, reason) = by.unzip();
    let next = match held {
        true => format!("release {}", last_word(stream.as_str())),
        false => format!("plan{}", option("--stream", stream.as_str())),
    };
    context.output.answer(&HoldView {
        stream: stream.to_string(),
        version: head.workflow_id.to_string(),
        held,
        was_held,
        actor,
        reason,
        next: vec![context.command_line(&next)],
    })?;
    Ok(Exit::Done)
}

impl Answer for HoldView {
    const KIND: &'static str = "hold";

    fn text(&self, out: &mut String) -> fmt::Result {
        let Self {
            stream, version, ..
        } = self;
        match (self.held, self.was_held) {
            (true, _) => {
                let actor = plain(self.actor.as_deref().unwrap_or_default());
                let reason = plain(self.reason.as_deref().unwrap_or_default());
                writeln!(out, "{stream} at {version} is held by {actor}: {reason}")?;
                for next in &self.next {
                    writeln!(out, "{BOLD}to release it:{BOLD:#} {next}")?;
                }
                return Ok(());
            }
            (false, true) => writeln!(out, "{stream} at {version} is released")?,
            (false, false) => writeln!(out, "{stream} at {version} was not held")?,
        }
        to_type(&self.next, out)
    }
}
