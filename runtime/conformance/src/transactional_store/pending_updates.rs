//! Rules for notes about migrations that a separate process registry has not
//! recorded yet.

use state_migration_core::{Batch, ExpectedSequence, StreamId, TransactionalStore};

use crate::transactional_store::{
    Broken, Checked, move_to, moves, own, page_of, put_all, stale, written,
};
use crate::{events, same, tenant};

pub(crate) async fn kept(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (v1, v2, v3) = (own(&tenant, "v1"), own(&tenant, "v2"), own(&tenant, "v3"));
    let all = put_all(store, &tenant, &["a", "b", "c", "d"], &v1).await?;
    let page = page_of(store, &all).await?;
    let mut batch = Batch {
        moves: moves(&page, &v2)?,
        ..Batch::default()
    };
    for it in &mut batch.moves {
        it.update_registry = it.stream != all[1];
    }
    // The store may hold notes of other tests.
    let before = StreamId::new(format!("process/{tenant}")).map_err(|e| Broken(e.to_string()))?;
    let own_notes = async |after: &StreamId| {
        let mut notes = store.pending_registry_updates(Some(after), 100).await?;
        notes.retain(|stream| all.contains(stream));
        Ok::<_, Broken>(notes)
    };
    same(
        "the list of notes before a migration",
        &own_notes(&before).await?,
        &vec![],
    )?;
    written("a batch of migrations", &store.commit(&batch).await?)?;
    let wanted = vec![all[0].clone(), all[2].clone(), all[3].clone()];
    same(
        "the list of notes after migrations",
        &own_notes(&before).await?,
        &wanted,
    )?;
    let first = store.pending_registry_updates(Some(&before), 2).await?;
    same(
        "the list of the first two notes",
        &first,
        &wanted[..2].to_vec(),
    )?;
    let after = own_notes(&wanted[0]).await?;
    same(
        "the list of notes after the first stream",
        &after,
        &wanted[1..].to_vec(),
    )?;
    let after = own_notes(&all[1]).await?;
    same(
        "the list of notes after a stream without a note",
        &after,
        &wanted[1..].to_vec(),
    )?;

    store.forget(&[wanted[0].clone(), all[1].clone()]).await?;
    same(
        "the list of notes after `forget`",
        &own_notes(&before).await?,
        &wanted[1..].to_vec(),
    )?;
    // A second migration of a process leaves one note again, not two.
    let page = page_of(store, &all[2..3]).await?;
    let mut again = move_to(&page.processes[0], &v3)?;
    again.update_registry = true;
    let again = Batch {
        moves: vec![again],
        ..Batch::default()
    };
    written("a second migration", &store.commit(&again).await?)?;
    same(
        "the list of notes after a second migration",
        &own_notes(&before).await?,
        &wanted[1..].to_vec(),
    )?;
    // A migration that is not committed leaves no note.
    let page = page_of(store, &all[..1]).await?;
    let mut late = move_to(&page.processes[0], &v3)?;
    late.update_registry = true;
    let late = Batch {
        moves: vec![late],
        ..Batch::default()
    };
    store
        .append(&all[0], ExpectedSequence::Exact(2), events(&v2, 1)?)
        .await?;
    let commit = store.commit(&late).await?;
    stale(
        "a migration of a process with a newer event",
        &commit,
        &all[..1],
        &[],
    )?;
    same(
        "the list of notes after a stale migration",
        &own_notes(&before).await?,
        &wanted[1..].to_vec(),
    )?;
    store.forget(&wanted[1..]).await?;
    same(
        "the list of notes after `forget` for all of them",
        &own_notes(&before).await?,
        &vec![],
    )?;
    store.forget(&[]).await?;
    Ok(())
}
