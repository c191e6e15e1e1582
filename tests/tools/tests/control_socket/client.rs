//! A service with a socket, and a client that writes lines to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use state_migration::RunControl;
use state_migration::control_socket::{ControlSocket, Serving};
use state_migration_tests::scripted_workflow::{Store, Upgrade, put};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// Longer than anything here takes, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A service over a store with jobs at v1.
pub(crate) struct Service<S> {
    pub(crate) store: S,
    pub(crate) control: RunControl,
    pub(crate) serving: Serving,
    pub(crate) path: PathBuf,
    _folder: TempDir,
}

pub(crate) async fn service<S: Store>(store: S, jobs: u64, upgrade: Upgrade) -> Service<S> {
    for n in 0..jobs {
        put(&store, n).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let runner = Arc::new(upgrade.runner(&store).chunk_processes(2));
    let control = runner.control();
    let serving = ControlSocket::bind(&path).unwrap().serve(runner).unwrap();
    Service {
        store,
        control,
        serving,
        path,
        _folder: folder,
    }
}

/// A migration that takes its time for each job, so that a run can be caught.
pub(crate) fn slow() -> Upgrade {
    Upgrade::with(|_| {
        std::thread::sleep(Duration::from_millis(4));
        Ok(())
    })
}

pub(crate) struct Client(pub(crate) BufReader<UnixStream>);

impl Client {
    pub(crate) async fn new(path: &Path) -> Self {
        Self(BufReader::new(UnixStream::connect(path).await.unwrap()))
    }

    pub(crate) async fn send(&mut self, line: &[u8]) {
        // Who is turned away may hear why before it has said a word.
        let _ = self.0.get_mut().write_all(line).await;
    }

    pub(crate) async fn ask(&mut self, request: Value) {
        let mut request = request;
        request["version"] = json!(2);
        self.send(format!("{request}\n").as_bytes()).await;
    }

    /// The next line; `None`: the service has let this client go.
    pub(crate) async fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.0.read_line(&mut line)).await;
        match read.expect("an answer") {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    pub(crate) async fn answer(&mut self) -> Value {
        self.hear().await.expect("an answer")
    }

    pub(crate) async fn end(&mut self) -> Value {
        loop {
            let answer = self.answer().await;
            if answer["answer"] != "progress" {
                return answer;
            }
        }
    }
}

/// Asks on a connection of its own.
pub(crate) async fn ask(path: &Path, request: Value) -> Value {
    let mut client = Client::new(path).await;
    client.ask(request).await;
    client.answer().await
}

pub(crate) async fn until<T>(what: &str, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            match holds().await {
                Some(it) => return it,
                None => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("it never comes to that: {what}"))
}

pub(crate) async fn until_migrated(service: &Service<impl Store>, at_least: u64) {
    until("some are migrated", async || {
        (service.control.progress().counts.migrated >= at_least).then_some(())
    })
    .await;
}
