//! A program that migrates orders, to be killed or frozen by a test:
//! `migrate-child FOLDER open|unless-claimed PROCESSES-PER-CHUNK [PER-SECOND]`.
//!
//! The program prints a line at each step: `opened`, `run ID`, `durable N` (the
//! number of durably migrated processes), and at the end `migrated N`,
//! `failed MESSAGE`, or, when it could not open the store,
//! `claimed ID`, `fenced MESSAGE`.

use std::error::Error;
use std::num::NonZeroU32;

use futures_util::StreamExt;
use state_migration::{ErrorKind, MigrationRunner, RunControl, SlateDbStore};
use state_migration_tests::orders::OrderV1ToV2Migration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, folder, how, chunk, rest @ ..] = args.as_slice() else {
        return Err("say FOLDER, open or unless-claimed, and the size of chunks".into());
    };
    let opened = match how.as_str() {
        "open" => SlateDbStore::open_local(folder).await,
        "unless-claimed" => SlateDbStore::open_local_unless_claimed(folder).await,
        other => return Err(format!("{other} is no way to open a store").into()),
    };
    let store = match opened {
        Ok(store) => store,
        Err(error) => {
            match error.kind() {
                ErrorKind::Claimed { run } => println!("claimed {run}"),
                ErrorKind::Fenced => println!("fenced {error}"),
                _ => println!("failed {error}"),
            }
            return Ok(());
        }
    };
    println!("opened");
    let runner = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store)
        .chunk_processes(chunk.parse()?)
        .actor("migrate-child")
        .reason("to be stopped half-way");
    let control = runner.control();
    if let [per_second] = rest {
        control.throttle(NonZeroU32::new(per_second.parse()?));
    }
    let teller = tokio::spawn(tell(control));
    let report = runner.run().await;
    teller.abort();
    if report.is_ok() {
        println!("migrated {}", report.migrated);
    } else {
        println!("failed {}", report.to_string().replace('\n', " / "));
    }
    Ok(())
}

/// Prints what is durable.
async fn tell(control: RunControl) {
    let mut progress = control.watch();
    let mut told = 0;
    while let Some(progress) = progress.next().await {
        if told == 0
            && let Some(run) = progress.run
        {
            println!("run {run}");
        }
        if progress.counts.migrated > told {
            told = progress.counts.migrated;
            println!("durable {told}");
        }
    }
}
