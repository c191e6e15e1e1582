//! A word that stands in states, events and snapshots only is looked for in all
//! that a run says of itself.

use std::fmt::{self, Debug, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use state_migration::{
    ConversionError, FailureClass, MemoryStore, MigrationRegistry, MigrationReport,
    MigrationRunner, NewEvent, Process, ProcessId, ProcessIdentity, RunState, SlateDbStore,
    Snapshot, TenantId, WorkflowId,
};
use state_migration_tests::scripted_workflow::{
    Job, JobEvent, JobV1, JobV2, REFUSED_BY_UPCAST, Store, Upgrade, append, event, put_fated,
    stream,
};
use state_migration_tests::secrets::{SECRET, is_silent};
use state_migration_tests::stores::{OnDisk, page_of};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::listen;

/// Writes down all that anything says to `tracing`, at every level.
#[derive(Clone, Default)]
pub(crate) struct Heard(pub(crate) Arc<Mutex<String>>);

impl Visit for Heard {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = self.0.lock().unwrap();
        let _ = write!(text, " {}={value:?}", field.name());
    }
}

impl<S: Subscriber> Layer<S> for Heard {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attributes.record(&mut self.clone());
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut self.clone());
        self.0.lock().unwrap().push('\n');
    }
}

/// An error whose `Display` is for operators, and whose `Debug` tells all.
#[derive(Debug)]
struct Rejected {
    #[allow(dead_code)]
    state: Job,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fate is unknown to v2")
    }
}

impl std::error::Error for Rejected {}

const GOOD: u64 = 1;
const REFUSED: u64 = 2;
const COMPARED: u64 = 3;
const UNWRAPPED: u64 = 4;
const DIFFERENT: u64 = 5;
const WRONG_TYPE: u64 = 6;
const UNKNOWN: u64 = 7;
const OF_ANOTHER_LAYOUT: u64 = 8;
const CUT: u64 = 9;
const OF_A_BAD_SNAPSHOT: u64 = 10;
const SLICED: u64 = 11;

fn refused(job: &Job) -> Result<(), Job> {
    Err(job.clone())
}

/// A migration that goes wrong in every way that has a state at hand.
fn upgrade() -> Upgrade {
    let times = AtomicUsize::new(0);
    Upgrade::with(move |job| {
        match job.n {
            REFUSED => {
                let rejected = Rejected { state: job.clone() };
                return Err(ConversionError::from_error(rejected));
            }
            COMPARED => assert_eq!(job.fate, "another"),
            UNWRAPPED => refused(job).unwrap(),
            DIFFERENT => {
                let time = times.fetch_add(1, Ordering::SeqCst);
                job.fate.push_str(&time.to_string());
            }
            SLICED => assert!(job.fate[..99].is_empty()),
            _ => {}
        }
        Ok(())
    })
}

