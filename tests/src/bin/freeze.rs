//! Writes the store that is frozen under `tests/fixtures`, with the format of
//! this version of the crate: `cargo run -p state-migration-tests --bin freeze -- FOLDER`.

use std::error::Error;

use state_migration::{MemoryStore, MigrationRunner, Process, SlateDbStore};
use state_migration_tests::faulty::{ALL, Faulty};
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, identity, place, register,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("name a folder that is not there yet")?;
    let store = SlateDbStore::open_local(&folder).await?;
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
