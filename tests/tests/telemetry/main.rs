//! The telemetry of a run, received by a real subscriber of `tracing` and a real
//! recorder of `metrics`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod secrets;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use state_migration::telemetry::{
    CHUNK_SECONDS, COMMIT_SECONDS, CONFLICTS, DURABLE_SECONDS, PROCESSES_FAILED,
    PROCESSES_MIGRATED, PROCESSES_PER_SECOND, PROCESSES_SKIPPED, READ_BYTES, RUNS_ENDED,
};
use state_migration::{MemoryStore, MigrationRunner, RunState, Selection};
use state_migration_tests::scripted_workflow::{
    JobEvent, Upgrade, append, event, put, put_fated, stream,
};
use state_migration_tests::stores::OnDisk;
use tokio::sync::{Mutex as OneAtATime, MutexGuard};
use tokio::time::{sleep, timeout};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const PATIENCE: Duration = Duration::from_secs(60);

type Fields = BTreeMap<String, String>;

/// A span or an event.
#[derive(Debug, Clone, Default)]
struct Said {
    name: String,
    level: String,
    fields: Fields,
    /// The span that it is part of.
    within: Option<u64>,
}

impl Said {
    fn number(&self, field: &str) -> u64 {
        let text = self.fields.get(field);
        let text = text.unwrap_or_else(|| panic!("no {field} in {self:?}"));
        text.parse().unwrap()
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "message" => self.name = value,
            name => drop(self.fields.insert(name.to_owned(), value)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields
            .insert(field.name().to_owned(), value.to_owned());
    }
}

/// The spans, by id, and the events.
type SpansAndEvents = (BTreeMap<u64, Said>, Vec<Said>);

/// Keeps all that is said by the crate.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<SpansAndEvents>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Heard {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if metadata.target() != "state_migration" {
            return;
        }
        let parent = context.span(id).and_then(|span| span.parent());
        let mut said = Said {
            name: metadata.name().to_owned(),
            level: metadata.level().to_string(),
            within: parent.map(|parent| parent.id().into_u64()),
            ..Said::default()
        };
        attributes.record(&mut said);
        self.0.lock().unwrap().0.insert(id.into_u64(), said);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        if let Some(said) = self.0.lock().unwrap().0.get_mut(&id.into_u64()) {
            values.record(said);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != "state_migration" {
            return;
        }
        let mut said = Said {
            level: event.metadata().level().to_string(),
            within: context.event_span(event).map(|span| span.id().into_u64()),
            ..Said::default()
        };
        event.record(&mut said);
        self.0.lock().unwrap().1.push(said);
    }
}

/// What was said while one test had the program for itself.
struct Listening {
    heard: Heard,
    /// All of it, as text, at every level.
    everything: secrets::Heard,
    metrics: &'static Snapshotter,
    _alone: MutexGuard<'static, ()>,
}

/// Subscriber and recorder are of the program, so one test listens at a time.
async fn listen() -> Listening {
    static ALONE: OneAtATime<()> = OneAtATime::const_new(());
    static SET: OnceLock<(Heard, secrets::Heard, Snapshotter)> = OnceLock::new();
    let alone = ALONE.lock().await;
    let (heard, everything, metrics) = SET.get_or_init(|| {
        let (heard, everything) = (Heard::default(), secrets::Heard::default());
        let subscriber = tracing_subscriber::registry();
        let subscriber = subscriber.with(heard.clone()).with(everything.clone());
        tracing::subscriber::set_global_default(subscriber).unwrap();
        let recorder = DebuggingRecorder::new();
        let metrics = recorder.snapshotter();
        recorder.install().unwrap();
        state_migration::telemetry::describe();
        (heard, everything, metrics)
    });
    *heard.0.lock().unwrap() = Default::default();
    everything.0.lock().unwrap().clear();
    // Counters and histograms start anew with each snapshot.
    let _ = metrics.snapshot();
    Listening {
        heard: heard.clone(),
        everything: everything.clone(),
        metrics,
        _alone: alone,
    }
}

