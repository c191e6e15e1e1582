//! Tests of your own repository: that the code still reads what was stored.
//!
//! Processes live longer than code. What a deployed version of a workflow has stored is read
//! by today's code of that version for as long as processes are at it, so its state and its
//! events must not change their layout. Two tests say so before a release:
//!
//! - [`assert_layouts`] compares the stored layout of each version with a file of the
//!   repository. An edit of a deployed type fails, with the version, the type, the field, and
//!   the way out.
//! - [`replay`] folds and migrates exported histories, and compares the states with those that
//!   were recorded in them.
//!
//! Both need neither a store nor an async runtime. They see only what is linked into the test:
//! name the program's crates in it (`use my_workflows as _;`).
//!
//! ```standalone_crate
//! # use serde::{Deserialize, Serialize};
//! # use state_migration::{EventPayload, Workflow, state_migration};
//! # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed { euro: u64 } }
//! # impl EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
//! # #[derive(Default, Clone, Serialize, Deserialize)] struct StateV1 { euro: u64 }
//! # #[derive(Default, Clone, Serialize, Deserialize)] struct StateV2 { cents: u64 }
//! # struct OrderV1; struct OrderV2;
//! # impl Workflow for OrderV1 {
//! #     const NAME: &'static str = "order"; const VERSION: &'static str = "v1";
//! #     type State = StateV1; type Event = OrderEvent;
//! #     fn apply(mut s: StateV1, OrderEvent::Placed { euro }: &OrderEvent) -> StateV1 {
//! #         s.euro += euro; s
//! #     }
//! # }
//! # impl Workflow for OrderV2 {
//! #     const NAME: &'static str = "order"; const VERSION: &'static str = "v2";
//! #     const STATE_SCHEMA_VERSION: u32 = 2;
//! #     type State = StateV2; type Event = OrderEvent;
//! #     fn apply(s: StateV2, _: &OrderEvent) -> StateV2 { s }
//! # }
//! # #[state_migration(from = OrderV1, to = OrderV2)]
//! # fn order_v1_to_v2(old: StateV1) -> StateV2 { StateV2 { cents: old.euro * 100 } }
//! use state_migration::testing::{assert_layouts, replay};
//!
//! # /*
//! #[test]
//! # */
//! fn deployed_layouts_are_as_they_were() {
//!     # if false {
//!     assert_layouts("layouts.lock");
//!     # }
//!     # assert_layouts("tests/documentation/layouts.lock");
//! }
//!
//! # /*
//! #[test]
//! # */
//! fn histories_give_the_recorded_states() {
//!     # if false {
//!     replay("tests/histories");
//!     # }
//!     # replay("tests/documentation/histories");
//! }
//! # fn main() {
//! #     deployed_layouts_are_as_they_were();
//! #     histories_give_the_recorded_states();
//! # }
//! ```

mod json;
mod layout;
mod layouts;
mod lock;
mod replay;
#[cfg(test)]
mod tests;
mod update;

use std::path::PathBuf;

use state_migration_core::MigrationRegistry;

pub use layouts::Layouts;
pub use replay::Histories;

/// Asserts that the stored layouts of all linked versions are those of a file, whose path is
/// relative to the package of the test. [`Layouts`] is the same with options.
///
/// The file is TOML, and belongs into the repository. It has one section for each version:
///
/// ```toml
/// ['order@v1']
/// deployed = true
/// state_schema_version = 1
///
/// ['order@v1'.state]
/// samples = [
///   { json = '{"euro":1,"note":"a"}' },
///   { json = '{"euro":1}', written = '{"euro":1,"note":null}' },
/// ]
///
/// ['order@v1'.state.layout]
/// '$' = 'struct'
/// '$.euro' = 'u64'
/// '$.note' = 'option of string, may be missing'
/// ```
///
/// The layout is what the type asks for when it is deserialized. A sample is a text that the
/// type reads, with the text that it then writes if that is another; it shows what serde does
/// not: defaults, and what is left out.
///
/// # Deployed versions
///
/// | variable | effect |
/// |---|---|
/// | none | compares, and fails if the file is not up to date |
/// | `UPDATE_LAYOUTS=1` | adds new versions as `deployed = false`, and writes all again that are not deployed |
/// | `UPDATE_LAYOUTS=deployed` | the same, and then marks all as deployed |
///
/// A person, or the step of the pipeline that deploys, marks a version as deployed. From then
/// on no variable changes its section. If its layout changes, the test fails: give the change
/// to a new version with a migration. If the version was never deployed, set
/// `deployed = false`.
///
/// A version that is deployed and no longer linked fails, too. Remove its section if no
/// process is at that version.
///
/// # What is told, and what is harmless
///
/// Any change of a layout is told, and any sample that is not read any more, or written as another
/// JSON value. Harmless are changes that leave all stored JSON and its meaning as they
/// are: another order of fields or of variants, another name of a type, a newtype or a `Box`
/// around a value, an alias, and a default for a field that was demanded before.
///
/// # Limits
///
/// - Two `with` modules that read and write the same texts with another meaning, such as euros
///   and cents, look the same. [`replay`] notices that.
/// - Events of an older `schema_version` are read by `Workflow::upcast`, which only
///   [`replay`] tests.
/// - The variants of an `untagged` enum, and fields that are neither demanded nor always
///   written in a type with `flatten` or `tag`, are known from samples only
///   ([`Layouts::state`], [`Layouts::event`]). The test says on stderr for which types.
/// - A type that validates its values, and refuses those that the test makes up, is *not
///   traced*. The test says so on stderr each time, and the file has the reason. Give a valid
///   value ([`Layouts::value`]), a sample, or a schema ([`Layouts::state_schema`]).
///
/// # Panics
/// The assertion fails; the message lists all changes.
#[track_caller]
pub fn assert_layouts(path: impl Into<PathBuf>) {
    Layouts::new(path).assert();
}

/// Asserts that the histories in a folder give the states that were recorded in them. The
/// path of the folder is relative to the package of the test. [`Histories`] is the same with
/// options.
///
/// A history is a file `*.jsonl` of one process. Its first line is a header; each further line
/// is an event, or a state that was recorded after the events before it:
///
/// ```json
/// {"format":1,"stream":"process/shop/17","workflow":"order@v1"}
/// {"sequence":1,"workflow":"order@v1","event_type":"OrderPlaced","schema_version":1,"payload":{"Placed":{"euro":5}}}
/// {"state":{"euro":5},"at":"order@v1"}
/// {"state":{"cents":500},"at":"order@v2"}
/// ```
///
/// `workflow` in the header is the version of the process at its first event. A state at
/// another version than that of the process is the result of the migrations from the one to
/// the other. A `$migrated` event is replayed as a load from a store does it: its payload is
/// the baseline, and the process is at the new version from there. States are compared as JSON
/// values. `docs/histories.md` in the repository defines all fields.
///
/// `UPDATE_HISTORIES=1` records the states of histories that have none: before each
/// `$migrated` event, and at the end at each version of the route. Review them, because the
/// code of that day wrote them.
///
/// # Panics
/// The assertion fails; the message lists all differences with file, line and place.
#[track_caller]
pub fn replay(folder: impl Into<PathBuf>) {
    Histories::new(folder).assert();
}

/// The registry of a test that was given none is that of the linked migrations.
fn given_or_linked(given: Option<&MigrationRegistry>) -> Result<MigrationRegistry, String> {
    match given {
        Some(registry) => Ok(registry.clone()),
        None => MigrationRegistry::linked().map_err(|error| error.to_string()),
    }
}
