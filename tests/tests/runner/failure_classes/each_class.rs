//! Every way in which a process can stay behind has a name of its own, and
//! the others are migrated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use state_migration::{
    Appended, Error, Event, EventId, EventStore, ExpectedSequence, FailureClass, Head, MemoryStore,
    MigrationReport, MigrationRunner, NewEvent, RunState, Runs, SlateDbStore, Snapshot,
    SnapshotStore, Stage, StreamId, WorkflowId,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::orders::id;
use state_migration_tests::scripted_workflow::{
    JobEvent, JobV2, PANICS_IN_APPLY, REFUSED_BY_UPCAST, Store, Upgrade, append, event, put,
    put_at, put_fated, stream, version,
};
use state_migration_tests::size::size;
use state_migration_tests::stores::{OnDisk, event_key, head_key};

/// A panic that is printed with its backtrace takes a while, too.
const DEADLINE: Duration = Duration::from_secs(1);

/// A conversion that does what is fated.
fn by_fate() -> Upgrade {
    let calls = AtomicU64::new(0);
    Upgrade::with(move |job| {
        match job.fate.as_str() {
            "panics" => panic!("no way"),
            "is refused" => return Err("not this one".into()),
            "takes too long" => std::thread::sleep(DEADLINE + DEADLINE / 2),
            "never returns" => loop {
                std::thread::park();
            },
            "varies" => job.steps = 100 + calls.fetch_add(1, Ordering::SeqCst),
            _ => {}
        }
        Ok(())
    })
}

/// How a job is to fail.
struct Reason {
    n: u64,
    class: FailureClass,
    stage: Stage,
    sequence: Option<u64>,
    message: &'static str,
}

