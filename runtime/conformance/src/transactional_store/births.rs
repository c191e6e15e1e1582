//! Rules for processes that are born at a version while a run closes it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use state_migration_core::RunId;
use state_migration_core::{
    Batch, Commit, DueOf, ExpectedSequence, Presence, StreamId, TenantId, TransactionalStore,
    WorkflowId,
};

use crate::transactional_store::concurrency::{Work, at_once, handle, rounds};
use crate::transactional_store::versions::{begin_to_close, open};
use crate::transactional_store::{
    Broken, Checked, migrate, moves, of_tenant, own, page_of, put, put_all, read_to_end, request,
    written,
};
use crate::{events, holds, migrated_between, same, stream, tenant};

fn forgetting(version: &WorkflowId, streams: &[StreamId]) -> Batch {
    let births = streams.iter();
    Batch {
        births: births.map(|it| (version.clone(), it.clone())).collect(),
        ..Batch::default()
    }
}

pub(crate) async fn recorded(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (v1, v10, v2) = (own(&tenant, "v1"), own(&tenant, "v10"), own(&tenant, "v2"));
    put_all(store, &tenant, &["early"], &v1).await?;
    let movers = put_all(store, &tenant, &["c", "e"], &v2).await?;
    let births = async |version| store.births(version, 10).await;
    same(
        "the list of births at an open version",
        &births(&v1).await?,
        &vec![],
    )?;
    let token = RunId::random();
    let closing = Batch {
        closing: Some((token, vec![v1.clone(), v10.clone()])),
        ..Batch::default()
    };
    written(
        "a batch that begins to close versions",
        &store.commit(&closing).await?,
    )?;
    same(
        "the list of births at a version that has just begun to close",
        &births(&v1).await?,
        &vec![],
    )?;

    let mut wanted = put_all(store, &tenant, &["d", "b", "f"], &v1).await?;
    migrate(store, &movers[..1], &v1).await?;
    let event = migrated_between(&v2, &v1)?;
    store
        .append(&movers[1], ExpectedSequence::Exact(1), vec![event])
        .await?;
    wanted.extend(movers);
    wanted.sort();
    store
        .append(&wanted[0], ExpectedSequence::Exact(1), events(&v1, 1)?)
        .await?;
    let at_v10 = put_all(store, &tenant, &["a", "g"], &v10).await?;
    put_all(store, &tenant, &["h"], &v2).await?;
    same(
        "the list of births at a closing version, with the migrated processes",
        &births(&v1).await?,
        &wanted,
    )?;
    same(
        "the list of births at another closing version",
        &births(&v10).await?,
        &at_v10,
    )?;
    same(
        "the list of births at a version that is not closing",
        &births(&v2).await?,
        &vec![],
    )?;
    let first = store.births(&v1, 2).await?;
    same(
        "the list of the first two births",
        &first,
        &wanted[..2].to_vec(),
    )?;

    let looked_at = [wanted[0].clone(), wanted[3].clone(), at_v10[0].clone()];
    let commit = store.commit(&forgetting(&v1, &looked_at)).await?;
    written("a batch that removes births", &commit)?;
    let left = vec![wanted[1].clone(), wanted[2].clone(), wanted[4].clone()];
    same("the list of remaining births", &births(&v1).await?, &left)?;
    same(
        "the list of births at another closing version",
        &births(&v10).await?,
        &at_v10,
    )?;
    // A process is moved, and its birth removed, in one batch.
    let page = page_of(store, &left[..1]).await?;
    let batch = Batch {
        moves: moves(&page, &v2)?,
        ..forgetting(&v1, &left[..1])
    };
    written(
        "a batch that migrates a process and removes its birth",
        &store.commit(&batch).await?,
    )?;
    same(
        "the list of births after a migration",
        &births(&v1).await?,
        &left[1..].to_vec(),
    )
}

