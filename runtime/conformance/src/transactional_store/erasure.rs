//! Rules for the removal of events below a baseline.

use state_migration_core::{
    Batch, Commit, Erasure, ErrorKind, ExpectedSequence, Head, SnapshotStore, StreamId,
    TransactionalStore,
};

use crate::transactional_store::registry::snapshot;
use crate::transactional_store::{Checked, head_of, migrate, own, page_of, put_all, written};
use crate::{Broken, event_store::same_head, events, holds, refused, same, tenant};

/// The removal of the events of a process before one of them.
async fn before(
    store: &dyn TransactionalStore,
    stream: &StreamId,
    before: u64,
) -> Result<Batch, Broken> {
    let page = page_of(store, std::slice::from_ref(stream)).await?;
    let process = page.processes.first();
    let process = process.ok_or_else(|| Broken("a page lacks a process".to_owned()))?;
    let erasure = Erasure {
        stream: stream.clone(),
        head: head_of(process)?,
        before,
    };
    Ok(Batch {
        erased: vec![erasure],
        ..Batch::default()
    })
}

pub(crate) async fn kept(store: &dyn TransactionalStore, snapshots: &dyn SnapshotStore) -> Checked {
    let tenant = tenant();
    let (v1, v2) = (own(&tenant, "v1"), own(&tenant, "v2"));
    let all = put_all(store, &tenant, &["p", "q"], &v1).await?;
    for stream in &all {
        let more = ExpectedSequence::Exact(1);
        store.append(stream, more, events(&v1, 2)?).await?;
        snapshots.save(&snapshot(stream, 2, &v1)).await?;
    }
    migrate(store, &all, &v2).await?;
    let p = &all[0];
    store
        .append(p, ExpectedSequence::Exact(4), events(&v2, 1)?)
        .await?;
    let sequences = async |stream: &StreamId| -> Result<Vec<u64>, Broken> {
        let events = store.read_all(stream, 0, 10).await?;
        Ok(events.iter().map(|event| event.sequence).collect())
    };
    let head = |first_kept, sequence| Head {
        baseline: Some(4),
        first_kept,
        ..Head::of(sequence, v2.clone())
    };
    let batch = before(store, p, 3).await?;
    written("an erasure", &store.commit(&batch).await?)?;
    same(
        "the list of events that are left",
        &sequences(p).await?,
        &vec![3, 4, 5],
    )?;
    let revision = same_head(
        "the head after an erasure",
        store.head(p).await?,
        head(3, 5),
    )?;
    let snapshot_left = snapshots.load(p).await?.map(|it| it.sequence);
    same(
        "the snapshot from before the erasure",
        &snapshot_left,
        &None,
    )?;
    // The head has changed.
    holds(
        "the second commit of an erasure was written",
        store.commit(&batch).await? != Commit::Written,
    )?;
    // The baseline is needed, and what is gone is not removed again.
    for wrong in [3, 5] {
        let batch = before(store, p, wrong).await?;
        refused(
            &format!("an erasure before event {wrong}"),
            store.commit(&batch).await,
            |error| *error.kind() == ErrorKind::Invalid,
        )?;
    }
    let batch = before(store, p, 4).await?;
    written("the rest of an erasure", &store.commit(&batch).await?)?;
    same(
        "the list of events that are left",
        &sequences(p).await?,
        &vec![4, 5],
    )?;
    let now = same_head("the head after the rest", store.head(p).await?, head(4, 5))?;
    holds("an erasure did not raise the revision", now > revision)?;
    let appended = store.append(p, ExpectedSequence::Exact(5), events(&v2, 1)?);
    appended.await?;
    same_head("the head after an append", store.head(p).await?, head(4, 6))?;
    // The other process has all that it had.
    let q = &all[1];
    same(
        "the list of events of another process",
        &sequences(q).await?,
        &vec![1, 2, 3, 4],
    )?;
    same_head(
        "the head of another process",
        store.head(q).await?,
        head(1, 4),
    )?;
    Ok(())
}