/// Puts jobs of every fate, with good ones in between: the even ones.
async fn put_all(store: &impl Store) -> Vec<Reason> {
    use FailureClass as Class;
    use Stage::{Converting, Folding, Reading, Routing};
    let reason = |n, class, stage, sequence, message| Reason {
        n,
        class,
        stage,
        sequence,
        message,
    };
    for n in (0..32).step_by(2) {
        put(store, n).await.unwrap();
    }
    put_fated(store, 1, PANICS_IN_APPLY).await.unwrap();
    put_fated(store, 3, "panics").await.unwrap();
    put_fated(store, 5, "is refused").await.unwrap();
    let v1 = WorkflowId::new("job", "v1");
    for (n, event_type, schema, payload) in [
        (7, "JobStep", REFUSED_BY_UPCAST, "\"Step\""),
        (9, "JobBegun", 1, r#"{"Begun":{"n":"many"}}"#),
        (11, "JobSold", 1, r#"{"Sold":{}}"#),
    ] {
        let bad = NewEvent::new(v1.clone(), event_type, schema, payload).unwrap();
        put(store, n).await.unwrap();
        append(store, &stream(n), vec![bad]).await.unwrap();
    }
    put_fated(store, 13, "takes too long").await.unwrap();
    put_fated(store, 15, "never returns").await.unwrap();
    put_fated(store, 17, "varies").await.unwrap();
    put_at(store, 19, "v0", "").await.unwrap();
    put_at(store, 21, "v1.5", "").await.unwrap();
    put_at(store, 23, "v3", "").await.unwrap();
    for n in [25, 27, 29] {
        put(store, n).await.unwrap();
    }
    let row = async |key: &[u8]| {
        let mut rows = store.rows().await.unwrap();
        rows.retain(|(at, _)| at[..] == *key);
        rows.remove(0).1.to_vec()
    };
    let head = head_key(&stream(25));
    let mut newer = row(&head).await;
    newer[0] = 3;
    store.put_row(head, newer).await.unwrap();
    let key = event_key(&stream(27), 2);
    let mut newer = row(&key).await;
    newer[0] = 3;
    store.put_row(key, newer).await.unwrap();
    let head = head_key(&stream(29));
    store.put_row(head, b"\x02?".to_vec()).await.unwrap();
    vec![
        reason(1, Class::Panic, Folding, Some(2), "a step too far"),
        reason(
            3,
            Class::Panic,
            Converting,
            None,
            "user code panicked: no way",
        ),
        reason(5, Class::Refused, Converting, None, "not this one"),
        reason(7, Class::Upcast, Folding, Some(3), "never released"),
        reason(
            9,
            Class::UndecodableEvent,
            Folding,
            Some(3),
            "cannot be decoded",
        ),
        reason(
            11,
            Class::UnknownEventType,
            Folding,
            Some(3),
            "unknown to the code",
        ),
        reason(
            13,
            Class::Deadline,
            Converting,
            None,
            "the deadline of 1000 ms",
        ),
        reason(15, Class::NeverReturned, Converting, None, "did not return"),
        reason(
            17,
            Class::NonDeterministic,
            Converting,
            None,
            "non-deterministic",
        ),
        reason(19, Class::MissingRoute, Routing, None, "job@v0"),
        reason(21, Class::UnknownVersion, Routing, None, "unknown version"),
        reason(
            23,
            Class::NewerThanProgram,
            Routing,
            None,
            "newer than all versions in this program",
        ),
        reason(25, Class::NewerFormat, Reading, None, "upgrade"),
        reason(27, Class::NewerFormat, Reading, None, "upgrade"),
        reason(29, Class::Corrupt, Reading, None, "from a backup"),
    ]
}

fn each_reason_is_named(report: &MigrationReport, reasons: &[Reason]) {
    assert_eq!(report.error_count, reasons.len(), "{report}");
    let errors: BTreeMap<_, _> = report.errors.iter().map(|e| (&e.subject, e)).collect();
    assert_eq!(errors.len(), reasons.len(), "each once: {report}");
    for reason in reasons {
        let error = errors
            .get(&state_migration::Subject::from(stream(reason.n)))
            .expect("it failed");
        assert_eq!(
            (error.class, error.stage, error.sequence),
            (reason.class, reason.stage, reason.sequence),
            "{error}"
        );
        assert!(error.message.contains(reason.message), "{error}");
    }
}

/// What a job that does not fail is to be like after a run.
async fn the_others_are_migrated(store: &impl Store, reasons: &[Reason]) {
    for n in (0..32).step_by(2) {
        assert_eq!(version(store, n).await.unwrap(), "v2");
    }
    for reason in reasons.iter().filter(|r| r.stage != Stage::Reading) {
        let version = version(store, reason.n).await.unwrap();
        let at = match reason.class {
            FailureClass::MissingRoute => "v0",
            FailureClass::UnknownVersion => "v1.5",
            FailureClass::NewerThanProgram => "v3",
            _ => "v1",
        };
        assert_eq!(version, at);
    }
}

/// On a runtime of its own, which must not wait for the thread that never returns.
fn on_a_runtime_of_its_own(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
    let began = Instant::now();
    drop(runtime);
    assert!(began.elapsed() < Duration::from_secs(5));
}

async fn parcels_and_an_odd_stream(store: &impl Store) {
    let parcel = NewEvent::new(WorkflowId::new("parcel", "v1"), "Sent", 1, "{}").unwrap();
    append(store, &stream(90), vec![parcel]).await.unwrap();
    let fate = String::new();
    let begun = event("v1", &JobEvent::Begun { n: 91, fate }).unwrap();
    append(store, &id("odd"), vec![begun]).await.unwrap();
    // Already there.
    put_at(store, 92, "v2", "").await.unwrap();
}

/// Takes out: any arm that gives a class (`class_of`, `no_route`, `Watch::over`,
/// `Code::run`, `convert::same`); `Code` on the runtime's own threads for
/// blocking work, and the runtime does not end.
#[test]
fn each_reason_has_its_name_in_one_transaction() {
    on_a_runtime_of_its_own(async {
        let disk = OnDisk::new().await.unwrap();
        let store = (*disk).clone();
        let reasons = put_all(&store).await;
        parcels_and_an_odd_stream(&store).await;
        let began = Instant::now();
        let report = by_fate()
            .runner(&store)
            .deadline(DEADLINE)
            .check_determinism(true)
            .count_up_to_date(true)
            .run()
            .await;
        assert!(began.elapsed() < Duration::from_secs(30));
        each_reason_is_named(&report, &reasons);
        assert_eq!(report.migrated, 16 + 1, "{report}");
        assert_eq!(report.unregistered, 1, "the odd stream");
        assert_eq!(report.skipped_by.other_workflow, 1, "{report}");
        assert_eq!(report.skipped_by.already_there, 1, "{report}");
        assert_eq!(report.skipped, 2);
        assert_eq!(report.state, Some(RunState::DoneWithErrors));
        the_others_are_migrated(&store, &reasons).await;
        let runs = Runs::of(&store).unwrap();
        let run = report.run.unwrap();
        let mut rows: Vec<_> = runs
            .failures(run, None, None, 100)
            .await
            .unwrap()
            .into_iter()
            .map(|failure| failure.error)
            .collect();
        let mut errors = report.errors.clone();
        rows.sort_by(|a, b| a.subject.cmp(&b.subject));
        errors.sort_by(|a, b| a.subject.cmp(&b.subject));
        assert_eq!(rows, errors);
        for reason in &reasons {
            let of_class = runs.failures(run, Some(reason.class), None, 100).await;
            let of_class = of_class.unwrap();
            assert!(
                of_class
                    .iter()
                    .any(|failure| failure.error.subject == stream(reason.n))
            );
        }
        let counts = runs.counts(run).await.unwrap();
        assert_eq!((counts.migrated, counts.failed), (17, reasons.len() as u64));
        assert_eq!(
            runs.get(run).await.unwrap().unwrap().state,
            RunState::DoneWithErrors
        );
    });
}

/// A store that also lists a stream which has no events.
#[derive(Clone)]
struct WithAnEmptyStream<S>(S);

#[async_trait]
impl<S: EventStore> EventStore for WithAnEmptyStream<S> {
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
        self.0.read_all(stream, after, limit).await
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
        let mut page = self.0.list_streams(prefix, after, limit - 1).await?;
        let empty: StreamId = id("empty");
        if after.is_none_or(|after| *after < empty) {
            page.insert(0, empty);
        }
        Ok(page)
    }
}

#[async_trait]
impl<S: SnapshotStore> SnapshotStore for WithAnEmptyStream<S> {
    async fn save(&self, snapshot: &Snapshot) -> Result<(), Error> {
        self.0.save(snapshot).await
    }
    async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, Error> {
        self.0.load(stream).await
    }
    async fn delete(&self, stream: &StreamId) -> Result<(), Error> {
        self.0.delete(stream).await
    }
}

/// Takes out: the same arms, which both forms share, and `Code` in `event_first::read`.
#[test]
fn each_reason_has_its_name_over_separate_handles() {
    on_a_runtime_of_its_own(async {
        let disk = OnDisk::new().await.unwrap();
        let store = (*disk).clone();
        let reasons = put_all(&store).await;
        parcels_and_an_odd_stream(&store).await;
        let apart = WithAnEmptyStream(Faulty::over(store.clone()));
        let report = MigrationRunner::new(by_fate(), apart.clone(), apart)
            .deadline(DEADLINE)
            .check_determinism(true)
            .run()
            .await;
        each_reason_is_named(&report, &reasons);
        assert_eq!(report.migrated, 16 + 1, "{report}");
        assert_eq!(report.unregistered, 1);
        assert_eq!(report.skipped_by.empty, 1, "{report}");
        assert_eq!(report.skipped_by.other_workflow, 1, "{report}");
        assert_eq!(report.skipped_by.already_there, 1, "{report}");
        assert_eq!(report.skipped, 3);
        assert_eq!(report.state, Some(RunState::DoneWithErrors));
        the_others_are_migrated(&store, &reasons).await;
    });
}

/// Only a full count reads the corrupt head of a process at the newest version. The
/// failure is recorded like all others.
///
/// Takes out: the rows for them at the end of `Execution::pass_all`.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_full_count_cannot_read_is_a_row_of_the_run_too() {
    let store = MemoryStore::new();
    for n in 0..4 {
        put_at(&store, n, "v2", "").await.unwrap();
        put(&store, 10 + n).await.unwrap();
    }
    for n in [2, 12] {
        store.put_raw(head_key(&stream(n)), &b"\x01?"[..]);
    }
    let report = Upgrade::new()
        .runner(&store)
        .count_up_to_date(true)
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (3, 2), "{report}");
    assert_eq!(report.state, Some(RunState::DoneWithErrors));
    let (runs, run) = (Runs::of(&store).unwrap(), report.run.unwrap());
    let failures = runs.failures(run, Some(FailureClass::Corrupt), None, 10);
    let streams: Vec<StreamId> = failures
        .await
        .unwrap()
        .into_iter()
        .filter_map(|failure| failure.stream().cloned())
        .collect();
    assert_eq!(streams, [stream(2), stream(12)]);
    let counts = runs.counts(run).await.unwrap();
    assert_eq!((counts.migrated, counts.failed), (3, 2));
}

