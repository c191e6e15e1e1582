//! Why a state was not upgraded.

use std::cmp::Ordering;
use std::fmt;

use crate::id::WorkflowId;
use crate::migration::ConversionError;
use crate::version::natural_cmp;

/// Why a state was not upgraded. No value of the state is in it, other than
/// those that a conversion puts into its error. The path to what cannot be read
/// holds the names of fields and the keys of maps: where such a key is secret,
/// such as an address, keep the message secret too.
#[derive(Debug)]
#[non_exhaustive]
pub enum UpgradeError {
    /// Nothing that is linked knows the workflow.
    UnknownWorkflow {
        /// What was asked for.
        name: String,
        /// The workflows that are known.
        known: Vec<String>,
    },
    /// Nothing that is linked knows this version of the workflow.
    UnknownVersion {
        /// What was asked for.
        version: WorkflowId,
        /// The versions that are known.
        known: Vec<String>,
    },
    /// No route leads from the version of the state to the one that was asked for.
    NoRoute {
        /// The version of the state.
        from: WorkflowId,
        /// The version that was asked for.
        to: WorkflowId,
        /// The version at which the route of the state ends.
        end: String,
    },
    /// The state is not one of its version.
    Unreadable {
        /// The version.
        version: WorkflowId,
        /// The type of its state.
        state: &'static str,
        /// What is wrong, and where.
        problem: String,
    },
    /// A conversion refused the state.
    Refused {
        /// Which, and where it is written.
        migration: String,
        /// Why.
        reason: ConversionError,
    },
    /// The converted state could not be serialized.
    Unserializable {
        /// By which migration, and where it is written.
        migration: String,
        /// Why.
        reason: serde_json::Error,
    },
    /// The workflow type that was asked for is another than the registry's.
    OtherState {
        /// The version of both.
        version: WorkflowId,
        /// The state of the type that was asked for.
        asked: &'static str,
        /// The state that the migrations produce.
        produced: &'static str,
    },
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownWorkflow { name, known } => {
                write!(f, "no workflow {name:?} is known, ")?;
                if known.is_empty() {
                    write!(f, "and no other")?;
                } else {
                    write!(f, "only {}", known.join(", "))?;
                }
                write!(
                    f,
                    "; correct the name, or link its migrations with `use my_migrations as _;`"
                )
            }
            Self::UnknownVersion { version, known } => {
                let is_newer = known
                    .iter()
                    .all(|known| natural_cmp(version.version(), known) == Ordering::Greater);
                let way_out = if is_newer {
                    "it is newer than all of these, so use the program that wrote it"
                } else {
                    "correct the version, or link its migration with `use my_migrations as _;`"
                };
                write!(
                    f,
                    "{version} is not known, only {}; {way_out}",
                    known.join(", ")
                )
            }
            Self::NoRoute { from, to, end } => write!(
                f,
                "no migrations lead from {from} to {to}: the route ends at {end}; ask for that version"
            ),
            Self::Unreadable {
                version,
                state,
                problem,
            } => write!(
                f,
                "the state of {version} cannot be read as a `{state}`: {problem}; check that it is of this version and complete"
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
                "the state of {version} is a `{produced}`, not a `{asked}`; ask for the workflow type that the migrations name"
            ),
        }
    }
}

impl std::error::Error for UpgradeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The messages hold those of these; what lies behind them is the source.
        match self {
            Self::Refused { reason, .. } => reason.source(),
            Self::Unserializable { reason, .. } => reason.source(),
            _ => None,
        }
    }
}
