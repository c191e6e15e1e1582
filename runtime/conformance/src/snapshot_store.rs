//! Rules for snapshot stores.

use state_migration_core::{Snapshot, SnapshotStore};

use crate::{Checked, Violation, of, same, stream, tenant, v1, v2};

/// Checks a snapshot store. The suite appends no events.
///
/// # Errors
/// The first rule that the store breaks.
pub async fn snapshot_store(store: &dyn SnapshotStore) -> Result<(), Violation> {
    of(
        "`load` returns the snapshot that was saved last",
        latest(store).await,
    )?;
    of("a snapshot can be deleted", deletion(store).await)
}

async fn latest(store: &dyn SnapshotStore) -> Checked {
    let tenant = tenant();
    let (a, ab) = (stream(&tenant, "a")?, stream(&tenant, "ab")?);
    same(
        "the snapshot of a stream without snapshots",
        &store.load(&a).await?,
        &None,
    )?;
    let first = Snapshot {
        stream_id: a.clone(),
        sequence: 9,
        workflow_id: v1(),
        state_schema_version: 3,
        state: "{\"n\": 1}".into(),
    };
    store.save(&first).await?;
    same(
        "the snapshot after the first `save`",
        &store.load(&a).await?,
        &Some(first.clone()),
    )?;
    same(
        "the snapshot of another stream",
        &store.load(&ab).await?,
        &None,
    )?;
    let second = Snapshot {
        sequence: 12,
        workflow_id: v2(),
        state: "[]".into(),
        ..first.clone()
    };
    store.save(&second).await?;
    same(
        "the snapshot after the second `save`",
        &store.load(&a).await?,
        &Some(second.clone()),
    )?;
    let other = Snapshot {
        stream_id: ab.clone(),
        ..first
    };
    store.save(&other).await?;
    same(
        "the snapshot after a `save` for another stream",
        &store.load(&a).await?,
        &Some(second),
    )?;
    same(
        "the snapshot of the other stream",
        &store.load(&ab).await?,
        &Some(other),
    )
}

async fn deletion(store: &dyn SnapshotStore) -> Checked {
    let tenant = tenant();
    let mut kept = None;
    for name in ["a", "b"] {
        let snapshot = Snapshot {
            stream_id: stream(&tenant, name)?,
            sequence: 1,
            workflow_id: v1(),
            state_schema_version: 1,
            state: "{}".into(),
        };
        store.save(&snapshot).await?;
        kept = Some(snapshot);
    }
    store.delete(&stream(&tenant, "a")?).await?;
    store.delete(&stream(&tenant, "never there")?).await?;
    same(
        "the snapshot after `delete`",
        &store.load(&stream(&tenant, "a")?).await?,
        &None,
    )?;
    same(
        "the snapshot of another stream",
        &store.load(&stream(&tenant, "b")?).await?,
        &kept,
    )
}
