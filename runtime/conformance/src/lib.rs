//! The conformance suite for stores: the rules that every store follows, to be
//! run in the tests of a user's own store.
//!
//! Each function takes a store, which may already hold other streams, and
//! returns the first rule that the store breaks.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use state_migration::{MemoryStore, conformance};
//!
//! let store = MemoryStore::new();
//! conformance::event_store(&store).await?;
//! conformance::snapshot_store(&store).await?;
//! conformance::process_registry(&store).await?;
//! conformance::transactional_store(&store).await?;
//! # Ok(())
//! # }
//! ```

mod event_store;
mod process_registry;
mod snapshot_store;
mod transactional_store;

use std::fmt;

pub use event_store::event_store;
pub use process_registry::process_registry;
pub use snapshot_store::snapshot_store;
pub use transactional_store::transactional_store;

use serde_json::value::RawValue;

use state_migration_core::{
    Baseline, BaselineKind, Error, Fingerprint, Hop, NewEvent, ProcessId, RunId, StreamId,
    TenantId, WorkflowId,
};

/// A rule that a store breaks.
#[derive(Debug)]
pub struct Violation {
    rule: &'static str,
    detail: String,
}

impl Violation {
    /// The rule, as a sentence.
    #[must_use]
    pub fn rule(&self) -> &str {
        self.rule
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the store breaks the rule \"{}\": {}",
            self.rule, self.detail
        )
    }
}

impl std::error::Error for Violation {}

/// The result of checking one rule.
type Checked = Result<(), Broken>;

/// A description of how a rule is broken.
#[derive(Debug)]
struct Broken(String);

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self(format!("unexpected error: {error}"))
    }
}

impl From<serde_json::Error> for Broken {
    fn from(error: serde_json::Error) -> Self {
        Self(format!("unexpected error: {error}"))
    }
}

fn of(rule: &'static str, checked: Checked) -> Result<(), Violation> {
    checked.map_err(|Broken(detail)| Violation { rule, detail })
}

fn same<T: PartialEq + fmt::Debug>(what: &str, found: &T, wanted: &T) -> Checked {
    if found == wanted {
        Ok(())
    } else {
        Err(Broken(format!("{what} is {found:?}, expected {wanted:?}")))
    }
}

fn holds(what: &str, condition: bool) -> Checked {
    if condition {
        Ok(())
    } else {
        Err(Broken(what.to_owned()))
    }
}

/// Checks that a write was refused with an error of the expected kind.
fn refused<T: fmt::Debug>(
    what: &str,
    outcome: Result<T, Error>,
    kind: impl FnOnce(&Error) -> bool,
) -> Checked {
    match outcome {
        Err(error) if kind(&error) => Ok(()),
        Err(error) => Err(Broken(format!(
            "{what} failed with the wrong error kind {:?}: {error}",
            error.kind()
        ))),
        Ok(done) => Err(Broken(format!(
            "{what} succeeded, but must be rejected: {done:?}"
        ))),
    }
}

fn v1() -> WorkflowId {
    WorkflowId::from_static("conformance", "v1")
}

fn v2() -> WorkflowId {
    WorkflowId::from_static("conformance", "v2")
}

/// A new tenant, which nothing in the store belongs to.
fn tenant() -> TenantId {
    TenantId::random()
}

fn process(id: &str) -> Result<ProcessId, Broken> {
    ProcessId::new(id).map_err(|e| Broken(e.to_string()))
}

fn stream(tenant: &TenantId, id: &str) -> Result<StreamId, Broken> {
    Ok(StreamId::for_process(tenant, &process(id)?))
}

fn event(workflow: WorkflowId, n: u64) -> Result<NewEvent, Broken> {
    let payload = format!("{{\"n\":{n}}}");
    Ok(NewEvent::new(workflow, "Counted", 1, payload)?)
}

fn events(workflow: &WorkflowId, n: u64) -> Result<Vec<NewEvent>, Broken> {
    (1..=n).map(|i| event(workflow.clone(), i)).collect()
}

/// The event that records a migration from `v1` to `v2`.
fn migrated() -> Result<NewEvent, Broken> {
    migrated_between(&v1(), &v2())
}

fn migrated_between(from: &WorkflowId, to: &WorkflowId) -> Result<NewEvent, Broken> {
    let baseline = Baseline {
        kind: BaselineKind::Migrate,
        workflow: from.name().to_owned(),
        from: from.version().to_owned(),
        to: to.version().to_owned(),
        route: vec![Hop {
            to: to.version().to_owned(),
            code: Fingerprint::new(1),
        }],
        run: RunId::random(),
        state_schema_version: 1,
        state: RawValue::from_string("{\"sum\":3}".to_owned())?,
    };
    Ok(NewEvent::migrated(
        to.clone(),
        baseline.to_payload()?,
        false,
    ))
}
