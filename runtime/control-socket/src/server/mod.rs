//! The server of a control socket: which clients are accepted, and for how long.

mod client_limit;
mod service;
mod session;
mod socket_file;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use state_migration_core::{Error, ErrorKind, EventStore, Migrations, SnapshotStore};
use state_migration_runner::{MigrationRunner, RunControl};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::protocol::{Answer, Line, Problem, ProblemKind};
use crate::server::client_limit::ClientLimit;
use crate::server::service::Service;
use crate::server::session::Session;
use crate::server::socket_file::SocketFile;

/// Maximum number of clients.
const CLIENTS: usize = 32;

/// Maximum number of clients that watch.
const WATCHERS: usize = 16;

/// Time for the clients that watch a run to hear how it ended, when the socket is closed.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// A control socket that is bound but not served yet.
///
/// Clients that connect before [`serve`](Self::serve) are answered from then on.
#[derive(Debug)]
pub struct ControlSocket {
    socket: SocketFile,
    listener: std::os::unix::net::UnixListener,
}

impl ControlSocket {
    /// Binds the socket, with the permissions 0600. The socket of a dead service is
    /// replaced.
    ///
    /// # Errors
    /// A live service listens at the path, the path is not a socket, or its folder is
    /// not writable.
    pub fn bind(path: impl AsRef<Path>) -> Result<Self, Error> {
        let (socket, listener) = SocketFile::bind(path.as_ref())?;
        Ok(Self { socket, listener })
    }

    /// The path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Answers clients in tasks of the current tokio runtime, until the returned value
    /// is closed or dropped.
    ///
    /// Runs use `runner`, so that the service's own [handle](MigrationRunner::control)
    /// controls them too.
    ///
    /// # Errors
    /// Not called in a tokio runtime with I/O enabled.
    pub fn serve<M, ES, SS>(self, runner: Arc<MigrationRunner<M, ES, SS>>) -> Result<Serving, Error>
    where
        M: Migrations + 'static,
        ES: EventStore + 'static,
        SS: SnapshotStore + 'static,
    {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::invalid(
                "`serve` needs a tokio runtime; call `serve` inside a runtime",
            ));
        }
        let listener = UnixListener::from_std(self.listener).map_err(|error| {
            Error::new(
                ErrorKind::Unavailable,
                "cannot listen on the control socket; enable I/O in the tokio runtime",
            )
            .with_source(error)
        })?;
        let control = runner.control();
        let service = Arc::new(Service::new(runner));
        let watchers = Arc::new(Semaphore::new(WATCHERS));
        let accepting = tokio::spawn(accept(listener, service.clone(), watchers.clone()));
        Ok(Serving {
            socket: self.socket,
            service,
            control,
            watchers,
            accepting,
        })
    }
}

/// A control socket that is being served.
///
/// Dropping it removes the socket, disconnects the clients, and cancels a run that was
/// started through the socket. The run ends after the chunks in progress and can be
/// resumed. [`close`](Self::close) waits for that.
#[must_use = "the control socket is removed when `Serving` is dropped"]
pub struct Serving {
    socket: SocketFile,
    service: Arc<Service>,
    control: RunControl,
    watchers: Arc<Semaphore>,
    accepting: JoinHandle<()>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving")
            .field("socket", &self.socket)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

impl Serving {
    /// Cancels the run in progress. The record of the run says that the service did.
    fn cancel(&self) {
        let closed = "the control socket was closed";
        self.control.on_behalf_of("service", closed).cancel_this();
    }

    /// The path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Ends a run that was started through the socket, tells the clients that watch it how
    /// it ended, and removes the socket. Close the store after this.
    pub async fn close(self) {
        let current = self.service.close();
        if let Some(mut ended) = current {
            self.cancel();
            // An error means that the run panicked.
            let _ = ended.wait_for(Option::is_some).await;
            let all = u32::try_from(WATCHERS).unwrap_or(u32::MAX);
            // A client that does not read is not waited for.
            let _ = timeout(TOLD_WITHIN, self.watchers.acquire_many(all)).await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.accepting.abort();
        if self.service.close().is_some() {
            self.cancel();
        }
    }
}

/// Accepts clients. Dropping the future disconnects them.
async fn accept(listener: UnixListener, service: Arc<Service>, watchers: Arc<Semaphore>) {
    let limit = ClientLimit::new(CLIENTS);
    let mut sessions = JoinSet::new();
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            // A failure of this client, or too many open files in this process; the
            // next client may succeed.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        while sessions.try_join_next().is_some() {}
        match limit.enter() {
            Some(slot) => {
                let session = Session::new(service.clone(), watchers.clone(), slot, client);
                sessions.spawn(session.run());
            }
            None => reject(&client),
        }
    }
}

/// Rejects a client without waiting for it.
fn reject(client: &UnixStream) {
    let problem = Problem::new(
        ProblemKind::TooMany,
        format!("{CLIENTS} clients are connected, which is the limit; end one of them"),
    );
    if let Ok(line) = Line::bytes(Answer::Error(problem)) {
        // Nothing has been written yet, so that the socket buffer has room for a line.
        let _ = client.try_write(&line);
    }
}
