//! Stores on real object-store servers over HTTP, which are killed in the middle
//! of a migration. `tests/servers/run` builds and starts this.
//!
//! ```text
//! servers NAME SCRIPTS FOLDER [PROCESSES [KILLS]]
//! ```
//!
//! `NAME` is `azurite` or `seaweedfs`; `SCRIPTS` a folder with `start` and
//! `prepare`; `FOLDER` is where the server keeps its data.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conditional;
mod migration;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use slatedb::object_store::ObjectStore;
use slatedb::object_store::path::Path;
use state_migration::{SlateDbStore, conformance};

use server::Server;

/// A table of what was seen, in two columns.
#[derive(Default)]
pub(crate) struct Figures(Vec<(String, String)>);

impl Figures {
    pub(crate) fn add(&mut self, what: &str, figure: impl ToString) {
        let figure = figure.to_string();
        println!("  {what}: {figure}");
        self.0.push((what.to_owned(), figure));
    }

    fn print(&self, name: &str) {
        println!("\n| {name} | |\n|---|---|");
        for (what, figure) in &self.0 {
            println!("| {what} | {figure} |");
        }
    }
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let mut next = |what| args.next().unwrap_or_else(|| panic!("{what} is missing"));
    let name = next("the name of the server");
    let (scripts, folder) = (PathBuf::from(next("the scripts")), next("the folder"));
    let number = |text: Option<String>, default| text.map_or(default, |n| n.parse().unwrap());
    let processes = number(args.next(), 20_000);
    let kills = number(args.next(), 4);

    println!("{name}");
    let mut server = Server::start(&name, scripts, folder.into());
    server.prepare();
    let objects = server.objects();
    server.ready(&objects).await;

    let mut figures = Figures::default();
    conditional::puts(&objects, &mut figures).await;
    conforms(&objects, &mut figures).await;
    let server = Arc::new(tokio::sync::Mutex::new(server));
    migration::with_kills(&server, &objects, processes, kills, &mut figures).await;
    server.lock().await.kill();
    figures.print(&name);
}

/// The public conformance suite, over a store that is new and once more over one
/// that has data.
async fn conforms(objects: &Arc<dyn ObjectStore>, figures: &mut Figures) {
    let began = Instant::now();
    for _ in 0..2 {
        let builder = SlateDbStore::builder(Path::from("conformance"), objects.clone());
        let store = builder.open().await.unwrap();
        conformance::event_store(&store).await.unwrap();
        conformance::transactional_store(&store).await.unwrap();
        conformance::snapshot_store(&store).await.unwrap();
        conformance::process_registry(&store).await.unwrap();
        store.close().await.unwrap();
    }
    let took = began.elapsed().as_secs_f64();
    figures.add("conformance suite", format!("passed, {took:.1} s"));
}
