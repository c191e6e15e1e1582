//! The registry of migrations: the known migrations, and the routes between
//! versions.
//!
//! A registry is valid once it exists: building it finds every problem and
//! reports all of them at once, before any process is read.

mod arguments;
pub mod diagram;
pub mod erased;
mod linked;
mod problem;
mod registered;
mod route;
mod runnable;
mod source_location;
mod upgrade;
mod validate;
mod version_code;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::Location;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use arguments::{JsonState, MigrationNames};
pub use diagram::{Diagram, End};
pub use linked::{Registration, VersionRegistration};
pub use problem::{Definition, Problem, RegistryError};
pub use registered::Migration;
pub use route::{Route, VersionStatus};
pub use runnable::Migrations;
pub use upgrade::{UpgradeError, Upgraded};
pub use version_code::VersionCode;

use crate::id::WorkflowId;
use crate::migration::StateMigration;
use crate::migration::codec::TypeRef;
use crate::registry::source_location::Place;
#[cfg(feature = "testing")]
use crate::type_code::TypeCode;
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
/// #     const STATE_SCHEMA_VERSION: u32 = 2; type State = StateV2; type Event = OrderEvent;
/// #     fn apply(s: StateV2, _: &OrderEvent) -> StateV2 { s }
/// # }
/// use state_migration::{MigrationRegistry, VersionStatus, state_migration};
///
/// #[state_migration(from = OrderV1, to = OrderV2)]
/// fn order_v1_to_v2(old: StateV1) -> StateV2 {
///     StateV2 { cents: old.total * 100 }
/// }
///
/// let registry = MigrationRegistry::linked()?;
/// let VersionStatus::Behind(route) = registry.version_status(&WorkflowId::of::<OrderV1>()) else {
///     panic!("order@v1 has a route");
/// };
/// assert_eq!(route.to_string(), "order@v1 -> v2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MigrationRegistry {
    migrations: Vec<Migration>,
    /// The undos; no route contains one.
    undos: Vec<Migration>,
    /// For each source version, the index of its migration.
    by_source: BTreeMap<WorkflowId, usize>,
    /// Every known version, with the reason why its processes stay there, if
    /// that is declared.
    versions: BTreeMap<WorkflowId, Option<&'static str>>,
    /// The states of the versions that are registered without a migration.
    registered_states: BTreeMap<WorkflowId, TypeRef>,
    #[cfg(feature = "testing")]
    pub(crate) registered_codes: BTreeMap<WorkflowId, TypeCode>,
    /// The newest version of each workflow that has migrations.
    newest: BTreeMap<String, WorkflowId>,
}

impl MigrationRegistry {
    /// Every migration in the program: all functions annotated with
    /// [`state_migration`](macro@state_migration::state_migration) in crates
    /// that the program's source names.
    ///
    /// A dependency that the source never names is not linked, and neither is a
    /// package's own library from its `main.rs`. Name it:
    ///
    /// ```text
    /// use my_domain as _;
    /// ```
    ///
    /// # Errors
    /// Neither a migration nor a version is linked, or the migrations are
    /// invalid; the error lists all problems, with function, file and line of
    /// each migration involved.
    pub fn linked() -> Result<Self, RegistryError> {
        let (migrations, versions) = linked::all();
        let registry = Self::new(migrations, versions)?;
        // Versions without migrations are valid. An empty registry means that a
        // crate is not linked.
        if registry.migrations.is_empty() && registry.versions.is_empty() {
            return Err(RegistryError::new(vec![Problem::NothingLinked]));
        }
        Ok(registry)
    }

