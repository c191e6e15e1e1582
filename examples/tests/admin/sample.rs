//! The store of the tests: 240 loan applications under version 2011.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use state_migration::SlateDbStore;
use state_migration_examples::import::import;
use state_migration_examples::sample::LOG;
use state_migration_examples::xes::XesLog;
use tempfile::TempDir;

/// A folder to run the program in, with a store in its folder `loans`.
pub(crate) struct Sample {
    folder: TempDir,
}

impl Sample {
    /// A store of its own, filled from the sample log.
    pub(crate) fn new() -> Self {
        // Imported once; a store that is closed can be copied.
        static IMPORTED: OnceLock<TempDir> = OnceLock::new();
        let imported = IMPORTED.get_or_init(imported);
        let sample = Self::empty();
        copy(imported.path(), &sample.store());
        sample
    }

    /// A store with the same applications that was filled separately.
    pub(crate) fn imported_again() -> Self {
        let sample = Self::empty();
        copy(imported().path(), &sample.store());
        sample
    }

    /// Another folder with the same store.
    pub(crate) fn copied(&self) -> Self {
        let sample = Self::empty();
        copy(&self.store(), &sample.store());
        sample
    }

    /// A folder without a store.
    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The folder to run the program in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the store, which the program is told as `./loans`.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("loans")
    }

    /// Moves the programs that have the store open to another machine.
    pub(crate) fn opened_elsewhere(&self) {
        for mark in std::fs::read_dir(self.store().join("openings")).unwrap() {
            let mark = mark.unwrap().path();
            // On another machine, no lock tells whether the program lives.
            if mark.extension().is_some() {
                std::fs::remove_file(&mark).unwrap();
                continue;
            }
            let text = String::from_utf8(std::fs::read(&mark).unwrap()).unwrap();
            let (before, machine) = text.split_once("\"machine\":\"").unwrap();
            std::fs::write(&mark, format!("{before}\"machine\":\"another {machine}")).unwrap();
        }
    }

    /// Opens the store, does something to it, and closes it again.
    pub(crate) fn change<F>(&self, work: impl FnOnce(SlateDbStore) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let folder = self.store();
        in_runtime(async move || {
            let store = SlateDbStore::open_local(folder).await.unwrap();
            work(store.clone()).await;
            store.close().await.unwrap();
        });
    }

    /// Every file of the store with what is in it, to see that nothing changed.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        collect(&self.store(), &mut files);
        files.sort();
        files
    }
}

fn imported() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    in_runtime(async move || {
        let log = XesLog::embedded("the sample log", LOG);
        let imported = import(&log, &path, |_, _| {}).await.unwrap();
        assert_eq!(imported.imported, 240);
        imported.store.close().await.unwrap();
    });
    folder
}

/// On a thread of its own, since a test may be in a runtime already.
fn in_runtime(work: impl AsyncFnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(work());
    });
    thread.join().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
}
