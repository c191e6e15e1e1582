//! The text of a history: JSON lines.

use std::cell::Cell;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use state_migration_core::fold::EventView;

/// The version of the format.
const FORMAT: u32 = 1;

/// A history that was read.
pub(crate) struct History<'a> {
    header: &'a str,
    /// The version of the process before the first event.
    pub(crate) workflow: String,
    /// The lines after the header, with their numbers.
    pub(crate) lines: Vec<(usize, Line<'a>)>,
}

pub(crate) enum Line<'a> {
    Event(EventLine<'a>),
    State(StateLine),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    /// For the reader of the file.
    #[allow(dead_code)]
    stream: String,
    workflow: String,
}

/// An event.
pub(crate) struct EventLine<'a> {
    /// The line as it is.
    pub(crate) text: &'a str,
    pub(crate) sequence: u64,
    pub(crate) workflow: String,
    event_type: String,
    schema_version: u32,
    payload: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventFields<'a> {
    sequence: u64,
    workflow: String,
    event_type: String,
    schema_version: u32,
    #[serde(borrow)]
    payload: &'a RawValue,
}

impl EventLine<'_> {
    pub(crate) fn view(&self) -> EventView<'_> {
        let payload = self.payload.get().as_bytes();
        EventView::new(&self.event_type, self.schema_version, payload)
    }
}

/// A state that was recorded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateLine {
    pub(crate) state: Box<RawValue>,
    /// The version of the state.
    pub(crate) at: String,
}

impl StateLine {
    pub(crate) fn to_text(&self) -> String {
        let at = Value::from(self.at.as_str());
        format!("{{\"state\":{},\"at\":{at}}}", self.state)
    }
}

impl<'a> History<'a> {
    /// Reads a text. `at` is the line that is read.
    pub(crate) fn parse(text: &'a str, at: &Cell<usize>) -> Result<Self, String> {
        let mut lines = (1..)
            .zip(text.lines())
            .filter(|(_, line)| !line.trim().is_empty());
        let Some((number, first)) = lines.next() else {
            return Err("the file is empty".to_owned());
        };
        at.set(number);
        let header: Header = serde_json::from_str(first)
            .map_err(|error| format!("the header cannot be read: {error}"))?;
        if header.format != FORMAT {
            return Err(format!(
                "the history has format {}, but this release reads format {FORMAT}",
                header.format
            ));
        }
        let lines = lines.map(|(number, text)| {
            at.set(number);
            Ok((number, Line::parse(text)?))
        });
        Ok(Self {
            header: first,
            workflow: header.workflow,
            lines: lines.collect::<Result<_, String>>()?,
        })
    }

    /// The text with other lines after the header.
    pub(crate) fn with(&self, lines: &[String]) -> String {
        let mut text = self.header.to_owned();
        for line in lines {
            text.push('\n');
            text.push_str(line);
        }
        text.push('\n');
        text
    }
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Kind {
            state: Option<serde::de::IgnoredAny>,
            at: Option<serde::de::IgnoredAny>,
        }
        let unreadable = |error| format!("the line cannot be read: {error}");
        let kind: Kind = serde_json::from_str(text).map_err(unreadable)?;
        if kind.at.is_some() || kind.state.is_some() {
            return serde_json::from_str(text)
                .map(Self::State)
                .map_err(unreadable);
        }
        let fields: EventFields<'a> = serde_json::from_str(text).map_err(unreadable)?;
        Ok(Self::Event(EventLine {
            text,
            sequence: fields.sequence,
            workflow: fields.workflow,
            event_type: fields.event_type,
            schema_version: fields.schema_version,
            payload: fields.payload,
        }))
    }
}