    /// Asserts in a test that the [linked](Self::linked) registry is valid, and
    /// that every known version has either a migration or a declaration that
    /// its processes stay.
    ///
    /// ```standalone_crate
    /// # use serde::{Deserialize, Serialize};
    /// # use state_migration::{EventPayload, Workflow};
    /// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed }
    /// # impl EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
    /// # #[derive(Default, Clone, Serialize, Deserialize)] struct Order { total: u64 }
    /// # struct OrderV1; struct OrderV2;
    /// # impl Workflow for OrderV1 {
    /// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v1";
    /// #     type State = Order; type Event = OrderEvent;
    /// #     fn apply(s: Order, _: &OrderEvent) -> Order { s }
    /// # }
    /// # impl Workflow for OrderV2 {
    /// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v2";
    /// #     type State = Order; type Event = OrderEvent;
    /// #     fn apply(s: Order, _: &OrderEvent) -> Order { s }
    /// # }
    /// # state_migration::identity_migration!(OrderV1 => OrderV2);
    /// use state_migration::MigrationRegistry;
    ///
    /// # /*
    /// #[test]
    /// # */
    /// fn every_version_is_decided() {
    ///     MigrationRegistry::assert_complete();
    /// }
    /// # fn main() { every_version_is_decided() }
    /// ```
    ///
    /// A test sees only what is linked into the test: name the program's crates
    /// in it, or have one crate that names them all.
    ///
    /// # Panics
    /// The assertion fails; the message lists all problems.
    #[track_caller]
    // A test fails by a panic.
    #[allow(clippy::panic, clippy::must_use_candidate)]
    pub fn assert_complete() -> Self {
        match Self::linked() {
            Ok(registry) => registry,
            Err(error) => panic!("{error}"),
        }
    }

    /// All linked migrations, sorted, even if they are invalid.
    #[doc(hidden)]
    pub fn all_linked() -> Vec<Migration> {
        let (mut migrations, _) = linked::all();
        migrations.sort_by(Migration::cmp_by_place);
        migrations
    }

    /// A registry of migrations that are added explicitly.
    pub fn builder() -> MigrationRegistryBuilder {
        MigrationRegistryBuilder::default()
    }

    /// A registry of one migration.
    #[doc(hidden)]
    pub fn of(migration: Migration) -> Result<Self, RegistryError> {
        Self::new(vec![migration], Vec::new())
    }

    fn new(
        migrations: Vec<Migration>,
        mut registered: Vec<VersionRegistration>,
    ) -> Result<Self, RegistryError> {
        let (mut undos, mut migrations): (Vec<_>, Vec<_>) =
            migrations.into_iter().partition(Migration::is_undo);
        migrations.sort_by(Migration::cmp_by_place);
        undos.sort_by(Migration::cmp_by_place);
        registered.sort_by(|a, b| (&a.id, a.place).cmp(&(&b.id, b.place)));
        let problems = validate::problems(&migrations, &undos, &registered);
        if !problems.is_empty() {
            return Err(RegistryError::new(problems));
        }
        registered::share_codecs(&mut migrations, &undos);
        let by_source: BTreeMap<_, _> = migrations
            .iter()
            .enumerate()
            .map(|(index, migration)| (migration.source().clone(), index))
            .collect();
        let mut versions: BTreeMap<WorkflowId, Option<&'static str>> = migrations
            .iter()
            .flat_map(|migration| [migration.source(), migration.target()])
            .map(|id| (id.clone(), None))
            .collect();
        let registered_states = registered
            .iter()
            .map(|version| (version.id.clone(), version.types()[1]))
            .collect();
        #[cfg(feature = "testing")]
        let registered_codes = registered
            .iter()
            .map(|version| (version.id.clone(), version.code))
            .collect();
        for version in registered {
            let stays = versions.entry(version.id).or_default();
            *stays = stays.or(version.stays);
        }
        let migrated: BTreeSet<&str> = migrations.iter().map(|m| m.source().name()).collect();
        let newest = versions
            .keys()
            .filter(|id| migrated.contains(id.name()) && !by_source.contains_key(id))
            // Sorted by version, so that the newest one remains in the map.
            .map(|id| (id.name().to_owned(), id.clone()))
            .collect();
        Ok(Self {
            migrations,
            undos,
            by_source,
            versions,
            registered_states,
            #[cfg(feature = "testing")]
            registered_codes,
            newest,
        })
    }

