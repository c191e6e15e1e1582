//! The socket: who is let in, and how long it is there.

mod client_limit;
mod service;
mod session;
mod socket_file;

use std::path::Path;
use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::protocol::{Answer, Line, Problem, ProblemKind};
use crate::server::client_limit::Room;
use crate::server::service::Service;
use crate::server::session::Session;
use crate::server::socket_file::Place;
use state_migration_core::{Error, ErrorKind, EventStore, Migrations, SnapshotStore};
use state_migration_runner::{MigrationRunner, RunControl};

/// How many clients there may be at a time.
const CLIENTS: usize = 32;

/// How many of them may watch.
const WATCHERS: usize = 16;

/// A socket that is there, and on which nobody answers yet.
///
/// Who connects before [`serve`](Self::serve) is answered from then on.
#[derive(Debug)]
pub struct ControlSocket {
    place: Place,
    listener: std::os::unix::net::UnixListener,
}

impl ControlSocket {
    /// Makes the socket, with the permissions 0600. One that a dead service has
    /// left there is replaced.
    ///
    /// # Errors
    /// A live service listens there, something else than a socket is there, or
    /// the folder cannot be written to.
    pub fn bind(path: impl AsRef<Path>) -> Result<Self, Error> {
        let (place, listener) = Place::bind(path.as_ref())?;
        Ok(Self { place, listener })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Answers clients, in tasks of the runtime that this is called in, until
    /// what it returns is closed or dropped. Runs are those of `runner`, also
    /// for the [handle](MigrationRunner::control) that the service has on it.
    ///
    /// # Errors
    /// This is not called in a runtime of tokio that does I/O.
    pub fn serve<M, ES, SS>(self, runner: Arc<MigrationRunner<M, ES, SS>>) -> Result<Serving, Error>
    where
        M: Migrations + 'static,
        ES: EventStore + 'static,
        SS: SnapshotStore + 'static,
    {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::invalid(
                "a control socket is served in a runtime of tokio; call `serve` in one",
            ));
        }
        let listener = UnixListener::from_std(self.listener).map_err(|error| {
            Error::new(
                ErrorKind::Unavailable,
                "the control socket cannot be listened on; enable I/O in the runtime of tokio",
            )
            .with_source(error)
        })?;
        let control = runner.control();
        let service = Arc::new(Service::new(runner));
        let accepting = tokio::spawn(accept(listener, service.clone()));
        Ok(Serving {
            place: self.place,
            service,
            control,
            accepting,
        })
    }
}

/// A control socket whose clients are answered.
///
/// When it is dropped the socket is removed, clients are let go, and a run that
/// was begun through it is cancelled: it ends after the chunks in hand and can
/// be resumed. [`close`](Self::close) waits for that.
#[must_use = "the socket is removed when this is dropped"]
pub struct Serving {
    place: Place,
    service: Arc<Service>,
    control: RunControl,
    accepting: JoinHandle<()>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving")
            .field("place", &self.place)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

impl Serving {
    /// Where the socket is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Takes the socket away, and returns when a run that was begun through it
    /// has ended. Close the store after this.
    pub async fn close(self) {
        let current = self.service.current();
        drop(self);
        if let Some(mut ended) = current {
            // It ends without a word only if the run panicked.
            let _ = ended.wait_for(Option::is_some).await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.accepting.abort();
        if self.service.current().is_some() {
            self.control.cancel_this();
        }
    }
}

/// Takes in clients, and lets them go when it is dropped.
async fn accept(listener: UnixListener, service: Arc<Service>) {
    let room = Room::new(CLIENTS);
    let watchers = Arc::new(Semaphore::new(WATCHERS));
    let mut sessions = JoinSet::new();
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            // Of the client, or of a process that has too many files open: the
            // next one may be better off.
            Err(_) => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        while sessions.try_join_next().is_some() {}
        match room.enter() {
            Some(seat) => {
                let session = Session::new(service.clone(), watchers.clone(), seat, client);
                sessions.spawn(session.run());
            }
            None => turn_away(&client),
        }
    }
}

/// Says that there is no room, and waits for nobody.
fn turn_away(client: &UnixStream) {
    let problem = Problem::new(
        ProblemKind::TooMany,
        format!(
            "{CLIENTS} clients are connected and wait for answers, and the service takes no more; end one of them"
        ),
    );
    if let Ok(line) = Line::bytes(Answer::Error(problem)) {
        // It has not read anything yet, so there is room for a line.
        let _ = client.try_write(&line);
    }
}
