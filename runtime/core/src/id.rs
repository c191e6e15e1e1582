//! Ids of tenants, processes, streams, events and workflows.
//!
//! Every id from outside is validated when it is created, so that no other code
//! sees an empty, overlong or unprintable one. The stores escape ids in their
//! keys anyway (see `key`), so that they do not depend on this validation.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::workflow::Workflow;

/// The longest tenant, process, conversation or correlation id, in bytes.
pub const MAX_ID_LEN: usize = 256;

/// The longest stream id, in bytes.
pub const MAX_STREAM_ID_LEN: usize = 1024;

/// The reason why a string is not a valid id. `Debug` prints the same as `Display`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {shown:?} {reason}")]
pub struct InvalidId {
    what: &'static str,
    shown: String,
    reason: Box<str>,
}

impl fmt::Debug for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl InvalidId {
    fn new(what: &'static str, id: &str, reason: impl Into<Box<str>>) -> Self {
        let shown = if id.chars().count() > 64 {
            id.chars().take(64).chain(['…']).collect()
        } else {
            id.to_owned()
        };
        Self {
            what,
            shown,
            reason: reason.into(),
        }
    }
}

fn check(what: &'static str, id: &str, longest: usize) -> Result<(), InvalidId> {
    if id.is_empty() {
        Err(InvalidId::new(what, id, "is empty"))
    } else if id.len() > longest {
        let reason = format!("is longer than {longest} bytes");
        Err(InvalidId::new(what, id, reason))
    } else if id.chars().any(char::is_control) {
        Err(InvalidId::new(what, id, "contains a control character"))
    } else {
        Ok(())
    }
}

fn check_part(what: &'static str, id: &str) -> Result<(), InvalidId> {
    check(what, id, MAX_ID_LEN)?;
    if id.contains('/') {
        return Err(InvalidId::new(
            what,
            id,
            "contains a `/`, which separates the parts of a stream id",
        ));
    }
    Ok(())
}

