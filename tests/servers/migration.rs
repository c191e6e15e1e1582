//! A run over HTTP whose server is killed while it is in progress.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slatedb::object_store::ObjectStore;
use slatedb::object_store::path::Path;
use state_migration::{
    EventStore, ExpectedSequence, MIGRATED, MemoryStore, MigrationRegistry, MigrationRunner,
    NewEvent, ProcessRegistry, RunControl, RunId, RunState, Runs, SlateDbStore,
};
use state_migration_tests::orders::{
    OrderV1, OrderV1ToV2Migration, OrderV2ToV3Migration, OrderV3, folded, history, identity, keys,
    load, order_v1_to_v2, order_v2_to_v3, tenant,
};
use state_migration_tests::stores::{Rows, dump_all};
use tokio::sync::{Mutex, watch};

use crate::Figures;
use crate::server::Server;

/// No order below is for the price that cannot be taxed.
const FIRST: u64 = 1_000;

/// How many processes a second, so that there is a middle to kill the server in.
const PER_SECOND: u32 = 1_000;

/// Outages in turn: one that is over before SlateDB gives up, and one that is not.
const OUTAGES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(25)];

/// How often the store is opened anew before it is given up.
const OPENS: u32 = 60;

async fn open(objects: &Arc<dyn ObjectStore>) -> SlateDbStore {
    let mut opens = 0;
    loop {
        let builder = SlateDbStore::builder(Path::from("migration"), objects.clone());
        match builder.open().await {
            Ok(store) => return store,
            Err(error) => {
                opens += 1;
                assert!(opens < OPENS, "the store cannot be opened: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn import(store: &SlateDbStore, orders: impl Iterator<Item = u64>) {
    for n in orders {
        let events = history(n);
        let events: Vec<_> = events
            .iter()
            .map(|event| NewEvent::of::<OrderV1>(event).unwrap())
            .collect();
        let identity = identity::<OrderV1>(n);
        let appended =
            store.append_unflushed(identity.stream_id(), ExpectedSequence::NoStream, events);
        drop(appended.await.unwrap());
        for key in keys(n) {
            drop(
                store
                    .register_unflushed(&tenant(), &key, &identity)
                    .await
                    .unwrap(),
            );
        }
    }
    store.flush().await.unwrap();
}

fn migrations() -> MigrationRegistry {
    let registry = MigrationRegistry::builder();
    let registry = registry
        .with(OrderV1ToV2Migration)
        .with(OrderV2ToV3Migration);
    registry.build().unwrap()
}

/// Kills the server as often as is asked, evenly over the processes.
async fn kill(
    server: Arc<Mutex<Server>>,
    objects: Arc<dyn ObjectStore>,
    control: watch::Receiver<Option<RunControl>>,
    (processes, kills): (u64, u64),
) -> u64 {
    for number in 1..=kills {
        let from = processes * number / (kills + 1);
        loop {
            let now = control.borrow().as_ref().map(RunControl::progress);
            let migrated = now.map_or(0, |now| now.counts.migrated);
            if migrated >= processes {
                return number - 1;
            }
            if migrated >= from {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut server = server.lock().await;
        server.kill();
        let outage = OUTAGES[(number % 2) as usize];
        tokio::time::sleep(outage).await;
        server.start_again();
        server.ready(&objects).await;
    }
    kills
}

/// Runs, and resumes what broke off, until the run is done.
async fn run(
    objects: &Arc<dyn ObjectStore>,
    told: &watch::Sender<Option<RunControl>>,
) -> (RunId, u32) {
    let (mut attempts, mut executions) = (0, 0);
    loop {
        attempts += 1;
        assert!(attempts < 100, "its runs cannot be listed");
        let store = open(objects).await;
        // The record of a run that reported its id may not have been written.
        let runs = Runs::of(&store).unwrap().list().await;
        let Ok(began) = runs.map(|runs| runs.last().map(|record| record.id)) else {
            continue;
        };
        let runner = MigrationRunner::new(migrations(), store.clone(), store.clone());
        let runner = runner.take_over(true);
        let control = runner.control();
        control.throttle(NonZeroU32::new(PER_SECOND));
        told.send_replace(Some(control));
        executions += 1;
        assert!(executions < 50, "it never comes to an end");
        let report = match began {
            None => runner.run().await,
            Some(run) => runner.resume(run).await,
        };
        if report.state == Some(RunState::Done) {
            assert_eq!(report.error_count, 0, "{report}");
            store.close().await.unwrap();
            return (report.run.unwrap(), executions);
        }
        if let Some(error) = report.errors.first() {
            println!("  broken off: {}", error.message);
        }
        // The writer may be fenced, or the server may be unreachable.
        let _ = tokio::time::timeout(Duration::from_secs(30), store.close()).await;
    }
}

/// Checks one order: moved once, with all of its events and keys.
async fn check(store: &MemoryStore, n: u64) {
    let v3 = identity::<OrderV3>(n);
    let events = store.read_all(v3.stream_id(), 0, 100).await.unwrap();
    let migrations = events.iter().filter(|e| e.event_type == MIGRATED).count();
    assert_eq!(
        (migrations, events.len()),
        (1, history(n).len() + 1),
        "order {n}"
    );
    let expected = order_v2_to_v3(order_v1_to_v2(folded::<OrderV1>(n))).unwrap();
    assert_eq!(
        load::<OrderV3, _>(store, n).await.unwrap(),
        expected,
        "order {n}"
    );
    for key in keys(n) {
        let entry = store.lookup(&tenant(), &key).await.unwrap();
        assert_eq!(entry.as_ref(), Some(&v3), "order {n} under {key}");
    }
}

pub(crate) async fn with_kills(
    server: &Arc<Mutex<Server>>,
    objects: &Arc<dyn ObjectStore>,
    processes: u64,
    kills: u64,
    figures: &mut Figures,
) {
    let orders = FIRST..FIRST + processes;
    let began = Instant::now();
    let store = open(objects).await;
    import(&store, orders.clone()).await;
    store.close().await.unwrap();
    let took = began.elapsed().as_secs_f64();
    figures.add("processes imported", format!("{processes} in {took:.1} s"));

    let (told, control) = watch::channel(None);
    let killer = kill(server.clone(), objects.clone(), control, (processes, kills));
    let killer = tokio::spawn(killer);
    let began = Instant::now();
    let (run, executions) = run(objects, &told).await;
    let took = began.elapsed().as_secs_f64();
    let killed = killer.await.unwrap();
    assert_eq!(
        killed, kills,
        "the run was over before the server was killed"
    );
    figures.add("server killed (SIGKILL) while they were migrated", killed);
    figures.add("executions of the run", executions);
    figures.add(
        "migrated",
        format!("in {took:.1} s, throttled to {PER_SECOND} a second"),
    );

    let store = open(objects).await;
    let counts = Runs::of(&store).unwrap().counts(run).await.unwrap();
    assert_eq!((counts.migrated, counts.failed), (processes, 0));
    // One pass over all rows, and the rest in memory: order by order it would be
    // tens of thousands of requests.
    let copy = MemoryStore::new();
    for (key, row) in dump_all(&store).await.unwrap() {
        copy.put_row(key.to_vec(), row.to_vec()).await.unwrap();
    }
    for n in orders {
        check(&copy, n).await;
    }
    figures.add("found at the new version, once each", processes);
    let again = MigrationRunner::new(migrations(), store.clone(), store.clone());
    let again = again.run().await;
    assert_eq!((again.migrated, again.error_count), (0, 0), "{again}");
    store.close().await.unwrap();
    figures.add("lost, doubled, left behind", 0);
}
