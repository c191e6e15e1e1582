//! Stage two: computes a state from events. User code runs here.

use state_migration_core::baseline::BadBaseline;
use state_migration_core::fold::{AnyState, EventView, Fold, FoldError};
use state_migration_core::{
    Event, EventStore, FailureClass, Head, MigrationError, Route, Snapshot, Stage, StreamId,
};

use crate::restrictions::{Restrictions, Selected};
use crate::stages::scan::{self, Scanned, StageError};
use crate::user_code::panics::{DropGuarded, UserCodeFailure, WAY_OUT, catch, short};
use crate::user_code::threads::UserCode;

/// Maximum number of events read at a time where a process is not read in a chunk, and
/// number of events read before their size is known.
pub(crate) const PAGE: usize = 512;
const FIRST_PAGE: usize = 32;

/// Approximate number of bytes read at a time.
const PAGE_BYTES: usize = 2 << 20;

/// Number of events to read at a time, if the largest so far has this many bytes.
pub(crate) fn page(largest: usize) -> usize {
    match PAGE_BYTES.checked_div(largest) {
        None => FIRST_PAGE,
        Some(fit) => fit.clamp(1, PAGE),
    }
}

/// A fold in progress.
pub(crate) type RunningFold = DropGuarded<Box<dyn Fold>>;

/// A folded process.
pub(crate) struct Folded {
    pub(crate) stream: StreamId,
    pub(crate) head: Head,
    pub(crate) state: DropGuarded<AnyState>,
}

/// Reason why a process was not folded.
pub(crate) enum FoldFailure {
    Failed(MigrationError),
    /// The snapshot is unusable, and the events before it were not read.
    BadSnapshot,
}

impl From<MigrationError> for FoldFailure {
    fn from(error: MigrationError) -> Self {
        Self::Failed(error)
    }
}

/// Folds a process that was read, from its snapshot if it has one and that is wanted.
pub(crate) fn process(
    route: &Route,
    scanned: &Scanned,
    from_snapshot: bool,
    restrictions: &Restrictions,
) -> Result<Selected<Folded>, FoldFailure> {
    let Scanned {
        stream,
        head,
        snapshot,
        events,
    } = scanned;
    let mut fold = start(route, stream)?;
    let snapshot = snapshot.as_ref().filter(|_| from_snapshot);
    let after = snapshot.map_or(0, |snapshot| snapshot.sequence);
    if let Some(snapshot) = snapshot {
        let of_head = snapshot.workflow_id == head.workflow_id;
        let within = head.replay_after() < snapshot.sequence && snapshot.sequence <= head.sequence;
        if !of_head || !within || !restore(&mut fold, snapshot) {
            return Err(FoldFailure::BadSnapshot);
        }
    }
    for event in events.iter().filter(|event| event.sequence > after) {
        apply(&mut fold, stream, event.sequence, event.into())?;
    }
    Ok(finish(fold, stream.clone(), head.clone(), restrictions)?)
}

/// Starts from a snapshot. Returns `false` if the code cannot read it.
fn restore(fold: &mut RunningFold, snapshot: &Snapshot) -> bool {
    let Some(fold) = fold.get_mut() else {
        return false;
    };
    // A panic is treated like an error: the snapshot is unusable.
    catch(|| {
        fold.restore(snapshot.state_schema_version, &snapshot.state)
            .is_ok()
    })
    .unwrap_or(false)
}

/// Starts a fold under the source version of a route.
fn start(route: &Route, stream: &StreamId) -> Result<RunningFold, MigrationError> {
    let step = &route.hops()[0].step;
    match catch(|| step.fold()) {
        Ok(fold) => Ok(DropGuarded::new(fold)),
        Err(panic) => Err(failed(stream, None, panic)),
    }
}

/// A fold at a position in a stream. Its code runs on threads for user code, and the
/// timeout applies to each page.
pub(crate) struct FoldProgress {
    pub(crate) fold: RunningFold,
    /// Sequence number of the last event folded.
    pub(crate) at: u64,
    /// Bytes of the events folded.
    pub(crate) bytes: u64,
    /// Bytes of the largest event folded; 0 before the first.
    largest: usize,
}

impl FoldProgress {
    /// Starts after event `at`, under the source version of a route.
    pub(crate) async fn begin(
        code: &UserCode,
        route: &Route,
        stream: &StreamId,
        at: u64,
    ) -> Result<Self, MigrationError> {
        let route = route.clone();
        let fold = code
            .run_on(stream, move |stream| start(&route, stream))
            .await?;
        Ok(Self {
            fold,
            at,
            bytes: 0,
            largest: 0,
        })
    }

