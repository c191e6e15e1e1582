//! Rules for concurrent writers.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use state_migration_core::{
    Batch, Commit, DuePage, ErrorKind, ExpectedSequence, Head, RowWrite, StreamId,
    TransactionalStore, WorkflowId,
};

use crate::transactional_store::commit::{a_hold, a_record};
use crate::transactional_store::concurrency::{Work, at_once, handle, rounds};
use crate::transactional_store::rows::{keys, of_rows, value};
use crate::transactional_store::{Broken, Checked, moves, own, page_of, put_all, stale, written};
use crate::{event, holds, same, tenant};

/// Commits the moves of a page, with the read point of the page.
async fn commit_moves(
    store: &dyn TransactionalStore,
    page: DuePage,
    to: &WorkflowId,
) -> Result<Commit, Broken> {
    let batch = Batch {
        moves: moves(&page, to)?,
        ..Batch::default()
    };
    Ok(store.commit_unflushed(&batch, page.read_point).await?)
}

pub(crate) async fn different_streams(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (v1, v2, v3) = (own(&tenant, "v1"), own(&tenant, "v2"), own(&tenant, "v3"));
    let key = keys();
    let guard = (key("guard"), Some(value("1")));
    let first = of_rows(vec![RowWrite::put(key("guard"), value("1"))]);
    written("a batch with one row", &store.commit(&first).await?)?;
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let all = put_all(store, &tenant, &names, &v1).await?;
    for to in [v2, v3] {
        let mut works: Vec<Work<Commit>> = Vec::new();
        for (name, stream) in names.iter().zip(&all) {
            let (store, stream) = (handle(store)?, stream.clone());
            let (to, guard, row) = (to.clone(), guard.clone(), key(name));
            works.push(Box::pin(async move {
                let page = page_of(&*store, std::slice::from_ref(&stream)).await?;
                let batch = Batch {
                    guards: vec![guard],
                    moves: moves(&page, &to)?,
                    rows: vec![RowWrite::put(row, value("1"))],
                    ..Batch::default()
                };
                Ok(store.commit_unflushed(&batch, page.read_point).await?)
            }));
        }
        let many = works.len();
        let commits = at_once(works).await?;
        same(
            "the list of outcomes of commits of different streams with one guard",
            &commits,
            &vec![Commit::Written; many],
        )?;
    }
    store.flush().await?;
    for stream in &all {
        let sequence = store.head(stream).await?.map(|head| head.sequence);
        same(
            &format!("the last sequence number of {stream} after two migrations"),
            &sequence,
            &Some(3),
        )?;
    }
    Ok(())
}

pub(crate) async fn blind_rows(store: &dyn TransactionalStore) -> Checked {
    let key = keys();
    let mut works: Vec<Work<Vec<Commit>>> = Vec::new();
    for writer in 0..6 {
        let (store, shared) = (handle(store)?, key("shared"));
        let of_its_own = key(&format!("{writer}"));
        works.push(Box::pin(async move {
            let mut commits = Vec::new();
            for n in 0..8 {
                let text = format!("{writer}/{n}");
                let batch = of_rows(vec![
                    RowWrite::put(shared.clone(), text.clone()),
                    RowWrite::put(of_its_own.clone(), text),
                ]);
                commits.push(store.commit_unflushed(&batch, Default::default()).await?);
            }
            Ok(commits)
        }));
    }
    let commits: Vec<Commit> = at_once(works).await?.into_iter().flatten().collect();
    let what = "the list of outcomes of batches that all write one row";
    same(what, &commits, &vec![Commit::Written; 48])?;
    store.flush().await?;
    let rows = store.rows(&key(""), None, 10).await?;
    same("the number of rows", &rows.len(), &7)?;
    let last: Vec<_> = rows[..6].iter().map(|(_, value)| value.clone()).collect();
    holds(
        &format!(
            "the row that all batches wrote is {:?}, expected one of the last writes {last:?}",
            rows[6].1
        ),
        last.contains(&rows[6].1),
    )
}

/// Runs two futures concurrently, each on its own thread.
async fn both<A: Send + 'static, B: Send + 'static>(
    one: impl Future<Output = Result<A, Broken>> + Send + 'static,
    other: impl Future<Output = Result<B, Broken>> + Send + 'static,
) -> Result<(A, B), Broken> {
    let one: Work<(Option<A>, Option<B>)> = Box::pin(async { Ok((Some(one.await?), None)) });
    let other: Work<(Option<A>, Option<B>)> = Box::pin(async { Ok((None, Some(other.await?))) });
    let outcomes = at_once([one, other]).await?;
    let (ones, others): (Vec<_>, Vec<_>) = outcomes.into_iter().unzip();
    let pair = ones
        .into_iter()
        .flatten()
        .next()
        .zip(others.into_iter().flatten().next());
    pair.ok_or_else(|| Broken("one of two concurrent tasks has no outcome".to_owned()))
}

