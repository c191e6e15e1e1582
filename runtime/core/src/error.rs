//! The error type of stores and processes.

use std::fmt;
use std::time::Duration;

use crate::id::{InvalidId, RunId, StreamId, WorkflowId};
use crate::store_api::Program;
use crate::time::Timestamp;
use crate::workflow::BoxError;

/// What the caller should do about an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another writer wrote first. Load again and decide again.
    Conflict,
    /// The process has moved to a newer version of its workflow; nothing was
    /// written. Route the work to code of version `to`.
    Migrated {
        /// The current version of the process.
        to: WorkflowId,
    },
    /// The process is at another version than the code, and was not migrated
    /// away from the code's version. Migrate it first, or use the code of
    /// `stands_at`.
    WrongVersion {
        /// The current version of the process.
        stands_at: WorkflowId,
    },
    /// An operator holds the process, so that it is not migrated; nothing was
    /// written. Release it first.
    Held,
    /// The storage did not answer. Try again later.
    Unavailable,
    /// Another writer has taken the database over. Stop using this handle.
    Fenced,
    /// A run has claimed the store, and is not known to be dead. Nothing was
    /// written. Wait for the run, or take the store over.
    Claimed {
        /// The run.
        run: RunId,
    },
    /// The route of the process was undone, and the code is the same. Nothing was
    /// written. Correct the migration.
    Undone {
        /// The run that was undone.
        run: RunId,
    },
    /// A program has the store open, or was killed while it had. Nothing was
    /// written. Wait until the store is closed, or take it over.
    InUse(Box<InUse>),
    /// A stored record cannot be read. The message names it; nothing was changed.
    Corrupt,
    /// The data was written by a newer version of this crate. Use that one.
    NewerFormat,
    /// The request is invalid. Fix the caller.
    Invalid,
    /// The write may or may not have happened. Read before trying again.
    OutcomeUnknown,
    /// Code of the workflow failed: `apply`, `upcast`, (de)serialization or a
    /// conversion.
    Workflow,
}

/// What another program can see of the one that has a store open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InUse {
    /// How often the store was opened for writing.
    pub epoch: u64,
    /// The run that has claimed the store.
    pub run: Option<RunId>,
    /// The program, if it left its mark.
    pub program: Option<Program>,
    /// Whether the program runs, if that can be determined: only on the machine
    /// where it runs.
    pub is_alive: Option<bool>,
    /// When it opened the store.
    pub opened: Option<Timestamp>,
    /// Whether it wrote while it was observed.
    pub writes: bool,
    /// How long ago the last write was, as far as files and clocks show.
    pub quiet_for: Option<Duration>,
}

impl InUse {
    #[doc(hidden)]
    #[must_use]
    pub fn new(epoch: u64, run: Option<RunId>, writes: bool, quiet_for: Option<Duration>) -> Self {
        Self {
            epoch,
            run,
            program: None,
            is_alive: None,
            opened: None,
            writes,
            quiet_for,
        }
    }

    /// Whether the program is alive: it wrote while it was observed, or the operating
    /// system says so.
    #[doc(hidden)]
    #[must_use]
    pub fn appears_alive(&self) -> bool {
        self.writes || self.is_alive == Some(true)
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = match &self.program {
            Some(program) if program.is_this() => "this program".to_owned(),
            Some(program) => program.to_string(),
            None => "a program".to_owned(),
        };
        let mut about = match self.opened {
            Some(opened) => format!("since {}", opened.to_seconds()),
            None => format!("epoch {}", self.epoch),
        };
        if let Some(run) = self.run {
            about += &format!("; its run {run} is or was in progress");
        }
        let last = match self.quiet_for {
            Some(quiet) => format!("; last write {} ago", self::about(quiet)),
            None => String::new(),
        };
        if self.appears_alive() {
            return write!(f, "{program} has this store open ({about}{last})");
        }
        write!(
            f,
            "{program} opened this store ({about}{last}) and did not close it, so the program was killed or is idle"
        )
    }
}

/// Formats a duration for people.
fn about(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// An error of a store or a process: what happened, and in
/// [`kind`](Error::kind) what to do.
///
/// `Debug` prints the same as `Display`, since a `main` that returns an error prints it with
/// `Debug`.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<BoxError>,
}

