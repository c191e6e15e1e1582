//! A process: one instance of a workflow, loaded from its events and appended to.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};
use crate::event::{Event, NewEvent};
use crate::fold::Folding;
use crate::id::{ProcessIdentity, StreamId, WorkflowId};
use crate::read_back;
use crate::store_api::{EventStore, ExpectedSequence, Head, Snapshot, SnapshotStore, head};
use crate::workflow::Workflow;

/// Number of events per read.
const PAGE: usize = 256;

/// Number of attempts to resolve an append whose answer was lost.
const RESOLVES: usize = 3;

/// A process of workflow `W`, as of when it was loaded.
///
/// Its state comes from the baseline (the latest migration), a snapshot if a
/// valid one exists, and the events after it. Events before the baseline are
/// never read.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use state_migration::{EventPayload, Workflow};
/// # #[derive(Serialize, Deserialize)] enum OrderEvent { Placed { item: String }, Shipped }
/// # impl EventPayload for OrderEvent {
/// #     fn event_type(&self) -> &'static str {
/// #         match self { Self::Placed { .. } => "OrderPlaced", Self::Shipped => "OrderShipped" }
/// #     }
/// # }
/// # #[derive(Default, Clone, Serialize, Deserialize)] struct Order { item: String, shipped: bool }
/// # struct OrderV1;
/// # impl Workflow for OrderV1 {
/// #     const NAME: &'static str = "order"; const VERSION: &'static str = "v1";
/// #     type State = Order; type Event = OrderEvent;
/// #     fn apply(mut s: Order, e: &OrderEvent) -> Order {
/// #         match e { OrderEvent::Placed { item } => s.item = item.clone(), OrderEvent::Shipped => s.shipped = true }
/// #         s
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use state_migration::{MemoryStore, Process, ProcessId, ProcessIdentity, TenantId};
///
/// let store = MemoryStore::new();
/// let identity = ProcessIdentity::of::<OrderV1>(TenantId::new("shop")?, ProcessId::new("17")?);
///
/// let mut order = Process::<OrderV1>::open(identity.clone(), store.clone(), store.clone()).await?;
/// order.append(&[OrderEvent::Placed { item: "lamp".into() }]).await?;
/// order.append(&[OrderEvent::Shipped]).await?;
///
/// let order = Process::<OrderV1>::open(identity, store.clone(), store).await?;
/// assert!(order.state().shipped);
/// assert_eq!(order.sequence(), 2);
/// # Ok(())
/// # }
/// ```
pub struct Process<W: Workflow> {
    identity: ProcessIdentity,
    events: Arc<dyn EventStore>,
    snapshots: Arc<dyn SnapshotStore>,
    state: W::State,
    sequence: u64,
}

