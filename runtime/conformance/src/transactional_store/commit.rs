//! Rules for committing a batch.

use state_migration_core::{
    Batch, DueProcess, ErrorKind, ExpectedSequence, Fingerprint, Finished, Head, Hold, MIGRATED,
    ReadPoint, RowWrite, StreamId, Timestamp, TransactionalStore,
};

use crate::event_store::same_head;
use crate::transactional_store::rows::{keys, value};
use crate::transactional_store::{
    Checked, head_of, migrate, move_to, own, page_of, put_all, written,
};
use crate::{Broken, event, events, holds, migrated_between, refused, same, stream, tenant};

/// The mark that a process is finished.
pub(crate) fn mark(process: &DueProcess, by: u64) -> Result<Finished, Broken> {
    Ok(Finished {
        stream: process.stream.clone(),
        head: head_of(process)?,
        by: Fingerprint::new(by),
    })
}

pub(crate) fn a_hold(who: &'static str) -> Hold {
    Hold {
        actor: who.into(),
        reason: "a \"reason\", with ä and 🦀".into(),
        time: Timestamp::from_micros(1_317_423_524_546_001),
    }
}

/// The record of a hold, under a key of its own.
pub(crate) fn a_record() -> RowWrite {
    RowWrite::put(keys()("record"), &b"a hold"[..])
}

pub(crate) async fn whole(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (v1, v2) = (own(&tenant, "v1"), own(&tenant, "v2"));
    let key = keys();
    let all = put_all(store, &tenant, &["a", "b", "c", "d"], &v1).await?;
    let page = page_of(store, &all).await?;
    let [a, b, c, _] = &page.processes[..] else {
        return Err(Broken("a page of four processes has fewer".to_owned()));
    };
    let mut moves = vec![move_to(a, &v2)?, move_to(b, &v2)?];
    moves[1].event = moves[1].event.clone().finishing(true).undoing();
    let batch = Batch {
        moves: moves.clone(),
        finished: vec![mark(c, 7)?],
        rows: vec![RowWrite::put(key("row"), value("1"))],
        ..Batch::default()
    };
    let heads = async || {
        let mut heads = Vec::new();
        for stream in &all {
            heads.push(store.head(stream).await?);
        }
        Ok::<_, Broken>(heads)
    };
    let before: Vec<_> = page.processes.iter().map(|it| it.head.clone()).collect();
    same(
        "the list of heads before the commit",
        &heads().await?,
        &before,
    )?;
    let commit = store.commit_unflushed(&batch, page.read_point).await?;
    written("a batch", &commit)?;
    store.flush().await?;

    let at_v2 = |finished| Head {
        baseline: Some(2),
        finished,
        undone: finished,
        ..Head::of(2, v2.clone())
    };
    let found = Head {
        finished: true,
        finished_by: Some(Fingerprint::new(7)),
        ..Head::of(1, v1.clone())
    };
    let wanted = [at_v2(false), at_v2(true), found, Head::of(1, v1.clone())];
    for ((stream, head), wanted) in all.iter().zip(heads().await?).zip(wanted) {
        same_head(&format!("the head of {stream}"), head, wanted)?;
    }
    let undone = &moves[1].stream;
    let appended = store.append(undone, ExpectedSequence::Exact(2), events(&v2, 1)?);
    appended.await?;
    same_head(
        "the head of an undone process after another event",
        store.head(undone).await?,
        Head {
            baseline: Some(2),
            undone: true,
            ..Head::of(3, v2.clone())
        },
    )?;
    for it in &moves {
        let recorded = store.read_all(&it.stream, 0, 2).await?;
        let found: Vec<_> = recorded
            .iter()
            .map(|it| (it.sequence, &*it.event_type, it.workflow_id.clone()))
            .collect();
        let stream = &it.stream;
        same(
            &format!("the list of events of {stream}"),
            &found,
            &vec![(1, "Counted", v1.clone()), (2, MIGRATED, v2.clone())],
        )?;
        let of = format!("of the `$migrated` event of {stream}");
        same(
            &format!("the id {of}"),
            &recorded[1].event_id,
            &it.event.event_id(),
        )?;
        same(
            &format!("the payload {of}"),
            &recorded[1].payload,
            it.event.payload(),
        )?;
        let finishes = it.event.finishes();
        same(
            &format!("the field `finishes` {of}"),
            &recorded[1].finishes,
            &finishes,
        )?;
    }
    for stream in &all[2..] {
        let many = store.read_all(stream, 0, 10).await?.len();
        same(
            "the number of events of a process that was not migrated",
            &many,
            &1,
        )?;
    }
    let rows = store.rows(&key(""), None, 10).await?;
    same("the number of rows", &rows.len(), &1)?;
    let prefix = format!("process/{tenant}/");
    let listed = store.list_streams(Some(&prefix), None, 10).await?;
    same("the list of streams", &listed, &all)?;

    // The process continues at its new version, and can be migrated again.
    store
        .append(&all[0], ExpectedSequence::Exact(2), events(&v2, 1)?)
        .await?;
    migrate(store, &all[..1], &own(&tenant, "v3")).await?;
    let head = Head {
        baseline: Some(4),
        ..Head::of(4, own(&tenant, "v3"))
    };
    same_head(
        "the head after a second migration",
        store.head(&all[0]).await?,
        head,
    )?;
    let nothing = Batch::default();
    let commit = store.commit_unflushed(&nothing, ReadPoint::none()).await?;
    written("a batch that changes nothing", &commit)
}

