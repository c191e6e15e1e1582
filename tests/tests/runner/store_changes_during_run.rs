//! Changes of a store during a run.

use std::num::NonZeroU32;
use std::time::Duration;

use state_migration::{FailureClass, MemoryStore, RunState, Runs, Selection};
use state_migration_tests::scripted_workflow::{
    JobEvent, Store, Upgrade, append, at_v2, event, put, put_at, stream, version,
};
use state_migration_tests::stores::{OnDisk, head_key};

const JOBS: u64 = 60;

async fn filled<S: Store>(store: S) -> S {
    for n in 0..JOBS {
        put(&store, n).await.unwrap();
    }
    store
}

/// To see it fail: compare sequence and version of a head instead of its revision.
async fn a_process_that_is_held_during_a_run_is_skipped(store: impl Store) {
    let store = filled(store).await;
    let runner = Upgrade::new().runner(&store);
    let control = runner.control();
    control.throttle(NonZeroU32::new(20));
    let run = tokio::spawn(async move { runner.run().await });
    while control.progress().counts.migrated < 5 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let runs = Runs::of(&store).unwrap();
    // Each range has been read ahead by now.
    let mut held = Vec::new();
    for n in 0..JOBS {
        if held.len() < 10 && version(&store, n).await.unwrap() == "v1" {
            runs.hold(&stream(n), "ann", "in court").await.unwrap();
            if version(&store, n).await.unwrap() == "v1" {
                held.push(n);
            }
        }
    }
    assert_eq!(held.len(), 10);
    control.throttle(None);
    let report = run.await.unwrap();
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!(report.skipped_by.held, held.len(), "{report}");
    assert_eq!(report.migrated as u64, JOBS - 10, "{report}");
    assert_eq!(at_v2(&store, held.clone()).await.unwrap(), [] as [u64; 0]);
    for n in held {
        assert!(runs.held(&stream(n)).await.unwrap().is_some(), "{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_held_during_a_run_is_skipped_in_memory() {
    a_process_that_is_held_during_a_run_is_skipped(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_held_during_a_run_is_skipped_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    a_process_that_is_held_during_a_run_is_skipped((*disk).clone()).await;
}

/// To see it fail: let an append to a process that is over, or a run that finds
/// it over, write over what an operator decided.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_took_out_stays_out_also_when_it_is_over() {
    let store = MemoryStore::new();
    put(&store, 1).await.unwrap();
    let over = vec![event("v1", &JobEvent::Over).unwrap()];
    append(&store, &stream(1), over).await.unwrap();
    let runs = Runs::of(&store).unwrap();
    runs.hold(&stream(1), "ann", "in court").await.unwrap();
    let report = Upgrade::new()
        .runner(&store)
        .select(Selection::all().in_flight())
        .run()
        .await;
    assert_eq!(
        (report.migrated, report.skipped_by.held),
        (0, 1),
        "{report}"
    );
    let step = vec![event("v1", &JobEvent::Step).unwrap()];
    append(&store, &stream(1), step).await.unwrap();
    assert!(runs.held(&stream(1)).await.unwrap().is_some());
    let report = Upgrade::new().runner(&store).run().await;
    assert_eq!(
        (report.migrated, report.skipped_by.held),
        (0, 1),
        "{report}"
    );
    runs.release(&stream(1), "ann", "paid").await.unwrap();
    let report = Upgrade::new().runner(&store).run().await;
    assert_eq!(
        (report.migrated, report.skipped_by.held),
        (1, 0),
        "{report}"
    );
}

/// Panics again when it is dropped.
struct Grudge;

impl Drop for Grudge {
    fn drop(&mut self) {
        panic!("and another thing");
    }
}

/// To see it fail: drop what was panicked with outside of `catch_unwind`.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_whose_value_panics_again_is_one_processs_failure() {
    let store = filled(MemoryStore::new()).await;
    let upgrade = Upgrade::with(|job| match job.n {
        7 => std::panic::panic_any(Grudge),
        _ => Ok(()),
    });
    let report = upgrade.runner(&store).run().await;
    assert_eq!(
        (report.migrated as u64, report.error_count),
        (JOBS - 1, 1),
        "{report}"
    );
    assert_eq!(report.errors[0].class, FailureClass::Panic);
    assert_eq!(report.errors[0].subject, stream(7));
    assert_eq!(report.state, Some(RunState::DoneWithErrors));
}

/// To see it fail: keep all of a message.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_is_cut() {
    let store = filled(MemoryStore::new()).await;
    let upgrade = Upgrade::with(|_| Err("ä".repeat(500_000).into()));
    let report = upgrade.runner(&store).run().await;
    assert_eq!(report.error_count as u64, JOBS);
    let message = &report.errors[0].message;
    assert!((1_000..4_000).contains(&message.len()), "{}", message.len());
}

/// To see it fail: let each run of a runner that ends undo a cancel.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_not_undone_by_another_run_of_the_same_runner() {
    let store = filled(MemoryStore::new()).await;
    let slow = Upgrade::with(|_| {
        std::thread::sleep(Duration::from_millis(30));
        Ok(())
    });
    let runner = std::sync::Arc::new(slow.runner(&store).chunk_processes(2));
    let control = runner.control();
    let first = runner.clone();
    let run = tokio::spawn(async move { first.run().await });
    while control.progress().counts.migrated == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    control.cancel();
    let refused = runner.run().await;
    assert_eq!((refused.migrated, refused.error_count), (0, 1), "{refused}");
    let report = run.await.unwrap();
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    // And it is over with that run.
    let report = runner.run().await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
}

/// To see it fail: keep what a full count could not read in memory until the end.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_count_cannot_read_is_kept_by_a_run_that_is_broken_off() {
    let store = filled(MemoryStore::new()).await;
    put_at(&store, 900, "v2", "").await.unwrap();
    store.put_raw(head_key(&stream(900)), vec![1, 9]);
    let slow = Upgrade::with(|_| {
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    });
    let runner = slow
        .runner(&store)
        .count_up_to_date(true)
        .chunk_processes(2);
    let control = runner.control();
    let run = tokio::spawn(async move { runner.run().await });
    while control.progress().counts.migrated == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    run.abort();
    assert!(run.await.is_err());
    let runs = Runs::of(&store).unwrap();
    let id = runs.list().await.unwrap()[0].id;
    let report = Upgrade::new()
        .fingerprint(1)
        .runner(&store)
        .resume(id)
        .await;
    assert_eq!(report.migrated as u64, JOBS, "{report}");
    assert_eq!(report.error_count, 1, "{report}");
    assert_eq!(report.state, Some(RunState::DoneWithErrors));
    let failures = runs.failures(id, None, None, 10).await.unwrap();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].error.subject, stream(900));
}

/// To see it fail: sweep only the versions that routes start from.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_born_without_a_route_during_a_run_is_named() {
    let store = filled(MemoryStore::new()).await;
    let runner = Upgrade::new().runner(&store).chunk_processes(2);
    let control = runner.control();
    control.pause();
    let run = tokio::spawn(async move { runner.run().await });
    while control.progress().state != RunState::Paused {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    put_at(&store, 500, "v0", "").await.unwrap();
    control.unpause();
    let report = run.await.unwrap();
    assert_eq!(
        (report.migrated as u64, report.error_count),
        (JOBS, 1),
        "{report}"
    );
    assert_eq!(report.errors[0].class, FailureClass::MissingRoute);
    assert_eq!(report.state, Some(RunState::DoneWithErrors));
}
