//! Errors of a log. Each is one sentence that names the log, the location and what
//! to do.

use std::fmt;
use std::io;

use state_migration::InvalidId;

use super::LogSize;

/// A log cannot be used, or not as it is.
#[derive(Debug, thiserror::Error)]
#[error("{log}{place}: {problem}")]
pub struct LogError {
    /// The log.
    pub log: String,
    /// Where in the log.
    pub place: Place,
    /// What is wrong there.
    pub problem: Problem,
}

/// What a log says, so that it fits into one line of a message.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown = String::new();
    for (length, character) in text.chars().enumerate() {
        if length == LONGEST {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A problem and its place, before the log's name is known.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) problem: Problem,
}

/// A place in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// No place in particular.
    Whole,
    /// A byte of the XML (of a packed log, when it is unpacked).
    Byte {
        /// The byte, from 0.
        at: u64,
        /// The application that the byte is in.
        within: Option<Box<Place>>,
    },
    /// An application.
    Application {
        /// Which, from 1.
        ordinal: u64,
        /// Its number, if that is known.
        number: Option<String>,
    },
    /// An event of an application.
    Event {
        /// Which, from 1.
        event: u64,
        /// The application.
        application: Box<Place>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Byte { at, within } => {
                write!(f, ", byte {at} of the XML")?;
                within.as_ref().map_or(Ok(()), |place| place.fmt(f))
            }
            Self::Application {
                ordinal,
                number: Some(number),
            } => write!(f, ", application {number} (trace {ordinal})"),
            Self::Application { ordinal, .. } => write!(f, ", trace {ordinal}"),
            Self::Event { event, application } => write!(f, "{application}, event {event}"),
        }
    }
}

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read ({0}); give --log the path of an XES file, plain or gzipped")]
    Unreadable(#[source] io::Error),
    /// The path is a folder, a pipe or the like.
    #[error("is not a file; give --log the path of an XES file, plain or gzipped")]
    NotAFile,
    /// The gzip data cannot be unpacked.
    #[error("the gzip data is damaged or cut off ({0}); get the file again in full")]
    Packed(String),
    /// The file is not XML.
    #[error("the file is not XML; give --log an XES file, plain or gzipped")]
    NotXml,
    /// The XML breaks the rules of XML.
    #[error("the XML is broken ({0}); export or get the log again")]
    BrokenXml(String),
    /// The XML ends inside an element.
    #[error("the XML ends inside <{open}>, so the log is cut off; get the file again in full")]
    CutOff {
        /// The innermost element that is open.
        open: String,
    },
    /// The XML is in an encoding that is not read.
    #[error("the XML is in {0}; convert the log to UTF-8")]
    Encoding(String),
    /// The root element is not that of XES.
    #[error("the root element is <{root}>, but XES has <log>; give --log an XES file")]
    NotALog {
        /// The outermost element.
        root: String,
    },
    /// Something follows the log.
    #[error("the XML continues after </log>; an XES file holds one log, so split the file")]
    AfterLog,
    /// An element is where XES does not allow it.
    #[error("<{element}> is not allowed inside <{within}>; correct the log")]
    Misplaced {
        /// The element.
        element: String,
        /// What it is in.
        within: String,
    },
    /// The elements are nested deeper than any log needs.
    #[error("elements are nested more than {0} levels deep; correct the log")]
    TooDeep(usize),
    /// An event or a trace without anything in it.
    #[error("<{0}/> is empty; remove it from the log or give it its attributes")]
    Empty(&'static str),
    /// The value of an `<int>` is not a whole number.
    #[error(
        "<int key=\"{key}\"> has the value \"{value}\", which is not a whole number; correct the log"
    )]
    NotAnInt {
        /// The attribute.
        key: String,
        /// What is there.
        value: String,
    },
    /// The parser gave up.
    #[error("{0}; correct the log")]
    Xes(String),
    /// Two readers of the log disagree.
    #[error(
        "the log has {} traces with {} events, but only {} with {} can be read; correct the log",
        found.applications, found.events, read.applications, read.events
    )]
    Miscounted {
        /// What the XML holds.
        found: LogSize,
        /// What was read.
        read: LogSize,
    },
    /// The log has no traces.
    #[error("the log holds no applications; give --log one with at least one <trace>")]
    NoApplications,
    /// An attribute is missing.
    #[error("`{key}` is missing; add it to the log as <{kind} key=\"{key}\" …>")]
    Missing {
        /// The attribute.
        key: &'static str,
        /// Its type in XES.
        kind: &'static str,
    },
    /// An attribute is there twice.
    #[error("`{0}` is there twice; remove one of the two from the log")]
    Twice(&'static str),
    /// An attribute does not have the value that it should have.
    #[error("`{key}` is {value}; correct the log, which needs {wanted} here")]
    Unusable {
        /// The attribute.
        key: &'static str,
        /// What is there.
        value: String,
        /// What should be there.
        wanted: &'static str,
    },
    /// The number of an application cannot be an id.
    #[error("`concept:name` cannot be an application's number: {0}; correct the log")]
    Number(#[source] InvalidId),
    /// Two applications have the same number.
    #[error("another application in the log has the same number; give each its own")]
    Duplicate,
    /// An application without events.
    #[error("the application has no events; remove it from the log")]
    NoEvents,
    /// The first event of an application is not its submission, or a later one is.
    #[error("an application begins with A_SUBMITTED and has it once; correct the log")]
    Submission,
    /// An activity that no version of the workflow knows.
    #[error(
        "the activity \"{0}\" is unknown (A_ and O_ activities are those of the bank's loan process, W_ activities are free); correct the log"
    )]
    UnknownActivity(String),
    /// A transition that the activity does not have.
    #[error(
        "{activity} has the transition \"{transition}\"; correct the log, which needs {wanted} here"
    )]
    UnknownTransition {
        /// The activity.
        activity: String,
        /// What is there.
        transition: String,
        /// What should be there.
        wanted: &'static str,
    },
}

impl Problem {
    /// A fault of reading is one of unpacking where the log is packed.
    pub(super) fn unpacking(self, packed: bool) -> Self {
        match self {
            Self::Unreadable(error) if packed => Self::Packed(error.to_string()),
            other => other,
        }
    }
}
