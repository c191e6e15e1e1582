//! The command `export`.

mod redact;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use state_migration_core::{
    Baseline, Event, EventStore as _, Fingerprint, Head, MIGRATED, MigrationRegistry, Selection,
    StreamId, WorkflowId,
};
use state_migration_runner::rewritten::{self, StateAfter};
use state_migration_store::SlateDbReader;

use crate::commands::export::redact::{Pointer, Redactor};
use crate::context::Context;
use crate::exit_code::{Exit, Failure, Reason};
use crate::heads::Heads;
use crate::selection::number;
use crate::view::format::{count, counted};
use crate::view::output::{Answer, BOLD, WARN, plain};

/// Number of events read at a time.
const PAGE: usize = 1_000;

/// Write the histories of some processes to files, for tests
///
/// Each file has the events of a process and the states that this program
/// computes from them; the test `replay` compares these with the states that a
/// later program computes. With --redact, values are replaced by random ones of
/// the same length and shape, equal values by equal ones, and the states are
/// those of the redacted events. The names of members of objects are kept.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  export --store ./loans --out new --sample 9 --redact '/*/item'\n  export --store ./loans --out old --sample 3 --plain"
)]
pub(crate) struct Export {
    /// Write the files into this folder, which is created
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Export N processes, chosen at random, of each version alike
    #[arg(long, value_name = "N", value_parser = number::<NonZeroUsize>, required_unless_present = "stream", conflicts_with = "stream")]
    sample: Option<NonZeroUsize>,
    /// Export the process of this stream (repeatable)
    #[arg(long, value_name = "STREAM")]
    stream: Vec<StreamId>,
    /// Replace the values under this JSON pointer into the payloads; `*` is any
    /// member or element (repeatable)
    #[arg(long, value_name = "POINTER", required_unless_present = "plain")]
    redact: Vec<Pointer>,
    /// Export all values as they are, and the ids of the streams
    #[arg(long, conflicts_with = "redact")]
    plain: bool,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Exported {
    folder: String,
    files: Vec<File>,
    /// Processes that could not be exported, with the reason.
    failed: Vec<Failed>,
    /// Histories whose first events were erased, so that they begin with a recorded state.
    recorded: u64,
    /// Values that were replaced.
    redacted: u64,
    /// Pointers under which no value was found.
    unused: Vec<String>,
    /// The places of the texts and numbers that stay readable.
    readable: Vec<Readable>,
    next: Vec<String>,
}

#[derive(Debug, Serialize)]
struct File {
    file: String,
    version: String,
    events: u64,
    states: u64,
    /// Of the content of the file.
    digest: String,
}

#[derive(Debug, Serialize)]
struct Failed {
    stream: String,
    message: String,
}

#[derive(Debug, Serialize)]
struct Readable {
    event_type: String,
    pointer: String,
}

/// A history that can be written.
struct History {
    version: WorkflowId,
    text: String,
    events: u64,
    states: u64,
    begins_with_state: bool,
}

impl Export {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let migrations = Arc::new(context.migrations()?);
        let reader = context.reader().await?;
        let exported = self.export(context, &migrations, &reader).await;
        reader.close().await?;
        let exported = exported?;
        let exit = match exported.failed.is_empty() {
            true => Exit::Done,
            false => Exit::DoneWithErrors,
        };
        context.output.answer(&exported)?;
        Ok(exit)
    }

    async fn export(
        &self,
        context: &Context,
        migrations: &Arc<MigrationRegistry>,
        reader: &SlateDbReader,
    ) -> Result<Exported, Failure> {
        let chosen = match self.sample {
            Some(sample) => sampled(migrations, reader, sample.get()).await?,
            None => self.stream.clone(),
        };
        create(&self.out)?;
        let mut redactor = Redactor::new(self.redact.clone());
        let (mut files, mut failed, mut recorded) = (Vec::new(), Vec::new(), 0);
        for (number, stream) in (1..).zip(&chosen) {
            let name = match self.plain {
                true => stream.to_string(),
                false => format!("process/exported/{number}"),
            };
            let history = self.history(migrations, reader, &mut redactor, stream, &name);
            match history.await {
                Ok(history) => {
                    recorded += u64::from(history.begins_with_state);
                    files.push(self.write(number, history)?);
                }
                Err(message) => failed.push(Failed {
                    stream: stream.to_string(),
                    message,
                }),
            }
        }
        let readable = std::mem::take(&mut redactor.readable).into_iter();
        Ok(Exported {
            folder: self.out.display().to_string(),
            files,
            failed,
            recorded: recorded * u64::from(!self.plain),
            redacted: redactor.values,
            unused: redactor.unused().collect(),
            readable: readable
                .map(|(event_type, pointer)| Readable {
                    event_type,
                    pointer,
                })
                .collect(),
            next: match chosen.is_empty() {
                true => vec![context.command_line("status")],
                false => Vec::new(),
            },
        })
    }

