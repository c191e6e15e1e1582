//! A check that a file is one complete XES log, before the XES parser reads it.
//!
//! The parser accepts XML that ends inside a trace, panics at `<event/>`, reads an
//! invalid integer as 0 and ignores the position of an element. This check visits
//! every element and its position.

use std::io::{self, BufRead};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::LogSize;
use super::error::{Fault, Place, Problem, shown};

/// How deep elements may stand inside each other. Attributes of attributes are
/// rare, and the parser runs out of stack on very deep ones.
const DEEPEST: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Log,
    /// `<extension>` and `<classifier>`.
    Declaration,
    Global,
    Trace,
    Event,
    Attribute,
}

impl Element {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"log" => Self::Log,
            b"extension" | b"classifier" => Self::Declaration,
            b"global" => Self::Global,
            b"trace" => Self::Trace,
            b"event" => Self::Event,
            b"string" | b"date" | b"int" | b"float" | b"boolean" | b"id" | b"list"
            | b"container" | b"values" => Self::Attribute,
            _ => return None,
        })
    }

    fn may_hold(self, inner: Self) -> bool {
        match self {
            Self::Log => !matches!(inner, Self::Log | Self::Event),
            Self::Trace => matches!(inner, Self::Event | Self::Attribute),
            Self::Global | Self::Event | Self::Attribute => inner == Self::Attribute,
            Self::Declaration => false,
        }
    }

    fn tag(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Declaration => "extension> or <classifier",
            Self::Global => "global",
            Self::Trace => "trace",
            Self::Event => "event",
            Self::Attribute => "an attribute",
        }
    }
}

/// Reads the XML to its end and counts traces and events.
pub(super) fn check(xml: impl BufRead) -> Result<LogSize, Fault> {
    let mut reader = Reader::from_reader(xml);
    let mut buffer = Vec::new();
    let mut log = Structure::default();
    loop {
        let at = reader.buffer_position();
        let seen = match reader.read_event_into(&mut buffer) {
            Ok(Event::Eof) => log.end(),
            Ok(event) => log.see(&event).map(|()| None),
            Err(quick_xml::Error::Io(error)) => Err(Problem::Unreadable(io::Error::new(
                error.kind(),
                error.to_string(),
            ))),
            Err(error) => {
                let at = reader.error_position();
                return Err(log.fault(at, Problem::BrokenXml(shown(&error.to_string()))));
            }
        };
        match seen {
            Ok(None) => buffer.clear(),
            Ok(Some(size)) => return Ok(size),
            Err(problem) => return Err(log.fault(at, problem)),
        }
    }
}

#[derive(Default)]
struct Structure {
    open: Vec<Element>,
    log_ended: bool,
    traces: u64,
    events: u64,
    /// The `concept:name` of the trace that is open.
    number: Option<String>,
}

impl Structure {
    fn see(&mut self, event: &Event<'_>) -> Result<(), Problem> {
        match event {
            Event::Start(tag) => {
                let element = self.enter(tag)?;
                if self.open.len() == DEEPEST {
                    return Err(Problem::TooDeep(DEEPEST));
                }
                self.open.push(element);
            }
            Event::Empty(tag) => match self.enter(tag)? {
                Element::Event => return Err(Problem::Empty("event")),
                Element::Trace => return Err(Problem::Empty("trace")),
                Element::Log => self.log_ended = true,
                _ => {}
            },
            Event::End(_) => match self.open.pop() {
                Some(Element::Log) => self.log_ended = true,
                Some(Element::Trace) => self.number = None,
                _ => {}
            },
            Event::Text(text) => self.text(text)?,
            Event::CData(text) => self.text(text)?,
            Event::Decl(declaration) => {
                if let Some(Ok(encoding)) = declaration.encoding()
                    && !encoding.eq_ignore_ascii_case(b"utf-8")
                {
                    let encoding = shown(&String::from_utf8_lossy(&encoding));
                    return Err(Problem::Encoding(encoding));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&self) -> Result<Option<LogSize>, Problem> {
        if let Some(open) = self.open.last() {
            return Err(Problem::CutOff {
                open: open.tag().to_owned(),
            });
        }
        if !self.log_ended {
            return Err(Problem::NotXml);
        }
        Ok(Some(LogSize {
            applications: self.traces,
            events: self.events,
        }))
    }

    fn enter(&mut self, tag: &BytesStart<'_>) -> Result<Element, Problem> {
        let name = || shown(&String::from_utf8_lossy(tag.name().as_ref()));
        let element = Element::named(tag.name().as_ref());
        let within = self.open.last().copied();
        let element = match (within, element) {
            (None, _) if self.log_ended => return Err(Problem::AfterLog),
            (None, Some(Element::Log)) => Element::Log,
            (None, _) => return Err(Problem::NotALog { root: name() }),
            (Some(within), Some(element)) if within.may_hold(element) => element,
            (Some(within), _) => {
                return Err(Problem::Misplaced {
                    element: name(),
                    within: within.tag().to_owned(),
                });
            }
        };
        match element {
            Element::Trace => self.traces += 1,
            Element::Event => self.events += 1,
            _ => {}
        }
        self.attributes(tag)?;
        Ok(element)
    }

    /// Reads the XML attributes of an element, which the parser takes as they
    /// are where they are not UTF-8 or hold an unknown entity.
    fn attributes(&mut self, tag: &BytesStart<'_>) -> Result<(), Problem> {
        let (mut key, mut value) = (None, None);
        for attribute in tag.attributes() {
            let attribute =
                attribute.map_err(|error| Problem::BrokenXml(shown(&error.to_string())))?;
            let text = attribute
                .unescape_value()
                .map_err(|error| Problem::BrokenXml(shown(&error.to_string())))?;
            match attribute.key.as_ref() {
                b"key" => key = Some(text),
                b"value" => value = Some(text),
                _ => {}
            }
        }
        let within = self.open.last().copied();
        let in_trace = matches!(within, Some(Element::Trace | Element::Event));
        if in_trace && tag.name().as_ref() == b"int" {
            let value = value.as_deref().unwrap_or_default();
            if value.parse::<i64>().is_err() {
                return Err(Problem::NotAnInt {
                    key: shown(&key.unwrap_or_default()),
                    value: shown(value),
                });
            }
        }
        if within == Some(Element::Trace)
            && key.as_deref() == Some("concept:name")
            && let Some(value) = value
        {
            self.number = Some(shown(&value));
        }
        Ok(())
    }

    /// Checks text between elements: XES ignores it inside the log, and XML does
    /// not allow it before and after the root element.
    fn text(&self, text: &[u8]) -> Result<(), Problem> {
        if !self.open.is_empty() || text.iter().all(u8::is_ascii_whitespace) {
            Ok(())
        } else if self.log_ended {
            Err(Problem::AfterLog)
        } else {
            Err(Problem::NotXml)
        }
    }

    fn fault(&self, at: u64, problem: Problem) -> Fault {
        let within = (self.open.contains(&Element::Trace)
            || matches!(problem, Problem::Empty("trace")))
        .then(|| {
            Box::new(Place::Application {
                ordinal: self.traces,
                number: self.number.clone(),
            })
        });
        let place = match problem {
            Problem::NotXml => Place::Whole,
            _ => Place::Byte { at, within },
        };
        Fault { place, problem }
    }
}
