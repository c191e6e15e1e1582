//! The rules of what a runner keeps in a store: rows of its own, and decisions
//! about processes.

use super::transactional_store::{begin, of_tenant, own_version, put};
use super::{Broken, Checked, events, holds, migrated_between, refused, same, stream, tenant};
use crate::error::Error;
use crate::id::{StreamId, TenantId, WorkflowId};
use crate::store::{
    AtVersion, Chunk, ChunkRequest, Decision, ExpectedSequence, TransactionalStore,
};

async fn without_streams<S: TransactionalStore>(store: &S) -> Result<Box<dyn Chunk>, Broken> {
    Ok(store.begin(ChunkRequest::bookkeeping()).await?)
}

pub(super) async fn rows<S: TransactionalStore>(store: &S) -> Checked {
    let own = format!("conformance-{}", tenant());
    let key = |name: &str| format!("{own}/{name}").into_bytes();
    let prefix = key("");

    let mut first = without_streams(store).await?;
    for (name, row) in [("b", "2"), ("a", "1"), ("c\0\u{10ffff}", "3")] {
        first.put_row(key(name), Some(row.as_bytes().to_vec()));
    }
    let nothing = store.rows(&prefix, None, 10).await?;
    holds(
        "a row is there before its chunk commits",
        nothing.is_empty(),
    )?;
    first.commit().await?;
    let names = |rows: Vec<(bytes::Bytes, bytes::Bytes)>| -> Vec<(Vec<u8>, Vec<u8>)> {
        rows.into_iter()
            .map(|(key, row)| (key.to_vec(), row.to_vec()))
            .collect()
    };
    let row = |name: &str, row: &str| (key(name), row.as_bytes().to_vec());
    same(
        "the rows",
        &names(store.rows(&prefix, None, 10).await?),
        &vec![row("a", "1"), row("b", "2"), row("c\0\u{10ffff}", "3")],
    )?;
    same(
        "one row after the first",
        &names(store.rows(&prefix, Some(&key("a")), 1).await?),
        &vec![row("b", "2")],
    )?;

    // A chunk that read a row does not commit when the row has changed.
    let mut reads = without_streams(store).await?;
    let read = reads.row(&key("a")).await?;
    same("a row read", &read.as_deref(), &Some(&b"1"[..]))?;
    let missing = reads.row(&key("z")).await?;
    same("a row that is not there", &missing, &None)?;
    reads.put_row(key("d"), Some(Vec::new()));
    let mut writes = without_streams(store).await?;
    writes.put_row(key("a"), None);
    writes.commit().await?;
    refused(
        "a commit after a row that was read has changed",
        reads.commit().await,
        Error::is_conflict,
    )?;
    same(
        "the rows after a removal and a refusal",
        &names(store.rows(&prefix, None, 10).await?),
        &vec![row("b", "2"), row("c\0\u{10ffff}", "3")],
    )
}

async fn decision_of<S: TransactionalStore>(
    store: &S,
    version: &WorkflowId,
    tenant: &TenantId,
    stream: &StreamId,
) -> Result<Option<Decision>, Broken> {
    let found = store.streams_at(version, &of_tenant(tenant), 100).await?;
    Ok(found
        .into_iter()
        .find(|AtVersion { stream: at, .. }| at == stream)
        .map(|process| process.decision))
}

pub(super) async fn decisions<S: TransactionalStore>(store: &S) -> Checked {
    let tenant = tenant();
    let version = own_version(&tenant);
    let next = WorkflowId::new(version.name().to_owned(), "v2");
    let process = stream(&tenant, "a")?;
    put(store, &process, &version, 2).await?;
    let at = async || decision_of(store, &version, &tenant, &process).await;
    same("the decision at first", &at().await?, &Some(Decision::None))?;

    // Without the process in the chunk.
    let skipped = Decision::Skipped {
        who: "somebody".into(),
        why: "a reason".into(),
    };
    for decision in [skipped.clone(), Decision::None, skipped.clone()] {
        let mut chunk = without_streams(store).await?;
        chunk.decide(&version, &process, decision.clone());
        chunk.commit().await?;
        same("the decision", &at().await?, &Some(decision))?;
    }
    // An append leaves it alone.
    let more = events(&version, 1)?;
    store
        .append(&process, ExpectedSequence::Exact(2), more)
        .await?;
    let after = at().await?;
    same(
        "the decision after an append",
        &after,
        &Some(skipped.clone()),
    )?;

    // So does a run that finds it over, and the head says why it is left alone.
    let mut chunk = begin(store, &version, &tenant).await?;
    chunk.decide(&version, &process, Decision::Finished);
    chunk.commit().await?;
    same("the decision after that", &at().await?, &Some(skipped))?;
    let held = store.head(&process).await?;
    holds(
        "the head does not say that the process is taken out",
        held.is_some_and(|head| head.held && !head.finished && head.sequence == 3),
    )?;
    let mut chunk = without_streams(store).await?;
    chunk.decide(&version, &process, Decision::None);
    chunk.commit().await?;

    let mut chunk = begin(store, &version, &tenant).await?;
    chunk.decide(&version, &process, Decision::Finished);
    chunk.commit().await?;
    let finished = Some(Decision::Finished);
    same("the decision on one that is over", &at().await?, &finished)?;
    let head = store.head(&process).await?;
    holds(
        "the head does not say that the process is over",
        head.is_some_and(|head| head.finished && !head.held && head.sequence == 3),
    )?;
    let more = events(&version, 1)?;
    store
        .append(&process, ExpectedSequence::Exact(3), more)
        .await?;
    same(
        "the decision on one that was over and went on",
        &at().await?,
        &Some(Decision::None),
    )?;

    // One that has moved on is left alone, and does not come back.
    let mut late = without_streams(store).await?;
    late.decide(&version, &process, Decision::Finished);
    let mut chunk = begin(store, &version, &tenant).await?;
    chunk.migrate(&process, migrated_between(&version, &next)?, false)?;
    chunk.commit().await?;
    match late.commit().await {
        Err(error) if !error.is_conflict() => return Err(error.into()),
        _ => {}
    }
    same("what stands at the old version", &at().await?, &None)?;
    let now = decision_of(store, &next, &tenant, &process).await?;
    same(
        "the decision at the new version",
        &now,
        &Some(Decision::None),
    )
}
