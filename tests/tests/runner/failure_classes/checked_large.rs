//! Large processes whose code runs twice, to check that it is deterministic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use state_migration::{
    ConversionError, EventPayload, ExpectedSequence, FailureClass, IdentityMigration, NewEvent,
    Selection, StateMigration, Workflow, WorkflowId,
};

use crate::failure_classes::fixture::{World, expect, in_form, stream};

in_form!(
    in_memory,
    in_memory,
    OneTransaction,
    a_large_process_that_is_written_to_is_migrated,
    code_that_gives_two_answers_to_is_finished_fails_its_process
);
in_form!(
    on_disk,
    on_disk,
    OneTransaction,
    a_large_process_that_is_written_to_is_migrated,
    code_that_gives_two_answers_to_is_finished_fails_its_process
);

/// An entry of a log.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    words: String,
}

impl EventPayload for Entry {
    fn event_type(&self) -> &'static str {
        "Written"
    }
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Log {
    entries: u64,
}

/// A log whose entries take long to fold.
struct Slow;

impl Workflow for Slow {
    const NAME: &'static str = "slow";
    const VERSION: &'static str = "v1";
    type State = Log;
    type Event = Entry;

    fn apply(log: Log, _: &Entry) -> Log {
        std::thread::sleep(Duration::from_micros(100));
        Log {
            entries: log.entries + 1,
        }
    }
}

/// A log that is finished every other time that it is asked, from `ANSWERS` on.
struct Wavering;

static ANSWERS: AtomicUsize = AtomicUsize::new(0);

impl Workflow for Wavering {
    const NAME: &'static str = "wavering";
    const VERSION: &'static str = "v1";
    type State = Log;
    type Event = Entry;

    fn apply(log: Log, _: &Entry) -> Log {
        Log {
            entries: log.entries + 1,
        }
    }

    fn is_finished(_: &Log) -> bool {
        ANSWERS.fetch_add(1, Ordering::SeqCst).is_multiple_of(2)
    }
}

struct WaveringV2;

impl Workflow for WaveringV2 {
    const NAME: &'static str = "wavering";
    const VERSION: &'static str = "v2";
    type State = Log;
    type Event = Entry;

    fn apply(log: Log, _: &Entry) -> Log {
        log
    }
}

static WAVERING: [WorkflowId; 2] = [WorkflowId::of::<Wavering>(), WorkflowId::of::<WaveringV2>()];

struct UpgradeWavering;

impl StateMigration for UpgradeWavering {
    type FromWorkflow = Wavering;
    type ToWorkflow = WaveringV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &WAVERING[0]
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &WAVERING[1]
    }

    fn migrate(&self, log: Log) -> Result<Log, ConversionError> {
        Ok(log)
    }
}

fn entries<W: Workflow<Event = Entry>>(count: usize) -> Vec<NewEvent> {
    let words = "x".repeat(1_000);
    let entry = || {
        NewEvent::of::<W>(&Entry {
            words: words.clone(),
        })
        .unwrap()
    };
    (0..count).map(|_| entry()).collect()
}

/// Entries come faster than the whole log is folded.
///
/// Fails if the second execution folds the whole log in each attempt.
async fn a_large_process_that_is_written_to_is_migrated(world: World) {
    world.append(&stream(1), entries::<Slow>(2_000)).await;
    let (events, stop) = (world.events.clone(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let writer = tokio::spawn(async move {
        let mut written = 0;
        while !stopped.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let head = events.head(&stream(1)).await.unwrap().unwrap();
            let expected = ExpectedSequence::Exact(head.sequence);
            let entry = entries::<Slow>(1);
            // Refused once the log is migrated.
            written += u64::from(events.append(&stream(1), expected, entry).await.is_ok());
        }
        written
    });
    let [from, to] = ["v1", "v2"].map(|version| WorkflowId::new("slow", version));
    let migration = IdentityMigration::<Slow>::new(from, to);
    let runner = world.runner(migration).check_determinism(true);
    let report = world.checked(runner.run().await);
    stop.store(true, Ordering::SeqCst);
    let written = writer.await.unwrap();
    expect(&report, 1, &[]);
    assert_eq!(report.large, 1, "{report}");
    assert!(written > 0, "the log was written to meanwhile");
    let events = world.all_events(&stream(1)).await;
    let baseline = state_migration::Baseline::from_event(events.last().unwrap()).unwrap();
    let state = format!(r#"{{"entries":{}}}"#, 2_000 + written);
    assert_eq!(baseline.state.get(), state);
}

/// Fails if two executions are compared only where both converted the process.
async fn code_that_gives_two_answers_to_is_finished_fails_its_process(world: World) {
    // A test has the answers for itself.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ALONE.lock().await;
    for (n, count) in [(1, 3), (2, 700)] {
        world.append(&stream(n), entries::<Wavering>(count)).await;
    }
    for first in [0, 1] {
        for n in [1, 2] {
            ANSWERS.store(first, Ordering::SeqCst);
            let runner = world.runner(UpgradeWavering).check_determinism(true);
            let selection = Selection::all().streams([stream(n)]).in_flight();
            let report = world.checked(runner.select(selection).run().await);
            assert_eq!((report.migrated, report.error_count), (0, 1), "{report}");
            let error = &report.errors[0];
            assert_eq!(error.class, FailureClass::NonDeterministic, "{error}");
            let what = "two executions gave different answers to `is_finished`";
            assert!(error.message.contains(what), "{error}");
        }
    }
}
