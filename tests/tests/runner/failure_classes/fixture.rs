//! A store with orders in it, and a runner over it in one of the two forms.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use state_migration::{
    CommitMode, Error, Event, EventStore, ExpectedSequence, FailureClass, Head, MemoryStore,
    MigrationError, MigrationRegistry, MigrationReport, MigrationRunner, NewEvent, Process,
    ProcessRegistry, SnapshotStore, Stage, StreamId, Workflow, WorkflowId,
};
use state_migration_tests::faulty::{Faults, Faulty};
use state_migration_tests::orders::{self, OrderV1, identity};
use state_migration_tests::stores::{OnDisk, Rows};

/// Runs each scenario in both forms over both stores.
macro_rules! in_both_forms {
    ($($scenario:ident),+ $(,)?) => {
        $crate::failure_classes::fixture::in_form!(one_transaction_in_memory, in_memory, OneTransaction, $($scenario),+);
        $crate::failure_classes::fixture::in_form!(one_transaction_on_disk, on_disk, OneTransaction, $($scenario),+);
        $crate::failure_classes::fixture::in_form!(event_first_in_memory, in_memory, EventFirst, $($scenario),+);
        $crate::failure_classes::fixture::in_form!(event_first_on_disk, on_disk, EventFirst, $($scenario),+);
    };
}
pub(crate) use in_both_forms;

macro_rules! in_form {
    ($module:ident, $store:ident, $form:ident, $($scenario:ident),+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $scenario() {
                    let form = state_migration::CommitMode::$form;
                    super::$scenario($crate::failure_classes::fixture::World::$store(form).await).await;
                }
            )+
        }
    };
}
pub(crate) use in_form;

pub(crate) struct World {
    pub(crate) form: CommitMode,
    /// What the runner is given.
    runner_events: Arc<dyn EventStore>,
    runner_snapshots: Arc<dyn SnapshotStore>,
    /// What fails of it; nothing ever does in one transaction.
    pub(crate) faults: Arc<Faults>,
    /// The store itself.
    pub(crate) events: Arc<dyn EventStore>,
    pub(crate) snapshots: Arc<dyn SnapshotStore>,
    pub(crate) registry: Arc<dyn ProcessRegistry>,
    rows: Arc<dyn Rows + Send + Sync>,
    on_disk: Option<OnDisk>,
}

impl World {
    pub(crate) async fn in_memory(form: CommitMode) -> Self {
        Self::over(MemoryStore::new(), form, None)
    }

    pub(crate) async fn on_disk(form: CommitMode) -> Self {
        let store = OnDisk::new().await.unwrap();
        Self::over((*store).clone(), form, Some(store))
    }

    fn over<S>(store: S, form: CommitMode, on_disk: Option<OnDisk>) -> Self
    where
        S: EventStore + SnapshotStore + ProcessRegistry + Rows + Clone + 'static,
    {
        let faulty = Faulty::over(store.clone());
        let faults = faulty.faults.clone();
        let (runner_events, runner_snapshots): (Arc<dyn EventStore>, Arc<dyn SnapshotStore>) =
            match form {
                CommitMode::EventFirst => (Arc::new(faulty.clone()), Arc::new(faulty)),
                _ => (Arc::new(store.clone()), Arc::new(store.clone())),
            };
        Self {
            form,
            runner_events,
            runner_snapshots,
            faults,
            events: Arc::new(store.clone()),
            snapshots: Arc::new(store.clone()),
            registry: Arc::new(store.clone()),
            rows: Arc::new(store),
            on_disk,
        }
    }

    pub(crate) fn is_one_transaction(&self) -> bool {
        self.form == CommitMode::OneTransaction
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.on_disk.is_none()
    }

    /// The number of orders of a scenario: in memory enough for several in a chunk, on
    /// disk a few.
    pub(crate) fn crowd(&self) -> u64 {
        if self.is_in_memory() { 200 } else { 8 }
    }

    /// A runner in this world's form.
    pub(crate) fn runner<M: state_migration::Migrations>(
        &self,
        migrations: M,
    ) -> MigrationRunner<M, Arc<dyn EventStore>, Arc<dyn SnapshotStore>> {
        let (events, snapshots) = (&self.runner_events, &self.runner_snapshots);
        MigrationRunner::new(migrations, events.clone(), snapshots.clone())
    }

    /// A run along all migrations of orders that are linked.
    pub(crate) async fn run(&self) -> MigrationReport {
        self.checked(self.runner(linked()).run().await)
    }

    /// A report, if it names this world's form.
    pub(crate) fn checked(&self, report: MigrationReport) -> MigrationReport {
        assert_eq!(report.form, Some(self.form));
        // A run that finds no due process leaves no record.
        assert!(report.run.is_some() || report.migrated + report.error_count == 0);
        report
    }

    pub(crate) async fn place(&self, orders: impl IntoIterator<Item = u64>) {
        for n in orders {
            orders::place(&self.events, &self.snapshots, n)
                .await
                .unwrap();
        }
    }

    pub(crate) async fn append(&self, stream: &StreamId, events: Vec<NewEvent>) {
        let expected = match self.events.head(stream).await.unwrap() {
            Some(head) => ExpectedSequence::Exact(head.sequence),
            None => ExpectedSequence::NoStream,
        };
        self.events.append(stream, expected, events).await.unwrap();
    }

    pub(crate) async fn head(&self, stream: &StreamId) -> Head {
        self.events.head(stream).await.unwrap().unwrap()
    }

    pub(crate) async fn all_events(&self, stream: &StreamId) -> Vec<Event> {
        self.events.read_all(stream, 0, usize::MAX).await.unwrap()
    }

