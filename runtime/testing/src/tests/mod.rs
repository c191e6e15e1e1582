//! Tests of the layout test as a whole.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod edits;
mod replays;
mod rules;

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use state_migration_core::{EventPayload, MigrationRegistry, Workflow};

use crate::Layouts;
use crate::update::Update;

/// A workflow with a given state.
struct WithState<S>(PhantomData<fn() -> S>);

/// A workflow with given events.
struct WithEvent<E>(PhantomData<fn() -> E>);

trait Stored: Default + Clone + Send + Sync + Serialize + DeserializeOwned + 'static {}
impl<T: Default + Clone + Send + Sync + Serialize + DeserializeOwned + 'static> Stored for T {}

#[derive(Serialize, Deserialize)]
enum Nothing {
    Happened,
}

impl EventPayload for Nothing {
    fn event_type(&self) -> &'static str {
        "NothingHappened"
    }
}

impl<S: Stored> Workflow for WithState<S> {
    const NAME: &'static str = "edited";
    const VERSION: &'static str = "1";
    type State = S;
    type Event = Nothing;

    fn apply(state: S, _: &Nothing) -> S {
        state
    }
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Event<E>(E);

impl<E: Stored> EventPayload for Event<E> {
    fn event_type(&self) -> &'static str {
        "Event"
    }
}

impl<E: Stored> Workflow for WithEvent<E> {
    const NAME: &'static str = "edited";
    const VERSION: &'static str = "1";
    type State = ();
    type Event = Event<E>;

    fn apply((): (), _: &Event<E>) {}
}

fn layouts<W: Workflow>(folder: &tempfile::TempDir) -> Layouts
where
    W::State: Serialize + DeserializeOwned,
{
    let registry = MigrationRegistry::builder().version::<W>().build().unwrap();
    Layouts::new(folder.path().join("layouts.lock"))
        .registry(registry)
        .version::<W>()
}

/// Deploys the version with the first type, and tests the version with the second one.
fn edited<A: Workflow, B: Workflow>() -> Result<(), String>
where
    A::State: Serialize + DeserializeOwned,
    B::State: Serialize + DeserializeOwned,
{
    let folder = tempfile::tempdir().unwrap();
    let warnings = layouts::<A>(&folder).check(Update::Deployed).unwrap();
    if warnings
        .iter()
        .any(|warning| warning.contains("not traced"))
    {
        return Err(format!("not traced: {warnings:?}"));
    }
    assert_eq!(layouts::<A>(&folder).check(Update::No), Ok(warnings));
    layouts::<B>(&folder).check(Update::No).map(drop)
}
