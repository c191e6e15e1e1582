//! Waiting for writes to become durable.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use slatedb::Db;
use slatedb::config::Settings;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// The interval at which SlateDB writes its log to a folder without a flush.
/// SlateDB's own default, 100 ms, is for stores where each file costs money.
pub(crate) const OFTEN: Duration = Duration::from_millis(5);

/// How long a write waits for that before it requests a flush.
const PATIENCE: Duration = Duration::from_millis(250);

/// The flushes of one database, and the writes that wait for them.
///
/// A flush that is requested while a file is being written ends after two more
/// files: one with what was written before the request, and one with what was
/// written until then. A database that frequently writes its log without a
/// flush makes one file at a time, with all rows written until then. There, a
/// write requests a flush only if no other write is waiting.
#[derive(Default)]
pub(crate) struct Durability {
    writes_often: bool,
    waiting: AtomicUsize,
    flushes: Flushes,
}

impl Durability {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            writes_often: settings.flush_interval.is_some_and(|each| each <= OFTEN),
            ..Self::default()
        }
    }

    /// Returns when every write that has returned is durable.
    pub(crate) async fn flush(&self, db: &Db) -> Result<(), slatedb::Error> {
        if self.writes_often && self.written_by_itself(db).await? {
            return Ok(());
        }
        self.flushes.share(|| db.flush()).await
    }

    /// Whether all writes became durable without a requested flush.
    async fn written_by_itself(&self, db: &Db) -> Result<bool, slatedb::Error> {
        let written = db.snapshot()?.seq();
        let mut status = db.subscribe();
        let durable = async {
            let found =
                status.wait_for(|it| it.durable_seq >= written || it.close_reason.is_some());
            found.await.is_ok_and(|it| it.durable_seq >= written)
        };
        let waits = Waits::begin(&self.waiting);
        if !waits.alone {
            return Ok(timeout(PATIENCE, durable).await.unwrap_or(false));
        }
        tokio::select! {
            biased;
            durable = durable => Ok(durable),
            flushed = db.flush() => flushed.map(|()| true),
        }
    }
}

/// A waiting write, and whether it is the only one.
struct Waits<'a> {
    waiting: &'a AtomicUsize,
    alone: bool,
}

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        let alone = waiting.fetch_add(1, Ordering::SeqCst) == 0;
        Self { waiting, alone }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Flushes that are shared by all callers waiting for one: each flush makes a
/// file, and takes as long whatever the file contains.
#[derive(Default)]
struct Flushes {
    asked: AtomicU64,
    /// The last request whose writes are all durable.
    done: AtomicU64,
    turn: Mutex<()>,
}

impl Flushes {
    /// Returns when a flush has ended that began after this call.
    async fn share<F, E>(&self, flush: impl FnOnce() -> F) -> Result<(), E>
    where
        F: Future<Output = Result<(), E>>,
    {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let _turn = self.turn.lock().await;
        if self.done.load(Ordering::SeqCst) >= asked {
            return Ok(());
        }
        // Every caller counted here made its writes before this flush begins.
        let covers = self.asked.load(Ordering::SeqCst);
        flush().await?;
        self.done.fetch_max(covers, Ordering::SeqCst);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use futures_util::future::join_all;

    use super::*;
    use crate::slate::{SlateDbStore, SlateDbStoreBuilder};

    fn builder(folder: &Path) -> SlateDbStoreBuilder {
        SlateDbStore::local_builder(folder).unwrap()
    }

    /// Writes and waits, many times concurrently.
    async fn write(store: &SlateDbStore, times: usize) {
        let writes = (0..times).map(|number| async move {
            store.db().put(format!("x{number}"), "y").await.unwrap();
            store.flush().await.unwrap();
            // The last write comes after all others, so its durability implies
            // theirs.
            let written = store.db().snapshot().unwrap().seq();
            assert!(number < times - 1 || store.db().status().durable_seq >= written);
        });
        join_all(writes).await;
    }

    /// Fails if each write requests a flush, or if none waits for the last one.
    #[tokio::test]
    async fn writes_that_wait_together_share_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = builder(folder.path()).open().await.unwrap();
        write(&store, 500).await;
        let files = std::fs::read_dir(folder.path().join("wal")).unwrap();
        assert!(files.count() < 100);
        store.close().await.unwrap();
    }

    /// Settings made in `configure` are not visible here.
    #[tokio::test]
    async fn a_database_that_writes_nothing_by_itself_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            flush_interval: None,
            ..Settings::default()
        };
        let store = builder(folder.path()).configure(move |it| it.with_settings(settings.clone()));
        let store = store.open().await.unwrap();
        timeout(PATIENCE * 40, write(&store, 3)).await.unwrap();
        store.close().await.unwrap();
    }

    /// Fails if `done` counts without a comparison with the request's number.
    #[tokio::test]
    async fn flushes_are_shared_by_those_that_asked_before_one_began() {
        let (flushes, begun) = (Flushes::default(), AtomicU64::new(0));
        let flush = || async {
            begun.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok::<(), &str>(())
        };
        let mut all = Vec::new();
        for _ in 0..100 {
            all.push(flushes.share(flush));
        }
        for flushed in join_all(all).await {
            flushed.unwrap();
        }
        // The first flush began before the other requests.
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        flushes.share(flush).await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 3);
        let fails = || async { Err("it does not work") };
        let (failed, other) = tokio::join!(flushes.share(fails), flushes.share(flush));
        assert!(failed.is_err() && other.is_ok());
        assert_eq!(begun.load(Ordering::SeqCst), 4);
    }
}
