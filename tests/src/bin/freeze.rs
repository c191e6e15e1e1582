//! Writes the stores that are frozen under `tests/fixtures`, with the format of
//! this version of the crate:
//! `cargo run -p state-migration-tests --bin freeze -- FOLDER`, and with `runs`
//! after the folder for the one of which the rows of runs are read, or `newer`
//! for one of a format that is not there yet.

use std::error::Error;

use state_migration::{
    FailureClass, MemoryStore, MigrationRegistry, MigrationRunner, Process, Runs, Selection,
    SlateDbStore,
};
use state_migration_tests::faulty::{ALL, Faulty};
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, OrderV3, UNTAXABLE, identity, place,
    register,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("name a folder that is not there yet")?;
    let store = SlateDbStore::open_local(&folder).await?;
    match std::env::args().nth(2).as_deref() {
        Some("runs") => return runs(store).await,
        Some("newer") => return newer(store).await,
        _ => {}
    }
    // Orders 0 to 5 are migrated; the registry elsewhere of 5 could not be told.
    for n in 0..6 {
        place(&store, &store, n).await?;
        register(&store, n).await?;
    }
    let elsewhere = Faulty::over(MemoryStore::new());
    register(&elsewhere, 5).await?;
    elsewhere
        .faults
        .register
        .store(ALL, std::sync::atomic::Ordering::SeqCst);
    let runner = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
    let report = runner.run_and_update_registry(&elsewhere).await;
    println!("{report}");
    let mut order =
        Process::<OrderV2>::open(identity::<OrderV2>(0), store.clone(), store.clone()).await?;
    order.append(&[OrderEvent::Paid { euro: 1 }]).await?;
    order.take_snapshot().await?;
    // Orders 6 to 11 are not.
    for n in 6..12 {
        place(&store, &store, n).await?;
        register(&store, n).await?;
    }
    let order =
        Process::<OrderV1>::open(identity::<OrderV1>(6), store.clone(), store.clone()).await?;
    order.take_snapshot().await?;
    store.close().await?;
    Ok(())
}

/// A store with a run of each kind and each end.
async fn runs(store: SlateDbStore) -> Result<(), Box<dyn Error>> {
    // Orders 4 and 9 are over; the last cannot be migrated to v3.
    for n in (0..12).chain([UNTAXABLE - 1]) {
        place(&store, &store, n).await?;
    }
    let stream = |n: u64| identity::<OrderV1>(n).stream_id().clone();
    let runner = || -> Result<_, Box<dyn Error>> {
        let linked = MigrationRegistry::linked()?;
        Ok(MigrationRunner::new(linked, store.clone(), store.clone()))
    };
    let history = Runs::of(&store).ok_or("the store keeps runs")?;
    history.skip(&stream(3), "ann", "in court").await?;
    // 1: as it is opened. 2: with an error, and two left as finished. 3: the
    // failure again. 4: ended before its end.
    let opener = runner()?.who("the service").why("as they come");
    opener.open::<OrderV3>(identity::<OrderV3>(0)).await?;
    let failing = [1, 2, 4, 9, UNTAXABLE - 1].map(stream);
    let selection = Selection::all().streams(failing).in_flight();
    let report = runner()?
        .who("bob")
        .why("canary")
        .select(selection)
        .run()
        .await;
    println!("{report}");
    let run = report.run.ok_or("it ran")?;
    let report = runner()?
        .who("bob")
        .why("again")
        .retry(run, &[FailureClass::Refused])
        .await;
    println!("{report}");
    let cancelled = runner()?.who("carl").why("all").run_code_twice(true);
    cancelled.control().cancel();
    println!("{}", cancelled.run().await);
    store.close().await?;
    Ok(())
}

/// A store as one of the next format may look: its mark says so, and this crate
/// is to look no further.
async fn newer(store: SlateDbStore) -> Result<(), Box<dyn Error>> {
    for n in 0..3 {
        place(&store, &store, n).await?;
        register(&store, n).await?;
    }
    store.db().put(b"mformat\0\x01", [2]).await?;
    store.close().await?;
    Ok(())
}