    pub(crate) async fn load<W>(&self, n: u64) -> Result<W::State, Error>
    where
        W: Workflow<State: DeserializeOwned>,
    {
        let (events, snapshots) = (self.events.clone(), self.snapshots.clone());
        let process = Process::<W>::open(identity::<W>(n), events, snapshots).await?;
        Ok(process.state().clone())
    }

    pub(crate) async fn rows(&self) -> Vec<(Bytes, Bytes)> {
        self.rows.rows().await.unwrap()
    }

    /// The rows of one process: its events, head, snapshot and place in the index.
    pub(crate) async fn rows_of(&self, stream: &StreamId) -> Vec<(Bytes, Bytes)> {
        let id = stream.as_str().as_bytes();
        let mut rows = self.rows().await;
        rows.retain(|(key, _)| key.windows(id.len()).any(|part| part == id));
        rows
    }

    pub(crate) async fn row(&self, key: &[u8]) -> Vec<u8> {
        let rows = self.rows().await;
        let row = rows.into_iter().find(|(k, _)| k == key);
        row.expect("the row is there").1.to_vec()
    }

    pub(crate) async fn put_row(&self, key: Vec<u8>, value: impl Into<Vec<u8>>) {
        self.rows.put_row(key, value.into()).await.unwrap();
    }

    /// Removes a row, where the store lets one.
    pub(crate) async fn remove_row(&self, key: &[u8]) -> bool {
        let Some(store) = &self.on_disk else {
            return false;
        };
        store.db().delete(key).await.unwrap();
        store.flush().await.unwrap();
        true
    }

    /// Runs, and runs again: what fails fails in the same way both times and
    /// is as it was, and what does not is migrated by the first run.
    pub(crate) async fn migrates_all_but<M: state_migration::Migrations>(
        &self,
        migrations: M,
        migrated: usize,
        failures: &[Failure],
    ) {
        let mut before = Vec::new();
        for failure in failures {
            before.push(self.rows_of(&failure.stream).await);
        }
        let runner = self.runner(migrations);
        let report = self.checked(runner.run().await);
        expect(&report, migrated, failures);
        let after_first = self.rows().await;

        let report = self.checked(runner.run().await);
        expect(&report, 0, failures);
        assert_eq!(self.rows().await, after_first, "the second run wrote");

        for (failure, before) in failures.iter().zip(before) {
            let stream = &failure.stream;
            assert_eq!(self.rows_of(stream).await, before, "{stream} changed");
        }
    }
}

/// A failure that a report is to name.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) stream: StreamId,
    pub(crate) stage: Stage,
    pub(crate) sequence: Option<u64>,
    pub(crate) class: Option<FailureClass>,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn of(n: u64, stage: Stage, message: impl Into<String>) -> Self {
        Self {
            stream: stream(n),
            stage,
            sequence: None,
            class: None,
            message: message.into(),
        }
    }

    pub(crate) fn class(mut self, class: FailureClass) -> Self {
        self.class = Some(class);
        self
    }

    pub(crate) fn at(mut self, sequence: u64) -> Self {
        self.sequence = Some(sequence);
        self
    }

    fn matches(&self, error: &MigrationError) -> bool {
        // The sequence number of an event that cannot be read is in the message.
        let at = error.stage == Stage::Reading || error.sequence == self.sequence;
        let message = match error.stage {
            // What to do about user code may follow what it did.
            Stage::Folding | Stage::Converting | Stage::Encoding => {
                error.message.starts_with(&self.message)
            }
            _ => error.message == self.message,
        };
        let class = self.class.is_none_or(|class| error.class == class);
        error.subject == self.stream && error.stage == self.stage && at && class && message
    }
}

/// Checks that a report holds these failures, each once, and nothing else went wrong.
pub(crate) fn expect(report: &MigrationReport, migrated: usize, failures: &[Failure]) {
    assert_eq!(report.migrated, migrated, "{report}");
    assert_eq!(report.error_count, failures.len(), "{report}");
    assert_eq!(report.errors.len(), failures.len(), "{report}");
    assert_eq!(report.is_ok(), failures.is_empty());
    assert_eq!(report.warning_count, 0, "{report}");
    let named: BTreeSet<_> = report.errors.iter().map(|e| &e.subject).collect();
    assert_eq!(named.len(), failures.len(), "{report}");
    for failure in failures {
        let error = report.errors.iter().find(|e| e.subject == failure.stream);
        let error = error.unwrap_or_else(|| panic!("no error for {failure:?}: {report}"));
        assert!(failure.matches(error), "{error:?} is not {failure:?}");
    }
}

/// All migrations of orders: v1 to v2 to v3.
pub(crate) fn linked() -> MigrationRegistry {
    MigrationRegistry::builder()
        .with(orders::OrderV1ToV2Migration)
        .with(orders::OrderV2ToV3Migration)
        .build()
        .unwrap()
}

pub(crate) fn stream(n: u64) -> StreamId {
    identity::<OrderV1>(n).stream_id().clone()
}

/// The state of order `n` when it has gone from v1 to v3.
pub(crate) fn converted(n: u64) -> orders::StateV3 {
    let v2 = orders::order_v1_to_v2(orders::folded::<OrderV1>(n));
    orders::order_v2_to_v3(v2).unwrap()
}

/// An event from its parts, as code of `W` might have written it.
pub(crate) fn event<W: Workflow>(
    event_type: &'static str,
    schema_version: u32,
    payload: impl Into<Bytes>,
) -> NewEvent {
    NewEvent::new(WorkflowId::of::<W>(), event_type, schema_version, payload).unwrap()
}
