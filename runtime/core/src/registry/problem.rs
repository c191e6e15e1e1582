//! What can be wrong with a set of migrations.

use std::fmt;

use crate::id::WorkflowId;

/// One thing that is wrong with a set of migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The program has no migrations at all, nor versions that are registered
    /// or decided.
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
    /// A version that is not the newest, from which no migration leads, and of
    /// which nobody decided that its processes stay there.
    Undecided {
        /// The version.
        version: WorkflowId,
        /// What names it.
        named_by: Vec<String>,
        /// The newest version.
        newest: WorkflowId,
        /// What names that.
        newest_named_by: Vec<String>,
    },
    /// A migration leads from a version of which it was decided that its
    /// processes stay there.
    Contradiction {
        /// The version.
        version: WorkflowId,
        /// Where it was decided.
        decided_by: String,
        /// The migrations, with where they are written.
        migrations: Vec<String>,
    },
    /// It was decided that the processes of a version stay there, but not why.
    NoReason {
        /// The version.
        version: WorkflowId,
        /// Where it was decided.
        decided_by: String,
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
    /// A migration does not lead to a later version.
    NotAscending {
        /// The migration.
        migration: String,
    },
    /// An undo does not lead to an earlier version.
    UndoAscends {
        /// The undo.
        undo: String,
    },
    /// No migration leads the way that an undo leads back.
    NothingToUndo {
        /// The undo.
        undo: String,
        /// The migration that there would have to be.
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
    /// A version is said to have different states, or different
    /// `STATE_SCHEMA_VERSION`s, in different places.
    SeveralDefinitions {
        /// The version.
        version: WorkflowId,
        /// What is said, and where.
        definitions: Vec<Definition>,
    },
    /// Versions of one workflow are written differently and count as equal, so
    /// that none is the later: leading zeros do not count.
    EqualVersions {
        /// The versions.
        versions: Vec<WorkflowId>,
        /// For each, what names it.
        named_by: Vec<String>,
    },
    /// Versions of one workflow have different states, and the same
    /// `STATE_SCHEMA_VERSION`.
    SharedSchemaVersion {
        /// What they share.
        schema_version: u32,
        /// The versions.
        definitions: Vec<Definition>,
    },
}

/// What a migration or a registration says of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Definition {
    /// The version.
    pub version: WorkflowId,
    /// The type of its state.
    pub state: String,
    /// Its `STATE_SCHEMA_VERSION`.
    pub schema_version: u32,
    /// Which migration or registration says so, and where it is written.
    pub by: String,
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
                "the migrations of {name} end at {}, so none of these is the newest version: {}; add the migration between them, or say with `no_migration!` why processes stay",
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
                write!(f, "{migration} leads from a version to itself; remove it")
            }
            Self::WrongIds {
                migration,
                types: (from, to),
            } => {
                if from == to {
                    write!(
                        f,
                        "{migration} is between two versions that share a state, but neither is {from}, the version of its workflow type; give it the id of that type"
                    )
                } else {
                    write!(
                        f,
                        "{migration} gives ids that are not those of its workflow types, {from} and {to}; give it those"
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
            Self::Undecided {
                version,
                named_by,
                newest,
                newest_named_by,
            } => write!(
                f,
                "no migration leads from {version}, though {newest} is newer; {version} is named by {}, and {newest} by {}; add the migration, name its crate with `use my_migrations as _;` if there is one, or say with `no_migration!` why processes stay",
                named_by.join(" and "),
                newest_named_by.join(" and ")
            ),
            Self::Contradiction {
                version,
                decided_by,
                migrations,
            } => write!(
                f,
                "{decided_by} says that {version} needs no migration, but from it leads {}; remove one of them",
                migrations.join(" and ")
            ),
            Self::NoReason {
                version,
                decided_by,
            } => write!(
                f,
                "{decided_by} says that {version} needs no migration, but its reason is empty; write a text that says something"
            ),
            Self::NotAscending { migration } => write!(
                f,
                "{migration} does not lead to a later version; exchange its ends, or make it an `undo`"
            ),
            Self::UndoAscends { undo } => write!(
                f,
                "the undo {undo} does not lead to an earlier version; exchange its ends, or remove `undo`"
            ),
            Self::NothingToUndo { undo, migration } => write!(
                f,
                "the undo {undo} has nothing to undo, because there is no migration {migration}; add that, name its crate with `use my_migrations as _;`, or remove the undo"
            ),
            Self::SeveralDefinitions {
                version,
                definitions,
            } => {
                write!(f, "{version} is defined more than once: ")?;
                for (n, definition) in definitions.iter().enumerate() {
                    let Definition {
                        state,
                        schema_version,
                        by,
                        ..
                    } = definition;
                    let and = if n > 0 { ", and " } else { "" };
                    write!(
                        f,
                        "{and}as a `{state}` with STATE_SCHEMA_VERSION {schema_version} in {by}"
                    )?;
                }
                write!(f, "; let all of them name one workflow type")
            }
            Self::EqualVersions { versions, named_by } => {
                for (n, (version, by)) in versions.iter().zip(named_by).enumerate() {
                    let and = if n > 0 { " and " } else { "" };
                    write!(f, "{and}{version}, which {by} names,")?;
                }
                write!(
                    f,
                    " count as equal, since leading zeros do not count; write them alike, or give one a later version"
                )
            }
            Self::SharedSchemaVersion {
                schema_version,
                definitions,
            } => {
                for (n, definition) in definitions.iter().enumerate() {
                    let Definition {
                        version, state, by, ..
                    } = definition;
                    let and = if n > 0 { " and " } else { "" };
                    write!(f, "{and}{version}, a `{state}` in {by},")?;
                }
                write!(
                    f,
                    " have different states but the same STATE_SCHEMA_VERSION, {schema_version}; give each state its own"
                )
            }
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
