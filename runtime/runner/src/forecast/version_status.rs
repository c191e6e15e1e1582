//! The status of a version according to the linked migrations.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use state_migration_core::registry::End;
use state_migration_core::{
    Diagram, MigrationRegistry, RegistryError, VersionStatus, WorkflowId, natural_cmp,
};

/// The status of a version, with its route or reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionDecision {
    pub status: VersionState,
    /// The route to the newest version.
    pub route: Option<String>,
    /// The declared reason why processes stay at the version.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// The newest version.
    Newest,
    /// Outdated: a route leads to the newest version.
    Outdated,
    /// Processes are declared to stay.
    Stays,
    /// Neither a migration nor a declaration: the program refuses to run.
    Undecided,
    /// The workflow has migrations, but the version is unknown.
    UnknownVersion,
    /// The workflow has migrations, and the version is newer than all known versions.
    NewerThanProgram,
    /// The workflow is known and has no migrations.
    NoMigrations,
    /// The workflow is unknown to this program.
    OtherWorkflow,
}

/// The known versions, available even if the migrations are inconsistent.
pub struct VersionDecisions {
    linked: Result<MigrationRegistry, RegistryError>,
    drawing: Diagram,
}

impl VersionDecisions {
    pub fn of_linked() -> Self {
        Self {
            linked: MigrationRegistry::linked(),
            drawing: MigrationRegistry::drawing_of_linked(),
        }
    }

    /// The versions that a runner knows.
    pub fn of(migrations: &MigrationRegistry) -> Self {
        Self {
            drawing: migrations.drawing(),
            linked: Ok(migrations.clone()),
        }
    }

    /// Why the migrations are inconsistent.
    pub fn problem(&self) -> Option<&RegistryError> {
        self.linked.as_ref().err()
    }

    /// The names of the known workflows.
    pub fn workflows(&self) -> impl Iterator<Item = &str> {
        self.drawing.ends().map(|(name, ..)| name)
    }

    pub fn about(&self, version: &WorkflowId) -> VersionDecision {
        let plain = |counted| VersionDecision {
            status: counted,
            route: None,
            reason: None,
        };
        if let Ok(registry) = &self.linked {
            match registry.version_status(version) {
                VersionStatus::Newest => return plain(VersionState::Newest),
                VersionStatus::Behind(route) => {
                    return VersionDecision {
                        route: Some(route.to_string()),
                        ..plain(VersionState::Outdated)
                    };
                }
                VersionStatus::Stays => {
                    return VersionDecision {
                        reason: registry.stays(version).map(ToOwned::to_owned),
                        ..plain(VersionState::Stays)
                    };
                }
                VersionStatus::NoRoute => {
                    let newest = registry.newest(version.name());
                    return plain(match newest {
                        Some(newest) if is_newer(version, newest) => VersionState::NewerThanProgram,
                        _ => VersionState::UnknownVersion,
                    });
                }
                // Versions may be registered without migrations.
                VersionStatus::OtherWorkflow => {}
            }
        }
        let fits = self.linked.is_ok();
        let mut known = false;
        for (name, at, end, stays) in self
            .drawing
            .ends()
            .filter(|(name, ..)| *name == version.name())
        {
            known = true;
            if WorkflowId::new(name.to_owned(), at.to_owned()) == *version {
                return match end {
                    End::Stays => VersionDecision {
                        reason: stays.map(ToOwned::to_owned),
                        ..plain(VersionState::Stays)
                    },
                    End::Newest if fits => plain(VersionState::NoMigrations),
                    End::Newest => plain(VersionState::Newest),
                    // While the migrations are inconsistent, no route is safe.
                    End::None | End::Undecided => plain(VersionState::Undecided),
                };
            }
        }
        plain(match (known, fits) {
            (false, _) => VersionState::OtherWorkflow,
            (true, true) => VersionState::NoMigrations,
            (true, false) => VersionState::UnknownVersion,
        })
    }
}

fn is_newer(version: &WorkflowId, newest: &WorkflowId) -> bool {
    natural_cmp(version.version(), newest.version()) == Ordering::Greater
}