pub(crate) async fn close(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (v1, v2) = (own(&tenant, "v1"), own(&tenant, "v2"));
    let versions = async || store.versions(v1.name()).await;
    let births = async || store.births(&v1, 10).await;
    let stranger = RunId::random();
    let never = store.end_closing(&v1, stranger, true).await?;
    same(
        "the result of `end_closing` for a version without processes",
        &never,
        &true,
    )?;
    let mut all = put_all(store, &tenant, &["a"], &v1).await?;
    for empty in [true, false] {
        let ended = store.end_closing(&v1, stranger, empty).await?;
        same(
            "the result of `end_closing` for an open version",
            &ended,
            &true,
        )?;
        same(
            "the list of versions after `end_closing` for an open version",
            &versions().await?,
            &vec![open(&v1)],
        )?;
    }
    let token = begin_to_close(store, &v1).await?;
    let closing = |token| Presence {
        version: v1.clone(),
        closing: Some(token),
    };
    for empty in [true, false] {
        let ended = store.end_closing(&v1, stranger, empty).await?;
        same(
            "the result of `end_closing` with a wrong token",
            &ended,
            &true,
        )?;
        let what = "the list of versions after `end_closing` with a wrong token";
        same(what, &versions().await?, &vec![closing(token)])?;
    }
    let b = put_all(store, &tenant, &["b"], &v1).await?;
    same(
        "the list of births after `end_closing` with a wrong token",
        &births().await?,
        &b,
    )?;
    for empty in [true, false] {
        let ended = store.end_closing(&v1, token, empty).await?;
        same(
            "the result of `end_closing` while a birth is left",
            &ended,
            &false,
        )?;
        let what = "the list of versions while a birth is left";
        same(what, &versions().await?, &vec![closing(token)])?;
        same(
            "the list of births after `end_closing` while a birth is left",
            &births().await?,
            &b,
        )?;
    }
    let forget = store.commit(&forgetting(&v1, &b)).await?;
    written("a batch that removes a birth", &forget)?;
    let ended = store.end_closing(&v1, token, false).await?;
    same(
        "the result of `end_closing` for a version with processes",
        &ended,
        &true,
    )?;
    same(
        "the list of versions after `end_closing` for a version with processes",
        &versions().await?,
        &vec![open(&v1)],
    )?;
    let c = put_all(store, &tenant, &["c"], &v1).await?;
    same(
        "the list of births at a version that is open again",
        &births().await?,
        &vec![],
    )?;

    let second = begin_to_close(store, &v1).await?;
    let ended = store.end_closing(&v1, token, true).await?;
    same(
        "the result of `end_closing` with an earlier token",
        &ended,
        &true,
    )?;
    same(
        "the list of versions after `end_closing` with an earlier token",
        &versions().await?,
        &vec![closing(second)],
    )?;
    all.extend(b);
    all.extend(c);
    migrate(store, &all, &v2).await?;
    for _ in 0..2 {
        let ended = store.end_closing(&v1, second, true).await?;
        same(
            "the result of `end_closing` for an empty version",
            &ended,
            &true,
        )?;
        let what = "the list of versions after the removal of an empty version";
        same(what, &versions().await?, &vec![open(&v2)])?;
    }
    put_all(store, &tenant, &["d"], &v1).await?;
    let wanted = vec![open(&v1), open(&v2)];
    let what = "the list of versions after a birth at a removed version";
    same(what, &versions().await?, &wanted)?;
    same(
        "the list of births at a version that was removed",
        &births().await?,
        &vec![],
    )?;
    let ended = store.end_closing(&v1, second, true).await?;
    same(
        "the result of `end_closing` for a version that is not closing",
        &ended,
        &true,
    )?;
    same(what, &versions().await?, &wanted)
}

/// Creates processes one after the other.
fn bear(
    store: Arc<dyn TransactionalStore>,
    streams: Vec<StreamId>,
    version: WorkflowId,
) -> Work<Vec<StreamId>> {
    Box::pin(async move {
        for stream in &streams {
            put(&*store, stream, &version, 1).await?;
            tokio::task::yield_now().await;
        }
        Ok(streams)
    })
}

/// Two concurrent tasks that create three processes each.
fn parents(
    store: &dyn TransactionalStore,
    tenant: &TenantId,
    version: &WorkflowId,
) -> Result<Vec<Work<Vec<StreamId>>>, Broken> {
    let mut works = Vec::new();
    for parent in ["a", "b"] {
        let streams: Result<Vec<_>, _> = (0..3)
            .map(|n| stream(tenant, &format!("{parent}{n}")))
            .collect();
        works.push(bear(handle(store)?, streams?, version.clone()));
    }
    Ok(works)
}

/// The processes born so far, and the number of tasks that still create some.
struct Born {
    streams: Mutex<Vec<StreamId>>,
    parents: AtomicUsize,
}

