//! Which store, and how it is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use slatedb::object_store::ObjectStore;
use slatedb::object_store::memory::InMemory;

use crate::cli::Configure;
use crate::cli::exit::Failure;
use crate::{SlateDbReader, SlateDbStore, SlateDbStoreBuilder};

/// A store that is named on the command line.
pub(crate) struct Target {
    place: Place,
    settings: Option<PathBuf>,
    configure: Option<Configure>,
}

enum Place {
    Folder(PathBuf),
    ObjectStore(Arc<dyn ObjectStore>, String),
}

impl Target {
    pub(crate) fn new(
        url: &str,
        settings: Option<&Path>,
        configure: Option<Configure>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            place: Place::of(url)?,
            settings: settings.map(Path::to_owned),
            configure,
        })
    }

    fn builder(&self) -> Result<SlateDbStoreBuilder, Failure> {
        let mut builder = match &self.place {
            Place::Folder(folder) => SlateDbStore::local_builder(folder)?,
            Place::ObjectStore(store, path) => SlateDbStore::builder(path.as_str(), store.clone()),
        };
        let _ = &self.settings;
        if let Some(configure) = &self.configure {
            builder = configure(builder);
        }
        Ok(builder)
    }

    pub(crate) async fn reader(&self) -> Result<SlateDbReader, Failure> {
        Ok(self.builder()?.open_reader().await?)
    }

    pub(crate) async fn writer(&self, take_over: bool) -> Result<SlateDbStore, Failure> {
        let builder = self.builder()?;
        Ok(if take_over {
            builder.open().await?
        } else {
            builder.open_unless_claimed().await?
        })
    }
}

impl Place {
    fn of(url: &str) -> Result<Self, Failure> {
        if url == "memory:" {
            return Ok(Self::ObjectStore(Arc::new(InMemory::new()), "store".into()));
        }
        Ok(Self::Folder(PathBuf::from(url)))
    }
}
