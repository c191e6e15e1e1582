//! Rules for processes that an operator holds.

use state_migration_core::{
    Batch, Commit, ErrorKind, ExpectedSequence, Head, ReadPoint, Stale, TransactionalStore,
};

use crate::event_store::same_head;
use crate::transactional_store::commit::{a_hold, a_record};
use crate::transactional_store::{Checked, became, moves, own, page_of, put_all, written};
use crate::{Broken, events, migrated_between, refused, same, stream, tenant};

pub(crate) async fn kept(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let v1 = own(&tenant, "v1");
    let none = stream(&tenant, "none")?;
    for hold in [Some(a_hold("one")), None] {
        let record = a_record();
        let key = record.key.clone();
        let head = store.hold(&none, hold, record).await?;
        same(
            "the record of a hold of a stream without events",
            &store.rows(&key, None, 1).await?.len(),
            &0,
        )?;
        same(
            "the result of `hold` for a stream without events",
            &head,
            &None,
        )?;
        same(
            "the head of a stream without events",
            &store.head(&none).await?,
            &None,
        )?;
        same(
            "the hold of a stream without events",
            &store.held(&none).await?,
            &None,
        )?;
    }
    let all = put_all(store, &tenant, &["a", "b"], &v1).await?;
    let a = &all[0];
    same(
        "the hold of a process that is not held",
        &store.held(a).await?,
        &None,
    )?;
    for who in ["one", "another"] {
        let record = a_record();
        let (key, value) = (record.key.clone(), record.value.clone());
        let answer = store.hold(a, Some(a_hold(who)), record).await?;
        let rows = store.rows(&key, None, 1).await?;
        same(
            "the record of a hold",
            &rows.into_iter().next().map(|(_, row)| row),
            &value,
        )?;
        let wanted = Head {
            held: true,
            ..Head::of(1, v1.clone())
        };
        same_head("the result of a hold", answer.clone(), wanted)?;
        same("the head after a hold", &store.head(a).await?, &answer)?;
        same(
            "the hold of a held process",
            &store.held(a).await?,
            &Some(a_hold(who)),
        )?;
    }
    same(
        "the hold of another process",
        &store.held(&all[1]).await?,
        &None,
    )?;
    let page = page_of(store, &all).await?;
    let held: Vec<_> = page
        .processes
        .iter()
        .map(|it| it.head.as_ref().map(|head| head.held))
        .collect();
    same(
        "the field `held` of two heads on a page",
        &held,
        &vec![Some(true), Some(false)],
    )?;
    for _ in 0..2 {
        let answer = store.hold(a, None, a_record()).await?;
        same_head(
            "the result of a release",
            answer.clone(),
            Head::of(1, v1.clone()),
        )?;
        same("the head after a release", &store.head(a).await?, &answer)?;
        same("the hold after a release", &store.held(a).await?, &None)?;
    }
    Ok(())
}

pub(crate) async fn heeded(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (v1, v2) = (own(&tenant, "v1"), own(&tenant, "v2"));
    let all = put_all(store, &tenant, &["a", "b"], &v1).await?;
    let a = &all[0];
    store.hold(a, Some(a_hold("one")), a_record()).await?;
    let event = || migrated_between(&v1, &v2).map(|event| vec![event]);
    let append = store.append(a, ExpectedSequence::Exact(1), event()?).await;
    refused("a `$migrated` event for a held process", append, |error| {
        *error.kind() == ErrorKind::Held
    })?;
    store
        .append(a, ExpectedSequence::Exact(1), events(&v1, 2)?)
        .await?;
    let wanted = Head {
        held: true,
        ..Head::of(3, v1.clone())
    };
    same_head(
        "the head after an append to a held process",
        store.head(a).await?,
        wanted.clone(),
    )?;
    same(
        "the hold after an append to a held process",
        &store.held(a).await?,
        &Some(a_hold("one")),
    )?;

    // A page that is read after the hold shows the process as held and its head
    // otherwise unchanged.
    for is_fresh in [true, false] {
        let page = page_of(store, &all).await?;
        let batch = Batch {
            moves: moves(&page, &v2)?,
            ..Batch::default()
        };
        let read_point = match is_fresh {
            true => page.read_point,
            false => ReadPoint::none(),
        };
        let commit = store.commit_unflushed(&batch, read_point).await;
        let named = Commit::Stale(Stale {
            streams: vec![a.clone()],
            rows: vec![],
        });
        match commit {
            Err(error) if *error.kind() == ErrorKind::Held => {}
            Err(error) => return Err(Broken::from(error)),
            Ok(commit) => became("a migration of a held process", &commit, &named)?,
        }
        same_head(
            "the head after a rejected migration of a held process",
            store.head(a).await?,
            wanted.clone(),
        )?;
        let other = store.head(&all[1]).await?;
        same_head(
            "the head of the other process in the batch",
            other,
            Head::of(1, v1.clone()),
        )?;
    }

    store.hold(a, None, a_record()).await?;
    let page = page_of(store, &all).await?;
    let batch = Batch {
        moves: moves(&page, &v2)?,
        ..Batch::default()
    };
    let commit = store.commit_unflushed(&batch, page.read_point).await?;
    written("a migration after the release", &commit)?;
    store.flush().await?;
    let wanted = Head {
        baseline: Some(4),
        ..Head::of(4, v2)
    };
    same_head(
        "the head after a migration after the release",
        store.head(a).await?,
        wanted,
    )
    .map(drop)
}
