//! The migrations and versions of a program.

use serde::{Deserialize, Serialize};
use state_migration_core::registry::End;
use state_migration_core::{Diagram, Migration, MigrationRegistry, WorkflowId};

/// The migrations and versions of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    pub migrations: Vec<LinkedMigration>,
    pub versions: Vec<LinkedVersion>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedMigration {
    pub from: String,
    pub to: String,
    pub what: MigrationKind,
    pub function: String,
    pub package: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub note: Option<String>,
    pub fingerprint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationKind {
    Conversion,
    SameState,
    Undo,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedVersion {
    pub version: String,
    pub decision: Decision,
    /// The declared reason why processes stay at the version.
    pub reason: Option<String>,
}

/// What was decided for the processes of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Migrates,
    Newest,
    Stays,
    Undecided,
}

impl Linked {
    /// What a registry has.
    pub fn of(registry: &MigrationRegistry) -> Self {
        let all = registry.migrations().iter().chain(registry.undos());
        Self::new(all, &registry.drawing())
    }

    /// Everything that is linked into this program, even if it is inconsistent.
    pub fn of_program() -> Self {
        let drawing = MigrationRegistry::drawing_of_linked();
        Self::new(&MigrationRegistry::all_linked(), &drawing)
    }

    fn new<'a>(migrations: impl IntoIterator<Item = &'a Migration>, drawing: &Diagram) -> Self {
        Self {
            migrations: migrations.into_iter().map(LinkedMigration::of).collect(),
            versions: drawing.ends().map(LinkedVersion::of).collect(),
        }
    }
}

impl LinkedMigration {
    fn of(migration: &Migration) -> Self {
        let at = migration.defined_at();
        Self {
            from: migration.source().to_string(),
            to: migration.target().to_string(),
            what: match (migration.is_undo(), migration.is_identity()) {
                (true, _) => MigrationKind::Undo,
                (false, true) => MigrationKind::SameState,
                (false, false) => MigrationKind::Conversion,
            },
            function: migration.place().name().into_owned(),
            package: at.map(|at| at.package.to_owned()),
            file: at.map(|at| at.file.to_owned()),
            line: at.map(|at| at.line),
            note: migration.note().map(ToOwned::to_owned),
            fingerprint: migration.fingerprint().to_string(),
        }
    }
}

impl LinkedVersion {
    fn of((name, version, end, reason): (&str, &str, End, Option<&'static str>)) -> Self {
        Self {
            version: WorkflowId::new(name.to_owned(), version.to_owned()).to_string(),
            decision: match end {
                End::None => Decision::Migrates,
                End::Newest => Decision::Newest,
                End::Stays => Decision::Stays,
                End::Undecided => Decision::Undecided,
            },
            reason: reason.map(ToOwned::to_owned),
        }
    }
}
