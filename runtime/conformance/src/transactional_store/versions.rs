//! Rules for the record of versions at which processes may be.

use state_migration_core::RunId;
use state_migration_core::{Batch, ExpectedSequence, Presence, TransactionalStore, WorkflowId};

use crate::transactional_store::concurrency::handle;
use crate::transactional_store::{Checked, migrate, move_to, own, page_of, put, stale, written};
use crate::{events, same, stream, tenant};

pub(crate) fn open(version: &WorkflowId) -> Presence {
    Presence {
        version: version.clone(),
        closing: None,
    }
}

/// Begins to close a version.
pub(crate) async fn begin_to_close(
    store: &dyn TransactionalStore,
    version: &WorkflowId,
) -> Result<RunId, crate::transactional_store::Broken> {
    let token = RunId::random();
    let batch = Batch {
        closing: Some((token, vec![version.clone()])),
        ..Batch::default()
    };
    let commit = store.commit(&batch).await?;
    written("a batch that begins to close a version", &commit)?;
    Ok(token)
}

pub(crate) async fn named(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let [v1, v2, v10] = ["v1", "v2", "v10"].map(|version| own(&tenant, version));
    let name = v1.name().to_owned();
    let versions = async || store.versions(&name).await;
    let before = versions().await?;
    same(
        "the list of versions before the first birth",
        &before,
        &vec![],
    )?;
    // A name that only starts with the name is another workflow.
    let longer = WorkflowId::new(format!("{name}-b"), "v7");
    put(store, &stream(&tenant, "longer")?, &longer, 1).await?;
    let mut wanted = Vec::new();
    for (n, version) in [&v10, &v1, &v2].into_iter().enumerate() {
        for process in ["a", "b"] {
            let stream = stream(&tenant, &format!("{process}{n}"))?;
            put(store, &stream, version, 1).await?;
        }
        wanted.push(open(version));
        wanted.sort_by(|a, b| a.version.cmp(&b.version));
        let what = format!("the list of versions after births at {version}");
        same(&what, &versions().await?, &wanted)?;
    }
    let what = "the list of versions through another handle";
    same(what, &handle(store)?.versions(&name).await?, &wanted)?;

    let (v3, v4, v5, v6) = (
        own(&tenant, "v3"),
        own(&tenant, "v4"),
        own(&tenant, "v5"),
        own(&tenant, "v6"),
    );
    let moved = [stream(&tenant, "a0")?];
    migrate(store, &moved, &v3).await?;
    wanted.insert(2, open(&v3));
    let what = "the list of versions after a migration to v3";
    same(what, &versions().await?, &wanted)?;

    let event = crate::migrated_between(&v3, &v4)?;
    store
        .append(&moved[0], ExpectedSequence::Exact(2), vec![event])
        .await?;
    wanted.insert(3, open(&v4));
    let what = "the list of versions after a `$migrated` event of v4";
    let found = versions().await?;
    // The store may have removed v3, where no process is left.
    let kept: Vec<Presence> = wanted
        .iter()
        .filter(|it| it.version != v3)
        .cloned()
        .collect();
    let found: Vec<Presence> = found.into_iter().filter(|it| it.version != v3).collect();
    same(what, &found, &kept)?;

    let page = page_of(store, &moved).await?;
    let late = Batch {
        moves: vec![move_to(&page.processes[0], &v6)?],
        present: vec![v5.clone(), v6.clone()],
        ..Batch::default()
    };
    let more = events(&v4, 1)?;
    store
        .append(&moved[0], ExpectedSequence::Exact(3), more)
        .await?;
    let commit = store.commit(&late).await?;
    stale(
        "a migration of a process with a newer event",
        &commit,
        &moved,
        &[],
    )?;
    let named = |found: Vec<Presence>, version: &WorkflowId| {
        found.into_iter().any(|it| it.version == *version)
    };
    let what = "the presence of v5 in the list of versions after a stale batch";
    same(what, &named(versions().await?, &v5), &false)?;
    // A store that finds the versions in the heads need not list v5 before a
    // process is there, but every store lists it from then on, although the
    // batch that migrates the process says that the version is known.
    let present = Batch {
        present: vec![v5.clone()],
        ..Batch::default()
    };
    written(
        "a batch that adds v5 to the list of versions",
        &store.commit(&present).await?,
    )?;
    let page = page_of(store, &moved).await?;
    let arrival = Batch {
        moves: vec![move_to(&page.processes[0], &v5)?],
        arrivals_are_known: true,
        ..Batch::default()
    };
    written("a migration to v5", &store.commit(&arrival).await?)?;
    let what = "the presence of v5 in the list of versions after a migration to it";
    same(what, &named(versions().await?, &v5), &true)
}

pub(crate) async fn closing(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (v1, v2) = (own(&tenant, "v1"), own(&tenant, "v2"));
    let at_v2 = stream(&tenant, "at v2")?;
    put(store, &stream(&tenant, "at v1")?, &v1, 1).await?;
    put(store, &at_v2, &v2, 1).await?;
    let token = begin_to_close(store, &v1).await?;
    let closing = Presence {
        version: v1.clone(),
        closing: Some(token),
    };
    let wanted = vec![closing, open(&v2)];
    let versions = store.versions(v1.name()).await?;
    same(
        "the list of versions after a version began to close",
        &versions,
        &wanted,
    )?;

    put(store, &stream(&tenant, "late")?, &v1, 1).await?;
    migrate(store, &[at_v2], &v1).await?;
    put(store, &stream(&tenant, "more")?, &v2, 1).await?;
    let present = Batch {
        present: vec![v1.clone()],
        ..Batch::default()
    };
    let commit = store.commit(&present).await?;
    written(
        "a batch that adds a closing version to the list of versions",
        &commit,
    )?;
    let versions = store.versions(v1.name()).await?;
    same(
        "the list of versions after a birth and a migration at a closing version",
        &versions,
        &wanted,
    )
}
