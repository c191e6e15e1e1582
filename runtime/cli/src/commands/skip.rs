//! The commands `skip` and `unskip`.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::context::{Context, last_word, option};
use crate::exit_code::{Exit, Failure};
use crate::local::user;
use crate::store::Claim;
use crate::view::output::{Answer, BOLD, plain, to_type};
use state_migration_core::{EventStore, Head, StreamId};
use state_migration_runner::Runs;

/// Takes a process out of all runs.
///
/// Every run counts it as held and leaves it alone, until `unskip` puts it back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  skip process/bank/500007 --store ./loans --why 'in court'")]
pub(crate) struct Skip {
    /// Its stream.
    #[arg(value_name = "STREAM")]
    stream: StreamId,
    /// Why: kept in the store.
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who decides so [default: the user, as the system has it].
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Takes the store over from a program that has it open and writes to it;
    /// that one writes nothing from then on.
    #[arg(long)]
    take_over: bool,
}

/// Puts a process back into later runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  unskip process/bank/500007 --store ./loans")]
pub(crate) struct Unskip {
    /// Its stream.
    #[arg(value_name = "STREAM")]
    stream: StreamId,
    /// Takes the store over from a program that has it open and writes to it;
    /// that one writes nothing from then on.
    #[arg(long)]
    take_over: bool,
}

/// The new state of a process.
#[derive(Debug, Serialize)]
struct Decided {
    stream: String,
    /// The version that the process is at.
    version: String,
    skipped: bool,
    /// Whether the process was held before.
    was_skipped: bool,
    who: Option<String>,
    why: Option<String>,
    next: Vec<String>,
}

impl Skip {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let who = self.who.unwrap_or_else(user);
        decide(context, self.stream, Some((who, self.why)), self.take_over).await
    }
}

impl Unskip {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        decide(context, self.stream, None, self.take_over).await
    }
}

async fn decide(
    context: &Context,
    stream: StreamId,
    hold: Option<(String, String)>,
    take_over: bool,
) -> Result<Exit, Failure> {
    // Check before the store is opened for writing, which fences other writers.
    let reader = context.reader().await?;
    let head = reader.head(&stream).await?;
    reader.close().await?;
    let Some(head) = head else {
        return Err(Failure::environment(format!(
            "stream {stream} has no events, so there is nothing to decide about; check its id"
        ))
        .next(context.again("status")));
    };
    if hold.is_none() && !head.held {
        // Nothing has to be written, so that no other writer has to be fenced.
        return tell(context, &stream, &head, (false, None));
    }
    let store = context.writer(take_over, Claim::Any).await?;
    let decided = async {
        let runs = Runs::of(&store).ok_or_else(|| context.keeps_no_runs())?;
        let was_skipped = store.head(&stream).await?.is_some_and(|head| head.held);
        match &hold {
            Some((who, why)) => runs.skip(&stream, who, why).await?,
            None if was_skipped => runs.unskip(&stream).await?,
            None => {}
        }
        Ok::<_, Failure>((was_skipped, hold))
    };
    let decided = decided.await;
    let closed = store.close().await;
    let decided = decided?;
    closed.map_err(|error| {
        let now = match decided.1 {
            Some(_) => "is skipped",
            None => "is not skipped",
        };
        Failure::environment(format!(
            "{stream} {now} from now on, but {error}; look at the store"
        ))
        .next(context.again("status"))
    })?;
    tell(context, &stream, &head, decided)
}

fn tell(
    context: &Context,
    stream: &StreamId,
    head: &Head,
    (was_skipped, by): (bool, Option<(String, String)>),
) -> Result<Exit, Failure> {
    let skipped = by.is_some();
    let (who, why) = by.unzip();
    let next = match skipped {
        true => format!("unskip {}", last_word(stream.as_str())),
        false => format!("plan{}", option("--stream", stream.as_str())),
    };
    context.output.answer(&Decided {
        stream: stream.to_string(),
        version: head.workflow_id.to_string(),
        skipped,
        was_skipped,
        who,
        why,
        next: vec![context.again(&next)],
    })?;
    Ok(Exit::Done)
}

impl Answer for Decided {
    const KIND: &'static str = "skip";

    fn text(&self, out: &mut String) -> fmt::Result {
        let Self {
            stream, version, ..
        } = self;
        match (self.skipped, self.was_skipped) {
            (true, _) => {
                let who = plain(self.who.as_deref().unwrap_or_default());
                let why = plain(self.why.as_deref().unwrap_or_default());
                writeln!(
                    out,
                    "{stream} stays at {version}: every run leaves it alone, says {who}: {why}"
                )?;
                for next in &self.next {
                    writeln!(out, "{BOLD}to put it back:{BOLD:#} {next}")?;
                }
                return Ok(());
            }
            (false, true) => writeln!(out, "{stream} at {version} is part of later runs again")?,
            (false, false) => writeln!(out, "{stream} at {version} was not skipped")?,
        }
        to_type(&self.next, out)
    }
}