    /// The same registry, if it contains each of these migrations: a guard
    /// against a crate that is not linked. A migration is written
    /// `order@v1->v2`, and the list `["order@v1->v2"]`. An undo cannot be required, since no run uses it;
    /// [`undos`](Self::undos) lists those.
    ///
    /// # Errors
    /// Names every migration that is missing or written in another form.
    pub fn require<'a>(self, migrations: impl MigrationNames<'a>) -> Result<Self, RegistryError> {
        let known: BTreeMap<String, &Migration> = self
            .migrations
            .iter()
            .map(|migration| (migration.short_name(), migration))
            .collect();
        let problems: Vec<Problem> = migrations
            .into_names()
            .filter(|wanted| !known.contains_key(*wanted))
            .map(|wanted| Problem::NotLinked {
                expected: wanted.to_owned(),
                known: known.values().map(|known| known.described()).collect(),
            })
            .collect();
        if problems.is_empty() {
            Ok(self)
        } else {
            Err(RegistryError::new(problems))
        }
    }

    /// The same registry, which knows how the state of version `W` is deserialized.
    #[doc(hidden)]
    #[must_use]
    pub fn reading<W: Workflow>(mut self) -> Self
    where
        W::State: DeserializeOwned,
    {
        self.migrations.iter_mut().for_each(Migration::read_as::<W>);
        self
    }

    /// The migrations, sorted by name, source and target.
    #[must_use]
    pub fn migrations(&self) -> &[Migration] {
        &self.migrations
    }

    /// The undos, sorted in the same way. No route contains one, and no run
    /// uses one.
    #[must_use]
    pub fn undos(&self) -> &[Migration] {
        &self.undos
    }

    /// Every version that a migration or a registration names, sorted.
    pub fn versions(&self) -> impl Iterator<Item = &WorkflowId> {
        self.versions.keys()
    }

    /// The reason why the processes of a version stay there, if that is
    /// declared.
    #[must_use]
    pub fn stays(&self, at: &WorkflowId) -> Option<&'static str> {
        self.versions.get(at).copied().flatten()
    }

    /// The names of the workflows that have migrations, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.newest.keys().map(String::as_str)
    }

    /// The newest version of a workflow that has migrations.
    #[must_use]
    pub fn newest(&self, name: &str) -> Option<&WorkflowId> {
        self.newest.get(name)
    }

    /// What has to be done about a process at a version.
    #[must_use]
    pub fn version_status(&self, at: &WorkflowId) -> VersionStatus {
        let Some(newest) = self.newest.get(at.name()) else {
            return VersionStatus::OtherWorkflow;
        };
        if newest == at {
            return VersionStatus::Newest;
        }
        if self.stays(at).is_some() {
            return VersionStatus::Stays;
        }
        let hops = self.hops_from(at).cloned().collect();
        Route::new(hops).map_or(VersionStatus::NoRoute, VersionStatus::Behind)
    }

    /// The migrations from a version to the newest, in order.
    fn hops_from(&self, at: &WorkflowId) -> impl Iterator<Item = &Migration> {
        let next = |at: &WorkflowId| Some(&self.migrations[*self.by_source.get(at)?]);
        std::iter::successors(next(at), move |hop| next(hop.target()))
    }

    /// The routes from every version that has a migration.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        self.by_source
            .keys()
            .filter_map(|at| match self.version_status(at) {
                VersionStatus::Behind(route) => Some(route),
                _ => None,
            })
    }
}

/// Collects migrations and versions for a [`MigrationRegistry`].
#[derive(Debug, Default)]
#[must_use]
pub struct MigrationRegistryBuilder {
    migrations: Vec<Migration>,
    versions: Vec<VersionRegistration>,
}

impl MigrationRegistryBuilder {
    /// Adds a migration.
    #[track_caller]
    pub fn with<M: StateMigration>(mut self, migration: M) -> Self
    where
        <M::FromWorkflow as Workflow>::State: DeserializeOwned,
        <M::ToWorkflow as Workflow>::State: Serialize,
    {
        let migration = Migration::of(migration).added_at(Location::caller());
        self.migrations.push(migration);
        self
    }

    /// Registers a version that no migration names.
    #[track_caller]
    pub fn version<W: Workflow>(mut self) -> Self {
        let place = Place::of_type::<W>().added_at(Location::caller());
        self.versions.push(VersionRegistration::at::<W>(place));
        self
    }

    /// Declares that the processes of a version stay there, with the reason. An
    /// empty reason is a problem.
    #[track_caller]
    pub fn no_migration<W: Workflow>(mut self, reason: &'static str) -> Self {
        let place = Place::of_type::<W>().added_at(Location::caller());
        self.versions
            .push(VersionRegistration::at::<W>(place).staying(reason));
        self
    }

    /// Validates the migrations and versions.
    ///
    /// # Errors
    /// They are invalid; the error lists all problems.
    pub fn build(self) -> Result<MigrationRegistry, RegistryError> {
        MigrationRegistry::new(self.migrations, self.versions)
    }
}