impl<W: Workflow> fmt::Debug for Process<W> {
    // The state may hold personal data, which must not reach logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("identity", &self.identity)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl<W: Workflow> Process<W>
where
    W::State: DeserializeOwned,
{
    /// Loads a process. A process without events has the default state.
    ///
    /// # Errors
    /// [`ErrorKind::Migrated`] when the process is at a newer version than `W`;
    /// [`ErrorKind::WrongVersion`] when it is at another version;
    /// [`ErrorKind::Workflow`] when code of `W` cannot read it.
    pub async fn open(
        identity: ProcessIdentity,
        events: impl EventStore + 'static,
        snapshots: impl SnapshotStore + 'static,
    ) -> Result<Self, Error> {
        let code = WorkflowId::of::<W>();
        let mut process = Self {
            identity,
            events: Arc::new(events),
            snapshots: Arc::new(snapshots),
            state: W::State::default(),
            sequence: 0,
        };
        process.reload().await?;
        if process.sequence == 0 {
            // Only the identity gives the version of a process without events.
            head::check_version(
                process.identity.stream_id(),
                &code,
                &process.identity.workflow_id,
            )?;
        }
        process.identity.workflow_id = code;
        Ok(process)
    }

    /// Loads the process again: after a conflict, or to see the events of other
    /// writers.
    ///
    /// # Errors
    /// Those of [`open`](Process::open). The process then keeps its loaded
    /// state.
    pub async fn reload(&mut self) -> Result<(), Error> {
        let mut before = None;
        loop {
            let head = self.events.head(self.identity.stream_id()).await?;
            let Some(head) = head else {
                self.state = W::State::default();
                self.sequence = 0;
                return Ok(());
            };
            match self.load_at(&head).await {
                // The events that were read may have been erased after a migration since.
                Err(error) if error.is_of_record() && before != Some(head.revision) => {
                    before = Some(head.revision);
                }
                loaded => return loaded,
            }
        }
    }

    /// Loads the process from the events that a replay reads, according to its head.
    async fn load_at(&mut self, head: &Head) -> Result<(), Error> {
        let stream = self.identity.stream_id();
        let code = WorkflowId::of::<W>();
        head::check_version(stream, &code, &head.workflow_id)?;
        let (mut fold, mut sequence) = self.start(stream, head).await?;
        loop {
            let page = self.events.read_all(stream, sequence, PAGE).await?;
            for event in &page {
                check_next(stream, &code, sequence, event)?;
                fold.fold(event.into())
                    .map_err(|bad| bad.at(stream, event.sequence))?;
                sequence = event.sequence;
            }
            if page.len() < PAGE {
                break;
            }
        }
        if sequence < head.sequence {
            return Err(Error::corrupt(format!(
                "stream {stream} ends at event {sequence}, but its head says {}; restore the stream from a backup",
                head.sequence
            )));
        }
        self.state = fold.into_state();
        self.sequence = sequence;
        Ok(())
    }

    /// Where the fold starts: at the snapshot if it is valid, else at the
    /// baseline.
    async fn start(&self, stream: &StreamId, head: &Head) -> Result<(Folding<W>, u64), Error> {
        let mut fold = Folding::new();
        // A snapshot is a cache: an unreadable one counts as missing.
        if let Ok(Some(snapshot)) = self.snapshots.load(stream).await {
            let fits = snapshot.workflow_id == WorkflowId::of::<W>()
                && snapshot.state_schema_version == W::STATE_SCHEMA_VERSION
                && snapshot.sequence >= head.baseline.unwrap_or(1)
                && snapshot.sequence <= head.sequence;
            if fits && fold.restore(&snapshot.state).is_ok() {
                return Ok((fold, snapshot.sequence));
            }
        }
        Ok((fold, head.replay_after()))
    }
}

/// Checks that an event is the next one, and of the code's version.
fn check_next(
    stream: &StreamId,
    code: &WorkflowId,
    sequence: u64,
    event: &Event,
) -> Result<(), Error> {
    if event.sequence != sequence + 1 {
        return Err(Error::missing_event(stream, sequence + 1));
    }
    head::check_version(stream, code, &event.workflow_id)
}

impl<W: Workflow> Process<W> {
    /// The state after all events.
    #[must_use]
    pub fn state(&self) -> &W::State {
        &self.state
    }

    /// The sequence number of the last event that the state includes; 0 for none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The identity of the process, with its version.
    #[must_use]
    pub fn identity(&self) -> &ProcessIdentity {
        &self.identity
    }

    /// Whether the process is finished.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        W::is_finished(&self.state)
    }

