//! A service of the release 2014 of the loans that migrates loans as it opens them. It
//! opens the first loans of a store and prints what became of each:
//! `loans-2014-opener STORE COUNT`.

use std::error::Error;

use state_migration::{
    EventStore, MigrationRegistry, MigrationRunner, ProcessIdentity, SlateDbStore,
};

#[path = "../release_2014/migration.rs"]
mod migration;
#[path = "../release_2014/mod.rs"]
mod release_2014;

use release_2014::Loan2014;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(store), Some(count)) = (args.next(), args.next()) else {
        return Err("give a store and a number of loans".into());
    };
    let store = SlateDbStore::open_local(&store).await?;
    let runner = MigrationRunner::new(MigrationRegistry::linked()?, store.clone(), store.clone());
    let streams = store.list_streams(Some("process/bank/"), None, count.parse()?);
    for stream in streams.await? {
        let Some((tenant, process)) = stream.process() else {
            continue;
        };
        let identity = ProcessIdentity::of::<Loan2014>(tenant, process);
        match runner.open::<Loan2014>(identity).await {
            Ok(loan) => println!("{stream} is open in band {}", loan.state().band),
            Err(error) => println!("{stream}: {error}"),
        }
    }
    store.close().await?;
    Ok(())
}
