//! Through the control socket of a service: what `--via` does.
//!
//! Each request goes over a connection of its own. What a service may do to its
//! client, not answer for example, ends in one sentence.

mod client;
mod drive;
pub(crate) mod service;

use std::path::Path;

pub(crate) use client::Via;
pub(crate) use drive::{drive, watch};

use crate::context::Context;
use crate::exit_code::Failure;

impl Context {
    /// The service that the command is to go to, if one is named.
    pub(crate) fn via(&self) -> Option<Via> {
        let path = self.global.via.as_deref()?;
        Some(Via::new(path, self))
    }

    /// The same for commands that are for services only.
    pub(crate) fn service(&self) -> Result<Via, Failure> {
        self.via().ok_or_else(|| {
            Failure::environment(
                "this goes to the service that a run is in, and none is named; give its control socket with --via, or press Ctrl-C where `run` was typed to end that one",
            )
        })
    }
}

/// Why there is no talking to a service.
fn unreachable(path: &Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let shown = path.display();
    Failure::environment(match error.kind() {
        ErrorKind::NotFound => format!(
            "there is no control socket at {shown}; start the service that offers it, or give --via the path that the service has"
        ),
        ErrorKind::ConnectionRefused if is_socket(path) => format!(
            "nobody listens on the control socket {shown} any more; start the service again, which replaces it"
        ),
        ErrorKind::ConnectionRefused => {
            format!("{shown} is not a control socket; give --via the path that the service has")
        }
        ErrorKind::PermissionDenied => format!(
            "this user may not use the control socket {shown}, which is for the user that the service runs as; type the command as that one"
        ),
        // Of the path nothing is asked but its length.
        ErrorKind::InvalidInput => format!(
            "the path of the control socket {shown} is longer than a system takes; give --via a shorter one, such as a path from the folder that it is in"
        ),
        // The second one is said where clients wait already to be let in.
        ErrorKind::TimedOut | ErrorKind::WouldBlock => format!(
            "the service behind the control socket {shown} does not answer; look whether its program is stopped (`kill -CONT` lets it go on) or overloaded, and ask for `status` again when it is not"
        ),
        _ => format!(
            "the control socket {shown} cannot be used: {error}; give --via the path that the service has"
        ),
    })
}

#[cfg(unix)]
fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|there| there.file_type().is_socket())
}

#[cfg(not(unix))]
fn is_socket(_: &Path) -> bool {
    false
}
