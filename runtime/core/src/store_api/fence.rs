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
                "process {stream} is held by an operator and stays at {}; release it first",
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
                "process {stream} was migrated to {stands_at}, but this code is for {code}; use code for {stands_at}"
            ),
        ))
    } else {
        let way_out = if same_name {
            "migrate the process, or use code for its version"
        } else {
            "use code for its workflow"
        };
        Err(Error::new(
            ErrorKind::WrongVersion {
                stands_at: stands_at.clone(),
            },
            format!("process {stream} is at {stands_at}, but this code is for {code}; {way_out}"),
        ))
    }
}
