//! The registry of migrations: which exist, and which way a process goes.
//!
//! A registry is valid when it exists: every problem is found, and all are
//! reported at once, before any process is looked at.

mod edge;
mod linked;
mod problem;
mod route;
mod validate;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use edge::{Decoder, Details, Migration};
pub use linked::{Registration, VersionRegistration};
pub use problem::{Problem, RegistryError};
pub use route::{Route, Standing};

use crate::id::WorkflowId;
use crate::migration::StateMigration;
use crate::workflow::Workflow;

/// All migrations that a program knows, valid and sorted by name and version.
///
/// ```standalone_crate
/// # use serde::{Deserialize, Serialize};
/// # use state_migration::{EventPayload, Workflow, WorkflowId};
/// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed }
/// # impl EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct StateV1 { total: u64 }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct StateV2 { cents: u64 }
/// # struct OrderV1; struct OrderV2;
/// # impl Workflow for OrderV1 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v1";
/// #     type State = StateV1; type Event = OrderEvent;
/// #     fn apply(s: StateV1, _: &OrderEvent) -> StateV1 { s }
/// # }
/// # impl Workflow for OrderV2 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v2";
/// #     type State = StateV2; type Event = OrderEvent;
/// #     fn apply(s: StateV2, _: &OrderEvent) -> StateV2 { s }
/// # }
/// use state_migration::{MigrationRegistry, Standing, state_migration};
///
/// #[state_migration(from = OrderV1, to = OrderV2)]
/// fn order_v1_to_v2(old: StateV1) -> StateV2 {
///     StateV2 { cents: old.total * 100 }
/// }
///
/// let registry = MigrationRegistry::linked()?;
/// let Standing::Behind(route) = registry.standing(&WorkflowId::of::<OrderV1>()) else {
///     panic!("order@v1 has a route");
/// };
/// assert_eq!(route.to_string(), "order@v1 -> v2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MigrationRegistry {
    migrations: Vec<Migration>,
    /// For each version that a migration leads from, which migration that is.
    by_source: BTreeMap<WorkflowId, usize>,
    /// For each name, the version that no migration leads from.
    newest: BTreeMap<String, WorkflowId>,
}

impl MigrationRegistry {
    /// Every migration that the linker saw: all functions annotated with
    /// [`state_migration`](macro@crate::state_migration) in crates that the
    /// program names somewhere.
    ///
    /// A crate that is a dependency but never named in source is not linked,
    /// not even a package's own library from its `main.rs`. Name it:
    ///
    /// ```text
    /// use my_domain as _;
    /// ```
    ///
    /// # Errors
    /// Nothing is linked, or the migrations do not fit together.
    pub fn linked() -> Result<Self, RegistryError> {
        let migrations: Vec<Migration> = inventory::iter::<Registration>
            .into_iter()
            .map(Registration::migration)
            .collect();
        if migrations.is_empty() {
            return Err(RegistryError::new(vec![Problem::NothingLinked]));
        }
        Self::new(migrations)
    }

    /// A registry of migrations that are named one by one.
    pub fn builder() -> MigrationRegistryBuilder {
        MigrationRegistryBuilder::default()
    }

    /// A registry of one migration.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    pub(crate) fn of(migration: Migration) -> Result<Self, RegistryError> {
        Self::new(vec![migration])
    }

    fn new(mut migrations: Vec<Migration>) -> Result<Self, RegistryError> {
        migrations.sort_by(|a, b| {
            (
                a.source(),
                a.target(),
                a.defined_at().map(|at| (at.file, at.line)),
            )
                .cmp(&(
                    b.source(),
                    b.target(),
                    b.defined_at().map(|at| (at.file, at.line)),
                ))
        });
        let problems = validate::problems(&migrations);
        if !problems.is_empty() {
            return Err(RegistryError::new(problems));
        }
        edge::share_decoders(&mut migrations);
        let by_source: BTreeMap<_, _> = migrations
            .iter()
            .enumerate()
            .map(|(index, migration)| (migration.source().clone(), index))
            .collect();
        let newest = migrations
            .iter()
            .map(Migration::target)
            .filter(|target| !by_source.contains_key(target))
            .map(|target| (target.name().to_owned(), target.clone()))
            .collect();
        Ok(Self {
            migrations,
            by_source,
            newest,
        })
    }

    /// The same registry, if it holds each of these migrations: a guard against
    /// a crate that was not linked. A migration is written `order@v1->v2`.
    ///
    /// # Errors
    /// Names every migration that is missing, or is not written like that.
    pub fn expect<'a>(
        self,
        migrations: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, RegistryError> {
        let known: BTreeSet<String> = self.migrations.iter().map(Migration::short_name).collect();
        let problems: Vec<Problem> = migrations
            .into_iter()
            .filter(|wanted| !known.contains(*wanted))
            .map(|wanted| Problem::NotLinked {
                expected: wanted.to_owned(),
                known: known.iter().cloned().collect(),
            })
            .collect();
        if problems.is_empty() {
            Ok(self)
        } else {
            Err(RegistryError::new(problems))
        }
    }

    /// The migrations, sorted by name, source and target.
    #[must_use]
    pub fn migrations(&self) -> &[Migration] {
        &self.migrations
    }

    /// The names of the workflows that have migrations, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.newest.keys().map(String::as_str)
    }

    /// The version that all migrations of a workflow lead to.
    #[must_use]
    pub fn newest(&self, name: &str) -> Option<&WorkflowId> {
        self.newest.get(name)
    }

    /// What is to be done about a process that stands at a version.
    #[must_use]
    pub fn standing(&self, at: &WorkflowId) -> Standing {
        let Some(newest) = self.newest.get(at.name()) else {
            return Standing::OtherWorkflow;
        };
        if newest == at {
            return Standing::Newest;
        }
        let mut hops = Vec::new();
        let mut here = at;
        while let Some(&index) = self.by_source.get(here) {
            hops.push(self.migrations[index].clone());
            here = self.migrations[index].target();
        }
        Route::new(hops).map_or(Standing::NoRoute, Standing::Behind)
    }

    /// The routes from every version that a migration leads from.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        self.by_source
            .keys()
            .filter_map(|at| match self.standing(at) {
                Standing::Behind(route) => Some(route),
                _ => None,
            })
    }
}

/// Collects migrations for a [`MigrationRegistry`].
#[derive(Debug, Default)]
#[must_use]
pub struct MigrationRegistryBuilder {
    migrations: Vec<Migration>,
}

impl MigrationRegistryBuilder {
    /// Adds a migration.
    pub fn with<M: StateMigration>(mut self, migration: M) -> Self
    where
        <M::FromWorkflow as Workflow>::State: DeserializeOwned,
        <M::ToWorkflow as Workflow>::State: Serialize,
    {
        self.migrations.push(Migration::of(migration));
        self
    }

    /// Checks that the migrations fit together.
    ///
    /// # Errors
    /// They do not; the error lists all problems.
    pub fn build(self) -> Result<MigrationRegistry, RegistryError> {
        MigrationRegistry::new(self.migrations)
    }
}