/// Code that does not return while it is read back in a dry run is given up too.
#[test]
fn a_dry_run_names_the_same_reasons_and_writes_nothing() {
    on_a_runtime_of_its_own(async {
        let disk = OnDisk::new().await.unwrap();
        let store = (*disk).clone();
        let reasons = put_all(&store).await;
        let before = state_migration_tests::stores::dump_all(&store)
            .await
            .unwrap();
        let runner = by_fate().runner(&store).deadline(DEADLINE);
        let report = runner.dry_run().await;
        each_reason_is_named(&report, &reasons);
        assert_eq!(report.migrated, 16, "{report}");
        assert_eq!(report.state, Some(RunState::DoneWithErrors));
        let after = state_migration_tests::stores::dump_all(&store)
            .await
            .unwrap();
        assert_eq!(after, before);
    });
}

/// Takes out: `counts.large = 1` in `large::attempt`.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_process_is_migrated_and_counted_as_such() {
    let disk = OnDisk::new().await.unwrap();
    let store = (*disk).clone();
    for n in 0..3 {
        put(&store, n).await.unwrap();
    }
    // More than 512 KiB.
    let fate = "x".repeat(300);
    let steps: Vec<NewEvent> = (0..2_000)
        .map(|_| {
            let fate = fate.clone();
            event("v1", &JobEvent::Begun { n: 1, fate }).unwrap()
        })
        .collect();
    append(&store, &stream(1), steps).await.unwrap();
    let report = Upgrade::new().runner(&store).run().await;
    assert_eq!((report.migrated, report.large), (3, 1), "{report}");
    assert_eq!(report.state, Some(RunState::Done));
    let runs = Runs::of(&store).unwrap();
    let counts = runs.counts(report.run.unwrap()).await.unwrap();
    assert_eq!((counts.migrated, counts.large), (3, 1));
    assert!(counts.bytes > 512 << 10);
}

