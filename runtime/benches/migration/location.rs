//! Locations of stores, and copies of stores.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slatedb::object_store::ObjectStore;
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::memory::InMemory;
use slatedb::object_store::throttle::{ThrottleConfig, ThrottledStore};
use state_migration::{SlateDbStore, SlateDbStoreBuilder};

/// The location of a store, and how it is opened.
#[derive(Clone)]
pub struct Place {
    at: At,
    compacts: bool,
    memory: Option<usize>,
}

#[derive(Clone)]
enum At {
    Folder(PathBuf),
    /// In memory, with a latency per request.
    Memory(InMemory, Duration),
}

impl Place {
    fn at(at: At) -> Self {
        Self {
            at,
            compacts: true,
            memory: None,
        }
    }

    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        Self::at(At::Folder(folder.into()))
    }

    /// A new store in memory.
    pub fn memory() -> Self {
        Self::at(At::Memory(InMemory::new(), Duration::ZERO))
    }

    /// Disables compactions.
    pub fn without_compactions(mut self) -> Self {
        self.compacts = false;
        self
    }

    /// Sets the memory of the store.
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Sets the latency per request of a store in memory.
    pub fn with_latency(mut self, latency: Duration) -> Self {
        if let At::Memory(_, old) = &mut self.at {
            *old = latency;
        }
        self
    }

    pub fn compacts(&self) -> bool {
        self.compacts
    }

    pub fn builder(&self) -> SlateDbStoreBuilder {
        let mut builder = match &self.at {
            At::Folder(folder) => SlateDbStore::local_builder(folder).expect("a folder"),
            At::Memory(..) => SlateDbStore::builder("store", self.object_store()),
        };
        if let Some(bytes) = self.memory {
            builder = builder.memory(bytes);
        }
        if self.compacts {
            return builder;
        }
        builder.with_settings(|settings| {
            settings.compactor_options = None;
            // Otherwise writers would wait for compactions.
            settings.l0_max_ssts = 1 << 20;
            settings.l0_max_ssts_per_key = 1 << 20;
        })
    }

    pub async fn open(&self) -> SlateDbStore {
        self.builder().open().await.expect("a store")
    }

    /// The underlying object store.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        match &self.at {
            At::Folder(folder) => {
                let files = LocalFileSystem::new_with_prefix(folder).expect("a folder");
                Arc::new(files.with_fsync(true))
            }
            At::Memory(memory, latency) if latency.is_zero() => Arc::new(memory.clone()),
            At::Memory(memory, latency) => {
                let config = ThrottleConfig {
                    wait_delete_per_call: *latency,
                    wait_get_per_call: *latency,
                    wait_list_per_call: *latency,
                    wait_list_with_delimiter_per_call: *latency,
                    wait_put_per_call: *latency,
                    ..ThrottleConfig::default()
                };
                Arc::new(ThrottledStore::new(memory.clone(), config))
            }
        }
    }

    /// The path in the underlying object store.
    pub fn path(&self) -> &'static str {
        match self.at {
            At::Folder(_) => "",
            At::Memory(..) => "store",
        }
    }

    /// The folder; `None` for a store in memory.
    pub fn folder_path(&self) -> Option<&Path> {
        match &self.at {
            At::Folder(folder) => Some(folder),
            At::Memory(..) => None,
        }
    }

    /// A copy of the store. SlateDB never changes a written file, so that hard links
    /// suffice.
    pub fn copy(&self) -> Copy {
        let (at, folder) = match &self.at {
            At::Folder(folder) => {
                let parent = folder.parent().expect("a parent");
                let copy = tempfile::tempdir_in(parent).expect("a folder");
                link_all(folder, copy.path());
                (At::Folder(copy.path().to_owned()), Some(copy))
            }
            At::Memory(memory, latency) => (At::Memory(memory.fork(), *latency), None),
        };
        let place = Self { at, ..self.clone() };
        Copy {
            place,
            _folder: folder,
        }
    }
}

/// A copy of a store, deleted when it is dropped.
pub struct Copy {
    pub place: Place,
    _folder: Option<tempfile::TempDir>,
}

fn link_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).expect("a folder");
            link_all(&entry.path(), &target);
        } else {
            std::fs::hard_link(entry.path(), target).expect("a link");
        }
    }
}
