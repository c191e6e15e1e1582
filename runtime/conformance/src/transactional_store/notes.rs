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
        it.remember = it.stream != all[1];
    }
    // The store may hold notes of other tests.
    let before = StreamId::new(format!("process/{tenant}")).map_err(|e| Broken(e.to_string()))?;
    let own_notes = async |after: &StreamId| {
        let mut notes = store.remembered(Some(after), 100).await?;
        notes.retain(|stream| all.contains(stream));
        Ok::<_, Broken>(notes)
    };
    same(
        "the notes before a move",
        &own_notes(&before).await?,
        &vec![],
    )?;
    written("a batch of moves", &store.commit(&batch).await?)?;
    let wanted = vec![all[0].clone(), all[2].clone(), all[3].clone()];
    same("the notes", &own_notes(&before).await?, &wanted)?;
    let first = store.remembered(Some(&before), 2).await?;
    same("the first two notes", &first, &wanted[..2].to_vec())?;
    let after = own_notes(&wanted[0]).await?;
    same("the notes after the first", &after, &wanted[1..].to_vec())?;
    let after = own_notes(&all[1]).await?;
    same(
        "the notes after a process without one",
        &after,
        &wanted[1..].to_vec(),
    )?;

    store.forget(&[wanted[0].clone(), all[1].clone()]).await?;
    same(
        "the notes that are left",
        &own_notes(&before).await?,
        &wanted[1..].to_vec(),
    )?;
    // A second migration of a process leaves one note again, not two.
    let page = page_of(store, &all[2..3]).await?;
    let mut again = move_to(&page.processes[0], &v3)?;
    again.remember = true;
    let again = Batch {
        moves: vec![again],
        ..Batch::default()
    };
    written("a second move", &store.commit(&again).await?)?;
    same(
        "the notes after a second move",
        &own_notes(&before).await?,
        &wanted[1..].to_vec(),
    )?;
    // A migration that is not committed leaves no note.
    let page = page_of(store, &all[..1]).await?;
    let mut late = move_to(&page.processes[0], &v3)?;
    late.remember = true;
    let late = Batch {
        moves: vec![late],
        ..Batch::default()
    };
    store
        .append(&all[0], ExpectedSequence::Exact(2), events(&v2, 1)?)
        .await?;
    let commit = store.commit(&late).await?;
    stale("a move of a process that went on", &commit, &all[..1], &[])?;
    same(
        "the notes after it",
        &own_notes(&before).await?,
        &wanted[1..].to_vec(),
    )?;
    store.forget(&wanted[1..]).await?;
    same("the notes at last", &own_notes(&before).await?, &vec![])?;
    store.forget(&[]).await?;
    Ok(())
}
