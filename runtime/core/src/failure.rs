//! Failures of single processes: their stage, their class, their text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::StreamId;

/// Which part of the work on a process failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// Before any process: the migrations do not fit together, or streams
    /// could not be listed.
    Planning,
    /// No route leads from where the process stands.
    Routing,
    /// Its records could not be read.
    Reading,
    /// Its events could not be folded: `upcast`, decoding or `apply`.
    Folding,
    /// The conversion refused its state, or panicked.
    Converting,
    /// The new state could not be serialized, or was not the same when it was
    /// deserialized and serialized again.
    Encoding,
    /// The migration could not be written.
    Committing,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planning => "planning",
            Self::Routing => "routing",
            Self::Reading => "reading",
            Self::Folding => "folding",
            Self::Converting => "converting",
            Self::Encoding => "encoding",
            Self::Committing => "committing",
        })
    }
}

/// What kind of failure it is: what to look for, and what to retry by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureClass {
    /// User code panicked.
    Panic,
    /// The conversion returned an error.
    Refused,
    /// `upcast` returned an error.
    Upcast,
    /// An event cannot be decoded.
    UndecodableEvent,
    /// An event is of a type that the code does not know.
    UnknownEventType,
    /// The state in the baseline cannot be decoded.
    UnreadableState,
    /// The new state cannot be serialized, or has a number that is NaN or infinite.
    Unserializable,
    /// The new state cannot be read back, or is another one then.
    ReadsBackDifferently,
    /// Run twice, user code gave two results.
    NonDeterministic,
    /// User code took longer than it may.
    Deadline,
    /// User code does not return.
    NeverReturned,
    /// It stands at a version older than all that a migration leads from.
    MissingRoute,
    /// It stands at a version that the program has never heard of.
    UnknownVersion,
    /// It stands at a version newer than the newest of the program.
    NewerThanProgram,
    /// A record was written by a newer version of this crate.
    NewerFormat,
    /// A record cannot be read, or records do not fit together.
    Corrupt,
    /// Others wrote to it all the time.
    Busy,
    /// The store did not answer, or not whether a write has happened.
    Unavailable,
    /// The run could not start or not go on.
    Run,
}

impl FailureClass {
    /// All classes.
    pub const ALL: [Self; 19] = [
        Self::Panic,
        Self::Refused,
        Self::Upcast,
        Self::UndecodableEvent,
        Self::UnknownEventType,
        Self::UnreadableState,
        Self::Unserializable,
        Self::ReadsBackDifferently,
        Self::NonDeterministic,
        Self::Deadline,
        Self::NeverReturned,
        Self::MissingRoute,
        Self::UnknownVersion,
        Self::NewerThanProgram,
        Self::NewerFormat,
        Self::Corrupt,
        Self::Busy,
        Self::Unavailable,
        Self::Run,
    ];

    /// The name, as it is stored and shown: `never_returned`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Refused => "refused",
            Self::Upcast => "upcast",
            Self::UndecodableEvent => "undecodable_event",
            Self::UnknownEventType => "unknown_event_type",
            Self::UnreadableState => "unreadable_state",
            Self::Unserializable => "unserializable",
            Self::ReadsBackDifferently => "reads_back_differently",
            Self::NonDeterministic => "non_deterministic",
            Self::Deadline => "deadline",
            Self::NeverReturned => "never_returned",
            Self::MissingRoute => "missing_route",
            Self::UnknownVersion => "unknown_version",
            Self::NewerThanProgram => "newer_than_program",
            Self::NewerFormat => "newer_format",
            Self::Corrupt => "corrupt",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Run => "run",
        }
    }

    /// The class of an error of a store.
    #[doc(hidden)]
    pub fn of(error: &crate::Error) -> Self {
        use crate::ErrorKind as Kind;
        match error.kind() {
            Kind::Conflict => Self::Busy,
            Kind::Corrupt => Self::Corrupt,
            Kind::NewerFormat => Self::NewerFormat,
            Kind::Claimed { .. } | Kind::Held | Kind::InUse(_) | Kind::Fenced | Kind::Invalid => {
                Self::Run
            }
            Kind::Unavailable
            | Kind::OutcomeUnknown
            | Kind::Workflow
            | Kind::Migrated { .. }
            | Kind::WrongVersion { .. } => Self::Unavailable,
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FailureClass {
    type Err = UnknownClass;
    fn from_str(name: &str) -> Result<Self, UnknownClass> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == name)
            .ok_or_else(|| UnknownClass(name.to_owned()))
    }
}

/// A name that no [`FailureClass`] has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no class of failures; there are {names}",
    names = FailureClass::ALL.map(FailureClass::as_str).join(", ")
)]
pub struct UnknownClass(String);

/// A process that could not be migrated, and why. It stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationError {
    /// Its stream. For what concerns no single stream, a name in parentheses,
    /// such as `(list_streams)`.
    pub stream_id: StreamId,
    /// Which part of the work failed.
    pub stage: Stage,
    /// What kind of failure it is.
    pub class: FailureClass,
    /// The event at which it failed, if it was at one.
    pub sequence: Option<u64>,
    /// What happened, and what to do.
    pub message: String,
}

#[doc(hidden)]
impl MigrationError {
    /// The failure of a process, at no event of its own.
    #[must_use]
    pub fn new(
        stage: Stage,
        class: FailureClass,
        stream: &StreamId,
        message: impl Into<String>,
    ) -> Self {
        Self {
            stream_id: stream.clone(),
            stage,
            class,
            sequence: None,
            message: message.into(),
        }
    }

    /// The failure of a process, by an error of its store.
    #[must_use]
    pub fn of(stage: Stage, stream: &StreamId, error: &crate::Error) -> Self {
        Self::new(stage, FailureClass::of(error), stream, error.to_string())
    }
}

impl fmt::Display for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed while {}", self.stream_id, self.stage)?;
        if let Some(sequence) = self.sequence {
            write!(f, " event {sequence}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for MigrationError {}

/// A process that was migrated, with something left to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationWarning {
    /// Its stream. For what concerns no single stream, a name in parentheses,
    /// such as `(migrations)`.
    pub stream_id: StreamId,
    /// What is left, and who does it.
    pub message: String,
}

impl fmt::Display for MigrationWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stream_id, self.message)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_one_name() {
        for class in FailureClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
            let json = format!("\"{class}\"");
            assert_eq!(serde_json::to_string(&class).unwrap(), json);
        }
        let error = "panick".parse::<FailureClass>().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("\"panick\" is no class of failures; there are panic, refused")
        );
    }
}
