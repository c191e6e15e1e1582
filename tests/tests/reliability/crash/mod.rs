//! Programs that end in the middle of a run, or freeze, or start beside
//! another one: real processes over real stores on disk.

mod child;
mod concurrent_starts;
mod digest;
mod frozen;
mod in_one_program;
mod killed;
#[cfg(unix)]
mod matrix;

use std::path::Path;

use state_migration::{ExpectedSequence, MigrationRunner, NewEvent, RunId, Runs, SlateDbStore};
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, identity, keys, tenant,
};

pub(crate) type Runner = MigrationRunner<OrderV1ToV2Migration, SlateDbStore, SlateDbStore>;

pub(crate) fn runner(store: &SlateDbStore) -> Runner {
    MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone())
}

/// Makes a store of small orders under v1, all registered, some under all keys.
pub(crate) async fn prepare(folder: &Path, orders: u64) {
    prepare_with(folder, orders, true).await;
}

/// The same of orders that are not registered.
pub(crate) async fn prepare_unregistered(folder: &Path, orders: u64) {
    prepare_with(folder, orders, false).await;
}

async fn prepare_with(folder: &Path, orders: u64, registered: bool) {
    let store = SlateDbStore::open_local(folder).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for part in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in (part..orders).step_by(4) {
                let order = identity::<OrderV1>(n);
                let mut events = vec![OrderEvent::Placed { euro: n + 1 }];
                if n % 2 == 0 {
                    events.push(OrderEvent::Paid { euro: 1 });
                }
                let events = events.iter().map(|e| NewEvent::of::<OrderV1>(e).unwrap());
                let stream = order.stream_id();
                let none = ExpectedSequence::NoStream;
                let appended = store.append_unflushed(stream, none, events.collect()).await;
                drop(appended.unwrap());
                if !registered {
                    continue;
                }
                let [process, conversation, correlation] = keys(n);
                let mut keys = vec![process];
                keys.extend((n % 5 == 0).then_some(conversation));
                keys.extend((n % 7 == 0).then_some(correlation));
                for key in keys {
                    let registered = store.register_unflushed(&tenant(), &key, &order).await;
                    drop(registered.unwrap());
                }
            }
        });
    }
    while let Some(part) = tasks.join_next().await {
        part.unwrap();
    }
    store.close().await.unwrap();
}

/// The one run that a store has seen.
pub(crate) async fn only_run(store: &SlateDbStore) -> RunId {
    let runs = Runs::of(store).unwrap().list().await.unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].id
}