fn check_whole(what: &'static str, id: &str) -> Result<(), InvalidId> {
    check(what, id, MAX_ID_LEN)
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Creates an id from a string.
            ///
            /// # Errors
            /// The string is empty, too long, or contains a character that is
            /// not allowed.
            pub fn new(id: impl AsRef<str>) -> Result<Self, InvalidId> {
                let id = id.as_ref();
                $check($what, id)?;
                Ok(Self(Arc::from(id)))
            }

            /// A new unique id: a random UUID.
            #[must_use]
            pub fn random() -> Self {
                Self::from(Uuid::new_v4())
            }

            /// The id as a string.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(Arc::from(id.to_string()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(id: String) -> Result<Self, InvalidId> {
                Self::new(id)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidId;
            fn try_from(id: &str) -> Result<Self, InvalidId> {
                Self::new(id)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(id: &str) -> Result<Self, InvalidId> {
                Self::new(id)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

string_id! {
    /// The owner of a process: a customer, a legal entity, a deployment.
    ///
    /// Not empty, at most [`MAX_ID_LEN`] bytes, without `/` and control characters.
    TenantId, "tenant id", check_part
}
string_id! {
    /// One process of a tenant: an order number, a case number, a UUID.
    ///
    /// Not empty, at most [`MAX_ID_LEN`] bytes, without `/` and control characters.
    ProcessId, "process id", check_part
}
string_id! {
    /// A conversation with a partner, by which a reply is routed to its
    /// process.
    ///
    /// Not empty, at most [`MAX_ID_LEN`] bytes, without control characters.
    ConversationId, "conversation id", check_whole
}
string_id! {
    /// The reference in a message to an earlier message.
    ///
    /// Not empty, at most [`MAX_ID_LEN`] bytes, without control characters.
    CorrelationId, "correlation id", check_whole
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new unique id.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// The id with the given UUID.
            #[must_use]
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The id as a UUID.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(id: &str) -> Result<Self, uuid::Error> {
                id.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

uuid_id! {
    /// The id of an event in any stream. The writer chooses it, so that after a
    /// lost answer the append can be resolved by reading.
    EventId
}
uuid_id! {
    /// The id of a run of a migration runner.
    RunId
}
uuid_id! {
    /// The id of a store, which the store keeps: see
    /// [`EventStore::durable_id`](crate::EventStore::durable_id).
    DurableStoreId
}

/// The name of an event stream.
///
/// Not empty, at most [`MAX_STREAM_ID_LEN`] bytes, without control characters.
/// The stream of a process is `process/{tenant_id}/{process_id}`.
///
/// ```
/// use state_migration::{ProcessId, StreamId, TenantId};
///
/// let stream = StreamId::for_process(&TenantId::new("bank")?, &ProcessId::new("173688")?);
/// assert_eq!(stream.as_str(), "process/bank/173688");
/// let (tenant, process) = stream.process().ok_or("not a process")?;
/// assert_eq!((tenant.as_str(), process.as_str()), ("bank", "173688"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// Creates a stream id from a string.
    ///
    /// # Errors
    /// The string is empty, too long or contains a control character.
    pub fn new(id: impl AsRef<str>) -> Result<Self, InvalidId> {
        let id = id.as_ref();
        check("stream id", id, MAX_STREAM_ID_LEN)?;
        Ok(Self(Arc::from(id)))
    }

    /// A stream id from a literal, which is not validated.
    #[doc(hidden)]
    pub fn literal(id: &'static str) -> Self {
        Self(Arc::from(id))
    }

    /// The stream of a process: `process/{tenant_id}/{process_id}`.
    #[must_use]
    pub fn for_process(tenant: &TenantId, process: &ProcessId) -> Self {
        Self(Arc::from(format!("process/{tenant}/{process}")))
    }

    /// The tenant and the process, if this is the stream of a process.
    #[must_use]
    pub fn process(&self) -> Option<(TenantId, ProcessId)> {
        let (tenant, process) = self.0.strip_prefix("process/")?.split_once('/')?;
        Some((TenantId::new(tenant).ok()?, ProcessId::new(process).ok()?))
    }

    /// The id as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StreamId {
    type Error = InvalidId;
    fn try_from(id: String) -> Result<Self, InvalidId> {
        Self::new(id)
    }
}

impl TryFrom<&str> for StreamId {
    type Error = InvalidId;
    fn try_from(id: &str) -> Result<Self, InvalidId> {
        Self::new(id)
    }
}

impl FromStr for StreamId {
    type Err = InvalidId;
    fn from_str(id: &str) -> Result<Self, InvalidId> {
        Self::new(id)
    }
}

impl From<StreamId> for String {
    fn from(id: StreamId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A string that is cheap to clone and can be a constant.
#[derive(Clone)]
enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Text {
    fn as_str(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<Cow<'static, str>> for Text {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::Static(text),
            Cow::Owned(text) => Self::Shared(text.into()),
        }
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::Shared(text.into()))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl std::hash::Hash for Text {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// A workflow at one version: `order@2025-10-01`.
///
/// Ids sort by name and then by version in natural order (see
/// [`natural_cmp`](crate::natural_cmp)), so `v9` comes before `v10`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkflowId {
    name: Text,
    version: Text,
}

impl WorkflowId {
    /// An id from a name and a version.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, version: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into().into(),
            version: version.into().into(),
        }
    }

    /// An id for use in a `static` or a `const`.
    #[must_use]
    pub const fn from_static(name: &'static str, version: &'static str) -> Self {
        Self {
            name: Text::Static(name),
            version: Text::Static(version),
        }
    }

    /// The id of a workflow type: its `NAME` and `VERSION`.
    #[must_use]
    pub const fn of<W: Workflow>() -> Self {
        Self::from_static(W::NAME, W::VERSION)
    }

    /// The name of the workflow, the same in every version.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The version of the workflow.
    #[must_use]
    pub fn version(&self) -> &str {
        self.version.as_str()
    }
}

impl PartialOrd for WorkflowId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for WorkflowId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name().cmp(other.name()).then_with(|| {
            crate::version::natural_cmp(self.version(), other.version())
                .then_with(|| self.version().cmp(other.version()))
        })
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name(), self.version())
    }
}

/// The ids needed to find a process and to choose the code that runs it.
///
/// A [`ProcessRegistry`](crate::ProcessRegistry) stores this.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "IdentityParts")]
pub struct ProcessIdentity {
    stream_id: StreamId,
    process_id: ProcessId,
    tenant_id: TenantId,
    /// The version of the workflow that the process is at.
    pub workflow_id: WorkflowId,
}

/// The stored parts of an identity; the stream id follows from them and is not
/// read.
#[derive(Deserialize)]
struct IdentityParts {
    process_id: ProcessId,
    tenant_id: TenantId,
    workflow_id: WorkflowId,
}

impl From<IdentityParts> for ProcessIdentity {
    fn from(parts: IdentityParts) -> Self {
        Self::new(parts.process_id, parts.tenant_id, parts.workflow_id)
    }
}

impl ProcessIdentity {
    /// An identity; the stream id follows from tenant and process.
    #[must_use]
    pub fn new(process_id: ProcessId, tenant_id: TenantId, workflow_id: WorkflowId) -> Self {
        Self {
            stream_id: StreamId::for_process(&tenant_id, &process_id),
            process_id,
            tenant_id,
            workflow_id,
        }
    }

    /// The identity of a process of workflow `W`.
    #[must_use]
    pub fn of<W: Workflow>(tenant_id: TenantId, process_id: ProcessId) -> Self {
        Self::new(process_id, tenant_id, WorkflowId::of::<W>())
    }

    /// The process.
    #[must_use]
    pub fn process_id(&self) -> &ProcessId {
        &self.process_id
    }

    /// The tenant that owns the process.
    #[must_use]
    pub fn tenant_id(&self) -> &TenantId {
        &self.tenant_id
    }

    /// The stream that holds the events of the process.
    #[must_use]
    pub fn stream_id(&self) -> &StreamId {
        &self.stream_id
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_refuse_what_could_leave_its_place() {
        assert_eq!(
            TenantId::new("").unwrap_err().to_string(),
            "tenant id \"\" is empty"
        );
        assert_eq!(
            TenantId::new("a/b").unwrap_err().to_string(),
            "tenant id \"a/b\" contains a `/`, which separates the parts of a stream id"
        );
        assert_eq!(
            ProcessId::new("a\0b").unwrap_err().to_string(),
            "process id \"a\\0b\" contains a control character"
        );
        assert!(ProcessId::new("x".repeat(MAX_ID_LEN)).is_ok());
        assert!(ProcessId::new("x".repeat(MAX_ID_LEN + 1)).is_err());
        assert!(StreamId::new("x".repeat(MAX_STREAM_ID_LEN)).is_ok());
        assert!(StreamId::new("x".repeat(MAX_STREAM_ID_LEN + 1)).is_err());
        assert!(ConversationId::new("a/b").is_ok());
    }

    #[test]
    fn only_process_streams_have_a_tenant_and_a_process() {
        let parts = |s: &str| {
            StreamId::new(s)
                .unwrap()
                .process()
                .map(|(t, p)| (t.to_string(), p.to_string()))
        };
        assert_eq!(parts("process/t/p"), Some(("t".into(), "p".into())));
        for other in [
            "process/t",
            "process//p",
            "process/t/",
            "process/t/p/q",
            "order/t/p",
            "process",
        ] {
            assert_eq!(parts(other), None, "{other}");
        }
    }

    #[test]
    fn workflow_ids_sort_by_name_and_natural_version() {
        let mut ids = [("b", "1"), ("a", "v10"), ("a", "v9"), ("a", "v09")]
            .map(|(n, v)| WorkflowId::from_static(n, v));
        ids.sort();
        let shown: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a@v09", "a@v9", "a@v10", "b@1"]);
    }
}