pub(crate) async fn append_and_move(store: &dyn TransactionalStore) -> Checked {
    rounds(100, |_| async {
        let tenant = tenant();
        let (v1, v2) = (own(&tenant, "v1"), own(&tenant, "v2"));
        let all = put_all(store, &tenant, &["p"], &v1).await?;
        let page = page_of(store, &all).await?;
        let new = event(v1, 2)?;
        let id = new.event_id();
        let (appends, commits, stream) = (handle(store)?, handle(store)?, all[0].clone());
        let (appended, commit) = both(
            async move {
                let end = ExpectedSequence::Exact(1);
                match appends.append(&stream, end, vec![new]).await {
                    Ok(_) => Ok(true),
                    Err(error)
                        if error.is_conflict()
                            || matches!(error.kind(), ErrorKind::Migrated { .. }) =>
                    {
                        Ok(false)
                    }
                    Err(error) => Err(error.into()),
                }
            },
            async move { commit_moves(&*commits, page, &v2).await },
        )
        .await?;
        match appended {
            true => stale("a migration after an append", &commit, &all, &[])?,
            false => written("a migration whose concurrent append was rejected", &commit)?,
        }
        let events = store.read_all(&all[0], 0, 10).await?;
        same(
            "the number of events after a concurrent append and migration",
            &events.len(),
            &2,
        )?;
        let is_kept = events[1].event_id == id;
        same("the presence of the appended event", &is_kept, &appended)
    })
    .await
}

pub(crate) async fn hold_and_move(store: &dyn TransactionalStore) -> Checked {
    rounds(100, |_| async {
        let tenant = tenant();
        let (v1, v2) = (own(&tenant, "v1"), own(&tenant, "v2"));
        let all = put_all(store, &tenant, &["p"], &v1).await?;
        let page = page_of(store, &all).await?;
        let (operator, commits, stream) = (handle(store)?, handle(store)?, all[0].clone());
        let to = v2.clone();
        let (held, commit) = both(
            async move {
                Ok(operator
                    .hold(&stream, Some(a_hold("one")), a_record())
                    .await?)
            },
            async move { commit_moves(&*commits, page, &to).await },
        )
        .await?;
        let at = held.map(|head| head.workflow_id);
        match commit {
            Commit::Written => same(
                "the version in the result of `hold` for a migrated process",
                &at,
                &Some(v2),
            )?,
            commit => {
                same(
                    "the version in the result of `hold` for a process that was not migrated",
                    &at,
                    &Some(v1),
                )?;
                stale("a migration of a held process", &commit, &all, &[])?;
            }
        }
        let head = store.head(&all[0]).await?;
        let now = head.as_ref().map(|head| (&head.workflow_id, head.held));
        same(
            "the version and the hold after a concurrent hold and migration",
            &now,
            &at.as_ref().map(|at| (at, true)),
        )
    })
    .await
}

/// How long the other writers may run before the claim is taken over.
const A_MOMENT: Duration = Duration::from_millis(1);

/// Migrates a process back and forth until its guard has changed.
fn to_and_fro(
    store: Arc<dyn TransactionalStore>,
    stream: StreamId,
    versions: [WorkflowId; 2],
    guard: (Vec<u8>, Option<bytes::Bytes>),
    is_taken: Arc<AtomicBool>,
) -> Work<Vec<Option<Head>>> {
    Box::pin(async move {
        // A store that never reports the changed guard is detected below by
        // what it wrote.
        let mut after_all = 0;
        for turn in 1.. {
            let page = page_of(&*store, std::slice::from_ref(&stream)).await?;
            let batch = Batch {
                guards: vec![guard.clone()],
                moves: moves(&page, &versions[turn % 2])?,
                ..Batch::default()
            };
            let commit = store.commit_unflushed(&batch, page.read_point).await?;
            if commit != Commit::Written {
                stale("a batch with a changed guard", &commit, &[], &[guard.0])?;
                break;
            }
            after_all += usize::from(is_taken.load(Ordering::SeqCst));
            if after_all > 3 {
                break;
            }
        }
        Ok(vec![])
    })
}

pub(crate) async fn guards(store: &dyn TransactionalStore) -> Checked {
    rounds(30, |_| async {
        let tenant = tenant();
        let versions = [own(&tenant, "v1"), own(&tenant, "v2")];
        let key = keys();
        let claim = |held: &'static str, next: &'static str| {
            let expected = (!held.is_empty()).then(|| value(held));
            of_rows(vec![
                RowWrite::put(key("claim"), value(next)).expecting(expected),
            ])
        };
        written(
            "a batch that writes a claim",
            &store.commit(&claim("", "1")).await?,
        )?;
        let all = put_all(store, &tenant, &["a", "b", "c"], &versions[0]).await?;
        let is_taken = Arc::new(AtomicBool::new(false));
        let guard = (key("claim"), Some(value("1")));
        let mut works = Vec::new();
        for stream in &all {
            works.push(to_and_fro(
                handle(store)?,
                stream.clone(),
                versions.clone(),
                guard.clone(),
                is_taken.clone(),
            ));
        }
        let (taker, take, streams) = (handle(store)?, claim("1", "2"), all.clone());
        works.push(Box::pin(async move {
            // Lets the other writers begin.
            tokio::time::sleep(A_MOMENT).await;
            let commit = taker.commit_unflushed(&take, Default::default()).await;
            is_taken.store(true, Ordering::SeqCst);
            written("a batch that takes over a claim", &commit?)?;
            let mut heads = Vec::new();
            for stream in &streams {
                heads.push(taker.head(stream).await?);
            }
            Ok(heads)
        }));
        let taken_over = at_once(works).await?.pop().unwrap_or_default();
        for (stream, then) in all.iter().zip(taken_over) {
            let now = store.head(stream).await?;
            let what = format!("the head of {stream} after its guard has changed");
            same(&what, &now, &then)?;
        }
        Ok(())
    })
    .await
}