/// How much memory this process has held at most, in KiB.
fn high_water() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

const EVENTS: &str = "STATE_MIGRATION_EVENTS_OF_ONE_STREAM";
const FOLDER: &str = "STATE_MIGRATION_FOLDER_OF_ONE_STREAM";

/// Events of more bytes in all than the memory that the run may take.
///
/// The test fails if `large_process::read_on` reads all events in one page (memory grows with
/// the stream), or if a large process is part of a chunk (each append to it makes the
/// run retry the chunk).
#[tokio::test(flavor = "multi_thread")]
async fn a_very_long_stream_is_migrated_in_bounded_memory_while_it_grows() {
    let events: u64 = size(50_000, 1_000_000);
    let disk = OnDisk::new().await.unwrap();
    let began = Instant::now();
    fill_one_stream(&disk, events).await;
    disk.close().await.unwrap();
    let wrote = began.elapsed();
    // In a process of its own, since memory is measured.
    let (_, module) = module_path!().split_once("::").unwrap();
    let in_a_process_of_its_own = format!("{module}::in_a_process_of_its_own");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", &in_a_process_of_its_own])
        .args(["--nocapture", "--ignored"])
        .env(EVENTS, events.to_string())
        .env(FOLDER, disk.folder());
    let child = tokio::task::spawn_blocking(move || child.output());
    let child = child.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let cried = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}{cried}");
    assert!(said.contains("1 passed"), "{said}{cried}");
    println!("written in {wrote:?}; {said}");
}