impl Error {
    /// An error without a cause of its own. For implementors of stores.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The same error with a source.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of the error, which says what to do about it.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Whether another writer wrote first, so that loading and deciding again
    /// may succeed.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.kind == ErrorKind::Conflict
    }

    /// Whether the record that was read is damaged or of a newer format, so that the error
    /// says nothing about the store.
    #[doc(hidden)]
    #[must_use]
    pub fn is_of_record(&self) -> bool {
        matches!(self.kind, ErrorKind::Corrupt | ErrorKind::NewerFormat)
    }

    #[doc(hidden)]
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// The error for an event that is missing although the head of its stream
    /// includes it.
    #[doc(hidden)]
    pub fn missing_event(stream: &StreamId, sequence: u64) -> Self {
        Self::corrupt(format!(
            "event {sequence} of stream {stream} is missing; restore the event from a backup (nothing was changed)"
        ))
    }

    #[doc(hidden)]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.message.clone();
        let mut source = self
            .source
            .as_ref()
            .map(|s| s.as_ref() as &dyn std::error::Error);
        while let Some(cause) = source {
            // Some errors print their sources themselves, and object stores answer
            // with documents of several lines.
            let more = in_one_line(cause.to_string());
            if !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            source = cause.source();
        }
        f.write_str(&text)
    }
}

fn in_one_line(text: String) -> String {
    if !text.contains(['\n', '\r']) {
        return text;
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ")
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // `Display` already contains the messages of the sources, so that a
        // report of one line is complete; this returns the values for code that
        // inspects them.
        self.source.as_ref().map(|s| s.as_ref() as _)
    }
}

impl From<InvalidId> for Error {
    fn from(error: InvalidId) -> Self {
        Self::new(ErrorKind::Invalid, error.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What a `main` prints that returns `Result<_, Box<dyn Error>>`.
    #[test]
    fn errors_are_debugged_as_they_are_shown() {
        let invalid = crate::StreamId::new("").unwrap_err();
        let migrations = crate::MigrationRegistry::builder().build();
        let nothing = migrations.and_then(|it| it.require(["order@1->2"]));
        let nothing = nothing.unwrap_err();
        let upgraded = crate::MigrationRegistry::builder().build().unwrap();
        let upgraded = upgraded.upgrade("order", "1", "{}").unwrap_err();
        let error = Error::invalid("no").with_source(std::io::Error::other("cause"));
        let shown: [(&dyn std::error::Error, &str); 4] = [
            (&error, "no: cause"),
            (&invalid, &invalid.to_string()),
            (&nothing, &nothing.to_string()),
            (&upgraded, &upgraded.to_string()),
        ];
        for (error, text) in shown {
            assert_eq!(format!("{error:?}"), text);
            assert!(!text.contains('{'), "{text}");
        }
    }

    #[test]
    fn a_store_in_use_is_reported_in_one_sentence() {
        let mut in_use = InUse::new(7, None, true, Some(Duration::from_millis(3_900)));
        assert_eq!(
            in_use.to_string(),
            "a program has this store open (epoch 7; last write 3 s ago)"
        );
        in_use.writes = false;
        for (seconds, told) in [
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (3 * 3_600 + 1, "3 h"),
            (49 * 3_600, "2 days"),
        ] {
            in_use.quiet_for = Some(Duration::from_secs(seconds));
            assert_eq!(
                in_use.to_string(),
                format!(
                    "a program opened this store (epoch 7; last write {told} ago) and did not \
                     close it, so the program was killed or is idle"
                )
            );
        }
        in_use.quiet_for = None;
        in_use.run = Some(RunId::from_uuid(uuid::Uuid::from_u128(5)));
        assert_eq!(
            in_use.to_string(),
            "a program opened this store (epoch 7; its run 00000000-0000-0000-0000-000000000005 is or was in progress) and did not close it, so the program was killed or is idle"
        );
        let mut program = Program::this().clone();
        (program.id, program.name, program.pid) = (uuid::Uuid::nil(), "loans".to_owned(), 7);
        (program.host, program.user) = ("db3".to_owned(), "ann".to_owned());
        in_use.program = Some(program);
        in_use.opened = Some(Timestamp::from_micros(1_317_423_524_546_000));
        (in_use.run, in_use.is_alive) = (None, Some(true));
        assert_eq!(
            in_use.to_string(),
            "loans (pid 7 on db3, user ann) has this store open (since 2011-09-30T22:58:44Z)"
        );
    }
}
