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
use crate::store_api::{EventStore, ExpectedSequence, Head, Snapshot, SnapshotStore, fence};
use crate::workflow::Workflow;

/// How many events are read at a time.
const PAGE: usize = 256;

/// How often it is looked what became of an append whose answer was lost.
const RESOLVES: usize = 3;

/// A process of workflow `W`, as it stood when it was loaded.
///
/// Its state comes from the baseline (the latest migration), the snapshot if
/// there is a fitting one, and the events after it. What happened before the
/// baseline is never read.
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
    // The state may hold personal data, which does not belong in logs.
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
    /// Loads a process. One without events yet is in the default state.
    ///
    /// # Errors
    /// [`ErrorKind::Migrated`] when the process has moved on to a newer version
    /// than `W`; [`ErrorKind::WrongVersion`] when it stands at another one;
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
            // Nothing but the identity says where a process without events stands.
            fence::check(
                process.identity.stream_id(),
                &code,
                &process.identity.workflow_id,
            )?;
        }
        process.identity.workflow_id = code;
        Ok(process)
    }

    /// Loads the process again: after a conflict, or to see what others appended.
    ///
    /// # Errors
    /// As of [`open`](Process::open). The process then stays as it was loaded before.
    pub async fn reload(&mut self) -> Result<(), Error> {
        let stream = self.identity.stream_id();
        let Some(head) = self.events.head(stream).await? else {
            self.state = W::State::default();
            self.sequence = 0;
            return Ok(());
        };
        let code = WorkflowId::of::<W>();
        fence::check(stream, &code, &head.workflow_id)?;
        let (mut fold, mut sequence) = self.start(stream, &head).await?;
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
                "stream {stream} ends at {sequence}, and its head says {}; restore it from a backup",
                head.sequence
            )));
        }
        self.state = fold.into_state();
        self.sequence = sequence;
        Ok(())
    }

    /// Where the fold starts: at the snapshot if it fits, else at the baseline.
    async fn start(&self, stream: &StreamId, head: &Head) -> Result<(Folding<W>, u64), Error> {
        let mut fold = Folding::new();
        // A snapshot is a cache: one that cannot be read is one that is not there.
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

/// Checks that an event is the one that follows, and of the code's version.
fn check_next(
    stream: &StreamId,
    code: &WorkflowId,
    sequence: u64,
    event: &Event,
) -> Result<(), Error> {
    if event.sequence != sequence + 1 {
        return Err(Error::missing_event(stream, sequence + 1));
    }
    fence::check(stream, code, &event.workflow_id)
}

impl<W: Workflow> Process<W> {
    /// What the events add up to.
    #[must_use]
    pub fn state(&self) -> &W::State {
        &self.state
    }

    /// The sequence number of the last event that the state includes; 0 for none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Who the process is, with the version that it stands at.
    #[must_use]
    pub fn identity(&self) -> &ProcessIdentity {
        &self.identity
    }

    /// Whether the process is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        W::is_finished(&self.state)
    }

    /// Appends events at the place where this process was loaded, and folds
    /// them into its state. Returns when they are durable.
    ///
    /// Each event is read back before anything is written, through
    /// [`Workflow::upcast`], and what was read is what is folded: so the state is
    /// the one that a later load gives. An event that cannot be read back, or that
    /// is another one then, is an error of [`ErrorKind::Workflow`] that names the
    /// place in it. So is a number that is NaN or infinite.
    ///
    /// # Errors
    /// Nothing was written, and the process is as before, when the error is
    /// [`ErrorKind::Conflict`] (somebody else appended: [`reload`](Process::reload)
    /// and decide again), [`ErrorKind::Migrated`] (the process moved to a newer
    /// version: route the work to code of that version) or [`ErrorKind::Workflow`].
    /// An answer that was lost is looked for in the store;
    /// [`ErrorKind::OutcomeUnknown`] is left only where the store cannot be read.
    /// The same holds for a call that was cancelled: [`reload`](Process::reload)
    /// tells whether it has happened.
    pub async fn append(&mut self, events: &[W::Event]) -> Result<(), Error> {
        let stream = self.identity.stream_id();
        let mut state = self.state.clone();
        let mut new_events = Vec::with_capacity(events.len());
        for event in events {
            let (new_event, as_read) = read_back::event::<W>(stream, event)?;
            new_events.push(new_event);
            // What a serializer leaves out is in no state that is loaded.
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

    /// Finds out what became of an append whose answer was lost, by the ids of
    /// its events, and makes it where it has not happened.
    async fn resolve(
        &self,
        expected: ExpectedSequence,
        new_events: Vec<NewEvent>,
        lost: Error,
    ) -> Result<u64, Error> {
        let stream = self.identity.stream_id();
        let last_sequence = expected.last() + new_events.len() as u64;
        for _ in 0..RESOLVES {
            // What can be read may not last.
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
            // Where it stands, it cannot be made twice: the expected sequence
            // number is the same, and so are the ids.
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

    /// Keeps the state as a snapshot, from which later loads start.
    ///
    /// # Errors
    /// The process has no events; its state cannot be serialized, has a number
    /// that is NaN or infinite, or is another one when it is read back; or the
    /// store refused the snapshot because the process has moved to another version.
    pub async fn take_snapshot(&self) -> Result<(), Error>
    where
        W::State: Serialize + DeserializeOwned,
    {
        let stream = self.identity.stream_id();
        if self.sequence == 0 {
            return Err(Error::invalid(format!(
                "the process {stream} has no events, so there is nothing to take a snapshot of"
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
