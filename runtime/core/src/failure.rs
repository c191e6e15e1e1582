//! Failures of single processes: stage, class and message.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::StreamId;

/// The stage of a migration that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// Before any process: the migrations are inconsistent, or the streams
    /// could not be listed.
    Planning,
    /// There is no route from the process's version.
    Routing,
    /// Its records could not be read.
    Reading,
    /// Its events could not be folded: `upcast`, decoding or `apply`.
    Folding,
    /// The conversion rejected the state, or panicked.
    Converting,
    /// The new state could not be serialized, or changed when it was
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

/// The class of a failure, by which failures are searched and retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureClass {
    /// User code panicked.
    Panic,
    /// The conversion returned an error.
    Refused,
    /// The check of a conversion returned an error.
    CheckFailed,
    /// A number of its totals is too large to be added up.
    TotalTooLarge,
    /// The totals of all migrated processes differ before and after. About no single
    /// process.
    TotalsDiffer,
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
    /// The new state cannot be read back, or changes when it is.
    ReadsBackDifferently,
    /// User code gave two different results for the same input.
    NonDeterministic,
    /// A snapshot gives another state than the events: `apply` has changed since.
    SnapshotDiffers,
    /// A verification gave another state than the run recorded.
    VerifiesDifferently,
    /// The process cannot be undone exactly, and no undo function leads back.
    CannotUndo,
    /// The events that would be needed were erased.
    Erased,
    /// The route was undone, and the code is the same.
    Undone,
    /// User code exceeded its timeout.
    Deadline,
    /// User code did not return.
    NeverReturned,
    /// User code ended the program twice: it aborted, overflowed its stack, exited, or
    /// took all memory.
    EndedProgram,
    /// The process is at a version older than every source of a migration.
    MissingRoute,
    /// The process is at a version that the program does not know.
    UnknownVersion,
    /// The process is at a version newer than the program's newest.
    NewerThanProgram,
    /// A record was written by a newer version of this crate.
    NewerFormat,
    /// A record cannot be read, or records contradict each other.
    Corrupt,
    /// Concurrent writes caused conflicts on every attempt.
    Busy,
    /// The store did not answer, or the outcome of a write is unknown.
    Unavailable,
    /// The run could not start or continue.
    Run,
}

impl FailureClass {
    /// All classes.
    pub const ALL: [Self; 28] = [
        Self::Panic,
        Self::Refused,
        Self::CheckFailed,
        Self::TotalTooLarge,
        Self::TotalsDiffer,
        Self::Upcast,
        Self::UndecodableEvent,
        Self::UnknownEventType,
        Self::UnreadableState,
        Self::Unserializable,
        Self::ReadsBackDifferently,
        Self::NonDeterministic,
        Self::SnapshotDiffers,
        Self::VerifiesDifferently,
        Self::CannotUndo,
        Self::Erased,
        Self::Undone,
        Self::Deadline,
        Self::NeverReturned,
        Self::EndedProgram,
        Self::MissingRoute,
        Self::UnknownVersion,
        Self::NewerThanProgram,
        Self::NewerFormat,
        Self::Corrupt,
        Self::Busy,
        Self::Unavailable,
        Self::Run,
    ];

    /// Whether a process that failed so fails again until the code is changed.
    #[must_use]
    pub fn needs_other_code(self) -> bool {
        match self {
            Self::Panic
            | Self::Refused
            | Self::CheckFailed
            | Self::TotalTooLarge
            | Self::TotalsDiffer
            | Self::Upcast
            | Self::UndecodableEvent
            | Self::UnknownEventType
            | Self::UnreadableState
            | Self::Unserializable
            | Self::ReadsBackDifferently
            | Self::NonDeterministic
            | Self::EndedProgram
            | Self::MissingRoute
            | Self::UnknownVersion
            | Self::NewerThanProgram
            | Self::NewerFormat
            | Self::Undone => true,
            Self::SnapshotDiffers
            | Self::VerifiesDifferently
            | Self::CannotUndo
            | Self::Erased
            | Self::Deadline
            | Self::NeverReturned
            | Self::Corrupt
            | Self::Busy
            | Self::Unavailable
            | Self::Run => false,
        }
    }

    /// The name as it is stored and shown, such as `never_returned`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Refused => "refused",
            Self::CheckFailed => "check_failed",
            Self::TotalTooLarge => "total_too_large",
            Self::TotalsDiffer => "totals_differ",
            Self::Upcast => "upcast",
            Self::UndecodableEvent => "undecodable_event",
            Self::UnknownEventType => "unknown_event_type",
            Self::UnreadableState => "unreadable_state",
            Self::Unserializable => "unserializable",
            Self::ReadsBackDifferently => "reads_back_differently",
            Self::NonDeterministic => "non_deterministic",
            Self::SnapshotDiffers => "snapshot_differs",
            Self::VerifiesDifferently => "verifies_differently",
            Self::CannotUndo => "cannot_undo",
            Self::Erased => "erased",
            Self::Undone => "undone",
            Self::Deadline => "deadline",
            Self::NeverReturned => "never_returned",
            Self::EndedProgram => "ended_program",
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