    /// Number of events to read next.
    pub(crate) fn page(&self) -> usize {
        page(self.largest)
    }

    /// Reads and folds the events up to `through`.
    pub(crate) async fn read_on(
        mut self,
        code: &UserCode,
        events: &(impl EventStore + ?Sized),
        stream: &StreamId,
        through: u64,
    ) -> Result<Self, StageError> {
        while self.at < through {
            let page = events
                .read_all(stream, self.at, self.page())
                .await
                .map_err(|error| StageError::of_read(stream, error))?;
            self = self.fold_page(code, stream, page, through).await?;
        }
        Ok(self)
    }

    /// Folds the events of a page up to `through`.
    pub(crate) async fn fold_page(
        mut self,
        code: &UserCode,
        stream: &StreamId,
        page: Vec<Event>,
        through: u64,
    ) -> Result<Self, MigrationError> {
        code.run_on(stream, move |stream| {
            for event in scan::follow(stream, &page, self.at, through)? {
                apply(&mut self.fold, stream, event.sequence, event.into())?;
                self.at = event.sequence;
                self.bytes += event.payload.len() as u64;
                self.largest = self.largest.max(event.payload.len());
            }
            Ok(self)
        })
        .await
    }
}

/// Folds one event.
pub(crate) fn apply(
    fold: &mut RunningFold,
    stream: &StreamId,
    sequence: u64,
    event: EventView<'_>,
) -> Result<(), MigrationError> {
    let Some(fold) = fold.get_mut() else {
        return Ok(());
    };
    // Formatting a user's error runs user code too.
    let applied = catch(|| {
        fold.apply(event).map_err(|error| UserCodeFailure {
            class: class_of(&error),
            message: short(error.at(stream, sequence).to_string()),
        })
    });
    match applied {
        Ok(Ok(())) => Ok(()),
        Ok(Err(bad)) | Err(bad) => Err(failed(stream, Some(sequence), bad)),
    }
}

fn class_of(error: &FoldError) -> FailureClass {
    match error {
        FoldError::Upcast { .. } => FailureClass::Upcast,
        FoldError::Decode { .. } => FailureClass::UndecodableEvent,
        FoldError::UnknownType { .. } => FailureClass::UnknownEventType,
        FoldError::State(_) | FoldError::Baseline(BadBaseline::OtherState { .. }) => {
            FailureClass::UnreadableState
        }
        FoldError::UnknownReserved(_) | FoldError::Baseline(BadBaseline::Newer(_)) => {
            FailureClass::NewerFormat
        }
        FoldError::Baseline(BadBaseline::Unreadable(_)) => FailureClass::Corrupt,
    }
}

/// The folded state, if the restrictions select the process.
pub(crate) fn finish(
    fold: RunningFold,
    stream: StreamId,
    head: Head,
    restrictions: &Restrictions,
) -> Result<Selected<Folded>, MigrationError> {
    let is_finished = fold.get().map(|fold| catch(|| fold.is_finished()));
    match is_finished {
        Some(Ok(finished)) if !(finished && restrictions.in_flight) => {}
        Some(Err(panic)) => return Err(failed(&stream, None, panic)),
        _ => return Ok(Selected::Finished),
    }
    let state: DropGuarded<AnyState> = match catch(|| fold.take().map(|fold| fold.finish())) {
        Ok(state) => DropGuarded::new(state),
        Err(panic) => return Err(failed(&stream, None, panic)),
    };
    if let (Some(predicate), Some(known)) = (&restrictions.predicate, state.get()) {
        match predicate.matches(&head.workflow_id, &**known) {
            Ok(true) => {}
            Ok(false) => return Ok(Selected::NotMatching),
            Err(bad) => return Err(failed(&stream, None, bad)),
        }
    }
    Ok(Selected::Yes(Folded {
        stream,
        head,
        state,
    }))
}

/// A copy of the fold, to be continued separately.
pub(crate) fn fork(fold: &RunningFold, stream: &StreamId) -> Result<RunningFold, MigrationError> {
    match catch(|| fold.get().map(|fold| fold.fork())) {
        Ok(fork) => Ok(DropGuarded::new(fork)),
        Err(panic) => Err(failed(stream, None, panic)),
    }
}