async fn put_all(store: &impl Store) {
    for n in GOOD..=SLICED {
        put_fated(store, n, SECRET).await.unwrap();
    }
    let raw = |schema, payload: String| {
        NewEvent::new(WorkflowId::of::<JobV1>(), "JobStep", schema, payload).unwrap()
    };
    for (n, schema, payload) in [
        (
            WRONG_TYPE,
            1,
            format!(r#"{{"Begun":{{"n":"{SECRET}, expected {SECRET}","fate":""}}}}"#),
        ),
        (UNKNOWN, 1, format!(r#"{{"{SECRET}":{{}}}}"#)),
        (OF_ANOTHER_LAYOUT, REFUSED_BY_UPCAST, format!("{SECRET:?}")),
    ] {
        append(store, &stream(n), vec![raw(schema, payload)])
            .await
            .unwrap();
    }
    let snapshot = Snapshot {
        stream_id: stream(OF_A_BAD_SNAPSHOT),
        sequence: 2,
        workflow_id: WorkflowId::of::<JobV1>(),
        state_schema_version: 1,
        state: format!(r#"{{"n":"{SECRET}"}}"#).into(),
    };
    store.save(&snapshot).await.unwrap();
    let key = [
        b"e",
        stream(CUT).as_str().as_bytes(),
        &[0, 1],
        &2_u64.to_be_bytes(),
    ]
    .concat();
    let rows = store.all_rows().await.unwrap();
    let row = rows.iter().find(|(at, _)| at[..] == key).unwrap().1.clone();
    let cut = [&row[..row.len() / 2], SECRET.as_bytes()].concat();
    store.put_row(key, cut).await.unwrap();
}

fn all_is_silent(what: &str, report: &MigrationReport) {
    is_silent(what, &format!("{report}\n{report:?}\n{report:#?}"));
    for error in &report.errors {
        is_silent(what, &format!("{error}\n{error:?}"));
    }
}

fn classes(report: &MigrationReport) -> Vec<(u64, FailureClass)> {
    let number = |id: &str| id.rsplit('/').next().unwrap().parse().unwrap();
    let errors = report.errors.iter();
    let mut all: Vec<_> = errors
        .map(|e| (number(&e.subject.to_string()), e.class))
        .collect();
    all.sort_by_key(|(n, _)| *n);
    all
}

/// What goes wrong with each, so that it is known that it did.
fn expected() -> Vec<(u64, FailureClass)> {
    vec![
        (REFUSED, FailureClass::Refused),
        (COMPARED, FailureClass::Panic),
        (UNWRAPPED, FailureClass::Panic),
        (DIFFERENT, FailureClass::NonDeterministic),
        (WRONG_TYPE, FailureClass::UndecodableEvent),
        (UNKNOWN, FailureClass::UnknownEventType),
        (OF_ANOTHER_LAYOUT, FailureClass::Upcast),
        (CUT, FailureClass::Corrupt),
        (SLICED, FailureClass::Panic),
    ]
}

fn identity<W: state_migration::Workflow>(n: u64) -> ProcessIdentity {
    let process = ProcessId::new(format!("{n:07}")).unwrap();
    ProcessIdentity::of::<W>(TenantId::new("yard").unwrap(), process)
}

async fn runs_are_silent(store: &impl Store) {
    put_all(store).await;
    let migrations = || {
        MigrationRegistry::builder()
            .with(upgrade())
            .build()
            .unwrap()
    };
    let runner = MigrationRunner::new(migrations(), store.clone(), store.clone());
    let dry = runner.dry_run().await;
    all_is_silent("a dry run", &dry);
    assert_eq!(classes(&dry), expected(), "{dry}");

    let runner = runner
        .check_determinism(true)
        .actor("ann")
        .reason("release 7");
    let control = runner.control();
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::DoneWithErrors), "{report}");
    assert_eq!(
        (report.migrated, classes(&report)),
        (2, expected()),
        "{report}"
    );
    all_is_silent("a run", &report);
    is_silent(
        "its progress",
        &format!("{control:?} {:?}", control.progress()),
    );
    is_silent("its plan", &format!("{0} {0:?}", runner.plan().unwrap()));
    let again = runner
        .retry(report.run.unwrap(), &[FailureClass::Panic])
        .await;
    assert_eq!(again.error_count, 3, "{again}");
    all_is_silent("a retry", &again);

    // What a run keeps of itself, byte for byte.
    let rows = store.all_rows().await.unwrap();
    let kept: Vec<_> = rows
        .iter()
        .filter(|(key, _)| key.starts_with(b"u"))
        .collect();
    assert!(kept.len() > expected().len());
    for (key, row) in kept {
        is_silent(
            "a row of a run",
            &format!("{}{}", key.escape_ascii(), row.escape_ascii()),
        );
    }
}

async fn code_that_loads_is_told_no_values(store: &impl Store) {
    for n in [WRONG_TYPE, UNKNOWN, OF_ANOTHER_LAYOUT, CUT] {
        let error = Process::<JobV1>::open(identity::<JobV1>(n), store.clone(), store.clone())
            .await
            .unwrap_err();
        is_silent("an error of loading", &format!("{error}\n{error:?}"));
    }
    let process = Process::<JobV2>::open(identity::<JobV2>(GOOD), store.clone(), store.clone());
    let process = process.await.unwrap();
    assert_eq!(process.state().fate, SECRET, "it is there");
    is_silent("a process", &format!("{process:?}"));

    let events = store.read_all(&stream(GOOD), 0, 9).await.unwrap();
    is_silent("an event", &format!("{events:?}"));
    let begun = JobEvent::Begun {
        n: 1,
        fate: SECRET.to_owned(),
    };
    is_silent(
        "a new event",
        &format!("{:?}", event("v1", &begun).unwrap()),
    );
    let snapshot = store.load(&stream(OF_A_BAD_SNAPSHOT)).await.unwrap();
    is_silent("a snapshot", &format!("{snapshot:?}"));
    let bad = NewEvent::new(WorkflowId::of::<JobV1>(), "JobStep", 1, SECRET).unwrap_err();
    is_silent("a payload that is refused", &format!("{bad} {bad:?}"));
    let transactional = store.transactional().unwrap();
    let page = page_of(&*transactional, vec![stream(REFUSED)]).await;
    let processes = page.unwrap().processes;
    assert_eq!(processes[0].events.len(), 2);
    is_silent("a process of a page", &format!("{processes:?}"));
}

async fn upgrade_errors_contain_no_values() {
    let registry = MigrationRegistry::builder()
        .with(upgrade())
        .build()
        .unwrap();
    let state = |n: &str| format!(r#"{{"n":{n},"fate":"{SECRET}","steps":0,"over":false}}"#);
    let upgraded = registry.upgrade("job", "v1", state("1")).unwrap();
    assert!(upgraded.state.contains(SECRET));
    is_silent("what was upgraded", &format!("{upgraded:?}"));
    for n in ["\"Xq7-wallflower\"", "2"] {
        let error = registry.upgrade("job", "v1", state(n)).unwrap_err();
        is_silent("an upgrade", &error.to_string());
    }
}

/// One test, since subscriber, recorder and all that is heard are of the program.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_a_state_do_not_appear_in_any_output() {
    let listening = listen().await;

    let memory = MemoryStore::new();
    runs_are_silent(&memory).await;
    code_that_loads_is_told_no_values(&memory).await;
    let disk = OnDisk::new().await.unwrap();
    let store: &SlateDbStore = &disk;
    runs_are_silent(store).await;
    code_that_loads_is_told_no_values(store).await;
    store.close().await.unwrap();

    let (events, snapshots) = (MemoryStore::new(), MemoryStore::new());
    put_all(&events).await;
    let runner = MigrationRunner::new(upgrade(), events.clone(), snapshots.clone());
    let report = runner.check_determinism(true).run().await;
    assert_eq!(
        (report.migrated, classes(&report)),
        (2, expected()),
        "{report}"
    );
    all_is_silent("a run over separate stores", &report);
    upgrade_errors_contain_no_values().await;

    let heard = listening.everything.0.lock().unwrap().clone();
    assert!(heard.contains("process failed"), "nothing is heard");
    is_silent("tracing", &heard);
    let metrics = listening.metrics.snapshot().into_vec();
    assert!(!metrics.is_empty());
    is_silent("a metric", &format!("{metrics:?}"));
}