impl Born {
    fn so_far(&self) -> Vec<StreamId> {
        let streams = self.streams.lock();
        streams.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Creates many processes, and publishes each of them once it exists.
    async fn bear(
        self: Arc<Self>,
        store: Arc<dyn TransactionalStore>,
        streams: Vec<StreamId>,
        version: WorkflowId,
    ) -> Checked {
        let mut outcome = Ok(());
        for stream in streams {
            outcome = put(&*store, &stream, &version, 1).await;
            if outcome.is_err() {
                break;
            }
            let streams = self.streams.lock();
            let mut streams = streams.unwrap_or_else(PoisonError::into_inner);
            streams.push(stream);
        }
        self.parents.fetch_sub(1, Ordering::SeqCst);
        outcome
    }

    /// Repeatedly begins to close the version and opens it again, until all
    /// processes are born. Each process published before must then be found by
    /// a scan of the heads or among the births.
    async fn look(
        self: Arc<Self>,
        store: Arc<dyn TransactionalStore>,
        tenant: TenantId,
        version: WorkflowId,
    ) -> Checked {
        loop {
            let are_all_born = self.parents.load(Ordering::SeqCst) == 0;
            let token = begin_to_close(&*store, &version).await?;
            let all = request(DueOf::Range(of_tenant(&tenant)));
            let found = read_to_end(&*store, all, |_| Ok(())).await?.streams();
            let born = self.so_far();
            let births = store.births(&version, MANY).await?;
            for stream in born {
                holds(
                    &format!(
                        "{stream} is missing from a scan after {version} began to close, and from the births at {version}"
                    ),
                    found.binary_search(&stream).is_ok() || births.contains(&stream),
                )?;
            }
            let mut turns = 0;
            while !store.end_closing(&version, token, false).await? {
                let births = store.births(&version, MANY).await?;
                let commit = store.commit(&forgetting(&version, &births)).await?;
                written("a batch that removes births", &commit)?;
                turns += 1;
                holds(
                    &format!("{version} is still closing after {TURNS} attempts, expected open"),
                    turns < TURNS,
                )?;
            }
            if are_all_born {
                return Ok(());
            }
        }
    }
}

/// The number of processes that each task creates.
const CHILDREN: usize = 60;

/// A limit above the number of births.
const MANY: usize = 1_000;

pub(crate) async fn closing_meets_births(store: &dyn TransactionalStore) -> Checked {
    rounds(12, |_| async {
        let tenant = tenant();
        let version = own(&tenant, "v1");
        let born = Arc::new(Born {
            streams: Mutex::default(),
            parents: AtomicUsize::new(2),
        });
        let mut works: Vec<Work<()>> = Vec::new();
        for parent in ["a", "b"] {
            let streams: Result<Vec<_>, _> = (0..CHILDREN)
                .map(|n| stream(&tenant, &format!("{parent}{n}")))
                .collect();
            let born = born.clone();
            works.push(Box::pin(born.bear(
                handle(store)?,
                streams?,
                version.clone(),
            )));
        }
        works.push(Box::pin(born.look(handle(store)?, tenant, version)));
        at_once(works).await.map(drop)
    })
    .await
}

/// The number of attempts to close a version, after which the test fails.
const TURNS: usize = 1_000;

/// Migrates the processes born at a version until it is closed, as a run does.
async fn close_for_good(
    store: Arc<dyn TransactionalStore>,
    token: RunId,
    [from, to]: [WorkflowId; 2],
) -> Result<Vec<StreamId>, Broken> {
    let mut moved = Vec::new();
    for _ in 0..TURNS {
        if store.end_closing(&from, token, true).await? {
            return Ok(moved);
        }
        let births = store.births(&from, 2).await?;
        if births.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let page = page_of(&*store, &births).await?;
        let batch = Batch {
            moves: moves(&page, &to)?,
            ..forgetting(&from, &births)
        };
        let commit = store.commit_unflushed(&batch, page.read_point).await?;
        if commit == Commit::Written {
            moved.extend(births);
        }
    }
    Err(Broken(format!(
        "{from} is still closing after {TURNS} attempts, expected closed"
    )))
}

pub(crate) async fn close_meets_births(store: &dyn TransactionalStore) -> Checked {
    rounds(60, |_| async {
        let tenant = tenant();
        let versions = [own(&tenant, "v1"), own(&tenant, "v2")];
        let first = put_all(store, &tenant, &["first"], &versions[0]).await?;
        migrate(store, &first, &versions[1]).await?;
        let token = begin_to_close(store, &versions[0]).await?;
        let mut works = parents(store, &tenant, &versions[0])?;
        works.push(Box::pin(close_for_good(
            handle(store)?,
            token,
            versions.clone(),
        )));
        let mut outcomes = at_once(works).await?;
        let moved = outcomes.pop().unwrap_or_default();
        let named = store.versions(versions[0].name()).await?;
        for stream in outcomes.into_iter().flatten() {
            let head = store.head(&stream).await?;
            let at = head.map(|head| head.workflow_id);
            let wanted = match moved.contains(&stream) {
                true => &versions[1],
                false => &versions[0],
            };
            same(
                &format!("the version of {stream}"),
                &at.as_ref(),
                &Some(wanted),
            )?;
            holds(
                &format!(
                    "the list of versions is {named:?}, without {wanted}, the version of {stream}"
                ),
                named.iter().any(|it| it.version == *wanted),
            )?;
        }
        Ok(())
    })
    .await
}
