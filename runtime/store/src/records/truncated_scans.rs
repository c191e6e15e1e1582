//! Tests of runs in which one scan of the engine ends early without an error.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use state_migration_core::{
    Error, EventPayload, EventStore, ExpectedSequence, IdentityMigration, NewEvent, ProcessId,
    ProcessIdentity, ProcessRegistry, RegistryKey, RunId, StoreId, TenantId, Workflow, WorkflowId,
};
use state_migration_runner::{MigrationReport, MigrationRunner, RunState};

use crate::key::KeyRange;
use crate::kv::{Kv, KvScan, KvTxn, RowsRead};
use crate::memory::{MemoryKv, MemoryScan, MemoryTxn};
use crate::records::RecordStore;

/// The scan that ends early, and the number of rows before its end.
struct ScanCut {
    table: u8,
    rows: usize,
    /// The number of scans of the table before that one.
    before: AtomicUsize,
    /// Whether that scan has happened.
    met: AtomicBool,
    /// Whether the scan omitted a row that was read.
    left_out: AtomicBool,
}

impl ScanCut {
    fn new(table: u8, rows: usize, before: usize) -> Arc<Self> {
        Arc::new(Self {
            table,
            rows,
            before: AtomicUsize::new(before),
            met: AtomicBool::new(false),
            left_out: AtomicBool::new(false),
        })
    }
}

#[derive(Clone)]
struct CutKv {
    inner: MemoryKv,
    cut: Arc<ScanCut>,
}

impl Kv for CutKv {
    type Txn = CutTxn;

    fn store_id(&self) -> StoreId {
        self.inner.store_id()
    }
    fn begin(&self) -> Result<CutTxn, Error> {
        let inner = self.inner.begin()?;
        let cut = self.cut.clone();
        Ok(CutTxn { inner, cut })
    }
    fn begin_serializable(&self) -> Result<CutTxn, Error> {
        let inner = self.inner.begin_serializable()?;
        let cut = self.cut.clone();
        Ok(CutTxn { inner, cut })
    }
    fn view(&self) -> Result<CutTxn, Error> {
        self.begin()
    }
    fn rows_read(&self) -> &RowsRead {
        self.inner.rows_read()
    }
    fn is_single_writer(&self) -> bool {
        true
    }
    async fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
}

struct CutTxn {
    inner: MemoryTxn,
    cut: Arc<ScanCut>,
}

impl KvTxn for CutTxn {
    type Scan = CutScan;

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.inner.get(key).await
    }
    async fn scan_part(&self, range: KeyRange, bytes: usize) -> Result<CutScan, Error> {
        let cut = &self.cut;
        let is_it = range.start[0] == cut.table
            && !cut.met.load(Ordering::SeqCst)
            && cut
                .before
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                .is_err();
        cut.met.fetch_or(is_it, Ordering::SeqCst);
        Ok(CutScan {
            inner: self.inner.scan_part(range, bytes).await?,
            left: is_it.then(|| (cut.rows, self.cut.clone())),
        })
    }
    fn mark_read(&self, key: &[u8]) -> Result<(), Error> {
        self.inner.mark_read(key)
    }
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Error> {
        self.inner.put(key, value)
    }
    fn delete(&mut self, key: Vec<u8>) -> Result<(), Error> {
        self.inner.delete(key)
    }
    async fn commit(self) -> Result<(), Error> {
        self.inner.commit().await
    }
}

struct CutScan {
    inner: MemoryScan,
    left: Option<(usize, Arc<ScanCut>)>,
}

impl KvScan for CutScan {
    async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        let row = self.inner.next().await?;
        match &mut self.left {
            Some((0, cut)) => {
                cut.left_out.fetch_or(row.is_some(), Ordering::SeqCst);
                Ok(None)
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(row)
            }
            None => Ok(row),
        }
    }
    async fn seek(&mut self, key: &[u8]) -> Result<(), Error> {
        self.inner.seek(key).await
    }
}

#[derive(Serialize, Deserialize)]
struct OrderEvent;

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderEvent"
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct State {
    times: u32,
}

struct Order;

impl Workflow for Order {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "2";
    type State = State;
    type Event = OrderEvent;

    fn apply(state: State, _: &OrderEvent) -> State {
        State {
            times: state.times + 1,
        }
    }
}

const ORDERS: u64 = 7;

fn order(version: &str, n: u64) -> ProcessIdentity {
    let id = ProcessId::new(n.to_string()).unwrap();
    let version = WorkflowId::new("order", version.to_owned());
    ProcessIdentity::new(id, TenantId::new("shop").unwrap(), version)
}

fn registry_key(n: u64) -> RegistryKey {
    RegistryKey::Process(ProcessId::new(n.to_string()).unwrap())
}

/// Creates orders of two events each, all but the last with a registry key.
async fn filled() -> MemoryKv {
    let kv = MemoryKv::default();
    let store = RecordStore::over(kv.clone());
    for n in 1..=ORDERS {
        let order = order("1", n);
        let event = || NewEvent::new(order.workflow_id.clone(), "OrderEvent", 1, "null").unwrap();
        let events = vec![event(), event()];
        let none = ExpectedSequence::NoStream;
        store.append(order.stream_id(), none, events).await.unwrap();
        if n < ORDERS {
            let tenant = TenantId::new("shop").unwrap();
            let registered = store.register(&tenant, &registry_key(n), &order).await;
            registered.unwrap();
        }
    }
    kv
}