/// The ways to change the head of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    Append,
    Hold,
    Release,
    HoldAndRelease,
    Finish,
    Move,
    MigratedEvent,
}

impl Change {
    pub(crate) const ALL: [Self; 7] = [
        Self::Append,
        Self::Hold,
        Self::Release,
        Self::HoldAndRelease,
        Self::Finish,
        Self::Move,
        Self::MigratedEvent,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Append => "an append",
            Self::Hold => "a hold",
            Self::Release => "a release",
            Self::HoldAndRelease => "a hold and a release",
            Self::Finish => "a mark that the process is finished",
            Self::Move => "another migration",
            Self::MigratedEvent => "a `$migrated` event",
        }
    }

    /// Changes the head of a process. A move takes it from v1 to v9.
    pub(crate) async fn make(self, store: &dyn TransactionalStore, stream: &StreamId) -> Checked {
        let page = page_of(store, std::slice::from_ref(stream)).await?;
        let process = &page.processes[0];
        let head = head_of(process)?;
        let name = head.workflow_id.name().to_owned();
        let to = state_migration_core::WorkflowId::new(name, "v9");
        let end = ExpectedSequence::Exact(head.sequence);
        match self {
            Self::Append => {
                let new = vec![event(head.workflow_id, 5)?];
                store.append(stream, end, new).await?;
            }
            Self::Hold => {
                store.hold(stream, Some(a_hold("one")), a_record()).await?;
            }
            Self::Release => {
                store.hold(stream, None, a_record()).await?;
            }
            Self::HoldAndRelease => {
                store.hold(stream, Some(a_hold("one")), a_record()).await?;
                store.hold(stream, None, a_record()).await?;
            }
            Self::Finish => {
                let batch = Batch {
                    finished: vec![mark(process, 3)?],
                    ..Batch::default()
                };
                written(
                    "a mark that the process is finished",
                    &store.commit(&batch).await?,
                )?;
            }
            Self::Move => migrate(store, std::slice::from_ref(stream), &to).await?,
            Self::MigratedEvent => {
                let new = vec![migrated_between(&head.workflow_id, &to)?];
                store.append(stream, end, new).await?;
            }
        }
        Ok(())
    }
}

pub(crate) async fn revisions(store: &dyn TransactionalStore) -> Checked {
    use Change::{Append, Finish, Hold, MigratedEvent, Move, Release};
    let tenant = tenant();
    let process = put_all(store, &tenant, &["p"], &own(&tenant, "v1")).await?;
    let revision = async || {
        let head = store.head(&process[0]).await?;
        let missing = || Broken("a process with events has no head".to_owned());
        Ok::<_, Broken>(head.ok_or_else(missing)?.revision)
    };
    let mut before = revision().await?;
    for change in [
        Append,
        Hold,
        Append,
        Hold,
        Release,
        Finish,
        Append,
        Finish,
        Hold,
        Release,
        Move,
        Finish,
        Hold,
        Append,
        Release,
        MigratedEvent,
        Append,
    ] {
        change.make(store, &process[0]).await?;
        let after = revision().await?;
        holds(
            &format!(
                "the revision of the head after {} is {after}, expected more than {before}",
                change.name()
            ),
            after > before,
        )?;
        before = after;
    }
    Ok(())
}

