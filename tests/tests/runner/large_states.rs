//! New states that are much larger than what was read of a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use state_migration::{MemoryStore, MigrationRunner, Selection};
use state_migration_tests::lost_answers::Lossy;
use state_migration_tests::scripted_workflow::{Upgrade, at_v2, put};

/// The size of a new state.
const STATE: usize = 256 << 10;

/// The bytes of new states that a worker holds before it commits them.
const CHUNK: usize = 2 << 20;

/// Bytes of new states that are converted and not committed.
#[derive(Clone, Default)]
struct Uncommitted(Arc<(AtomicUsize, AtomicUsize)>);

impl Uncommitted {
    fn add(&self, bytes: usize) {
        let (now, most) = &*self.0;
        most.fetch_max(
            now.fetch_add(bytes, Ordering::SeqCst) + bytes,
            Ordering::SeqCst,
        );
    }

    fn remove(&self, bytes: usize) {
        self.0.0.fetch_sub(bytes, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

/// Fails if `convert_all` does not stop at the bytes of the new states (a page of 64
/// processes holds 16 MiB), or if `ProcessSizes` sees only what was read.
#[tokio::test(flavor = "multi_thread")]
async fn the_new_states_that_a_worker_holds_are_bounded_by_their_bytes() {
    const JOBS: u64 = 96;
    let memory = MemoryStore::new();
    for n in 0..JOBS {
        put(&memory, n).await.unwrap();
    }
    let uncommitted = Uncommitted::default();
    let store = {
        let uncommitted = uncommitted.clone();
        Lossy::over(memory.clone()).unwrap().stopping(move |batch| {
            uncommitted.remove(batch.moves.len() * STATE);
            (Duration::ZERO, Duration::ZERO)
        })
    };
    let growing = {
        let uncommitted = uncommitted.clone();
        Upgrade::with(move |job| {
            job.fate = "x".repeat(STATE);
            uncommitted.add(STATE);
            Ok(())
        })
    };
    let pages = store.pages.clone();
    let runner = MigrationRunner::new(growing, store.clone(), store);
    // A limit makes it one worker.
    let report = runner.select(Selection::all().first(96)).run().await;
    assert_eq!((report.migrated, report.error_count), (96, 0), "{report}");
    assert_eq!(at_v2(&memory, 0..JOBS).await.unwrap().len(), 96);
    let most = uncommitted.most();
    assert!((STATE..=CHUNK).contains(&most), "{most} bytes");
    // The first page is requested before any size is known.
    let sizes = pages.sizes();
    let later = &sizes[1..];
    assert!(later.iter().all(|size| *size <= CHUNK / STATE), "{sizes:?}");
}
