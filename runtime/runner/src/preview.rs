//! A preview of the migration of one process, which writes nothing.
//!
//! User code runs here, guarded as in a run.

use std::time::Duration;

use state_migration_core::{
    Baseline, Error, EventStore, FailureClass, Head, MigrationError, MigrationRegistry, Route,
    RunId, Stage, StreamId, VersionStatus,
};

use crate::migration_runner::refusal;
use crate::run::suspects::Decided;
use crate::stages::convert::{self, Planned};
use crate::stages::fold::{FoldProgress, Folded};
use crate::stages::scan::StageError;
use crate::user_code::panics::{DropGuarded, catch};
use crate::user_code::round_trip;
use crate::user_code::threads::UserCode;

/// A state as JSON, or the reason why it cannot be shown.
pub type StateJson = Result<String, String>;

/// The state of a process before and after a migration.
#[derive(Debug)]
pub struct Preview {
    pub before: StateJson,
    pub after: StateJson,
    /// Reason why the migration fails.
    pub failure: Option<MigrationError>,
}

impl Preview {
    fn failed(failure: MigrationError) -> Self {
        let none = || Err("an earlier step failed".to_owned());
        Self {
            before: none(),
            after: none(),
            failure: Some(failure),
        }
    }
}

/// Previews what the next run would make of an outdated process.
///
/// # Errors
/// The store could not be read. This says nothing about the process.
pub async fn next_migration(
    events: &impl EventStore,
    migrations: &MigrationRegistry,
    route: Route,
    stream: &StreamId,
    head: &Head,
    deadline: Duration,
) -> Result<Preview, Error> {
    let code = UserCode::new(deadline, false);
    let planned = Planned::new(route, RunId::random());
    if let Some(store) = events.transactional() {
        let decided = Decided::for_reading(&store, migrations).await?;
        if let Some(failure) = decided.failure(stream, planned.code) {
            return Ok(Preview::failed(failure));
        }
    }
    let window = (head.replay_after(), head.sequence);
    match folded(events, &code, planned.route.clone(), stream, head, window).await {
        Ok((folded, before)) => {
            let (after, failure) = converted(&code, planned, stream, folded).await;
            Ok(Preview {
                before,
                after,
                failure,
            })
        }
        Err(StageError::Process(failure)) => Ok(Preview::failed(failure)),
        Err(StageError::Store(error)) => Err(error),
    }
}

/// Shows what a past migration made of a process. Its `$migrated` event is the event
/// after `last`, and the replay before it began after `replay_after`.
///
/// # Errors
/// The store could not be read. This says nothing about the process.
pub async fn past_migration(
    events: &impl EventStore,
    migrations: &MigrationRegistry,
    stream: &StreamId,
    head: &Head,
    (replay_after, last): (u64, u64),
    baseline: &Baseline,
    deadline: Duration,
) -> Result<Preview, Error> {
    let mut preview = Preview {
        before: Err(format!(
            "this program has no migration from {}, so it cannot compute the state",
            baseline.source()
        )),
        after: Ok(baseline.state.get().to_owned()),
        failure: None,
    };
    if replay_after + 1 < head.first_kept {
        preview.before = Err(format!(
            "the events before event {} were erased, so the state before the migration cannot be computed",
            head.first_kept
        ));
    } else if let VersionStatus::Behind(route) = migrations.version_status(&baseline.source()) {
        let code = UserCode::new(deadline, false);
        let window = (replay_after, last);
        match folded(events, &code, route, stream, head, window).await {
            Ok((_, before)) => preview.before = before,
            Err(StageError::Store(error)) => return Err(error),
            Err(StageError::Process(failure)) => {
                preview.before =
                    Err("the events cannot be folded with the code of this program".to_owned());
                preview.failure = Some(failure);
            }
        }
    }
    Ok(preview)
}

