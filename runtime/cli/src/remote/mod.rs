//! Through the control socket of a service: what `--via` does.
//!
//! Each request goes over a connection of its own. What a service may do to its
//! client, not answer for example, ends in one sentence.

pub(crate) mod client;
mod drive;
pub(crate) mod service;

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
