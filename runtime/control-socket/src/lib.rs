//! Drives the runs of a service from another process, through a Unix socket.
//! Feature `control-socket`; on systems without Unix sockets nothing is here.
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
//! and there are at most 32, of which 16 may watch. When another one comes, the
//! one that has asked for nothing for longest makes place, so that there is
//! always room for one to cancel.

#[cfg_attr(not(unix), allow(dead_code))]
#[doc(hidden)]
pub mod framing;
#[cfg_attr(not(unix), allow(dead_code))]
#[doc(hidden)]
pub mod protocol;
#[cfg(unix)]
mod server;

#[cfg(unix)]
pub use server::{ControlSocket, Serving};