pub(crate) async fn finished(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let v1 = own(&tenant, "v1");
    let process = put_all(store, &tenant, &["p"], &v1).await?;
    let stream = &process[0];
    let head = async || store.head(stream).await;
    Change::Finish.make(store, stream).await?;
    let mut wanted = Head {
        finished: true,
        finished_by: Some(Fingerprint::new(3)),
        ..Head::of(1, v1.clone())
    };
    same_head(
        "the head of a process that is marked as finished",
        head().await?,
        wanted.clone(),
    )?;
    let page = page_of(store, &process).await?;
    same(
        "the head of a finished process on a page",
        &page.processes[0].head,
        &head().await?,
    )?;
    let again = Batch {
        finished: vec![mark(&page.processes[0], 4)?],
        ..Batch::default()
    };
    written("a mark by other code", &store.commit(&again).await?)?;
    wanted.finished_by = Some(Fingerprint::new(4));
    same_head(
        "the head after a mark by other code",
        head().await?,
        wanted.clone(),
    )?;
    Change::HoldAndRelease.make(store, stream).await?;
    same_head(
        "the head after a hold and a release",
        head().await?,
        wanted.clone(),
    )?;
    Change::Hold.make(store, stream).await?;
    Change::Finish.make(store, stream).await?;
    (wanted.held, wanted.finished_by) = (true, Some(Fingerprint::new(3)));
    same_head(
        "the head of a held process that is marked as finished",
        head().await?,
        wanted,
    )?;
    Change::Release.make(store, stream).await?;
    Change::Append.make(store, stream).await?;
    let wanted = Head::of(2, v1.clone());
    same_head("the head after another event", head().await?, wanted)?;
    let last = vec![event(v1.clone(), 3)?.finishing(true)];
    store
        .append(stream, ExpectedSequence::Exact(2), last)
        .await?;
    let wanted = Head {
        finished: true,
        ..Head::of(3, v1)
    };
    same_head(
        "the head after an event that finishes the process",
        head().await?,
        wanted,
    )?;
    let many = store.read_all(stream, 0, 10).await?.len();
    same("the number of events", &many, &3)
}

pub(crate) async fn twice(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (v1, v2) = (own(&tenant, "v1"), own(&tenant, "v2"));
    let key = keys();
    let all = put_all(store, &tenant, &["a", "b"], &v1).await?;
    let page = page_of(store, &all).await?;
    let [a, b] = &page.processes[..] else {
        return Err(Broken("a page of two processes has fewer".to_owned()));
    };
    let (to_a, to_b) = (move_to(a, &v2)?, move_to(b, &v2)?);
    for (what, moves, finished) in [
        (
            "migrates a stream twice",
            vec![to_a.clone(), to_b.clone(), to_a],
            vec![],
        ),
        (
            "migrates a stream and marks it as finished",
            vec![to_b],
            vec![mark(a, 1)?, mark(b, 1)?],
        ),
        (
            "marks a stream as finished twice",
            vec![],
            vec![mark(a, 1)?, mark(a, 2)?],
        ),
    ] {
        let batch = Batch {
            moves,
            finished,
            rows: vec![RowWrite::put(key("row"), value("1"))],
            ..Batch::default()
        };
        refused(
            &format!("a batch that {what}"),
            store.commit(&batch).await,
            |error| *error.kind() == ErrorKind::Invalid,
        )?;
    }
    for process in [a, b] {
        let head = store.head(&process.stream).await?;
        same("a head after rejected batches", &head, &process.head)?;
    }
    let rows = store.rows(&key(""), None, 10).await?;
    same("the list of rows after rejected batches", &rows, &vec![])?;
    let none = store.head(&stream(&tenant, "none")?).await?;
    same("the head of a stream that does not exist", &none, &None)
}