    /// The class of a store's error.
    #[doc(hidden)]
    pub fn of(error: &crate::Error) -> Self {
        use crate::ErrorKind as Kind;
        match error.kind() {
            Kind::Conflict => Self::Busy,
            Kind::Corrupt => Self::Corrupt,
            Kind::Undone { .. } => Self::Undone,
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

/// A name that is not the name of any [`FailureClass`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown failure class {0:?}; known classes: {names}",
    names = FailureClass::ALL.map(FailureClass::as_str).join(", ")
)]
pub struct UnknownClass(String);

/// What a failure or a warning is about: a process, or no single one.
///
/// As JSON, `{"kind":"stream","id":"process/t/p"}` or `{"kind":"run"}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Subject {
    /// The process of a stream.
    Stream(StreamId),
    /// The list of streams, which could not be read: `(list_streams)`.
    ListStreams,
    /// The run as a whole.
    Run,
    /// The registered migrations.
    Migrations,
    /// The program that would run them.
    Program,
    /// The versions of workflows that a store records.
    Versions,
    /// A worker of the run.
    Worker,
    /// The store.
    Store,
}

impl Subject {
    /// The stream of the process that it is about.
    #[must_use]
    pub fn stream(&self) -> Option<&StreamId> {
        match self {
            Self::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// How a text names it. A failure of the run as a whole, or of what it
    /// needs, has no name in front.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Stream(stream) => Some(stream.as_str()),
            Self::ListStreams => Some("the list of streams"),
            Self::Run
            | Self::Migrations
            | Self::Program
            | Self::Versions
            | Self::Worker
            | Self::Store => None,
        }
    }
}

impl From<StreamId> for Subject {
    fn from(stream: StreamId) -> Self {
        Self::Stream(stream)
    }
}

impl From<&StreamId> for Subject {
    fn from(stream: &StreamId) -> Self {
        Self::Stream(stream.clone())
    }
}

impl PartialEq<StreamId> for Subject {
    fn eq(&self, stream: &StreamId) -> bool {
        self.stream() == Some(stream)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream(stream) => stream.as_str(),
            Self::ListStreams => "(list_streams)",
            Self::Run => "run",
            Self::Migrations => "migrations",
            Self::Program => "program",
            Self::Versions => "versions",
            Self::Worker => "worker",
            Self::Store => "store",
        })
    }
}

/// A process that could not be migrated, and why. The process is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationError {
    /// The process, or what else failed.
    pub subject: Subject,
    /// The stage that failed.
    pub stage: Stage,
    /// The class of the failure.
    pub class: FailureClass,
    /// The event at which it failed, if the failure is about one event.
    pub sequence: Option<u64>,
    /// What happened, and what to do about it.
    pub message: String,
}

#[doc(hidden)]
impl MigrationError {
    /// A failure that is not about one event of a process.
    #[must_use]
    pub fn new(
        stage: Stage,
        class: FailureClass,
        subject: impl Into<Subject>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            subject: subject.into(),
            stage,
            class,
            sequence: None,
            message: message.into(),
        }
    }

    /// A failure of a process, from the error of a store.
    #[must_use]
    pub fn of(stage: Stage, stream: &StreamId, error: &crate::Error) -> Self {
        Self::new(stage, FailureClass::of(error), stream, error.to_string())
    }
}

impl fmt::Display for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject.name() {
            Some(name) => write!(f, "{name} failed while {}", self.stage)?,
            None => write!(f, "{} failed", self.stage)?,
        }
        if let Some(sequence) = self.sequence {
            write!(f, " event {sequence}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for MigrationError {}

/// A process that was migrated, with work left to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationWarning {
    /// The process, or what else the warning is about.
    pub subject: Subject,
    /// What is left, and which program does it.
    pub message: String,
}

impl fmt::Display for MigrationWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject.name() {
            Some(name) => write!(f, "{name}: {}", self.message),
            None => f.write_str(&self.message),
        }
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
                .starts_with("unknown failure class \"panick\"; known classes: panic, refused")
        );
    }

    #[test]
    fn a_subject_without_a_stream_is_not_a_stream_id() {
        let error = MigrationError {
            subject: Subject::Run,
            stage: Stage::Converting,
            class: FailureClass::Refused,
            sequence: None,
            message: "no".into(),
        };
        assert_eq!(error.to_string(), "converting failed: no");
        assert_eq!(error.subject.stream(), None);
        let error = MigrationError {
            subject: Subject::ListStreams,
            ..error
        };
        let text = "the list of streams failed while converting: no";
        assert_eq!(error.to_string(), text);
        let warning = MigrationWarning {
            subject: Subject::Store,
            message: "left".into(),
        };
        assert_eq!(warning.to_string(), "left");
        let json = |subject: &Subject| serde_json::to_string(subject).unwrap();
        let stream = Subject::Stream(StreamId::new("process/t/p").unwrap());
        assert_eq!(json(&stream), r#"{"kind":"stream","id":"process/t/p"}"#);
        assert_eq!(json(&Subject::ListStreams), r#"{"kind":"list_streams"}"#);
        for subject in [stream, Subject::Run] {
            let read: Subject = serde_json::from_str(&json(&subject)).unwrap();
            assert_eq!(read, subject);
        }
    }
}
