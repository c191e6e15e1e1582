//! Control of the runs of a service from another process, through a Unix socket.
//! Feature `control-socket`; without effect on systems without Unix sockets.
//!
//! SlateDB allows one writer, so a run against a live service must execute inside that
//! service. Through a control socket, the command-line tool controls and watches that
//! run with `--socket`, while the service continues to write:
//!
//! ```no_run
//! # async fn f<M, ES, SS>(runner: state_migration::MigrationRunner<M, ES, SS>) -> Result<(), state_migration::Error>
//! # where M: state_migration::Migrations + 'static, ES: state_migration::EventStore + 'static,
//! #       SS: state_migration::SnapshotStore + 'static {
//! use std::sync::Arc;
//!
//! use state_migration::control_socket::ControlSocket;
//!
//! // The runner of the service's own store. It starts no run by itself.
//! let runner = Arc::new(runner);
//! let serving = ControlSocket::bind("/run/loans/control")?.serve(runner)?;
//! // … while the service runs; before it ends:
//! serving.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Access
//!
//! Only the user that the service runs as may connect: the socket has the permissions
//! 0600 from the start, since it is bound in a private folder with the permissions
//! 0700, and renamed to its path once it has its own. There is no TCP.
//!
//! A lock file beside the socket (`….lock`) shows whether the service is alive; the
//! system releases the lock when the service ends for any reason. The socket of a
//! dead service is replaced, and binding the path of a live service is refused.
//!
//! # Requests
//!
//! | request | effect |
//! |---|---|
//! | `status` | returns the state and the progress of the run |
//! | `watch` | returns the progress repeatedly until the run ends |
//! | `pause`, `unpause`, `cancel` | pauses, unpauses or cancels the run in progress |
//! | `throttle` | limits this run and later ones to N processes per second |
//! | `run` | starts a run, with its selection, actor, reason and plan |
//! | `resume`, `retry` | resumes a run, or retries its failures |
//! | `plan` | returns what a run would do, and the number of processes at each version |
//! | `runs`, `show` | reads the history of the service's store, or one run with its failures |
//!
//! A request is one line of JSON of at most 1 MiB. Each answer is one line of JSON:
//!
//! ```text
//! > {"version":2,"request":"throttle","per_second":50}
//! < {"version":2,"answer":"status","in_progress":true,"pausing":false,"per_second":50,"progress":{…}}
//! > {"version":2,"request":"pause"}
//! < {"version":2,"answer":"error","kind":"no_run","message":"no run is in progress …","run":null}
//! ```
//!
//! `docs/control-socket.md` describes all of them. Only one run is allowed at a time:
//! another one is refused with the id of the run in progress. A run continues when the
//! client that started it disconnects.
//!
//! No client can block the service or a run. Each client has its own task and at most
//! one pending line. A client that does not read for 10 seconds, or sends no request
//! for 30 seconds, is disconnected. At most 32 clients can be connected, and at most
//! 16 of them can watch. When another client connects, the client that has been idle
//! longest is disconnected, so that a run can always be cancelled.

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
