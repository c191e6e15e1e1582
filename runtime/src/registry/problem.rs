//! What can be wrong with a set of migrations.

use std::fmt;

use crate::id::WorkflowId;

/// One thing that is wrong with a set of migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The program has no migrations at all.
    NothingLinked,
    /// A migration that was expected is not there.
    NotLinked {
        /// What was asked for.
        expected: String,
        /// What is there.
        known: Vec<String>,
    },
    /// Two migrations have the same source and target.
    Duplicate {
        /// Both, with where they are written.
        migrations: Vec<String>,
    },
    /// Two migrations lead from one version to different ones.
    Fork {
        /// The version that both lead from.
        source: WorkflowId,
        /// Both, with where they are written.
        migrations: Vec<String>,
    },
    /// Migrations lead in a circle.
    Cycle {
        /// The migrations of the circle.
        migrations: Vec<String>,
    },
    /// The migrations of one workflow end at more than one version, so that
    /// none is the newest.
    Gap {
        /// The workflow's name.
        name: String,
        /// The versions at which migrations end.
        ends: Vec<String>,
        /// The workflow's migrations.
        migrations: Vec<String>,
    },
    /// Source and target are versions of different workflows.
    DifferentNames {
        /// The migration.
        migration: String,
    },
    /// Source and target are the same version.
    SameVersion {
        /// The migration.
        migration: String,
    },
    /// The ids that a migration gives are not those of its workflow types.
    WrongIds {
        /// The migration.
        migration: String,
        /// The ids of its workflow types.
        types: (WorkflowId, WorkflowId),
    },
    /// One migration produces a state of another type than the next one takes.
    StateMismatch {
        /// The version between the two.
        at: WorkflowId,
        /// The migration before, and the type that it produces.
        produces: (String, String),
        /// The migration after, and the type that it takes.
        takes: (String, String),
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingLinked => write!(
                f,
                "no migration is linked into this program; a crate that is never named in source is not linked, so write `use my_domain as _;` with the name of the crate that holds the migrations"
            ),
            Self::NotLinked { expected, known } => {
                write!(f, "the migration {expected} is expected and not there; ")?;
                if known.is_empty() {
                    write!(f, "none is")
                } else {
                    write!(f, "there are {}", known.join(", "))
                }?;
                write!(
                    f,
                    "; if its crate is never named in source, write `use my_domain as _;` with that crate's name"
                )
            }
            Self::Duplicate { migrations } => {
                write!(
                    f,
                    "the same migration is there more than once: {}; keep one",
                    migrations.join(" and ")
                )
            }
            Self::Fork { source, migrations } => write!(
                f,
                "more than one migration leads from {source}: {}; keep one, or give them versions that follow each other",
                migrations.join(" and ")
            ),
            Self::Cycle { migrations } => {
                write!(
                    f,
                    "migrations lead in a circle: {}; remove one",
                    migrations.join(", ")
                )
            }
            Self::Gap {
                name,
                ends,
                migrations,
            } => write!(
                f,
                "the migrations of {name} end at {}, so none of these is the newest version: {}; add the migration between them",
                ends.join(" and at "),
                migrations.join(", ")
            ),
            Self::DifferentNames { migration } => {
                write!(
                    f,
                    "{migration} leads from one workflow to another; both ends must have the same name"
                )
            }
            Self::SameVersion { migration } => {
                write!(f, "{migration} leads from a version to itself")
            }
            Self::WrongIds {
                migration,
                types: (from, to),
            } => {
                if from == to {
                    write!(
                        f,
                        "{migration} is between two versions that share a state, but neither is {from}, the version of its workflow type"
                    )
                } else {
                    write!(
                        f,
                        "{migration} gives ids that are not those of its workflow types, {from} and {to}"
                    )
                }
            }
            Self::StateMismatch {
                at,
                produces,
                takes,
            } => write!(
                f,
                "at {at}, {} produces a `{}` and {} takes a `{}`; both must be the same type",
                produces.0, produces.1, takes.0, takes.1
            ),
        }
    }
}

/// A set of migrations does not fit together: all problems at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryError {
    problems: Vec<Problem>,
}

impl RegistryError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Everything that is wrong.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "{one}"),
            all => {
                write!(f, "the migrations have {} problems:", all.len())?;
                for problem in all {
                    write!(f, "\n- {problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for RegistryError {}
