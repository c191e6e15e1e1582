//! Errors of upgrading a state.

use std::cmp::Ordering;
use std::fmt;

use crate::id::WorkflowId;
use crate::migration::ConversionError;
use crate::version::natural_cmp;

/// The reason why a state was not upgraded. It contains no values of the state
/// except those that a conversion puts into its error. The path to an
/// unreadable value contains names of fields and keys of maps: if such a key is
/// confidential, such as an address, keep the message confidential too.
///
/// `Debug` prints the same as `Display`, since a `main` that returns an error prints it with
/// `Debug`.
#[non_exhaustive]
pub enum UpgradeError {
    /// The workflow is unknown to the registry.
    UnknownWorkflow {
        /// The requested workflow.
        name: String,
        /// The known workflows.
        known: Vec<String>,
    },
    /// The version of the workflow is unknown to the registry.
    UnknownVersion {
        /// The requested version.
        version: WorkflowId,
        /// The known versions.
        known: Vec<String>,
    },
    /// There is no route from the version of the state to the requested
    /// version.
    NoRoute {
        /// The version of the state.
        from: WorkflowId,
        /// The requested version.
        to: WorkflowId,
        /// The version where the route from the state ends.
        end: String,
    },
    /// The state cannot be read as a state of its version.
    Unreadable {
        /// The version.
        version: WorkflowId,
        /// The type of its state.
        state: &'static str,
        /// The problem, and its place in the state.
        problem: String,
    },
    /// A conversion rejected the state.
    Refused {
        /// The migration, with its location.
        migration: String,
        /// The reason.
        reason: ConversionError,
    },
    /// The converted state could not be serialized.
    Unserializable {
        /// The migration that produced it, with its location.
        migration: String,
        /// The reason.
        reason: serde_json::Error,
    },
    /// The requested workflow type has another state than the registry's.
    OtherState {
        /// The version of both.
        version: WorkflowId,
        /// The state of the requested type.
        asked: &'static str,
        /// The state that the migrations produce.
        produced: &'static str,
    },
}

impl fmt::Debug for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownWorkflow { name, known } => {
                write!(f, "unknown workflow {name:?} (")?;
                if known.is_empty() {
                    write!(f, "no workflow is linked")?;
                } else {
                    write!(f, "known workflows: {}", known.join(", "))?;
                }
                write!(
                    f,
                    "); correct the name, or link its migrations with `use my_migrations as _;`"
                )
            }
            Self::UnknownVersion { version, known } => {
                let is_newer = known
                    .iter()
                    .all(|known| natural_cmp(version.version(), known) == Ordering::Greater);
                let alone = version.version().strip_prefix(version.name());
                let alone = alone.and_then(|rest| rest.strip_prefix('@'));
                let way_out = if let Some(alone) = alone {
                    &format!("give the version without the name: {alone:?}")
                } else if is_newer {
                    "this version is newer than all of them, so use the program that wrote the state"
                } else {
                    "correct the version, or link its migration with `use my_migrations as _;`"
                };
                write!(
                    f,
                    "unknown version {version} (known versions: {}); {way_out}",
                    known.join(", ")
                )
            }
            Self::NoRoute { from, to, end } => write!(
                f,
                "no route leads from {from} to {to}, because the route from {from} ends at {end}; ask for {end}"
            ),
            Self::Unreadable {
                version,
                state,
                problem,
            } => write!(
                f,
                "the state of {version} cannot be read as a `{state}`: {problem}; check that the state is complete and of this version"
            ),
            Self::Refused { migration, reason } => {
                write!(f, "{migration} refused the state: {reason}")
            }
            Self::Unserializable { migration, reason } => write!(
                f,
                "the state that {migration} produced cannot be serialized: {reason}"
            ),
            Self::OtherState {
                version,
                asked,
                produced,
            } => write!(
                f,
                "the state of {version} is a `{produced}`, not a `{asked}`; ask for the workflow type that the migrations use"
            ),
        }
    }
}

impl std::error::Error for UpgradeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // `Display` includes the messages of these errors; the source is the
        // next error.
        match self {
            Self::Refused { reason, .. } => reason.source(),
            Self::Unserializable { reason, .. } => reason.source(),
            _ => None,
        }
    }
}