    /// The history of a process, or why it cannot be exported.
    async fn history(
        &self,
        migrations: &Arc<MigrationRegistry>,
        reader: &SlateDbReader,
        redactor: &mut Redactor,
        stream: &StreamId,
        name: &str,
    ) -> Result<History, String> {
        let head = reader.head(stream).await.map_err(|it| it.to_string())?;
        let head = head.ok_or_else(|| format!("the store has no stream {stream}"))?;
        let mut events = events(reader, stream, &head).await?;
        if self.plain {
            let states = rewritten::states(migrations, stream, &mut events);
            let states = states.map_err(|error| error.to_string())?;
            return text(name, &head.workflow_id, &events, &states);
        }
        let mut in_store = events.clone();
        for (at, event) in events.iter_mut().enumerate() {
            // The states after the first event are computed.
            if at > 0 && event.event_type == MIGRATED {
                continue;
            }
            let json = std::str::from_utf8(&event.payload).ok();
            let redacted = json.and_then(|json| redactor.payload(&event.event_type, json));
            let redacted = redacted
                .ok_or_else(|| format!("the payload of event {} is no JSON", event.sequence))?;
            event.payload = redacted.into();
        }
        let states = rewritten::states(migrations, stream, &mut events);
        let states = states.map_err(|error| {
            if let Err(error) = rewritten::states(migrations, stream, &mut in_store) {
                return error.to_string();
            }
            let at = error.sequence;
            let place = at.map_or_else(String::new, |at| format!(" at event {at}"));
            format!(
                "{}{place} fails with the replaced values, and not with those of the store ({}): a value that was replaced may have to be one of a few",
                error.stage, error.class
            )
        })?;
        text(name, &head.workflow_id, &events, &states)
    }

    /// Writes a new file.
    fn write(&self, number: usize, history: History) -> Result<File, Failure> {
        let History {
            version,
            text,
            events,
            states,
            ..
        } = history;
        let part = |text: &str| -> String {
            let plain = |letter: char| match letter.is_ascii_alphanumeric() || letter == '.' {
                true => letter,
                false => '-',
            };
            text.chars().map(plain).collect()
        };
        let (name, at) = (part(version.name()), part(version.version()));
        let file = format!("{name}-{at}-{number:04}.jsonl");
        let path = self.out.join(&file);
        let written = OpenOptions::new().write(true).create_new(true).open(&path);
        let written = written.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| unwritable(&path, &error))?;
        Ok(File {
            file,
            version: version.to_string(),
            events,
            states,
            digest: Fingerprint::of_bytes(text.as_bytes()).to_string(),
        })
    }
}

/// Creates the folder, which may be there.
fn create(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment(
        Reason::Usage,
        format!(
            "{} cannot be written: {error}; give a folder that is new or empty, and that you may write to",
            path.display()
        ),
    )
}

/// Streams of linked workflows, chosen at random, about as many of each version.
async fn sampled(
    migrations: &MigrationRegistry,
    reader: &SlateDbReader,
    most: usize,
) -> Result<Vec<StreamId>, Failure> {
    let names: BTreeSet<&str> = migrations.names().collect();
    let all = Selection::all();
    let mut heads = Heads::of(reader, &all, None);
    // Of each version, those with the smallest random numbers.
    let mut chosen: BTreeMap<WorkflowId, BTreeMap<u128, StreamId>> = BTreeMap::new();
    while let Some((stream, head)) = heads.next().await? {
        let Ok(head) = head else { continue };
        if !names.contains(head.workflow_id.name()) {
            continue;
        }
        let of_version = chosen.entry(head.workflow_id).or_default();
        of_version.insert(uuid::Uuid::new_v4().as_u128(), stream);
        if of_version.len() > most {
            of_version.pop_last();
        }
    }
    let mut streams = Vec::new();
    while streams.len() < most && !chosen.is_empty() {
        for of_version in chosen.values_mut() {
            if streams.len() < most {
                streams.extend(of_version.pop_first().map(|(_, stream)| stream));
            }
        }
        chosen.retain(|_, of_version| !of_version.is_empty());
    }
    Ok(streams)
}

