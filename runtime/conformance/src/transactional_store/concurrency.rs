//! Concurrent tasks, each on its own thread.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{BoxFuture, join_all};
use futures_util::{StreamExt, stream};
use state_migration_core::TransactionalStore;
use tokio::runtime::Handle;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

use crate::transactional_store::{Broken, Checked};

/// A handle of the store that another thread can use.
pub(crate) fn handle(
    store: &dyn TransactionalStore,
) -> Result<Arc<dyn TransactionalStore>, Broken> {
    let handle = store.transactional();
    handle.ok_or_else(|| {
        Broken("`transactional` returns None, expected a handle of the store".to_owned())
    })
}

/// Starts a task on its own thread.
pub(crate) fn beside<T: Send + 'static>(
    work: impl Future<Output = Result<T, Broken>> + Send + 'static,
) -> Result<JoinHandle<Result<T, Broken>>, Broken> {
    let runtime = Handle::try_current().map_err(|error| Broken(error.to_string()))?;
    let inside = runtime.clone();
    Ok(runtime.spawn_blocking(move || inside.block_on(work)))
}

pub(crate) async fn done<T>(work: JoinHandle<Result<T, Broken>>) -> Result<T, Broken> {
    let outcome = work.await;
    outcome.map_err(|error| Broken(format!("a task of the suite failed: {error}")))?
}

pub(crate) type Work<T> = BoxFuture<'static, Result<T, Broken>>;

/// Runs tasks concurrently, each on its own thread.
pub(crate) async fn at_once<T: Send + 'static>(
    works: impl IntoIterator<Item = Work<T>>,
) -> Result<Vec<T>, Broken> {
    let works: Vec<Work<T>> = works.into_iter().collect();
    let start = Arc::new(Barrier::new(works.len()));
    let mut threads = Vec::new();
    for work in works {
        let start = start.clone();
        threads.push(beside(async move {
            start.wait().await;
            work.await
        })?);
    }
    join_all(threads.into_iter().map(done))
        .await
        .into_iter()
        .collect()
}

/// The number of rounds that run concurrently.
const LANES: usize = 12;

/// Runs the given number of rounds, some concurrently, until one fails. The
/// rounds in progress are then awaited, because their threads would outlive the
/// runtime.
pub(crate) async fn rounds<F: Future<Output = Checked>>(
    many: usize,
    round: impl Fn(usize) -> F,
) -> Checked {
    let is_broken = AtomicBool::new(false);
    let all = (0..many)
        .take_while(|_| !is_broken.load(Ordering::Relaxed))
        .map(round);
    let mut rounds = stream::iter(all).buffer_unordered(LANES);
    let mut checked = Ok(());
    while let Some(round) = rounds.next().await {
        is_broken.fetch_or(round.is_err(), Ordering::Relaxed);
        checked = checked.and(round);
    }
    checked
}