/// Folds the events after `after` up to `last`, under the source version of a route.
async fn folded(
    events: &impl EventStore,
    code: &UserCode,
    route: Route,
    stream: &StreamId,
    head: &Head,
    (after, last): (u64, u64),
) -> Result<(Folded, StateJson), StageError> {
    if let Some(refusal) = refusal(cfg!(panic = "abort")) {
        return Err(refusal.into());
    }
    let begun = FoldProgress::begin(code, &route, stream, after).await?;
    let FoldProgress { fold, .. } = begun.read_on(code, events, stream, last).await?;
    let head = head.clone();
    let folded = code.run_on(stream, move |stream| {
        let none = || {
            broken(
                stream,
                "user code returned no state; report it as a bug of state-migration",
            )
        };
        let fold = fold.take().ok_or_else(none)?;
        let state = catch(|| fold.finish()).map_err(|bad| broken(stream, &bad.message))?;
        let shown = shown(&route, &state);
        let folded = Folded {
            stream: stream.clone(),
            head,
            state: DropGuarded::new(state),
        };
        Ok((folded, shown))
    });
    Ok(folded.await?)
}

/// A state at the source version of a route, as JSON.
fn shown(route: &Route, state: &state_migration_core::fold::AnyState) -> StateJson {
    let Some(encoder) = route.hops()[0].source_encoder() else {
        return Err(format!(
            "the state of {} cannot be serialized; derive `serde::Serialize` for the state to show it",
            route.source()
        ));
    };
    let json = catch(|| encoder.encode(state).map_err(|error| error.to_string()))
        .map_err(|bad| bad.message)??;
    String::from_utf8(json).map_err(|error| error.to_string())
}

async fn converted(
    code: &UserCode,
    planned: Planned,
    stream: &StreamId,
    folded: Folded,
) -> (StateJson, Option<MigrationError>) {
    let converted = code.run_on(stream, move |stream| {
        let converted = convert::process(&planned, folded)?;
        let json = converted.json().to_owned();
        let checked = round_trip::check(&planned.route, stream, &json);
        Ok((json, checked.err()))
    });
    match converted.await {
        Ok((json, failure)) => (Ok(json), failure),
        Err(failure) => (Err("the conversion failed".to_owned()), Some(failure)),
    }
}

