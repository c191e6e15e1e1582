//! The versions and the claim in a store, read without the program.

use std::collections::BTreeMap;
use std::future::Future;
use std::thread;

use state_migration::{EventStore, MIGRATED, RunId, Runs, SlateDbReader};
use state_migration_examples::import::APPLICATION_STREAMS;

use crate::sample::Sample;

/// The number of applications by version, and by number of migrations.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stands {
    pub(crate) at: BTreeMap<String, usize>,
    /// The number of applications by number of migrations.
    pub(crate) migrations: BTreeMap<usize, usize>,
    /// The number of applications whose first events were erased.
    pub(crate) erased: usize,
}

impl Stands {
    pub(crate) fn at(&self, version: &str) -> usize {
        self.at.get(version).copied().unwrap_or(0)
    }
}

/// Where the applications stand.
pub(crate) fn stands(sample: &Sample) -> Stands {
    let folder = sample.store();
    in_runtime(async move {
        let store = SlateDbReader::open_local(folder).await.unwrap();
        let mut stands = Stands::default();
        let streams = store
            .list_streams(Some(APPLICATION_STREAMS), None, 1_000)
            .await;
        for stream in streams.unwrap() {
            let head = store.head(&stream).await.unwrap().unwrap();
            let version = head.workflow_id.to_string();
            *stands.at.entry(version).or_default() += 1;
            stands.erased += usize::from(head.first_kept > 1);
            let events = store.read_all(&stream, 0, 10_000).await.unwrap();
            let migrations = events.iter().filter(|event| event.event_type == MIGRATED);
            *stands.migrations.entry(migrations.count()).or_default() += 1;
        }
        store.close().await.unwrap();
        stands
    })
}

/// The first of the applications.
pub(crate) fn first_stream(sample: &Sample) -> String {
    let folder = sample.store();
    in_runtime(async move {
        let store = SlateDbReader::open_local(folder).await.unwrap();
        let streams = store.list_streams(Some(APPLICATION_STREAMS), None, 1).await;
        store.close().await.unwrap();
        streams.unwrap()[0].to_string()
    })
}

/// The run that claims the store.
pub(crate) fn holder(sample: &Sample) -> Option<RunId> {
    let folder = sample.store();
    in_runtime(async move {
        let store = SlateDbReader::open_local(folder).await.unwrap();
        let holder = Runs::of(&store).unwrap().claimed_by().await.unwrap();
        store.close().await.unwrap();
        holder
    })
}

fn in_runtime<T: Send + 'static>(it: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    thread::spawn(move || runtime().block_on(it))
        .join()
        .unwrap()
}
