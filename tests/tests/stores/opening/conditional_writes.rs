//! Object stores without conditional writes are refused before a database is opened.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use slatedb::object_store::memory::InMemory;
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use state_migration::{ErrorKind, SlateDbStore};

use crate::opening::{is_there, place};

const NEEDED: &str = "this object store does not check conditions of writes, which is needed so that one of two programs that write at the same time is refused; use an object store with conditional writes (`If-None-Match` and `If-Match`)";

/// What happens to the condition of a write.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Conditions {
    Checked,
    Dropped,
    /// The client of the object store refuses it.
    Unsupported,
    /// The server answers 501.
    NotImplemented,
}

#[derive(Debug)]
struct Bucket {
    inner: Arc<InMemory>,
    conditions: Conditions,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bucket")
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        if options.mode != PutMode::Overwrite {
            match self.conditions {
                Conditions::Checked => {}
                Conditions::Dropped => options.mode = PutMode::Overwrite,
                Conditions::Unsupported => {
                    return Err(Error::NotImplemented {
                        operation: "`put_opts` with a condition".to_owned(),
                        implementer: "Bucket".to_owned(),
                    });
                }
                Conditions::NotImplemented => {
                    return Err(Error::Generic {
                        store: "S3",
                        source: "Server returned non-2xx status code: 501 Not Implemented: <?xml version=\"1.0\"?>\n<Error><Code>NotImplemented</Code><Message>A header</Message></Error>".into(),
                    });
                }
            }
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

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