async fn fill_one_stream(store: &SlateDbStore, events: u64) {
    const BATCH: u64 = 5_000;
    put(store, 1).await.unwrap();
    // More in all than the memory that the run may take.
    let padding = usize::try_from((128 << 20) / events).unwrap();
    let payload = format!("\"Step\"{}", " ".repeat(padding));
    let step = NewEvent::new(WorkflowId::new("job", "v1"), "JobStep", 1, payload).unwrap();
    let mut written = 2;
    while written < events {
        let batch = BATCH.min(events - written);
        let steps = (0..batch).map(|_| step.clone().with_event_id(EventId::random()));
        let expected = ExpectedSequence::Exact(written);
        let _ = store
            .append_unflushed(&stream(1), expected, steps.collect())
            .await
            .unwrap();
        written += batch;
        if written % 50_000 < BATCH {
            store.flush().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "part of the test above, which starts it"]
async fn in_a_process_of_its_own() {
    let events: u64 = std::env::var(EVENTS).unwrap().parse().unwrap();
    let folder = std::env::var(FOLDER).unwrap();
    let store = SlateDbStore::open_local(folder).await.unwrap();
    // What SlateDB itself keeps: its cache of blocks, filled by what is counted
    // here and does not follow the stream.
    let warm = store.read_all(&stream(1), 0, 1).await.unwrap();
    assert_eq!(warm.len(), 1);
    migrate_one_stream(store, events).await;
}

async fn step_now_and_then(store: SlateDbStore, stop: Arc<AtomicBool>) -> u64 {
    let mut appended = 0;
    while !stop.load(Ordering::SeqCst) {
        let step = event("v1", &JobEvent::Step).unwrap();
        match append(&store, &stream(1), vec![step]).await {
            Ok(()) => appended += 1,
            Err(error) if error.is_conflict() => {}
            // It has moved.
            Err(_) => return appended,
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    appended
}

async fn migrate_one_stream(store: SlateDbStore, events: u64) {
    let before = high_water();
    let stop = Arc::new(AtomicBool::new(false));
    let appends = tokio::spawn(step_now_and_then(store.clone(), stop.clone()));
    let began = Instant::now();
    let report = Upgrade::new()
        .runner(&store)
        .deadline(Duration::from_secs(60))
        .run()
        .await;
    let took = began.elapsed();
    stop.store(true, Ordering::SeqCst);
    let appended = appends.await.unwrap();
    let after = high_water();
    assert_eq!((report.migrated, report.large), (1, 1), "{report}");
    assert_eq!(report.state, Some(RunState::Done));
    assert!(appended > 0, "somebody wrote to it all the while");
    let process = state_migration::Process::<JobV2>::open(
        state_migration::ProcessIdentity::of::<JobV2>(id("yard"), id("0000001")),
        store.clone(),
        store.clone(),
    );
    let process = process.await.unwrap();
    assert_eq!(process.state().steps, events - 1 + appended);
    let head = store.head(&stream(1)).await.unwrap().unwrap();
    assert_eq!(head.sequence, events + appended + 1);
    println!(
        "{events} events migrated in {took:?}; {appended} more meanwhile; {before:?} KiB, then \
         {after:?} KiB"
    );
    if let (Some(before), Some(after)) = (before, after) {
        let rise = after.saturating_sub(before);
        // A longer stream fills SlateDB's caches, which hold 128 MiB at most
        // however long it is, and less than the stream.
        let caches = if events > 200_000 { 128 << 10 } else { 0 };
        assert!(rise < (64 << 10) + caches, "{rise} KiB more");
    }
}
