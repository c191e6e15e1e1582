//! Rules for registry entries and snapshots that are stored with the events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join;
use state_migration_core::{
    Error, ErrorKind, ExpectedSequence, ProcessIdentity, ProcessRegistry, RegistryKey, Snapshot,
    SnapshotStore, StreamId, TenantId, TransactionalStore, WorkflowId,
};

use crate::process_registry::all_kinds;
use crate::transactional_store::concurrency::{beside, done, handle, rounds};
use crate::transactional_store::{Broken, Checked, migrate, own, put, put_all};
use crate::{events, holds, migrated_between, process, refused, same, stream, tenant};

fn identity(tenant: &TenantId, id: &str, version: &WorkflowId) -> Result<ProcessIdentity, Broken> {
    Ok(ProcessIdentity::new(
        process(id)?,
        tenant.clone(),
        version.clone(),
    ))
}

pub(crate) fn snapshot(stream: &StreamId, sequence: u64, version: &WorkflowId) -> Snapshot {
    Snapshot {
        stream_id: stream.clone(),
        sequence,
        workflow_id: version.clone(),
        state_schema_version: 1,
        state: "{}".into(),
    }
}

fn is_migrated(to: &WorkflowId) -> impl Fn(&Error) -> bool {
    move |error| *error.kind() == ErrorKind::Migrated { to: to.clone() }
}

pub(crate) async fn lookup(
    store: &dyn TransactionalStore,
    registry: &dyn ProcessRegistry,
) -> Checked {
    let tenant = tenant();
    let [v1, v2, v3] = ["v1", "v2", "v3"].map(|version| own(&tenant, version));
    let p = stream(&tenant, "p")?;
    let keys = all_kinds("p")?;
    let check = async |when: &str, version: &WorkflowId| {
        for key in &keys {
            let found = registry.lookup(&tenant, key).await?;
            let wanted = Some(identity(&tenant, "p", version)?);
            same(
                &format!("the entry under the {key} {when}"),
                &found,
                &wanted,
            )?;
        }
        Ok::<(), Broken>(())
    };
    for version in [&v2, &v1] {
        for key in &keys {
            registry
                .register(&tenant, key, &identity(&tenant, "p", version)?)
                .await?;
        }
        check("before the first event", version).await?;
    }
    // The first event has another version than the entry assumed.
    put(store, &p, &v2, 1).await?;
    check("after the first event", &v2).await?;
    migrate(store, std::slice::from_ref(&p), &v3).await?;
    check("after a migration", &v3).await?;
    let back = migrated_between(&v3, &v1)?;
    store
        .append(&p, ExpectedSequence::Exact(2), vec![back])
        .await?;
    check("after a `$migrated` event", &v1).await?;
    store
        .hold(
            &p,
            Some(crate::transactional_store::commit::a_hold("one")),
            crate::transactional_store::commit::a_record(),
        )
        .await?;
    check("after a hold", &v1).await?;
    beside_moves(store, registry).await
}

