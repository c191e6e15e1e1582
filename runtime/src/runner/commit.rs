//! Stage four: makes migrations durable.

use crate::error::Error;
use crate::id::{StreamId, WorkflowId};
use crate::runner::convert::Converted;
use crate::runner::report::{MigrationError, Stage};
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::store::{Chunk, EventStore, ExpectedSequence};

/// A process that was migrated, durably.
pub(super) struct Moved {
    pub(super) stream: StreamId,
    pub(super) to: WorkflowId,
}

impl Moved {
    pub(super) fn of(converted: &Converted) -> Self {
        Self {
            stream: converted.stream.clone(),
            to: converted.event.workflow_id().clone(),
        }
    }
}

/// Commits the processes of a chunk, all or nothing; returns which they are
/// when they are durable.
pub(super) async fn chunk(
    mut chunk: Box<dyn Chunk>,
    converted: Vec<Converted>,
    remember: bool,
) -> Result<Vec<Moved>, Error> {
    let moved: Vec<Moved> = converted.iter().map(Moved::of).collect();
    for Converted { stream, event, .. } in converted {
        chunk.migrate(&stream, event, remember && stream.process().is_some())?;
    }
    if !moved.is_empty() {
        chunk.commit().await?;
    }
    Ok(moved)
}

/// Commits one process by its event.
pub(super) async fn event(events: &dyn EventStore, converted: &Converted) -> Result<(), Error> {
    let expected = ExpectedSequence::Exact(converted.head.sequence);
    events
        .append(&converted.stream, expected, vec![converted.event.clone()])
        .await
        .map(drop)
}

/// Whether the event of a process is in its stream, whatever the store answered.
pub(super) async fn has_landed(
    events: &dyn EventStore,
    converted: &Converted,
) -> Result<bool, Error> {
    let next = events
        .read_all(&converted.stream, converted.head.sequence, 1)
        .await?;
    Ok(next
        .first()
        .is_some_and(|event| event.event_id == converted.event.event_id()))
}

/// Keeps the state of a process that was committed by its event.
pub(super) async fn snapshot(
    snapshots: &dyn SnapshotStore,
    converted: Converted,
    state_schema_version: u32,
) -> Result<(), Error> {
    snapshots
        .save(&Snapshot {
            stream_id: converted.stream,
            sequence: converted.head.sequence + 1,
            workflow_id: converted.event.workflow_id().clone(),
            state_schema_version,
            state: String::from(Box::<str>::from(converted.state)).into(),
        })
        .await
}

/// The failure of a process that could not be written.
pub(super) fn failed(stream: &StreamId, error: &Error) -> MigrationError {
    MigrationError {
        stream_id: stream.clone(),
        stage: Stage::Committing,
        sequence: None,
        message: error.to_string(),
    }
}

/// The failure of a process that others write to all the time.
pub(super) fn busy(stream: &StreamId, attempts: usize) -> MigrationError {
    MigrationError {
        stream_id: stream.clone(),
        stage: Stage::Committing,
        sequence: None,
        message: format!(
            "the process is busy: others wrote to it in each of {attempts} attempts; run again when it is quieter"
        ),
    }
}
