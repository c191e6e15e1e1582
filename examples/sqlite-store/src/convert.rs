//! Rows of SQLite from and to the values of the store traits.

use rusqlite::{Row, Transaction, named_params};
use state_migration::{Fingerprint, Head, StreamId, WorkflowId};

use crate::{Failure, corrupt};

/// SQLite's integers are signed, and sequence numbers, revisions and times stay
/// far below the limit.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn number(row: &Row<'_>, column: &str) -> Result<u64, Failure> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| corrupt(column, &value.to_string()))
}

pub(crate) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(crate) fn stream(row: &Row<'_>) -> Result<StreamId, Failure> {
    let id: String = row.get("stream")?;
    StreamId::new(&id).map_err(|_| corrupt("the id of a stream", &id))
}

pub(crate) fn version(row: &Row<'_>) -> Result<WorkflowId, Failure> {
    let (name, version): (String, String) = (row.get("name")?, row.get("version")?);
    Ok(WorkflowId::new(name, version))
}

/// A head from a row of the table `heads`.
pub(crate) fn head(row: &Row<'_>) -> Result<Head, Failure> {
    let baseline: Option<i64> = row.get("baseline")?;
    let finished_by: Option<i64> = row.get("finished_by")?;
    Ok(Head {
        sequence: number(row, "sequence")?,
        revision: number(row, "revision")?,
        workflow_id: version(row)?,
        baseline: baseline.map(i64::cast_unsigned),
        first_kept: number(row, "first_kept")?,
        finished: row.get("finished")?,
        finished_by: finished_by.map(|hash| Fingerprint::new(hash.cast_unsigned())),
        held: row.get("held")?,
        undone: row.get("undone")?,
    })
}

pub(crate) fn read_head(
    transaction: &Transaction<'_>,
    stream: &StreamId,
) -> Result<Option<Head>, Failure> {
    let mut query = transaction.prepare_cached("SELECT * FROM heads WHERE stream = ?1")?;
    let mut rows = query.query([stream.as_str()])?;
    rows.next()?.map(head).transpose()
}

pub(crate) fn put_head(
    transaction: &Transaction<'_>,
    stream: &StreamId,
    head: &Head,
) -> Result<(), Failure> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO heads VALUES (:stream, :sequence, :revision, :name, :version, \
         :baseline, :first_kept, :finished, :finished_by, :held, :undone)",
    )?;
    insert.execute(named_params! {
        ":stream": stream.as_str(),
        ":sequence": integer(head.sequence),
        ":revision": integer(head.revision),
        ":name": head.workflow_id.name(),
        ":version": head.workflow_id.version(),
        ":baseline": head.baseline.map(integer),
        ":first_kept": integer(head.first_kept),
        ":finished": head.finished,
        ":finished_by": head.finished_by.map(|by| by.get().cast_signed()),
        ":held": head.held,
        ":undone": head.undone,
    })?;
    Ok(())
}
