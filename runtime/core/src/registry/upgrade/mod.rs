//! Upgrades of serialized states to the newest version without a store: for
//! files, caches and queues.

mod error;

use std::any::Any;
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::ser::Error as _;

pub use error::UpgradeError;

use crate::fold::AnyState;
use crate::id::WorkflowId;
use crate::migration::codec::Decoder;
use crate::redaction::{self, Refusal};
use crate::registry::MigrationRegistry;
use crate::registry::arguments::JsonState;
use crate::registry::registered::Migration;
use crate::workflow::Workflow;

/// A state at the end of its route.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upgraded {
    /// The version of the state.
    pub version: WorkflowId,
    /// The state as JSON. A state that needed no migration is returned
    /// unchanged.
    pub state: String,
}

impl fmt::Debug for Upgraded {
    // The state may hold personal data, which must not reach logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded")
            .field("version", &self.version)
            .field("state_len", &self.state.len())
            .finish()
    }
}

impl MigrationRegistry {
    /// Upgrades a serialized state of any known version to the end of its
    /// route: the newest version, or a version whose processes are declared to
    /// stay there. `state` is JSON, of the workflow `name` at `version`.
    ///
    /// Needs neither a store nor an async runtime: for files, caches, messages
    /// in queues. It has no side effects other than those of the conversions,
    /// whose panics are not caught.
    ///
    /// JSON has no NaN and no infinite numbers. A conversion that produces one,
    /// even inside an `Option`, causes an error that names the field.
    ///
    /// ```standalone_crate
    /// # use serde::{Deserialize, Serialize};
    /// # use state_migration::{EventPayload, Workflow};
    /// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed }
    /// # impl EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
    /// # #[derive(Default, Clone, Serialize, Deserialize)] struct StateV1 { euro: u64 }
    /// # #[derive(Default, Clone, Serialize, Deserialize)] struct StateV2 { cents: u64 }
    /// # struct OrderV1; struct OrderV2;
    /// # impl Workflow for OrderV1 {
    /// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v1";
    /// #     type State = StateV1; type Event = OrderEvent;
    /// #     fn apply(s: StateV1, _: &OrderEvent) -> StateV1 { s }
    /// # }
    /// # impl Workflow for OrderV2 {
    /// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v2";
    /// #     const STATE_SCHEMA_VERSION: u32 = 2;
    /// #     type State = StateV2; type Event = OrderEvent;
    /// #     fn apply(s: StateV2, _: &OrderEvent) -> StateV2 { s }
    /// # }
    /// use state_migration::{MigrationRegistry, state_migration};
    ///
    /// #[state_migration(from = OrderV1, to = OrderV2)]
    /// fn order_v1_to_v2(old: StateV1) -> StateV2 {
    ///     StateV2 { cents: old.euro * 100 }
    /// }
    ///
    /// let registry = MigrationRegistry::linked()?;
    /// let upgraded = registry.upgrade("order", "v1", r#"{"euro":5}"#)?;
    /// assert_eq!(upgraded.version.to_string(), "order@v2");
    /// assert_eq!(upgraded.state, r#"{"cents":500}"#);
    ///
    /// let state: StateV2 = registry.upgrade_to::<OrderV2>("v1", r#"{"euro":5}"#)?;
    /// assert_eq!(state.cents, 500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The name or the version is unknown, the state cannot be read as a state
    /// of that version, a conversion rejected it, or the new state cannot be
    /// serialized.
    pub fn upgrade(
        &self,
        name: &str,
        version: &str,
        state: impl JsonState,
    ) -> Result<Upgraded, UpgradeError> {
        let (from, hops) = self.way(name, version)?;
        let state = state.json();
        let Some((first, rest)) = hops.split_first() else {
            return self.as_it_is(from, state);
        };
        let (last, converted) = convert(&from, first, rest, state)?;
        match serialize(last, &converted, state.len()) {
            Ok(state) => Ok(Upgraded {
                version: last.target().clone(),
                state,
            }),
            Err(reason) => Err(UpgradeError::Unserializable {
                migration: last.described(),
                reason,
            }),
        }
    }

    /// Like [`upgrade`](Self::upgrade), but to the version of the workflow `W`,
    /// and returns its state. `W` is any version on the route, and `version`
    /// may be that of `W` itself.
    ///
    /// # Errors
    /// Those of [`upgrade`](Self::upgrade); or there is no route from `version`
    /// to `W`.
    pub fn upgrade_to<W: Workflow>(
        &self,
        version: &str,
        state: impl JsonState,
    ) -> Result<W::State, UpgradeError>
    where
        W::State: DeserializeOwned,
    {
        let to = WorkflowId::of::<W>();
        let state = state.json();
        let (from, hops) = self.way(to.name(), version)?;
        if from == to {
            return redaction::read(state)
                .map_err(|error| unreadable::<W::State>(from, state, &error));
        }
        let until = hops.iter().position(|hop| *hop.target() == to);
        let (Some(until), Some((first, rest))) = (until, hops.split_first()) else {
            return Err(UpgradeError::NoRoute {
                end: hops.last().map_or(&from, |hop| hop.target()).to_string(),
                from,
                to,
            });
        };
        let (last, converted) = convert(&from, first, &rest[..until], state)?;
        match (converted as Box<dyn Any>).downcast() {
            Ok(state) => Ok(*state),
            Err(_) => Err(UpgradeError::OtherState {
                version: to,
                asked: std::any::type_name::<W::State>(),
                produced: last.target_state.name,
            }),
        }
    }

