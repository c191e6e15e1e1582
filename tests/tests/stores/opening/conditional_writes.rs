//! Object stores without conditional writes are refused before a database is opened.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::TryStreamExt as _;
use slatedb::object_store::memory::InMemory;
use slatedb::object_store::{ObjectMeta, ObjectStore};
use state_migration::{ErrorKind, SlateDbStore};

use crate::opening::bucket::{Bucket, Conditions};
use crate::opening::{is_there, place};

const NEEDED: &str = "this object store does not check conditions of writes, which is needed so that one of two programs that write at the same time is refused; use an object store with conditional writes (`If-None-Match` and `If-Match`)";

async fn objects(bucket: &InMemory) -> Vec<String> {
    let all: Vec<ObjectMeta> = bucket.list(None).try_collect().await.unwrap();
    all.into_iter().map(|it| it.location.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_without_conditional_writes_is_refused_and_not_changed() {
    for conditions in [
        Conditions::Dropped,
        Conditions::Unsupported,
        Conditions::NotImplemented,
    ] {
        let inner = Arc::new(InMemory::new());
        let bucket = Arc::new(Bucket {
            inner: inner.clone(),
            conditions,
            is_full: AtomicBool::new(false),
        });
        let builder =
            || SlateDbStore::builder("orders", bucket.clone()).location("s3://shop/orders");
        for opened in [
            builder().open().await,
            builder().open_unless_claimed().await,
            builder().open_unless_in_use().await,
        ] {
            let error = opened.err().unwrap();
            let text = error.to_string();
            assert!(
                text.starts_with("the store s3://shop/orders cannot be opened: "),
                "{text}"
            );
            assert!(text.contains(NEEDED), "{text}");
            assert!(!text.contains('\n') && !text.contains("<?xml"), "{text}");
            let kinds = [ErrorKind::Invalid, ErrorKind::Unavailable];
            assert!(kinds.contains(error.kind()), "{error:?}");
            assert_eq!(objects(&inner).await, Vec::<String>::new());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_of_conditional_writes_leaves_no_object_behind() {
    let inner = Arc::new(InMemory::new());
    for n in 0..3 {
        let bucket = Arc::new(Bucket {
            inner: inner.clone(),
            conditions: Conditions::Checked,
            is_full: AtomicBool::new(false),
        });
        let store = SlateDbStore::builder("orders", bucket);
        let store = store.open().await.unwrap();
        place(&store, n).await;
        assert!(is_there(&store, 0).await);
        store.close().await.unwrap();
        let left: Vec<String> = objects(&inner).await;
        assert!(
            !left.iter().any(|object| object.contains("conditions-")),
            "{left:?}"
        );
    }
}