/// Looks an entry up while its process is migrated from version to version.
async fn beside_moves(store: &dyn TransactionalStore, registry: &dyn ProcessRegistry) -> Checked {
    let tenant = tenant();
    let versions: Vec<WorkflowId> = (0..40)
        .map(|n| WorkflowId::new(format!("conformance-{tenant}"), format!("v{n}")))
        .collect();
    let all = put_all(store, &tenant, &["p"], &versions[0]).await?;
    let [key, ..] = all_kinds("p")?;
    let entry = identity(&tenant, "p", &versions[0])?;
    registry.register(&tenant, &key, &entry).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let (other, streams, to, over) = (
        handle(store)?,
        all.clone(),
        versions.clone(),
        is_over.clone(),
    );
    let mover = beside(async move {
        let mut outcome = Ok(());
        for version in &to[1..] {
            outcome = migrate(&*other, &streams, version).await;
            if outcome.is_err() {
                break;
            }
        }
        over.store(true, Ordering::SeqCst);
        outcome
    })?;
    let place = |version: Option<WorkflowId>| {
        let found = version.and_then(|it| versions.iter().position(|at| *at == it));
        found.ok_or_else(|| {
            Broken("a process or its entry has a version that the process was never at".to_owned())
        })
    };
    let at = async || place(store.head(&all[0]).await?.map(|head| head.workflow_id));
    let look = async || {
        while !is_over.load(Ordering::SeqCst) {
            let before = at().await?;
            let entry = registry.lookup(&tenant, &key).await?;
            let after = at().await?;
            let found = place(entry.map(|entry| entry.workflow_id))?;
            holds(
                &format!(
                    "the version of an entry is {}, expected {} to {}, the versions of its process before and after the lookup",
                    versions[found], versions[before], versions[after]
                ),
                (before..=after).contains(&found),
            )?;
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    let looked = look().await;
    done(mover).await?;
    looked
}

pub(crate) async fn older_code(
    store: &dyn TransactionalStore,
    registry: &dyn ProcessRegistry,
    snapshots: &dyn SnapshotStore,
) -> Checked {
    let tenant = tenant();
    let [v1, v2, v3] = ["v1", "v2", "v3"].map(|version| own(&tenant, version));
    let all = put_all(store, &tenant, &["p"], &v1).await?;
    let p = &all[0];
    let [own_key, other_key, third_key] = all_kinds("p")?;
    let of = |version| identity(&tenant, "p", version);
    registry.register(&tenant, &own_key, &of(&v1)?).await?;
    registry.register(&tenant, &other_key, &of(&v1)?).await?;
    snapshots.save(&snapshot(p, 1, &v1)).await?;
    let replaced = registry
        .replace(&tenant, &own_key, &of(&v1)?, &of(&v1)?)
        .await?;
    same(
        "the result of `replace` before a migration",
        &replaced,
        &true,
    )?;
    migrate(store, &all, &v2).await?;

    for key in [&own_key, &third_key] {
        let register = registry.register(&tenant, key, &of(&v1)?).await;
        let what = format!("a registration of v1 under the {key} for a process at v2");
        refused(&what, register, is_migrated(&v2))?;
    }
    let register = registry.register(&tenant, &own_key, &of(&v3)?).await;
    refused(
        "a registration of v3 for a process at v2",
        register,
        |error| {
            *error.kind()
                == ErrorKind::WrongVersion {
                    stands_at: v2.clone(),
                }
        },
    )?;
    let save = snapshots.save(&snapshot(p, 1, &v1)).await;
    refused(
        "a snapshot of v1 for a process at v2",
        save,
        is_migrated(&v2),
    )?;
    let save = snapshots.save(&snapshot(p, 1, &v3)).await;
    refused("a snapshot of v3 for a process at v2", save, |error| {
        *error.kind()
            == ErrorKind::WrongVersion {
                stands_at: v2.clone(),
            }
    })?;
    let found = snapshots.load(p).await?.map(|it| it.workflow_id);
    holds(
        &format!("the version of the snapshot after rejected ones is {found:?}"),
        found.is_none_or(|version| version == v1),
    )?;
    let found = registry.lookup(&tenant, &third_key).await?;
    same("the entry of a rejected registration", &found, &None)?;
    let remove = registry.remove(&tenant, &other_key, &of(&v1)?).await;
    refused(
        "a removal by v1 of an entry of a process at v2",
        remove,
        is_migrated(&v2),
    )?;
    let found = registry.lookup(&tenant, &other_key).await?;
    same("the entry of a rejected removal", &found, &Some(of(&v2)?))?;

    let q = identity(&tenant, "q", &v2)?;
    let outdated = registry.replace(&tenant, &own_key, &of(&v1)?, &q).await?;
    same(
        "the result of `replace` with an outdated version",
        &outdated,
        &false,
    )?;
    let found = registry.lookup(&tenant, &own_key).await?;
    same(
        "the entry after `replace` with an outdated version",
        &found,
        &Some(of(&v2)?),
    )?;
    let replaced = registry.replace(&tenant, &own_key, &of(&v2)?, &q).await?;
    same(
        "the result of `replace` with the expected entry",
        &replaced,
        &true,
    )?;
    let found = registry.lookup(&tenant, &own_key).await?;
    same(
        "the entry after `replace` with the expected entry",
        &found,
        &Some(q),
    )?;
    let found = registry.lookup(&tenant, &other_key).await?;
    same("the entry under another key", &found, &Some(of(&v2)?))?;
    registry.remove(&tenant, &other_key, &of(&v2)?).await?;
    let found = registry.lookup(&tenant, &other_key).await?;
    same("the entry after a removal by v2", &found, &None)?;

    // Its own key belongs to another process now, and the other key was removed.
    let left = registry.keys_of(&tenant, &process("p")?).await?;
    let default = RegistryKey::Process(process("p")?);
    holds(
        &format!("the list of keys is {left:?}, after all of them were replaced or removed"),
        left.is_empty() || left == [default],
    )?;

    let new = snapshot(p, 2, &v2);
    snapshots.save(&new).await?;
    same("the snapshot of v2", &snapshots.load(p).await?, &Some(new))?;
    registry.register(&tenant, &third_key, &of(&v2)?).await?;
    store
        .append(p, ExpectedSequence::Exact(2), events(&v2, 1)?)
        .await?;
    Ok(())
}

pub(crate) async fn meetings(
    store: &dyn TransactionalStore,
    registry: &dyn ProcessRegistry,
    snapshots: &dyn SnapshotStore,
) -> Checked {
    rounds(200, |round| {
        meeting(store, registry, snapshots, round % 2 == 0)
    })
    .await
}

/// Code of v1 writes until it is refused, while the process is migrated to v2
/// and code of v2 takes over.
async fn meeting(
    store: &dyn TransactionalStore,
    registry: &dyn ProcessRegistry,
    snapshots: &dyn SnapshotStore,
    is_move: bool,
) -> Checked {
    let tenant = tenant();
    let (v1, v2) = (own(&tenant, "v1"), own(&tenant, "v2"));
    let p = stream(&tenant, "p")?;
    if is_move {
        put(store, &p, &v1, 1).await?;
    }
    let [key, ..] = all_kinds("key")?;
    let (old, new) = (identity(&tenant, "p", &v1)?, identity(&tenant, "q", &v2)?);
    let (old_state, new_state) = (snapshot(&p, 1, &v1), snapshot(&p, 1, &v2));
    let has_moved = Arc::new(AtomicBool::new(false));
    let taken_over = AtomicBool::new(false);
    let (other, stream, to, moved) = (handle(store)?, p.clone(), v2.clone(), has_moved.clone());
    let mover = beside(async move {
        match is_move {
            true => migrate(&*other, std::slice::from_ref(&stream), &to).await?,
            false => put(&*other, &stream, &to, 1).await?,
        }
        moved.store(true, Ordering::SeqCst);
        Ok(())
    })?;
    let check = |what: &str, begun_after: bool, outcome: Result<(), Error>| match outcome {
        Ok(()) => holds(
            &format!("{what} of v1 was accepted for a process at v2"),
            !begun_after,
        )
        .map(|()| true),
        outcome => refused(&format!("{what} of v1"), outcome, is_migrated(&v2)).map(|()| false),
    };
    let old_code = async {
        let (mut registers, mut saves) = (true, true);
        while (registers || saves) && !taken_over.load(Ordering::SeqCst) {
            let after = has_moved.load(Ordering::SeqCst);
            if registers {
                let outcome = registry.register(&tenant, &key, &old).await;
                registers = check("an entry", after, outcome)?;
            }
            let after = has_moved.load(Ordering::SeqCst);
            if saves {
                saves = check("a snapshot", after, snapshots.save(&old_state).await)?;
            }
            tokio::task::yield_now().await;
        }
        Ok::<(), Broken>(())
    };
    let new_code = async {
        let outcome = done(mover).await;
        let outcome = match outcome {
            Ok(()) => take_over(registry, snapshots, (&tenant, &key, &new), &new_state).await,
            broken => broken,
        };
        taken_over.store(true, Ordering::SeqCst);
        outcome
    };
    let (old_code, new_code) = join(old_code, new_code).await;
    new_code?;
    old_code?;
    let found = registry.lookup(&tenant, &key).await?;
    same("the entry that code of v2 registered", &found, &Some(new))?;
    let found = snapshots.load(&p).await?;
    same(
        "the snapshot that code of v2 saved",
        &found,
        &Some(new_state),
    )
}

async fn take_over(
    registry: &dyn ProcessRegistry,
    snapshots: &dyn SnapshotStore,
    (tenant, key, identity): (
        &TenantId,
        &state_migration_core::RegistryKey,
        &ProcessIdentity,
    ),
    snapshot: &Snapshot,
) -> Checked {
    registry.register(tenant, key, identity).await?;
    Ok(snapshots.save(snapshot).await?)
}
