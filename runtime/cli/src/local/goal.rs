//! What a command wants of a run.

use state_migration_core::{FailureClass, RunId};

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    Run,
    /// With the command that would do it.
    DryRun(String),
    /// Go on with a run that has looked at so many processes so far.
    Resume(RunId, u64),
    Retry(RunId, Vec<FailureClass>),
}

impl Wanted {
    pub(crate) fn command(&self) -> &'static str {
        match self {
            Self::Run | Self::DryRun(_) => "run",
            Self::Resume(..) => "resume",
            Self::Retry(..) => "retry",
        }
    }

    pub(crate) fn is_dry(&self) -> bool {
        matches!(self, Self::DryRun(_))
    }
}