fn broken(stream: &StreamId, message: &str) -> MigrationError {
    MigrationError::new(
        Stage::Folding,
        FailureClass::Panic,
        stream,
        message.to_owned(),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::MigrationRunner;
    use crate::stages::fold::PAGE;
    use state_migration_core::migration::Encoder;
    use state_migration_core::{
        ConversionError, Decoder, EventPayload, ExpectedSequence, NewEvent, StateMigration,
        Workflow, WorkflowId,
    };
    use state_migration_store::MemoryStore;

    #[derive(Serialize, Deserialize)]
    struct Added(u64);

    impl EventPayload for Added {
        fn event_type(&self) -> &'static str {
            "Added"
        }
    }

    #[derive(Default, Clone, Serialize, Deserialize)]
    struct Euro {
        euro: u64,
    }

    #[derive(Default, Clone, Serialize, Deserialize)]
    struct Cents {
        cents: u64,
    }

    struct V1;
    struct V2;

    impl Workflow for V1 {
        const NAME: &'static str = "sum";
        const VERSION: &'static str = "1";
        type State = Euro;
        type Event = Added;

        fn apply(mut state: Euro, Added(euro): &Added) -> Euro {
            assert_ne!(*euro, 13, "thirteen");
            state.euro += euro;
            state
        }
    }

    impl Workflow for V2 {
        const NAME: &'static str = "sum";
        const VERSION: &'static str = "2";
        const STATE_SCHEMA_VERSION: u32 = 2;
        type State = Cents;
        type Event = Added;

        fn apply(state: Cents, _: &Added) -> Cents {
            state
        }
    }

    static ONE: WorkflowId = WorkflowId::of::<V1>();
    static TWO: WorkflowId = WorkflowId::of::<V2>();

    /// A conversion that panics, fails or hangs for certain sums.
    struct ToCents {
        shows: bool,
    }

    impl StateMigration for ToCents {
        type FromWorkflow = V1;
        type ToWorkflow = V2;

        fn source_workflow_id(&self) -> &WorkflowId {
            &ONE
        }

        fn target_workflow_id(&self) -> &WorkflowId {
            &TWO
        }

        fn migrate(&self, Euro { euro }: Euro) -> Result<Cents, ConversionError> {
            match euro {
                100 => panic!("a hundred"),
                200 => Err(ConversionError::new("two hundred")),
                300 => loop {
                    std::thread::park();
                },
                _ => Ok(Cents { cents: euro * 100 }),
            }
        }

        fn decoder(&self) -> Option<Decoder> {
            Some(Decoder::for_state::<Cents>())
        }

        fn encoder(&self) -> Option<Encoder> {
            self.shows.then(Encoder::of::<Euro>)
        }
    }

    fn registry(shows: bool) -> MigrationRegistry {
        let builder = MigrationRegistry::builder();
        builder.with(ToCents { shows }).build().unwrap()
    }

    async fn store(sums: &[u64]) -> (MemoryStore, StreamId) {
        let store = MemoryStore::new();
        let stream = StreamId::new("process/t/p").unwrap();
        let events = sums
            .iter()
            .map(|sum| NewEvent::of::<V1>(&Added(*sum)).unwrap())
            .collect();
        let expected = ExpectedSequence::NoStream;
        store.append(&stream, expected, events).await.unwrap();
        (store, stream)
    }

    async fn look(sums: &[u64], shows: bool) -> Preview {
        let (store, stream) = store(sums).await;
        let head = store.head(&stream).await.unwrap().unwrap();
        let migrations = registry(shows);
        let VersionStatus::Behind(route) = migrations.version_status(&head.workflow_id) else {
            panic!("the process is not outdated");
        };
        let deadline = Duration::from_secs(1);
        next_migration(&store, &migrations, route, &stream, &head, deadline)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn both_sides_are_shown_of_a_process_of_any_length() {
        let preview = look(&[7; 3 * PAGE + 1], true).await;
        assert!(preview.failure.is_none(), "{preview:?}");
        assert_eq!(preview.before.unwrap(), r#"{"euro":10759}"#);
        assert_eq!(preview.after.unwrap(), r#"{"cents":1075900}"#);
    }

    #[tokio::test]
    async fn a_state_that_cannot_be_written_is_left_out_with_the_reason() {
        let preview = look(&[7], false).await;
        let why = preview.before.unwrap_err();
        assert!(
            why.contains("the state of sum@1 cannot be serialized"),
            "{why}"
        );
        assert_eq!(preview.after.unwrap(), r#"{"cents":700}"#);
    }

    #[tokio::test]
    async fn what_code_does_to_a_process_is_told_with_what_there_was_before() {
        for (sum, class, before) in [
            (100, FailureClass::Panic, Some(r#"{"euro":100}"#)),
            (200, FailureClass::Refused, Some(r#"{"euro":200}"#)),
            (300, FailureClass::NeverReturned, Some(r#"{"euro":300}"#)),
            (13, FailureClass::Panic, None),
        ] {
            let preview = look(&[sum], true).await;
            assert_eq!(preview.failure.unwrap().class, class, "{sum}");
            assert_eq!(preview.before.ok().as_deref(), before, "{sum}");
            assert!(preview.after.is_err(), "{sum}");
        }
    }

    #[tokio::test]
    async fn what_was_made_of_it_is_what_the_stream_says_and_not_what_code_says_now() {
        let (store, stream) = store(&[5, 6]).await;
        let runner = MigrationRunner::new(registry(true), store.clone(), store.clone());
        assert!(runner.run().await.is_ok());
        let head = store.head(&stream).await.unwrap().unwrap();
        let event = store.read_all(&stream, 2, 1).await.unwrap().remove(0);
        let mut baseline = Baseline::from_event(&event).unwrap();
        let deadline = Duration::from_secs(10);
        let look = async |baseline: &Baseline| {
            let registry = registry(true);
            past_migration(
                &store,
                &registry,
                &stream,
                &head,
                (0, 2),
                baseline,
                deadline,
            )
            .await
            .unwrap()
        };
        let preview = look(&baseline).await;
        assert_eq!(preview.before.unwrap(), r#"{"euro":11}"#);
        assert_eq!(preview.after.unwrap(), r#"{"cents":1100}"#);

        baseline.from = "0".to_owned();
        let preview = look(&baseline).await;
        let why = preview.before.unwrap_err();
        assert!(why.contains("no migration from sum@0"), "{why}");
        assert_eq!(preview.after.unwrap(), r#"{"cents":1100}"#);
    }
}
