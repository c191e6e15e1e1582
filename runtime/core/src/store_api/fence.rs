//! The fence: code of one version must not write to a process at another.

use std::cmp::Ordering;

use crate::error::{Error, ErrorKind};
use crate::id::{StreamId, WorkflowId};
use crate::store_api::Head;
use crate::version::natural_cmp;

/// Checks that a process is not held and may be migrated.
pub fn check_hold(stream: &StreamId, head: &Head) -> Result<(), Error> {
    match head.held {
        false => Ok(()),
        true => Err(Error::new(
            ErrorKind::Held,
            format!(
                "the process {stream} is held by an operator, so it stays at {}; release it first",
                head.workflow_id
            ),
        )),
    }
}

/// Checks that code of version `code` may write to a process at `stands_at`.
pub fn check(stream: &StreamId, code: &WorkflowId, stands_at: &WorkflowId) -> Result<(), Error> {
    if code == stands_at {
        return Ok(());
    }
    let same_name = code.name() == stands_at.name();
    if same_name && natural_cmp(code.version(), stands_at.version()) == Ordering::Less {
        Err(Error::new(
            ErrorKind::Migrated {
                to: stands_at.clone(),
            },
            format!(
                "the process {stream} was migrated to {stands_at}, and this is code of {code}; route it to code of {stands_at}"
            ),
        ))
    } else {
        let way_out = if same_name {
            "migrate it first, or use code of that version"
        } else {
            "it belongs to another workflow"
        };
        Err(Error::new(
            ErrorKind::WrongVersion {
                stands_at: stands_at.clone(),
            },
            format!(
                "the process {stream} stands at {stands_at}, and this is code of {code}; {way_out}"
            ),
        ))
    }
}
