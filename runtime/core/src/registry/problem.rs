//! Problems in a set of migrations.

use std::fmt;

use crate::id::WorkflowId;

/// A problem in a set of migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The program has neither migrations nor registered versions.
    NothingLinked,
    /// An expected migration is missing.
    NotLinked {
        /// The migration that was expected.
        expected: String,
        /// The migrations that exist.
        known: Vec<String>,
    },
    /// Two migrations have the same source and target.
    Duplicate {
        /// Both, with their locations.
        migrations: Vec<String>,
    },
    /// Two migrations lead from one version to different ones.
    Fork {
        /// The version that both lead from.
        source: WorkflowId,
        /// Both, with their locations.
        migrations: Vec<String>,
    },
    /// Migrations form a cycle.
    Cycle {
        /// The migrations of the cycle.
        migrations: Vec<String>,
    },
    /// The migrations of one workflow end at more than one version, so that the
    /// newest version is ambiguous.
    Gap {
        /// The workflow's name.
        name: String,
        /// The versions at which migrations end.
        ends: Vec<String>,
        /// The workflow's migrations.
        migrations: Vec<String>,
    },
    /// A version that is not the newest has neither a migration from it nor a
    /// declaration that its processes stay there.
    Undecided {
        /// The version.
        version: WorkflowId,
        /// The migrations and registrations that name it.
        named_by: Vec<String>,
        /// The newest version.
        newest: WorkflowId,
        /// The migrations and registrations that name the newest version.
        newest_named_by: Vec<String>,
    },
    /// A migration leads from a version whose processes are declared to stay
    /// there.
    Contradiction {
        /// The version.
        version: WorkflowId,
        /// The location of the declaration.
        decided_by: String,
        /// The migrations, with their locations.
        migrations: Vec<String>,
    },
    /// The processes of a version are declared to stay there, without a reason.
    NoReason {
        /// The version.
        version: WorkflowId,
        /// The location of the declaration.
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
    /// An undo has no migration to undo.
    NothingToUndo {
        /// The undo.
        undo: String,
        /// The migration that is missing.
        migration: String,
    },
    /// The ids that a migration returns are not those of its workflow types.
    WrongIds {
        /// The migration.
        migration: String,
        /// The ids of its workflow types.
        types: (WorkflowId, WorkflowId),
    },
    /// The state that one migration produces is not the type that the next one
    /// takes.
    StateMismatch {
        /// The version between the two migrations.
        at: WorkflowId,
        /// The first migration, and the type that it produces.
        produces: (String, String),
        /// The second migration, and the type that it takes.
        takes: (String, String),
    },
    /// A version has different states, or different `STATE_SCHEMA_VERSION`s, in
    /// different places.
    SeveralDefinitions {
        /// The version.
        version: WorkflowId,
        /// The definitions and their locations.
        definitions: Vec<Definition>,
    },
    /// Versions of one workflow differ as text and compare as equal, so that
    /// neither is the later one: leading zeros do not count.
    EqualVersions {
        /// The versions.
        versions: Vec<WorkflowId>,
        /// For each version, the migrations and registrations that name it.
        named_by: Vec<String>,
    },
    /// Versions of one workflow have different states but the same
    /// `STATE_SCHEMA_VERSION`.
    SharedSchemaVersion {
        /// The `STATE_SCHEMA_VERSION` that they share.
        schema_version: u32,
        /// The versions.
        definitions: Vec<Definition>,
    },
}

