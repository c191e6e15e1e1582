//! Rules for a batch whose heads have changed since they were read.

use std::time::Duration;

use futures_util::future::join_all;
use state_migration_core::{Batch, ReadPoint, RowWrite, StreamId, TransactionalStore};

use crate::transactional_store::commit::{Change, a_hold, a_record, mark};
use crate::transactional_store::rows::{keys, value};
use crate::transactional_store::versions::open;
use crate::transactional_store::{Checked, move_to, own, page_of, put_all, stale, written};
use crate::{Broken, same, tenant};

/// Longer than any store treats a read point as fresh.
const LATE: Duration = Duration::from_millis(300);

/// The read point that a commit is given.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Read {
    /// The read point of the page.
    Own,
    /// The read point of the page, after a delay.
    Late,
    /// No read point.
    Nothing,
    /// The read point of another page, which was read earlier.
    Earlier,
    /// The read point of another page, which was read later.
    Later,
}

impl Read {
    fn told(self) -> &'static str {
        match self {
            Self::Own => "with the read point of its page",
            Self::Late => "with the read point of its page after a delay",
            Self::Nothing => "without a read point",
            Self::Earlier => "with the read point of an earlier page",
            Self::Later => "with the read point of a later page",
        }
    }
}

pub(crate) async fn every_change(store: &dyn TransactionalStore) -> Checked {
    use Read::{Earlier, Late, Later, Nothing, Own};
    let changes = Change::ALL.into_iter().map(Some).chain([None]);
    let mut cases = Vec::new();
    for change in changes {
        for read in [Own, Nothing, Late, Earlier, Later] {
            cases.push(case(store, change, read));
        }
    }
    join_all(cases).await.into_iter().collect()
}

/// Commits a batch of three processes after one of them has changed.
async fn case(store: &dyn TransactionalStore, change: Option<Change>, read: Read) -> Checked {
    let tenant = tenant();
    let [v1, v2, v3] = ["v1", "v2", "v3"].map(|version| own(&tenant, version));
    let key = keys();
    let all = put_all(store, &tenant, &["a", "b", "c", "d"], &v1).await?;
    if change == Some(Change::Release) {
        store
            .hold(&all[1], Some(a_hold("somebody")), a_record())
            .await?;
    }
    let earlier = page_of(store, &all[3..]).await?;
    let page = page_of(store, &all[..3]).await?;
    let [a, b, c] = &page.processes[..] else {
        return Err(Broken("a page of three processes has fewer".to_owned()));
    };
    let mut batch = Batch {
        moves: vec![move_to(a, &v2)?, move_to(b, &v2)?],
        finished: vec![mark(c, 1)?],
        rows: vec![
            RowWrite::put(key("blind"), value("1")),
            RowWrite::put(key("expected"), value("1")).expecting(None),
        ],
        present: vec![v3.clone()],
        closing: Some((state_migration_core::RunId::random(), vec![v1.clone()])),
        ..Batch::default()
    };
    batch.moves[0].update_registry = true;
    // The changed process is either one of those that move, or the one that is
    // marked as finished.
    let changed = match (change, read) {
        (Some(Change::Append | Change::Finish), Read::Own | Read::Nothing) => 2,
        _ => 1,
    };
    if let Some(change) = change {
        change.make(store, &all[changed]).await?;
    }
    // A fourth process changes too, which must not affect the batch.
    Change::Append.make(store, &all[3]).await?;
    let later = page_of(store, &all[3..]).await?;
    let read_point = match read {
        Read::Own => page.read_point,
        Read::Late => {
            tokio::time::sleep(LATE).await;
            page.read_point
        }
        Read::Nothing => ReadPoint::none(),
        Read::Earlier => earlier.read_point,
        Read::Later => later.read_point,
    };
    let mut before = Vec::new();
    for stream in &all {
        before.push((
            store.head(stream).await?,
            store.read_all(stream, 0, 9).await?,
        ));
    }
    let versions = store.versions(v1.name()).await?;
    let what = format!(
        "a batch (change of one process: {}; {})",
        change.map_or("none", Change::name),
        read.told()
    );
    let commit = store.commit_unflushed(&batch, read_point).await?;
    if change.is_none() {
        written(&what, &commit)?;
        return store.flush().await.map_err(Broken::from);
    }
    stale(&what, &commit, &all[changed..=changed], &[])?;
    for (stream, before) in all.iter().zip(before) {
        let after = (
            store.head(stream).await?,
            store.read_all(stream, 0, 9).await?,
        );
        same(
            &format!("the head and the list of events of {stream} after {what}"),
            &after,
            &before,
        )?;
    }
    let rows = store.rows(&key(""), None, 10).await?;
    same(&format!("the list of rows after {what}"), &rows, &vec![])?;
    let after = store.versions(v1.name()).await?;
    same(
        &format!("the list of versions after {what}"),
        &after,
        &versions,
    )?;
    let is_open = after.contains(&open(&v1));
    same(
        "the presence of v1 in the list of open versions",
        &is_open,
        &true,
    )?;
    let before = StreamId::new(format!("process/{tenant}"));
    let before = before.map_err(|error| Broken(error.to_string()))?;
    let notes = store.pending_registry_updates(Some(&before), 1).await?;
    let is_noted = notes.iter().any(|note| all.contains(note));
    same(
        "the presence of a note after a stale batch",
        &is_noted,
        &false,
    )
}
