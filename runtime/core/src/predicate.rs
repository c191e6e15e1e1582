//! Named predicates on the states of processes.
//!
//! A [`Selection`](crate::Selection) can name a predicate, because a predicate is code:
//! a name can be given on a command line and recorded in a plan. A runner, and the
//! command-line tool, know the predicates that were registered with them.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::fingerprint::Fingerprint;
use crate::id::WorkflowId;
use crate::workflow::Workflow;

/// A predicate on the state of a process at one version, with a name.
///
/// The macro [`predicate!`](crate::predicate!) makes one from a function.
#[derive(Clone)]
pub struct Predicate {
    name: String,
    at: WorkflowId,
    code: Fingerprint,
    holds: Holds,
}

type Holds = Arc<dyn Fn(&(dyn Any + Send)) -> Option<bool> + Send + Sync>;

impl Predicate {
    /// A predicate on the states of version `W`.
    ///
    /// The fingerprint of the predicate is the hash of `code` without white space. It is
    /// part of a plan, so `code` must change whenever the meaning of `holds` does.
    pub fn new<W>(
        name: impl Into<String>,
        code: &str,
        holds: impl Fn(&W::State) -> bool + Send + Sync + 'static,
    ) -> Self
    where
        W: Workflow,
        W::State: 'static,
    {
        let code: String = code.split_whitespace().collect();
        Self {
            name: name.into(),
            at: WorkflowId::of::<W>(),
            code: Fingerprint::of_bytes(code.as_bytes()),
            holds: Arc::new(move |state| state.downcast_ref().map(&holds)),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version whose states the predicate reads.
    #[must_use]
    pub fn at(&self) -> &WorkflowId {
        &self.at
    }

    /// The fingerprint of the code.
    #[must_use]
    pub fn code(&self) -> Fingerprint {
        self.code
    }

    /// Whether the predicate holds; `None` for a state of another type.
    #[doc(hidden)]
    #[must_use]
    pub fn holds(&self, state: &(dyn Any + Send)) -> Option<bool> {
        (self.holds)(state)
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Predicate")
            .field("name", &self.name)
            .field("at", &self.at)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

/// The predicates that a program has, by name and version.
///
/// Several predicates may have one name, each for another version. Processes at a version
/// for which the name has no predicate are not selected by that name.
///
/// ```standalone_crate
/// # use serde::{Deserialize, Serialize};
/// # use state_migration::{EventPayload, Workflow};
/// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed }
/// # impl EventPayload for OrderEvent { fn event_type(&self) -> &'static str { "OrderPlaced" } }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct Order { euro: u64 }
/// # struct OrderV1;
/// # impl Workflow for OrderV1 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v1";
/// #     type State = Order; type Event = OrderEvent;
/// #     fn apply(s: Order, _: &OrderEvent) -> Order { s }
/// # }
/// use state_migration::{Predicates, Selection, predicate};
///
/// /// For the runner of the service and for the command-line tool.
/// fn predicates() -> Predicates {
///     Predicates::new().with(predicate!("large", OrderV1, |order| order.euro > 50_000))
/// }
///
/// # fn main() {
/// assert_eq!(predicates().names().collect::<Vec<_>>(), ["large"]);
/// let selection = Selection::all().matching("large");
/// assert_eq!(selection.to_string(), "matching large");
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Predicates(BTreeMap<String, BTreeMap<WorkflowId, Predicate>>);

impl Predicates {
    /// No predicates.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a predicate, which replaces one of the same name and version.
    #[must_use]
    pub fn with(mut self, predicate: Predicate) -> Self {
        let versions = self.0.entry(predicate.name.clone()).or_default();
        versions.insert(predicate.at.clone(), predicate);
        self
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The predicates with this name, by version; `None` if none is registered.
    #[doc(hidden)]
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&BTreeMap<WorkflowId, Predicate>> {
        self.0.get(name)
    }

    /// The names as text, for an error about an unknown name.
    #[doc(hidden)]
    #[must_use]
    pub fn known(&self) -> String {
        match self.0.is_empty() {
            true => "there are none".to_owned(),
            false => format!(
                "known predicates: {}",
                self.names().collect::<Vec<_>>().join(", ")
            ),
        }
    }
}
