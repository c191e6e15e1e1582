//! The rules of a chunk's commit.

use super::process_registry::all_kinds;
use super::transactional_store::{begin, put};
use super::{Broken, Checked, events, migrated, process, refused, same, stream, tenant, v1, v2};
use crate::id::{ProcessIdentity, StreamId, TenantId, WorkflowId};
use crate::process_registry::ProcessRegistry;
use crate::store::{ExpectedSequence, Head, TransactionalStore};

pub(super) async fn all_or_nothing<S: TransactionalStore + ProcessRegistry>(store: &S) -> Checked {
    let tenant = tenant();
    let names = ["a", "b", "c"];
    for name in names {
        let stream = stream(&tenant, name)?;
        put(store, &stream, &v1(), 2).await?;
        let identity = ProcessIdentity::new(process(name)?, tenant.clone(), v1());
        for key in all_kinds(name)? {
            store.register(&tenant, &key, &identity).await?;
        }
    }
    // Dropped without a commit: nothing happens.
    let mut chunk = begin(store, &v1(), &tenant).await?;
    chunk.migrate(&stream(&tenant, "a")?, migrated()?, false)?;
    drop(chunk);
    same(
        "what stands at v1",
        &at(store, &tenant, &v1()).await?.len(),
        &3,
    )?;

    let mut chunk = begin(store, &v1(), &tenant).await?;
    for name in ["a", "c"] {
        chunk.migrate(&stream(&tenant, name)?, migrated()?, false)?;
    }
    let foreign = stream(&tenant, "elsewhere")?;
    refused(
        "a migration of a process that the chunk does not hold",
        chunk.migrate(&foreign, migrated()?, false),
        |_| true,
    )?;
    chunk.commit().await?;
    for name in names {
        let (stream, moved) = (stream(&tenant, name)?, name != "b");
        let head = if moved {
            Head {
                sequence: 3,
                workflow_id: v2(),
                baseline: Some(3),
                finished: false,
                held: false,
            }
        } else {
            Head {
                sequence: 2,
                workflow_id: v1(),
                baseline: None,
                finished: false,
                held: false,
            }
        };
        same(
            &format!("the head of {name}"),
            &store.head(&stream).await?,
            &Some(head.clone()),
        )?;
        let events = store.read_all(&stream, 0, 10).await?;
        same(
            &format!("the number of events of {name}"),
            &(events.len() as u64),
            &head.sequence,
        )?;
        for key in all_kinds(name)? {
            let entry = store
                .lookup(&tenant, &key)
                .await?
                .map(|entry| entry.workflow_id);
            same(
                &format!("where the {key} leads"),
                &entry,
                &Some(head.workflow_id.clone()),
            )?;
        }
    }
    same(
        "what stands at v1",
        &at(store, &tenant, &v1()).await?,
        &vec![stream(&tenant, "b")?],
    )?;
    same(
        "what stands at v2",
        &at(store, &tenant, &v2()).await?.len(),
        &2,
    )
}

async fn at<S: TransactionalStore>(
    store: &S,
    tenant: &TenantId,
    version: &WorkflowId,
) -> Result<Vec<StreamId>, Broken> {
    let mut chunk = begin(store, version, tenant).await?;
    Ok(chunk
        .take_processes()
        .into_iter()
        .map(|p| p.stream)
        .collect())
}

pub(super) async fn conflicts<S: TransactionalStore>(store: &S) -> Checked {
    let tenant = tenant();
    let stream = stream(&tenant, "p")?;
    put(store, &stream, &v1(), 2).await?;
    let mut chunk = begin(store, &v1(), &tenant).await?;
    chunk.migrate(&stream, migrated()?, false)?;
    store
        .append(&stream, ExpectedSequence::Exact(2), events(&v1(), 1)?)
        .await?;
    refused("the commit", chunk.commit().await, |e| e.is_conflict())?;
    let head = Head {
        sequence: 3,
        workflow_id: v1(),
        baseline: None,
        finished: false,
        held: false,
    };
    same("the head", &store.head(&stream).await?, &Some(head))?;
    same(
        "the number of events",
        &store.read_all(&stream, 0, 10).await?.len(),
        &3,
    )
}

pub(super) async fn late_entry<S: TransactionalStore + ProcessRegistry>(store: &S) -> Checked {
    let tenant = tenant();
    let stream = stream(&tenant, "p")?;
    put(store, &stream, &v1(), 1).await?;
    let [key, ..] = all_kinds("p")?;
    let identity = ProcessIdentity::new(process("p")?, tenant.clone(), v1());
    let mut chunk = begin(store, &v1(), &tenant).await?;
    chunk.migrate(&stream, migrated()?, false)?;
    store.register(&tenant, &key, &identity).await?;
    let committed = chunk.commit().await;
    let entry = store
        .lookup(&tenant, &key)
        .await?
        .map(|entry| entry.workflow_id);
    match committed {
        Ok(()) => same(
            "where the entry leads after the commit",
            &entry,
            &Some(v2()),
        )?,
        Err(error) if error.is_conflict() => {
            same(
                "where the entry leads after the conflict",
                &entry,
                &Some(v1()),
            )?;
            store
                .append(&stream, ExpectedSequence::Exact(1), vec![migrated()?])
                .await?;
        }
        Err(error) => return Err(error.into()),
    }
    refused(
        "an entry of v1 for a process at v2",
        store.register(&tenant, &key, &identity).await,
        |e| matches!(e.kind(), crate::error::ErrorKind::Migrated { .. }),
    )?;
    let entry = store
        .lookup(&tenant, &key)
        .await?
        .map(|entry| entry.workflow_id);
    same("where the entry leads", &entry, &Some(v2()))
}