impl Listening {
    fn spans(&self, name: &str) -> Vec<(u64, Said)> {
        let spans = self.heard.0.lock().unwrap().0.clone();
        spans
            .into_iter()
            .filter(|(_, said)| said.name == name)
            .collect()
    }

    fn events(&self, name: &str) -> Vec<Said> {
        let events = self.heard.0.lock().unwrap().1.clone();
        events
            .into_iter()
            .filter(|said| said.name == name)
            .collect()
    }

    fn all_text(&self) -> String {
        format!("{:?}", self.heard.0.lock().unwrap())
    }

    /// Every metric since the last look, as `name{label=value}`.
    fn metrics(&self) -> BTreeMap<String, DebugValue> {
        let all = self.metrics.snapshot().into_vec();
        let ours = all
            .into_iter()
            .filter(|(key, ..)| key.key().name().starts_with("state_migration_"));
        ours.map(|(key, unit, text, value)| {
            assert!(unit.is_some() && text.is_some(), "{key:?} is not described");
            let is_counter = key.kind() == MetricKind::Counter;
            let (_, key) = key.into_parts();
            assert_eq!(key.name().ends_with("_total"), is_counter, "{key:?}");
            let labels: Vec<String> = key
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            (format!("{}{{{}}}", key.name(), labels.join(",")), value)
        })
        .collect()
    }
}

/// How often something was counted, or measured.
fn count(metrics: &BTreeMap<String, DebugValue>, name: &str, labels: &str) -> u64 {
    match metrics.get(&format!("{name}{{{labels}}}")) {
        None => 0,
        Some(DebugValue::Counter(count)) => *count,
        Some(DebugValue::Histogram(measured)) => {
            assert!(
                measured
                    .iter()
                    .all(|seconds| (0.0..60.0).contains(&seconds.0))
            );
            measured.len() as u64
        }
        Some(other) => panic!("{name} is {other:?}"),
    }
}