type Runner<K> = MigrationRunner<IdentityMigration<Order>, RecordStore<K>, RecordStore<K>>;

fn runner<K: Kv>(store: &RecordStore<K>, count_up_to_date: bool) -> Runner<K> {
    let version = |version: &str| WorkflowId::new("order", version.to_owned());
    let migration = IdentityMigration::<Order>::new(version("1"), version("2"));
    MigrationRunner::new(migration, store.clone(), store.clone())
        .chunk_processes(3)
        .count_up_to_date(count_up_to_date)
}

/// Whether all orders and all their entries are at version 2.
async fn all_moved(kv: &MemoryKv) -> bool {
    let store = RecordStore::over(kv.clone());
    let tenant = TenantId::new("shop").unwrap();
    for n in 1..=ORDERS {
        let order = order("2", n);
        let head = store.head(order.stream_id()).await.unwrap().unwrap();
        let entry = store.lookup(&tenant, &registry_key(n)).await.unwrap();
        let is_there = entry.is_none_or(|entry| entry.workflow_id == order.workflow_id);
        if head.sequence != 3 || head.workflow_id != order.workflow_id || !is_there {
            return false;
        }
    }
    true
}

/// Counts of the runs in which one scan ended early.
#[derive(Debug, Default, PartialEq)]
struct Runs {
    /// Runs that were not done, and reported it.
    named: usize,
    /// Runs in which the early end lost nothing.
    harmless: usize,
}

fn is_done(report: &MigrationReport) -> bool {
    report.is_ok() && report.state == Some(RunState::Done)
}

/// Ends each scan of a table early, each in its own run.
async fn cut_each(table: u8, rows: usize, count_up_to_date: bool) -> Runs {
    let mut runs = Runs::default();
    for before in 0.. {
        let cut = ScanCut::new(table, rows, before);
        let kv = filled().await;
        let inner = kv.clone();
        let store = RecordStore::over(CutKv {
            inner,
            cut: cut.clone(),
        });
        let what = format!("scan {before} of {} after {rows} rows", char::from(table));
        let report = runner(&store, count_up_to_date).run().await;
        if !cut.met.load(Ordering::SeqCst) {
            assert!(is_done(&report) && all_moved(&kv).await, "{report}");
            return runs;
        }
        if is_done(&report) {
            assert!(all_moved(&kv).await, "{what}: {report}");
            runs.harmless += usize::from(cut.left_out.load(Ordering::SeqCst));
            continue;
        }
        assert!(cut.left_out.load(Ordering::SeqCst), "{what}: {report}");
        let text = report.to_string();
        assert!(
            text.contains("a scan of the store ended early"),
            "{what}: {text}"
        );
        runs.named += 1;
        // The next run finds what is left.
        let runner = runner(&store, count_up_to_date);
        let report = match report.run.filter(|_| report.state.is_some()) {
            Some(run) => runner.resume(run).await,
            None => runner.run().await,
        };
        assert!(is_done(&report), "{what}: {report}");
        assert!(all_moved(&kv).await, "{what}: {report}");
    }
    runs
}

/// Fails if the end of a scan is taken for the end of the range (`Rows::next`),
/// or if an event that a scan omitted is taken for a missing one.
#[tokio::test]
async fn a_run_whose_scan_ends_early_says_so_and_is_not_done() {
    for table in *b"ehw" {
        let mut all = Runs::default();
        for rows in [0, 1, 2, 5] {
            for count_up_to_date in [false, true] {
                let runs = cut_each(table, rows, count_up_to_date).await;
                all.named += runs.named;
                all.harmless += runs.harmless;
            }
        }
        println!("{}: {all:?}", char::from(table));
        assert!(all.named > 0, "{}: {all:?}", char::from(table));
    }
}

/// A run that was interrupted because a scan of the heads ended early.
async fn broken_off() -> (MemoryKv, RunId) {
    for before in 0..9 {
        let kv = filled().await;
        let (inner, cut) = (kv.clone(), ScanCut::new(b'h', 1, before));
        let store = RecordStore::over(CutKv { inner, cut });
        let report = runner(&store, false).run().await;
        if let (Some(run), Some(RunState::Running)) = (report.run, report.state) {
            return (kv, run);
        }
    }
    panic!("no run was broken off");
}

/// Fails if the end of a scan is taken for the end of the range (`Rows::next`).
#[tokio::test]
async fn a_run_whose_bookkeeping_is_read_in_part_is_not_resumed() {
    let mut named = 0;
    for (rows, before) in (0..3).flat_map(|rows| (0..8).map(move |before| (rows, before))) {
        let (kv, run) = broken_off().await;
        let over = |cut: &Arc<ScanCut>| {
            let (inner, cut) = (kv.clone(), cut.clone());
            RecordStore::over(CutKv { inner, cut })
        };
        let cut = ScanCut::new(b'u', rows, before);
        let report = runner(&over(&cut), false).resume(run).await;
        if !is_done(&report) {
            let text = report.to_string();
            assert!(cut.left_out.load(Ordering::SeqCst), "{text}");
            assert!(text.contains("a scan of the store ended early"), "{text}");
            named += 1;
            let report = runner(&over(&cut), false).resume(run).await;
            assert!(is_done(&report), "{report}");
        }
        assert!(all_moved(&kv).await, "scan {before} after {rows} rows");
    }
    assert!(named > 0);
}