/// The events that are left, from the first one or from a `$migrated` event.
async fn events(
    reader: &SlateDbReader,
    stream: &StreamId,
    head: &Head,
) -> Result<Vec<Event>, String> {
    let mut events: Vec<Event> = Vec::new();
    let mut at = head.first_kept - 1;
    loop {
        let page = reader.read_all(stream, at, PAGE).await;
        let page = page.map_err(|error| error.to_string())?;
        let is_last = page.len() < PAGE;
        at = page.last().map_or(at, |event| event.sequence);
        events.extend(page);
        if is_last {
            break;
        }
    }
    let begins = |event: &Event| event.sequence == 1 || event.event_type == MIGRATED;
    let first = events.iter().position(begins).unwrap_or(events.len());
    events.drain(..first);
    match events.is_empty() {
        true => Err(format!("no event of {stream} is left to begin with")),
        false => Ok(events),
    }
}

/// The lines of a history: `docs/histories.md`.
fn text(
    stream: &str,
    version: &WorkflowId,
    events: &[Event],
    states: &[StateAfter],
) -> Result<History, String> {
    let first = events.first().map(|event| {
        let baseline = (event.event_type == MIGRATED).then(|| Baseline::from_event(event));
        match baseline {
            Some(baseline) => baseline.map(|baseline| baseline.source()),
            None => Ok(event.workflow_id.clone()),
        }
    });
    let first = first.transpose().map_err(|error| error.to_string())?;
    let workflow = first.as_ref().unwrap_or(version).to_string();
    let mut text = json!({"format": 1, "stream": stream, "workflow": workflow}).to_string();
    let mut states_left = states.iter().peekable();
    for event in events {
        while let Some(state) = states_left.next_if(|state| state.sequence < event.sequence) {
            text.push_str(&state_line(state));
        }
        let payload = std::str::from_utf8(&event.payload).unwrap_or("null");
        let payload: &RawValue = serde_json::from_str(payload).map_err(|it| it.to_string())?;
        let line = EventLine {
            sequence: event.sequence,
            workflow: event.workflow_id.to_string(),
            event_type: &event.event_type,
            schema_version: event.schema_version,
            payload,
        };
        let line = serde_json::to_string(&line).map_err(|error| error.to_string())?;
        text.push('\n');
        text.push_str(&line);
    }
    for state in states_left {
        text.push_str(&state_line(state));
    }
    text.push('\n');
    Ok(History {
        version: version.clone(),
        text,
        events: events.len() as u64,
        states: states.len() as u64,
        begins_with_state: events.first().is_some_and(|it| it.event_type == MIGRATED),
    })
}

#[derive(Serialize)]
struct EventLine<'a> {
    sequence: u64,
    workflow: String,
    event_type: &'a str,
    schema_version: u32,
    payload: &'a RawValue,
}

fn state_line(state: &StateAfter) -> String {
    format!("\n{{\"state\":{},\"at\":{}}}", state.state, json!(state.at))
}

impl Answer for Exported {
    const KIND: &'static str = "export";

    fn text(&self, out: &mut String) -> fmt::Result {
        for failed in &self.failed {
            let (stream, message) = (plain(&failed.stream), plain(&failed.message));
            writeln!(out, "failed: {stream}: {message}")?;
        }
        let files = counted(self.files.len() as u64, "history", "histories");
        writeln!(
            out,
            "{files} written to {BOLD}{}{BOLD:#}",
            plain(&self.folder)
        )?;
        for file in &self.files {
            let (events, states) = (
                counted(file.events, "event", "events"),
                counted(file.states, "state", "states"),
            );
            writeln!(out, "  {}  {events}, {states}", plain(&file.file))?;
        }
        writeln!(out, "{} values replaced", count(self.redacted))?;
        if self.recorded > 0 {
            let histories = counted(self.recorded, "history begins", "histories begin");
            writeln!(
                out,
                "{WARN}{histories} with a recorded state{WARN:#}, in which only pointers that begin with /state replace values"
            )?;
        }
        for pointer in &self.unused {
            writeln!(out, "no value was found under {}", plain(pointer))?;
        }
        if !self.readable.is_empty() {
            writeln!(out, "texts and numbers that stay readable:")?;
            for it in &self.readable {
                let (event_type, pointer) = (plain(&it.event_type), plain(&it.pointer));
                writeln!(out, "  {event_type} {pointer}")?;
            }
        }
        crate::view::output::to_type(&self.next, out)
    }
}