    /// The version of a state, and the hops from there.
    fn way(
        &self,
        name: &str,
        version: &str,
    ) -> Result<(WorkflowId, Vec<&Migration>), UpgradeError> {
        let from = WorkflowId::new(name.to_owned(), version.to_owned());
        if self.versions.contains_key(&from) {
            let hops = self.hops_from(&from).collect();
            return Ok((from, hops));
        }
        let of_name = self.versions().filter(|id| id.name() == name);
        let known: Vec<String> = of_name.map(|id| id.version().to_owned()).collect();
        if !known.is_empty() {
            return Err(UpgradeError::UnknownVersion {
                version: from,
                known,
            });
        }
        let mut known: Vec<String> = self.versions().map(|id| id.name().to_owned()).collect();
        known.dedup();
        Err(UpgradeError::UnknownWorkflow {
            name: name.to_owned(),
            known,
        })
    }

    /// A state without a migration from its version. It is validated with the
    /// decoder if one is known.
    fn as_it_is(&self, version: WorkflowId, state: &[u8]) -> Result<Upgraded, UpgradeError> {
        let text = std::str::from_utf8(state).map_err(|error| UpgradeError::Unreadable {
            version: version.clone(),
            state: "JSON value",
            problem: not_utf8(&error),
        })?;
        let read = match self.decoder_at(&version) {
            Some((name, decoder)) => match decoder.decode(state) {
                // A type that borrows from the text is readable, but not by
                // this decoder.
                Err(error) if Refusal::of(&error).borrows => is_json(state),
                read => read.map(drop).map_err(|error| (name, error)),
            },
            None => is_json(state),
        };
        match read {
            Ok(()) => Ok(Upgraded {
                version,
                state: text.to_owned(),
            }),
            Err((name, error)) => Err(unreadable_as(version, name, state, &error)),
        }
    }

    /// The name and the decoder of a version's state, from any migration that
    /// has a state of this type.
    fn decoder_at(&self, version: &WorkflowId) -> Option<(&'static str, Decoder)> {
        let ends = || {
            let edges = self.migrations.iter().chain(&self.undos);
            edges.flat_map(|edge| {
                let source = (edge.source(), edge.source_state, Some(edge.source_decoder));
                [
                    source,
                    (edge.target(), edge.target_state, edge.target_decoder()),
                ]
            })
        };
        let named = ends().find(|(id, ..)| *id == version);
        let registered = || self.registered_states.get(version).copied();
        let state = named.map(|(_, state, _)| state).or_else(registered)?;
        let known = ends().find_map(|(_, of, decoder)| decoder.filter(|_| of.id == state.id))?;
        Some((state.name, known))
    }
}

fn is_json(state: &[u8]) -> Result<(), (&'static str, serde_json::Error)> {
    serde_json::from_slice::<IgnoredAny>(state)
        .map(drop)
        .map_err(|error| ("JSON value", error))
}

/// Reads a state and converts it hop by hop; also returns the last migration.
fn convert<'a>(
    from: &WorkflowId,
    first: &'a Migration,
    rest: &[&'a Migration],
    state: &[u8],
) -> Result<(&'a Migration, AnyState), UpgradeError> {
    let mut last = first;
    let mut converted = first
        .source_decoder
        .decode(state)
        .map_err(|error| unreadable_as(from.clone(), first.source_state.name, state, &error))?;
    for hop in std::iter::once(&first).chain(rest).copied() {
        last = hop;
        converted = hop
            .step
            .convert(converted)
            .map_err(|reason| UpgradeError::Refused {
                migration: hop.described(),
                reason: reason.reason(),
            })?;
    }
    Ok((last, converted))
}

/// Serializes the state after a migration.
fn serialize(
    last: &Migration,
    state: &AnyState,
    capacity: usize,
) -> Result<String, serde_json::Error> {
    let mut json = Vec::with_capacity(capacity);
    last.step.encode(state, &mut json)?;
    String::from_utf8(json).map_err(serde_json::Error::custom)
}

fn unreadable<S>(version: WorkflowId, json: &[u8], error: &serde_json::Error) -> UpgradeError {
    unreadable_as(version, std::any::type_name::<S>(), json, error)
}

fn unreadable_as(
    version: WorkflowId,
    state: &'static str,
    json: &[u8],
    error: &serde_json::Error,
) -> UpgradeError {
    let problem = match std::str::from_utf8(json) {
        Err(error) => not_utf8(&error),
        // These messages are serde_json's own and contain no values.
        Ok(_) if !error.is_data() => error.to_string(),
        Ok(text) => format!(
            "{}, line {} column {}",
            Refusal::of(error).text(text),
            error.line(),
            error.column()
        ),
    };
    UpgradeError::Unreadable {
        version,
        state,
        problem,
    }
}

fn not_utf8(error: &std::str::Utf8Error) -> String {
    format!("not UTF-8 from byte {} on", error.valid_up_to())
}
