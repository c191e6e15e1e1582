//! An object store that does not check conditions of writes, or is full.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use slatedb::object_store::memory::InMemory;
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What happens to the condition of a write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Conditions {
    Checked,
    Dropped,
    /// The client of the object store refuses it.
    Unsupported,
    /// The server answers 501.
    NotImplemented,
}

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) inner: Arc<InMemory>,
    pub(super) conditions: Conditions,
    /// Whether nothing more can be written.
    pub(super) is_full: AtomicBool,
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
        if self.is_full.load(Ordering::SeqCst) {
            return Err(Error::Generic {
                store: "Bucket",
                source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
            });
        }
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