#[test]
fn the_docs_name_every_metric() {
    let docs = include_str!("../../../docs/telemetry.md");
    let names = [
        PROCESSES_MIGRATED,
        PROCESSES_FAILED,
        PROCESSES_SKIPPED,
        READ_BYTES,
        CONFLICTS,
        CHUNK_SECONDS,
        COMMIT_SECONDS,
        DURABLE_SECONDS,
        PROCESSES_PER_SECOND,
        RUNS_ENDED,
    ];
    for name in names {
        assert!(docs.contains(&format!("| `{name}` |")), "{name}");
    }
    assert_eq!(docs.matches("| `state_migration_").count(), names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_a_store_tells_what_it_does() {
    const JOBS: u64 = 300;
    let disk = OnDisk::new().await.unwrap();
    for n in 0..JOBS {
        put_fated(&*disk, n, "a secret fate").await.unwrap();
    }
    let listening = listen().await;
    let upgrade = Upgrade::with(|job| match job.n.is_multiple_of(50) {
        true => Err("not this secret one".into()),
        false => Ok(()),
    });
    let runner = upgrade.runner(&*disk).chunk_processes(40);
    let report = runner.run().await;
    assert_eq!((report.migrated, report.error_count), (294, 6), "{report}");
    let run = report.run.unwrap().to_string();

    let spans = listening.spans("run");
    let [(of_run, span)] = spans.as_slice() else {
        panic!("{spans:?}")
    };
    assert_eq!(span.level, Level::INFO.as_str());
    for (field, value) in [
        ("run", run.as_str()),
        ("kind", "migrate"),
        ("dry_run", "false"),
        ("selection", "everything"),
        ("state", "done_with_errors"),
        ("migrated", "294"),
        ("failed", "6"),
        ("skipped", "0"),
        ("conflicts", "0"),
    ] {
        assert_eq!(span.fields.get(field).unwrap(), value, "{field}");
    }
    let chunks = listening.spans("chunk");
    assert!(chunks.len() >= JOBS as usize / 40, "{}", chunks.len());
    let sum = |field: &str| {
        chunks
            .iter()
            .map(|(_, chunk)| chunk.number(field))
            .sum::<u64>()
    };
    assert_eq!(
        ["processes", "migrated", "failed", "skipped", "conflicts"].map(sum),
        [300, 294, 6, 0, 0]
    );
    for (_, chunk) in &chunks {
        assert_eq!(chunk.within, Some(*of_run));
        assert_eq!(chunk.fields["workflow"], "job");
        assert_eq!(chunk.level, Level::INFO.as_str());
    }
    let processes = listening.spans("process");
    assert_eq!(processes.len(), 300);
    let chunk_of = |id: u64| chunks.iter().any(|(chunk, _)| *chunk == id);
    for (_, process) in &processes {
        assert!(chunk_of(process.within.unwrap()), "{process:?}");
        assert_eq!(process.fields["from"], "v1");
        assert_eq!(process.level, Level::DEBUG.as_str());
    }
    let mut failed: Vec<String> = Vec::new();
    for event in listening.events("process failed") {
        assert_eq!(event.level, Level::WARN.as_str());
        assert_eq!(event.within, Some(*of_run));
        assert_eq!(event.fields["stage"], "converting");
        assert_eq!(event.fields["class"], "refused");
        failed.push(event.fields["stream"].clone());
    }
    failed.sort();
    let refused: Vec<String> = (0..6).map(|n| stream(n * 50).to_string()).collect();
    assert_eq!(failed, refused);
    assert_eq!(listening.events("run began")[0].fields["run"], run);
    assert_eq!(listening.events("run ended")[0].fields["migrated"], "294");
    assert!(!listening.all_text().contains("secret"));

    let metrics = listening.metrics();
    assert_eq!(count(&metrics, PROCESSES_MIGRATED, "workflow=job"), 294);
    let refused = "workflow=job,class=refused";
    assert_eq!(count(&metrics, PROCESSES_FAILED, refused), 6);
    let bytes = runner.control().progress().counts.bytes;
    assert!(bytes > 300 * 10);
    assert_eq!(count(&metrics, READ_BYTES, ""), bytes);
    assert_eq!(sum("bytes"), bytes);
    assert_eq!(count(&metrics, CHUNK_SECONDS, ""), chunks.len() as u64);
    // The end of a range is committed too.
    assert!(count(&metrics, COMMIT_SECONDS, "") >= chunks.len() as u64);
    assert!(count(&metrics, DURABLE_SECONDS, "") >= 1);
    assert_eq!(count(&metrics, CONFLICTS, ""), 0);
    assert_eq!(count(&metrics, RUNS_ENDED, "state=done_with_errors"), 1);
    let rate = &metrics[&format!("{PROCESSES_PER_SECOND}{{}}")];
    assert_eq!(*rate, DebugValue::Gauge(0.0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_traced_and_not_counted() {
    let store = MemoryStore::new();
    for n in 0..10 {
        put(&store, n).await.unwrap();
    }
    let listening = listen().await;
    let report = Upgrade::refusing(|n| n == 3).runner(&store).dry_run().await;
    assert_eq!((report.migrated, report.error_count), (9, 1));
    let spans = listening.spans("run");
    assert_eq!(spans[0].1.fields["dry_run"], "true");
    assert_eq!(spans[0].1.fields["migrated"], "9");
    assert_eq!(listening.events("process failed").len(), 1);
    // What is there is of an earlier test, and did not change.
    for (name, value) in listening.metrics() {
        let is_still = match &value {
            DebugValue::Counter(count) => *count == 0,
            DebugValue::Gauge(_) => true,
            DebugValue::Histogram(measured) => measured.is_empty(),
        };
        assert!(is_still, "{name} {value:?}");
    }
}

/// Somebody appends to a process while it is converted: its chunk is read again.
#[tokio::test(flavor = "multi_thread")]
async fn conflicts_and_skipped_processes_are_counted() {
    let store = MemoryStore::new();
    for n in 0..10 {
        put(&store, n).await.unwrap();
    }
    let listening = listen().await;
    let (runtime, appended) = (tokio::runtime::Handle::current(), AtomicBool::new(false));
    let in_between = store.clone();
    let upgrade = Upgrade::with(move |job| {
        if job.n == 7 && !appended.swap(true, Ordering::SeqCst) {
            let step = event("v1", &JobEvent::Step).unwrap();
            runtime
                .block_on(append(&in_between, &stream(7), vec![step]))
                .unwrap();
        }
        Ok(())
    });
    let selection = Selection::all().percent(99.99);
    let report = upgrade.runner(&store).select(selection).run().await;
    assert_eq!(report.migrated, 10, "{report}");
    let conflicts = listening.events("conflict");
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    let chunks = listening.spans("chunk");
    let in_vain = chunks
        .iter()
        .filter(|(_, chunk)| chunk.number("conflicts") == 1);
    assert_eq!(in_vain.count(), 1);
    assert_eq!(listening.spans("run")[0].1.fields["conflicts"], "1");
    let metrics = listening.metrics();
    assert_eq!(count(&metrics, CONFLICTS, ""), 1);
    assert_eq!(count(&metrics, PROCESSES_MIGRATED, "workflow=job"), 10);

    // Full counts look at those that need nothing.
    let report = Upgrade::new()
        .runner(&store)
        .count_up_to_date(true)
        .run()
        .await;
    assert_eq!(report.skipped_by.already_there, 10);
    let metrics = listening.metrics();
    assert_eq!(
        count(&metrics, PROCESSES_SKIPPED, "reason=already_there"),
        10
    );
    assert_eq!(count(&metrics, PROCESSES_MIGRATED, "workflow=job"), 0);
    assert_eq!(count(&metrics, RUNS_ENDED, "state=done"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_and_refusals_are_told() {
    let store = MemoryStore::new();
    for n in 0..40 {
        put(&store, n).await.unwrap();
    }
    let listening = listen().await;
    let slow = Upgrade::with(|_| {
        std::thread::sleep(Duration::from_millis(5));
        Ok(())
    });
    let runner = Arc::new(slow.runner(&store).chunk_processes(1));
    let control = runner.control();
    control.pause();
    let run = tokio::spawn({
        let runner = runner.clone();
        async move { runner.run().await }
    });
    let paused = async {
        while control.progress().state != RunState::Paused {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, paused).await.unwrap();
    // The store is claimed, and this one is told so.
    let refused = Upgrade::new().runner(&store).run().await;
    assert!(!refused.is_ok());
    control.unpause();
    assert_eq!(run.await.unwrap().migrated, 40);
    let refusals = listening.events("run refused");
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].level, Level::WARN.as_str());
    assert!(
        refusals[0].fields["reason"].contains("claim")
            || refusals[0].fields["reason"].contains("run")
    );
    assert_eq!(listening.events("run paused").len(), 1);
    assert_eq!(listening.events("run continues").len(), 1);
    assert_eq!(listening.spans("run").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_separate_stores_the_same_is_counted() {
    let (events, snapshots) = (MemoryStore::new(), MemoryStore::new());
    for n in 0..10 {
        put(&events, n).await.unwrap();
    }
    let listening = listen().await;
    let upgrade = Upgrade::refusing(|n| n == 3);
    let report = MigrationRunner::new(upgrade, events, snapshots).run().await;
    assert_eq!((report.migrated, report.error_count), (9, 1), "{report}");
    let span = &listening.spans("run")[0].1;
    assert_eq!(
        (&span.fields["state"][..], &span.fields["migrated"][..]),
        ("done_with_errors", "9")
    );
    assert_eq!(listening.spans("process").len(), 10);
    let metrics = listening.metrics();
    assert_eq!(count(&metrics, PROCESSES_MIGRATED, "workflow=job"), 9);
    assert_eq!(
        count(&metrics, PROCESSES_FAILED, "workflow=job,class=refused"),
        1
    );
    assert_eq!(count(&metrics, RUNS_ENDED, "state=done_with_errors"), 1);
}
