//! Exit codes, and failures of commands.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;
use state_migration_core::{Error, ErrorKind};

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    /// A usage error, or a problem with the store, the settings or the program.
    Environment = 1,
    DoneWithErrors = 2,
    Interrupted = 3,
    /// Refused: needs explicit confirmation.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure of a command.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure {
    #[serde(skip)]
    pub(crate) exit: Exit,
    /// One sentence.
    pub(crate) message: String,
    /// The suggested next command, if there is one.
    pub(crate) next: Option<String>,
}

impl Failure {
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Environment,
            message: message.into(),
            next: None,
        }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Refused,
            ..Self::environment(message)
        }
    }

    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Interrupted,
            ..Self::environment(message)
        }
    }

    pub(crate) fn next(mut self, command: impl Into<String>) -> Self {
        self.next = Some(command.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Claimed { .. } | ErrorKind::InUse(_) | ErrorKind::Fenced => {
                Self::refused(error.to_string())
            }
            _ => Self::environment(error.to_string()),
        }
    }
}
