//! Reading a store that another handle has open for writing: the reader writes nothing,
//! fences no writer, and never reports concurrent changes as damage.

mod concurrent_writes;
mod dry_run;
mod opening;
mod visibility;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use slatedb::config::{FlushOptions, FlushType};
use state_migration::{
    DuePage, NewEvent, Process, SlateDbReader, SlateDbStore, StreamId, TransactionalStore,
    WorkflowId,
};
use state_migration_tests::orders::{OrderEvent, OrderV1, identity, place};
use state_migration_tests::stores;
use tokio::task::JoinHandle;

/// The orders without a concurrent writer.
const QUIET: u64 = 20;

/// The orders to which the concurrent writers append.
const BUSY: std::ops::Range<u64> = 100..148;

const WRITERS: u64 = 4;

fn stream(n: u64) -> StreamId {
    identity::<OrderV1>(n).stream_id().clone()
}

fn paid() -> NewEvent {
    NewEvent::of::<OrderV1>(&OrderEvent::Paid { euro: 1 }).unwrap()
}

/// A reader that looks for news so often.
async fn reader(folder: &Path, interval: Duration) -> SlateDbReader {
    SlateDbStore::local_builder(folder)
        .unwrap()
        .with_reader_options(|options| options.manifest_poll_interval = interval)
        .open_reader()
        .await
        .unwrap()
}

async fn fast_reader(folder: &Path) -> SlateDbReader {
    reader(folder, Duration::from_millis(1)).await
}

/// Asks again until it is so.
async fn eventually<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    let start = Instant::now();
    while !ask().await {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{what}: not so after a minute"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Flushes the memtable of a store, which otherwise happens when it is full.
async fn make_a_table(store: &SlateDbStore) {
    let tables = FlushOptions {
        flush_type: FlushType::MemTable,
    };
    store.db().flush_with_options(tables).await.unwrap();
}

/// Writers that append to the busy orders until they are told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<BTreeMap<u64, u64>>>,
}

impl Traffic {
    async fn start(store: &SlateDbStore) -> Self {
        for n in BUSY {
            place(store, store, n).await.unwrap();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..WRITERS)
            .map(|writer| {
                let (store, stop) = (store.clone(), stop.clone());
                tokio::spawn(async move {
                    let mut appended = BTreeMap::new();
                    for n in BUSY.filter(|n| n % WRITERS == writer).cycle() {
                        if stop.load(Ordering::SeqCst) {
                            break;
                        }
                        let mut order = Process::<OrderV1>::open(
                            identity::<OrderV1>(n),
                            store.clone(),
                            store.clone(),
                        )
                        .await
                        .unwrap();
                        order.append(&[OrderEvent::Paid { euro: 1 }]).await.unwrap();
                        *appended.entry(n).or_default() += 1;
                        // Streams are read whole, and are not to grow without end.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    appended
                })
            })
            .collect();
        Self { stop, writers }
    }

    /// How many events were appended to each order, every one of them durably.
    async fn stop(self) -> BTreeMap<u64, u64> {
        self.stop.store(true, Ordering::SeqCst);
        let mut appended = BTreeMap::new();
        for writer in self.writers {
            appended.append(&mut writer.await.unwrap());
        }
        assert!(appended.values().sum::<u64>() > 0);
        appended
    }
}

async fn page(store: &SlateDbReader, streams: Vec<StreamId>) -> DuePage {
    stores::page_of(store, streams).await.unwrap()
}

async fn streams_at<W: state_migration::Workflow>(
    store: &impl TransactionalStore,
) -> BTreeSet<StreamId> {
    let streams = stores::streams_at(store, &WorkflowId::of::<W>()).await;
    streams.unwrap().into_iter().collect()
}
