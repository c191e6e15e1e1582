//! A disk that gets full while a store is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use slatedb::object_store::memory::InMemory;
use state_migration::{ErrorKind, EventStore as _, SlateDbStore};
use state_migration_tests::orders;

use crate::opening::bucket::{Bucket, Conditions};
use crate::opening::{is_there, place, stream};

/// To see it fail: tell only the first error.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_a_full_disk_has_closed_says_that_it_must_be_opened_again() {
    let bucket = Arc::new(Bucket {
        inner: Arc::new(InMemory::new()),
        conditions: Conditions::Checked,
        is_full: AtomicBool::new(false),
    });
    let open = async || {
        let builder = SlateDbStore::builder("orders", bucket.clone());
        let builder = builder.with_settings(|settings| settings.object_store_max_retries = Some(1));
        builder.open().await.unwrap()
    };
    let store = open().await;
    place(&store, 1).await;
    bucket.is_full.store(true, Ordering::SeqCst);
    let full = orders::place(&store, &store, 2).await.unwrap_err();
    assert_eq!(*full.kind(), ErrorKind::OutcomeUnknown, "{full}");
    assert!(
        full.to_string().contains("no space left; free space"),
        "{full}"
    );

    bucket.is_full.store(false, Ordering::SeqCst);
    for error in [
        orders::place(&store, &store, 3).await.unwrap_err(),
        store.head(&stream(1)).await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            text.contains("restart the program, or open the store again"),
            "{text}"
        );
        assert!(
            text.contains("the first error was: no space left"),
            "{text}"
        );
    }
    let store = open().await;
    assert!(is_there(&store, 1).await);
    place(&store, 4).await;
    store.close().await.unwrap();
}
