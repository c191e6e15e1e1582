//! Commands sent to the control socket of a service, with `--socket`.
//!
//! Each request uses its own connection. Any misbehaviour of the service, such as not
//! answering, ends in a failure in one sentence.

pub(crate) mod client;
mod drive;
pub(crate) mod service;

pub(crate) use client::ServiceClient;
pub(crate) use drive::{drive, watch};

use crate::context::Context;
use crate::exit_code::{Failure, Reason};

impl Context {
    /// The service that the command is sent to, if one is named.
    pub(crate) fn client(&self) -> Option<ServiceClient> {
        let path = self.global.socket.as_deref()?;
        Some(ServiceClient::new(path, self))
    }

    /// The service, for commands that require one.
    pub(crate) fn service(&self) -> Result<ServiceClient, Failure> {
        self.client().ok_or_else(|| {
            Failure::environment(Reason::Usage,
                "no service given; add `--socket PATH`, or press Ctrl-C to cancel a run that this tool executes",
            )
        })
    }
}
