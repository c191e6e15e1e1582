//! Drives the runs of a service from another process, through a Unix socket.
//!
//! SlateDB has one writer, so a run against a live service goes on inside that
//! service. With a control socket the operator's tool drives and watches that
//! run, with `--via`, while the service goes on writing:
//!
//! ```no_run
//! # async fn f<M, ES, SS>(runner: state_migration::MigrationRunner<M, ES, SS>) -> Result<(), state_migration::Error>
//! # where M: state_migration::Migrations + 'static, ES: state_migration::EventStore + 'static,
//! #       SS: state_migration::SnapshotStore + 'static {
//! use std::sync::Arc;
//!
//! use state_migration::control_socket::ControlSocket;
//!
//! // Of the service's own store; it migrates nothing before somebody says so.
//! let runner = Arc::new(runner);
//! let serving = ControlSocket::bind("/run/loans/control")?.serve(runner)?;
//! // … the service does its work; and when it ends:
//! serving.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Who may connect
//!
//! The user that the service runs as, and nobody else: the socket has the
//! permissions 0600. There is no moment at which it has others, since it is
//! bound in a folder of its own with the permissions 0700, and moved to its path
//! when it has its own. There is no TCP.
//!
//! A lock beside the socket (`….lock`) says whether the service lives; the system
//! gives it back when the service dies, whatever it dies of. So the socket of a
//! dead service is replaced, and that of a live one refused.
//!
//! # What a client can do
//!
//! | request | what it does |
//! |---|---|
//! | `status` | says whether a run is under way, and how far it is |
//! | `watch` | says so again and again, until the run ends |
//! | `pause`, `continue`, `cancel` | tells the run that is under way |
//! | `throttle` | limits this run and later ones to so many processes a second |
//! | `run` | starts a run: which processes, by whom, why, by which plan |
//! | `resume`, `retry` | goes on with a run, or tries again what failed in it |
//! | `plan` | says what a run would do, and where processes stand |
//! | `runs`, `show` | reads the service's own store: its runs, and one with its failures |
//!
//! A request is one line of JSON, of at most 1 MiB, and so is each answer:
//!
//! ```text
//! > {"version":1,"request":"throttle","per_second":50}
//! < {"version":1,"answer":"status","under_way":true,"pausing":false,"per_second":50,"progress":{…}}
//! > {"version":1,"request":"pause"}
//! < {"version":1,"answer":"error","kind":"no_run","message":"no run is under way …","run":null}
//! ```
//!
//! `docs/control-socket.md` has all of them. There is one run at a time: another
//! one is refused, with the id of the one that is under way. A run goes on
//! when the client that began it goes away. No client can keep the service or a
//! run waiting: each has a task of its own and at most one line waiting for it;
//! one that does not read for 10 seconds, or asks for nothing for 30, is let go;
//! and there are at most 32, of which 16 may watch, so that there is always room
//! for one to cancel.

mod driven;
mod lines;
mod place;
pub(crate) mod protocol;
mod session;

use std::path::Path;
use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

#[cfg(feature = "cli")]
pub(crate) use lines::{NoLine, read, write};

use crate::control_socket::driven::Service;
use crate::control_socket::place::Place;
use crate::control_socket::protocol::{Answer, Line, Problem, ProblemKind};
use crate::control_socket::session::Session;
use crate::error::{Error, ErrorKind};
use crate::runner::{MigrationRunner, Migrations, RunControl};
use crate::snapshot::SnapshotStore;
use crate::store::EventStore;

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
    let clients = Arc::new(Semaphore::new(CLIENTS));
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
        match clients.clone().try_acquire_owned() {
            Ok(room) => {
                let session = Session::new(service.clone(), watchers.clone(), client);
                sessions.spawn(async move {
                    let _room = room;
                    session.run().await;
                });
            }
            Err(_) => turn_away(&client),
        }
    }
}

/// Says that there is no room, and waits for nobody.
fn turn_away(client: &UnixStream) {
    let problem = Problem::new(
        ProblemKind::TooMany,
        format!("{CLIENTS} clients are connected, and the service takes no more; end one of them"),
    );
    if let Ok(line) = Line::bytes(Answer::Error(problem)) {
        // It has not read anything yet, so there is room for a line.
        let _ = client.try_write(&line);
    }
}
