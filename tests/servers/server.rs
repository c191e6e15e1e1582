//! A server that is started by a script, and killed.

use std::fs::File;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slatedb::object_store::aws::AmazonS3Builder;
use slatedb::object_store::azure::MicrosoftAzureBuilder;
use slatedb::object_store::path::Path;
use slatedb::object_store::{ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(120);

/// The bucket or container.
const BUCKET: &str = "tests";

pub(crate) struct Server {
    name: String,
    scripts: PathBuf,
    folder: PathBuf,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// Starts a server whose data is in a folder.
    pub(crate) fn start(name: &str, scripts: PathBuf, folder: PathBuf) -> Self {
        let address = address(name);
        // Another server would answer, and not be the one that is killed.
        assert!(
            TcpStream::connect(address).is_err(),
            "something answers at {address} already; stop it"
        );
        std::fs::create_dir_all(&folder).unwrap();
        let child = spawn(&scripts, &folder);
        Self {
            name: name.to_owned(),
            scripts,
            folder,
            child,
        }
    }

    /// Makes the bucket.
    pub(crate) fn prepare(&mut self) {
        let began = Instant::now();
        loop {
            let mut prepare = Command::new(self.scripts.join("prepare"));
            let output = prepare.arg(BUCKET).output().unwrap();
            if output.status.success() {
                return;
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {ended:?}");
            assert!(began.elapsed() < PATIENCE, "no bucket was made: {said}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Kills the server with SIGKILL, so that it answers no request and sends no error.
    pub(crate) fn kill(&mut self) {
        let id = self.child.id().to_string();
        let is_there = matches!(self.child.try_wait(), Ok(None));
        // See `azurite/killed.js`.
        if !(is_there && self.name == "azurite" && signal("-USR2", &id)) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        // Its number may be another program's from now on.
        let _ = std::fs::remove_file(self.folder.with_extension("pid"));
    }

    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.scripts, &self.folder);
    }

    /// A client, with few tries of its own, since SlateDB tries again.
    pub(crate) fn objects(&self) -> Arc<dyn ObjectStore> {
        let retry = RetryConfig {
            max_retries: 1,
            retry_timeout: Duration::from_secs(10),
            ..RetryConfig::default()
        };
        let options = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout(Duration::from_secs(10))
            .with_connect_timeout(Duration::from_secs(2));
        match &*self.name {
            "azurite" => Arc::new(
                MicrosoftAzureBuilder::new()
                    .with_use_emulator(true)
                    .with_container_name(BUCKET)
                    .with_client_options(options)
                    .with_retry(retry)
                    .build()
                    .unwrap(),
            ),
            "seaweedfs" => Arc::new(
                AmazonS3Builder::new()
                    .with_endpoint(format!("http://{}", address(&self.name)))
                    .with_region("us-east-1")
                    .with_bucket_name(BUCKET)
                    .with_access_key_id("tests")
                    .with_secret_access_key("tests-only")
                    .with_client_options(options)
                    .with_retry(retry)
                    .build()
                    .unwrap(),
            ),
            other => unknown(other),
        }
    }

    /// Returns when the server takes writes.
    pub(crate) async fn ready(&mut self, objects: &Arc<dyn ObjectStore>) {
        let began = Instant::now();
        let at = Path::from("ready");
        loop {
            match objects.put(&at, PutPayload::from_static(b"1")).await {
                Ok(_) => return,
                Err(error) => {
                    let ended = self.child.try_wait().unwrap();
                    assert!(ended.is_none(), "the server ended: {ended:?}");
                    assert!(began.elapsed() < PATIENCE, "it is not ready: {error}");
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Where a server listens for clients.
fn address(name: &str) -> &'static str {
    match name {
        "azurite" => "127.0.0.1:10000",
        "seaweedfs" => "127.0.0.1:8333",
        other => unknown(other),
    }
}

fn signal(signal: &str, id: &str) -> bool {
    let sent = Command::new("kill").args([signal, id]).status();
    sent.is_ok_and(|sent| sent.success())
}

fn unknown(name: &str) -> ! {
    panic!("{name} is no server that is known here")
}

fn spawn(scripts: &std::path::Path, folder: &std::path::Path) -> Child {
    let mut log = File::options();
    log.create(true).append(true);
    let log = log.open(folder.with_extension("log")).unwrap();
    // The script becomes the server, so that this is what is killed.
    let mut start = Command::new(scripts.join("start"));
    start.arg(folder).stdin(Stdio::null());
    start.stdout(log.try_clone().unwrap()).stderr(log);
    let child = start.spawn().unwrap();
    // For who started this, if this is killed.
    std::fs::write(folder.with_extension("pid"), format!("{}\n", child.id())).unwrap();
    child
}
