//! Retirement of versions: a version stays recorded while a process is at it, even if a
//! run has migrated all processes that it saw. Later runs would not find that process.

use std::num::NonZeroU32;
use std::time::Duration;

use state_migration::{MemoryStore, RunState, WorkflowId};
use state_migration_tests::scripted_workflow::{self, Store, Upgrade, stream, version};
use state_migration_tests::stores::{OnDisk, head_key, streams_at};

/// The format byte of a head in an unsupported newer format.
const NEWER: u8 = 3;

/// A full count records an unreadable head, and the run then skips it. After the head is
/// repaired, a plain run must find the process.
///
/// Takes out: `unread` of a range.
async fn what_a_full_count_could_not_read_is_found_later(
    store: impl Store,
    damage: impl Fn(&mut Vec<u8>),
) {
    for n in 0..8 {
        scripted_workflow::put(&store, n).await.unwrap();
    }
    let key = head_key(&stream(3));
    let rows = store.all_rows().await.unwrap();
    let (_, whole) = rows.into_iter().find(|(at, _)| at[..] == key[..]).unwrap();
    let mut damaged = whole.to_vec();
    damage(&mut damaged);
    store.put_row(key.clone(), damaged).await.unwrap();
    let report = Upgrade::new()
        .runner(&store)
        .count_up_to_date(true)
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (7, 1), "{report}");
    store.put_row(key, whole.to_vec()).await.unwrap();
    let report = Upgrade::new().runner(&store).run().await;
    assert_eq!((report.migrated, report.error_count), (1, 0), "{report}");
    assert_eq!(version(&store, 3).await.unwrap(), "v2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_head_is_not_forgotten_in_memory() {
    let cut = |head: &mut Vec<u8>| head.truncate(1);
    what_a_full_count_could_not_read_is_found_later(MemoryStore::new(), cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_head_is_not_forgotten_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    let cut = |head: &mut Vec<u8>| head.truncate(1);
    what_a_full_count_could_not_read_is_found_later((*disk).clone(), cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_a_newer_format_is_not_forgotten() {
    let newer = |head: &mut Vec<u8>| head[0] = NEWER;
    what_a_full_count_could_not_read_is_found_later(MemoryStore::new(), newer).await;
}

/// Takes out: that a birth marks the presence of its version, or that it is recorded
/// while the version is closing.
async fn a_process_born_during_a_run_is_found(store: impl Store, rounds: u64) {
    for round in 0..rounds {
        let base = round * 100;
        for n in base..base + 3 {
            scripted_workflow::put(&store, n).await.unwrap();
        }
        let births = (0..4).map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..6 {
                    let wait = (round * 131 + n * 977 + task * 313) % 4_000;
                    tokio::time::sleep(Duration::from_micros(wait)).await;
                    scripted_workflow::put(&store, base + 10 + task * 10 + n)
                        .await
                        .unwrap();
                }
            })
        });
        let births: Vec<_> = births.collect();
        let runner = Upgrade::new().runner(&store).yield_to_writers(false);
        let report = runner.run().await;
        assert!(report.is_ok(), "{report}");
        for birth in births {
            birth.await.unwrap();
        }
        let rows = store.all_rows().await.unwrap();
        let present = rows
            .iter()
            .filter(|(key, _)| key.starts_with(b"wjob\0\x01v1\0\x01"));
        let present = present.count();
        let transactional = store.transactional().unwrap();
        let there = streams_at(&*transactional, &WorkflowId::new("job", "v1")).await;
        let there = there.unwrap().len();
        assert!(there == 0 || present == 1, "round {round}: {there} at v1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn births_beside_runs_are_found_in_memory() {
    a_process_born_during_a_run_is_found(MemoryStore::new(), 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn births_beside_runs_are_found_on_disk() {
    let often = OnDisk::with_settings(|s| s.flush_interval = Some(Duration::from_millis(2)));
    let disk = often.await.unwrap();
    a_process_born_during_a_run_is_found((*disk).clone(), 25).await;
}

/// Born behind a run that was interrupted, before it is resumed: what this
/// execution sees leave is not all.
///
/// Takes out: that a cancelled run leaves its versions closing.
async fn a_process_born_between_two_executions_is_found(store: impl Store) {
    for n in 100..200 {
        scripted_workflow::put(&store, n).await.unwrap();
    }
    let runner = Upgrade::new().runner(&store).chunk_processes(1);
    let control = runner.control();
    control.throttle(NonZeroU32::new(200));
    let run = tokio::spawn(async move { runner.run().await });
    while control.progress().counts.migrated < 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    control.cancel();
    let report = run.await.unwrap();
    assert_eq!(report.state, Some(RunState::Cancelled), "{report}");
    // Before all others, where the run has been.
    scripted_workflow::put(&store, 0).await.unwrap();
    let runner = Upgrade::new().runner(&store);
    let report = runner.resume(report.run.unwrap()).await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    assert_eq!((report.migrated, report.swept), (101, 1), "{report}");
    assert_eq!(version(&store, 0).await.unwrap(), "v2");
}

#[tokio::test(flavor = "multi_thread")]
async fn births_between_two_executions_are_found_in_memory() {
    a_process_born_between_two_executions_is_found(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn births_between_two_executions_are_found_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    a_process_born_between_two_executions_is_found((*disk).clone()).await;
}