fn failed(stream: &StreamId, sequence: Option<u64>, bad: UserCodeFailure) -> MigrationError {
    MigrationError {
        subject: stream.into(),
        stage: Stage::Folding,
        class: bad.class,
        sequence,
        message: bad.message + WAY_OUT,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, unconditional_panic)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use serde::{Deserialize, Serialize};

    use super::*;
    use state_migration_core::{
        Appended, Error, EventPayload, ExpectedSequence, IdentityMigration, MigrationRegistry,
        NewEvent, Workflow, WorkflowId,
    };
    use state_migration_store::MemoryStore;

    #[derive(Serialize, Deserialize)]
    struct Added(u64);

    impl EventPayload for Added {
        fn event_type(&self) -> &'static str {
            "Added"
        }
    }

    struct Sum;

    impl Workflow for Sum {
        const NAME: &'static str = "sum";
        const VERSION: &'static str = "2";
        type State = u64;
        type Event = Added;

        fn apply(sum: u64, Added(more): &Added) -> u64 {
            sum + more
        }
    }

    /// A store that records the maximum number of bytes returned by a read.
    struct Watched(MemoryStore, AtomicUsize);

    #[async_trait]
    impl EventStore for Watched {
        async fn append(
            &self,
            stream: &StreamId,
            expected: ExpectedSequence,
            events: Vec<NewEvent>,
        ) -> Result<Appended, Error> {
            self.0.append(stream, expected, events).await
        }

        async fn read_all(
            &self,
            stream: &StreamId,
            after: u64,
            limit: usize,
        ) -> Result<Vec<Event>, Error> {
            let page = self.0.read_all(stream, after, limit).await?;
            let bytes = page.iter().map(|event| event.payload.len()).sum();
            self.1.fetch_max(bytes, Ordering::Relaxed);
            Ok(page)
        }

        async fn head(&self, stream: &StreamId) -> Result<Option<Head>, Error> {
            self.0.head(stream).await
        }

        async fn list_streams(
            &self,
            prefix: Option<&str>,
            after: Option<&StreamId>,
            limit: usize,
        ) -> Result<Vec<StreamId>, Error> {
            self.0.list_streams(prefix, after, limit).await
        }
    }

    #[tokio::test]
    async fn of_large_events_few_are_in_memory_at_a_time() {
        const EVENTS: usize = 300;
        let (one, two) = (WorkflowId::new("sum", "1"), WorkflowId::new("sum", "2"));
        let store = Watched(MemoryStore::new(), AtomicUsize::new(0));
        let stream = StreamId::literal("process/t/p");
        let large = " ".repeat((64 << 10) - 1) + "7";
        let event = NewEvent::new(one.clone(), "Added", 1, large).unwrap();
        let none = ExpectedSequence::NoStream;
        let appended = store.append(&stream, none, vec![event; EVENTS]);
        appended.await.unwrap();
        let migration = IdentityMigration::<Sum>::new(one, two);
        let registry = MigrationRegistry::builder().with(migration);
        let registry = registry.build().unwrap();
        let route = registry.routes().next().unwrap();
        let code = UserCode::new(Duration::from_secs(10), false);
        let begun = FoldProgress::begin(&code, &route, &stream, 0)
            .await
            .unwrap();
        let through = EVENTS as u64;
        let read = begun
            .read_on(&code, &store, &stream, through)
            .await
            .ok()
            .unwrap();
        assert_eq!(read.at, through);
        assert_eq!(read.bytes, through * (64 << 10));
        assert!(store.1.into_inner() <= PAGE_BYTES);
    }

    fn panicked(code: impl FnOnce()) -> String {
        match catch(code) {
            Ok(()) => panic!("it does not panic"),
            Err(bad) => bad.message,
        }
    }

    #[test]
    fn the_values_in_panics_of_the_standard_library_are_left_out() {
        let secret = || "sécret".to_owned();
        let failed = || Err::<u8, _>(secret());
        let done = || Ok::<_, u8>(secret());
        let [from, to] = [3, 1];
        let texts = [
            panicked(|| assert_eq!(secret(), "", "the name")),
            panicked(|| assert_ne!(secret(), secret())),
            panicked(|| assert_eq!(failed().unwrap(), 0)),
            panicked(|| assert_eq!(done().unwrap_err(), 0)),
            panicked(|| assert!(secret()[2..].is_empty())),
            panicked(|| assert!(secret()[..200].is_empty())),
            panicked(|| assert!(secret()[200..].is_empty())),
            panicked(|| assert!(secret()[from..to].is_empty())),
        ];
        for text in &texts {
            assert!(text.starts_with("user code panicked: "), "{text}");
            assert!(!text.contains("cret"), "{text}");
        }
        assert_eq!(
            texts[0],
            "user code panicked: assertion `left == right` failed: the name"
        );
        assert_eq!(
            texts[2],
            "user code panicked: called `Result::unwrap()` on an `Err` value"
        );
        let own = || panic!("the order {} has no lines", 7);
        assert_eq!(
            panicked(own),
            "user code panicked: the order 7 has no lines"
        );
    }
}