    /// Appends events after the last event that this process has loaded, and
    /// folds them into its state. Returns when they are durable.
    ///
    /// Before anything is written, each event is read back through
    /// [`Workflow::upcast`], and the event read back is the one that is folded,
    /// so that the state equals that of a later load. An event that cannot be
    /// read back, or that changes when it is, is an error of
    /// [`ErrorKind::Workflow`] that names the place in the event. So is a
    /// number that is NaN or infinite.
    ///
    /// # Errors
    /// Nothing was written and the process is unchanged when the error is
    /// [`ErrorKind::Conflict`] (another writer appended:
    /// [`reload`](Process::reload) and decide again), [`ErrorKind::Migrated`]
    /// (the process moved to a newer version: route the work to code of that
    /// version) or [`ErrorKind::Workflow`]. If the store's answer is lost, the
    /// events are searched for in the store, so that
    /// [`ErrorKind::OutcomeUnknown`] remains only if the store cannot be read.
    /// After a cancelled call, [`reload`](Process::reload) shows whether the
    /// events were appended.
    pub async fn append(&mut self, events: &[W::Event]) -> Result<(), Error> {
        let stream = self.identity.stream_id();
        let mut state = self.state.clone();
        let mut new_events = Vec::with_capacity(events.len());
        for event in events {
            let (new_event, as_read) = read_back::event::<W>(stream, event)?;
            new_events.push(new_event);
            // A value that the serializer omits is in no state that is loaded
            // later.
            state = W::apply(state, &as_read);
        }
        if let Some(last) = new_events.pop() {
            new_events.push(last.finishing(W::is_finished(&state)));
        }
        let expected = match self.sequence {
            0 => ExpectedSequence::NoStream,
            sequence => ExpectedSequence::Exact(sequence),
        };
        let appended = self
            .events
            .append(stream, expected, new_events.clone())
            .await;
        let last_sequence = match appended {
            Ok(appended) => appended.last_sequence,
            Err(lost) if *lost.kind() == ErrorKind::OutcomeUnknown => {
                self.resolve(expected, new_events, lost).await?
            }
            Err(error) => return Err(error),
        };
        self.state = state;
        self.sequence = last_sequence;
        Ok(())
    }

    /// Determines the outcome of an append whose answer was lost by the ids of
    /// its events, and repeats the append if it did not happen.
    async fn resolve(
        &self,
        expected: ExpectedSequence,
        new_events: Vec<NewEvent>,
        lost: Error,
    ) -> Result<u64, Error> {
        let stream = self.identity.stream_id();
        let last_sequence = expected.last() + new_events.len() as u64;
        for _ in 0..RESOLVES {
            // A readable event may not be durable yet.
            let durable = self.events.flush().await;
            let found = match durable {
                Ok(()) => {
                    self.events
                        .read_all(stream, expected.last(), new_events.len())
                        .await
                }
                Err(error) => Err(error),
            };
            let Ok(found) = found else {
                return Err(lost);
            };
            let ours = new_events.iter().map(NewEvent::event_id);
            if ours.eq(found.iter().map(|event| event.event_id)) {
                return Ok(last_sequence);
            }
            // The append cannot happen twice, because its expected sequence
            // number and its event ids are the same.
            let again = self
                .events
                .append(stream, expected, new_events.clone())
                .await;
            match again {
                Ok(appended) => return Ok(appended.last_sequence),
                Err(error) if *error.kind() == ErrorKind::OutcomeUnknown => {}
                Err(error) if error.is_conflict() && found.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        Err(lost)
    }

    /// Saves the state as a snapshot, from which later loads start.
    ///
    /// # Errors
    /// The process has no events; its state cannot be serialized, contains a
    /// number that is NaN or infinite, or changes when it is read back; or the
    /// store rejected the snapshot because the process is at another version
    /// now.
    pub async fn take_snapshot(&self) -> Result<(), Error>
    where
        W::State: Serialize + DeserializeOwned,
    {
        let stream = self.identity.stream_id();
        if self.sequence == 0 {
            return Err(Error::invalid(format!(
                "the process {stream} has no events, so it cannot have a snapshot"
            )));
        }
        let state = read_back::state(stream, &self.state)?;
        self.snapshots
            .save(&Snapshot {
                stream_id: stream.clone(),
                sequence: self.sequence,
                workflow_id: WorkflowId::of::<W>(),
                state_schema_version: W::STATE_SCHEMA_VERSION,
                state: state.into(),
            })
            .await
    }
}