/// The definition of a version in a migration or a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Definition {
    /// The version.
    pub version: WorkflowId,
    /// The type of the workflow; `None` at an end of an identity migration that was
    /// made for the type of the other end.
    pub workflow: Option<String>,
    /// The type of its state.
    pub state: String,
    /// Its `STATE_SCHEMA_VERSION`.
    pub schema_version: u32,
    /// The migration or registration, with its location.
    pub by: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingLinked => write!(
                f,
                "no migrations are linked into this program; a crate that is never named in the source is not linked, so add `use my_domain as _;` with the name of the crate that has the migrations (of a static library, a linker takes them only with `--whole-archive`)"
            ),
            Self::NotLinked { expected, known } => {
                let mut names = known.iter().map(|known| short_name(known));
                if let Some(meant) = names.find(|name| is_meant(expected, name)) {
                    return write!(
                        f,
                        "the expected migration {expected} is written in another form; write {meant}"
                    );
                }
                write!(f, "the expected migration {expected} is missing; ")?;
                if !(expected.contains('@') && expected.contains("->")) {
                    f.write_str("a migration is written `order@v1->v2`; ")?;
                }
                if known.is_empty() {
                    write!(f, "no migrations are linked")
                } else {
                    write!(f, "known migrations: {}", known.join(", "))
                }?;
                write!(
                    f,
                    "; if its crate is never named in the source, add `use my_domain as _;` with the name of the crate"
                )
            }
            Self::Duplicate { migrations } => {
                write!(
                    f,
                    "duplicate migration: {}; keep one of them",
                    migrations.join(" and ")
                )
            }
            Self::Fork { source, migrations } => write!(
                f,
                "several migrations lead from {source}: {}; keep one of them, or chain their versions",
                migrations.join(" and ")
            ),
            Self::Cycle { migrations } => {
                write!(
                    f,
                    "the migrations form a cycle: {}; remove one",
                    migrations.join(", ")
                )
            }
            Self::Gap {
                name,
                ends,
                migrations,
            } => write!(
                f,
                "the migrations of {name} end at {} instead of a single newest version ({}); add the missing migration, or declare with `no_migration!` that processes stay at one of these versions",
                ends.join(" and at "),
                migrations.join(", ")
            ),
            Self::DifferentNames { migration } => {
                write!(
                    f,
                    "{migration} leads from one workflow to another; both versions must have the same workflow name"
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
                        "{migration} is an identity migration, but neither version is {from}, the version of its workflow type; use the id of that type"
                    )
                } else {
                    write!(
                        f,
                        "{migration} has ids that differ from those of its workflow types, {from} and {to}; use these ids"
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
                "no migration leads from {version} (used by {}) to the newest version {newest} (used by {}); add the migration, link its crate with `use my_migrations as _;`, or declare with `no_migration!` that processes stay at this version",
                named_by.join(" and "),
                newest_named_by.join(" and ")
            ),
            Self::Contradiction {
                version,
                decided_by,
                migrations,
            } => write!(
                f,
                "{decided_by} declares that {version} needs no migration, but a migration leads from it: {}; remove one of them",
                migrations.join(" and ")
            ),
            Self::NoReason {
                version,
                decided_by,
            } => write!(
                f,
                "{decided_by} declares that {version} needs no migration, but its reason is empty; give a reason"
            ),
            Self::NotAscending { migration } => write!(
                f,
                "{migration} does not lead to a later version; swap its versions, or make it an `undo`"
            ),
            Self::UndoAscends { undo } => write!(
                f,
                "the undo {undo} does not lead to an earlier version; swap its versions, or remove `undo`"
            ),
            Self::NothingToUndo { undo, migration } => write!(
                f,
                "the undo {undo} has no migration {migration} to undo; add that migration, link its crate with `use my_migrations as _;`, or remove the undo"
            ),
            Self::SeveralDefinitions {
                version,
                definitions,
            } => {
                write!(f, "{version} is defined more than once: ")?;
                for (n, definition) in definitions.iter().enumerate() {
                    let Definition {
                        workflow,
                        state,
                        schema_version,
                        by,
                        ..
                    } = definition;
                    if n > 0 {
                        f.write_str(", and ")?;
                    }
                    if let Some(workflow) = workflow {
                        write!(f, "as `{workflow}` ")?;
                    }
                    write!(
                        f,
                        "with the state `{state}` and STATE_SCHEMA_VERSION {schema_version} in {by}"
                    )?;
                }
                write!(
                    f,
                    "; use one workflow type for all of them, or give one of them another VERSION"
                )
            }
            Self::EqualVersions { versions, named_by } => {
                for (n, (version, by)) in versions.iter().zip(named_by).enumerate() {
                    let and = if n > 0 { " and " } else { "" };
                    write!(f, "{and}{version}, which {by} names,")?;
                }
                write!(
                    f,
                    " are equal, because leading zeros do not count; use one spelling, or give one of them a later version"
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

/// The name of a migration, `order@v1->v2`, without the location behind it.
fn short_name(described: &str) -> &str {
    described
        .split_once(" by ")
        .map_or(described, |(name, _)| name)
}

/// Whether a migration is written in a form other than its name, for example with spaces
/// or with the name of the workflow on both sides.
fn is_meant(written: &str, name: &str) -> bool {
    let letters = |text: &str| {
        let letters = text.chars().filter(|c| !c.is_whitespace());
        letters.flat_map(char::to_lowercase).collect::<String>()
    };
    let arrow = |text: String| text.replace("=>", "->").replace('→', "->");
    let (written, name) = (arrow(letters(written)), letters(name));
    let twice = name.split_once('@').and_then(|(workflow, versions)| {
        let (from, to) = versions.split_once("->")?;
        Some(format!("{workflow}@{from}->{workflow}@{to}"))
    });
    written == name || twice.is_some_and(|twice| written == twice)
}

/// A set of migrations is invalid: all problems at once.
///
/// `Debug` prints the same as `Display`, since a `main` that returns an error prints it with
/// `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryError {
    problems: Vec<Problem>,
}

impl RegistryError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// All problems.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Debug for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
