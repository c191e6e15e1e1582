//! A program that has a store open, to be watched, killed or frozen by a test:
//! `hold-child FOLDER open|unless-in-use`.
//!
//! It prints `opened EPOCH`, or `in-use EPOCH writes|quiet`, or `failed
//! MESSAGE`, and then does what it reads, a line each: `place N` places an
//! order, `close` closes the store, `end` ends without. It answers each line
//! with `done`, or with `failed MESSAGE`.

use std::error::Error;
use std::io::BufRead;

use state_migration::{ErrorKind, SlateDbStore};
use state_migration_tests::orders;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, folder, how] = args.as_slice() else {
        return Err("say FOLDER, and open or unless-in-use".into());
    };
    let builder = SlateDbStore::local_builder(folder)?;
    let opened = match how.as_str() {
        "open" => builder.open().await,
        "unless-in-use" => builder.open_unless_in_use().await,
        other => return Err(format!("{other} is no way to open a store").into()),
    };
    let store = match opened {
        Ok(store) => store,
        Err(error) => {
            match error.kind() {
                ErrorKind::InUse(in_use) => {
                    let how = if in_use.writes { "writes" } else { "quiet" };
                    println!("in-use {} {how}", in_use.epoch);
                }
                _ => println!("failed {error}"),
            }
            return Ok(());
        }
    };
    println!("opened {}", store.db().manifest().writer_epoch());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let done = match line.split_once(' ').unwrap_or((&line, "")) {
            ("place", order) => orders::place(&store, &store, order.parse()?)
                .await
                .map_err(|error| error.to_string()),
            ("close", _) => store.close().await.map_err(|error| error.to_string()),
            ("end", _) => return Ok(()),
            (other, _) => return Err(format!("{other} is nothing to do").into()),
        };
        match done {
            Ok(()) => println!("done"),
            Err(why) => println!("failed {}", why.replace('\n', " / ")),
        }
    }
    Ok(())
}
