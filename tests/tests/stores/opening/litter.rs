//! Short openings remove what earlier ones have left behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use state_migration::SlateDbStore;

use crate::opening::{contents, is_there, place};

/// The number of files in each folder of a store.
fn files(store: &Path) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for (path, content) in contents(store) {
        if content.is_some() {
            let path = path.strip_prefix(store).unwrap_or(&path).to_owned();
            let folder = path.components().next().unwrap();
            *all.entry(folder.as_os_str().to_string_lossy().into_owned())
                .or_default() += 1;
        }
    }
    all
}

/// Opens and closes the store. Files of this age may be removed at once.
async fn short_opening(folder: &Path, min_age: Duration) {
    let builder = SlateDbStore::local_builder(folder).unwrap();
    let builder = builder.with_settings(|settings| {
        let collector = settings.garbage_collector_options.as_mut().unwrap();
        for options in [
            &mut collector.manifest_options,
            &mut collector.wal_options,
            &mut collector.compacted_options,
            &mut collector.compactions_options,
        ] {
            options.as_mut().unwrap().min_age = min_age;
        }
    });
    builder.open().await.unwrap().close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn short_openings_remove_the_manifests_and_the_log_of_earlier_ones() {
    let folder = tempfile::tempdir().unwrap();
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    place(&store, 1).await;
    store.close().await.unwrap();
    let mut counts = Vec::new();
    for n in 1..=30 {
        short_opening(folder.path(), Duration::ZERO).await;
        if n % 10 == 0 {
            counts.push(files(folder.path()));
        }
    }
    for counts in &counts {
        assert!(counts["manifest"] < 12, "{counts:?}");
        assert!(counts["compactions"] < 12, "{counts:?}");
        assert!(!counts.contains_key("openings"), "{counts:?}");
    }
    // SlateDB keeps the file that fences earlier writers, one for each opening, but not
    // the log of an opening.
    assert!(counts[2]["wal"] <= 30 + 6, "{counts:?}");
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    assert!(is_there(&store, 1).await);
    store.close().await.unwrap();
}
