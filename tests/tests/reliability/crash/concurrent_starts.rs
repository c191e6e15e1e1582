//! Programs that start a run on one store at the same moment.

use std::path::Path;
use std::time::Duration;

use state_migration::{
    ErrorKind, EventStore, ExpectedSequence, NewEvent, RunState, Runs, SlateDbStore,
};
use state_migration_tests::orders::{OrderEvent, OrderV1, identity, register};
use state_migration_tests::stores::copy;

use crate::crash::child::{Line, Program};
use crate::crash::{only_run, prepare, runner};

const ORDERS: u64 = 450;

/// One round of two programs, the second of which starts after `later`; returns the
/// refusal of the program that did not run.
async fn round(template: &Path, later: Duration) -> Line {
    let folder = tempfile::tempdir().unwrap();
    copy(template, folder.path()).unwrap();
    let start = |after: Duration| {
        let folder = folder.path().to_owned();
        tokio::task::spawn_blocking(move || {
            std::thread::sleep(after);
            Program::start(&folder, "unless-claimed", 50, Some(150)).finish()
        })
    };
    let (first, second) = (start(Duration::ZERO), start(later));
    let both = [first.await.unwrap(), second.await.unwrap()];
    let ran = |lines: &Vec<Line>| lines.last() == Some(&Line::Migrated(ORDERS));
    let (mut winners, mut losers): (Vec<_>, Vec<_>) = both.into_iter().partition(ran);
    assert_eq!(
        (winners.len(), losers.len()),
        (1, 1),
        "{winners:?} {losers:?}"
    );
    let (winner, loser) = (winners.remove(0), losers.remove(0));
    let run = winner.iter().find_map(|line| match line {
        Line::Run(run) => Some(*run),
        _ => None,
    });
    let [refused] = loser.as_slice() else {
        panic!("the second program came further than to open the store: {loser:?}");
    };
    match refused {
        Line::Claimed(by) => assert_eq!(Some(*by), run),
        Line::Fenced(why) => assert!(
            why.contains("another program opened the store at the same time"),
            "{why}"
        ),
        other => panic!("{other:?}"),
    }

    // The store has seen one run, which ended; so it is free now.
    let store = SlateDbStore::open_local_unless_claimed(folder.path()).await;
    let store = store.unwrap();
    let runs = Runs::of(&store).unwrap();
    assert_eq!(Some(only_run(&store).await), run);
    let record = runs.get(run.unwrap()).await.unwrap().unwrap();
    assert_eq!((record.state, record.executions), (RunState::Done, 1));
    refused.clone()
}

/// The test fails if the store is opened without a check of the epoch that was read
/// (both runners open it, and the first is fenced). It also fails without the
/// second check of epoch and claim (a runner that starts later fences the first runner).
#[tokio::test(flavor = "multi_thread")]
async fn two_runners_that_start_together_do_not_both_run() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), ORDERS).await;
    let mut named = 0;
    let lags = [0, 0, 0, 100, 400, 900, 1_500];
    // Two at a time: each is idle for most of it, and of a store of its own.
    for some in lags.chunks(2) {
        let rounds = some.iter().map(|later| {
            let template = folder.path().to_owned();
            let later = Duration::from_millis(*later);
            tokio::spawn(async move { round(&template, later).await })
        });
        for refused in rounds.collect::<Vec<_>>() {
            let refused = refused.await.unwrap();
            named += usize::from(matches!(refused, Line::Claimed(_)));
        }
    }
    println!(
        "{named} of {} refusals name the run that claims the store",
        lags.len()
    );
    assert!(named > lags.len() / 2);
}

/// The test fails if the store is opened without a check of the claim.
#[tokio::test(flavor = "multi_thread")]
async fn opening_unless_claimed_does_not_fence_a_run() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), 50).await;
    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    let paused = runner(&store).chunk_processes(10);
    let control = paused.control();
    control.pause();
    let run = tokio::spawn(async move { paused.run().await });
    let runs = Runs::of(&store).unwrap();
    let holder = loop {
        match runs.claimed_by().await.unwrap() {
            Some(run) => break run,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };

    let folder = folder.path().to_owned();
    // A separate task, as in a real program.
    let opened = tokio::spawn(SlateDbStore::open_local_unless_claimed(folder.clone()));
    let refused = opened.await.unwrap().map(drop).unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Claimed { run: holder });
    assert_eq!(
        refused.to_string(),
        format!(
            "the store {} cannot be opened: run {holder} claims the store; wait until the run has ended, or, if its program is dead, take over the store with `open()` and resume the run",
            folder.display()
        )
    );
    control.unpause();
    let report = run.await.unwrap();
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.migrated, 50);

    // After the run, the store is not claimed: opening it fences the first handle.
    let opened = SlateDbStore::open_local_unless_claimed(&folder).await;
    drop(opened.unwrap());
    let placed = NewEvent::of::<OrderV1>(&OrderEvent::Placed { euro: 1 }).unwrap();
    let order = identity::<OrderV1>(50);
    let appended = store.append(order.stream_id(), ExpectedSequence::NoStream, vec![placed]);
    assert_eq!(*appended.await.unwrap_err().kind(), ErrorKind::Fenced);
}

/// Concurrent openings of a place without a store give exactly one writer.
///
/// The test fails if the errors of SlateDB are returned unchanged: it has several for
/// the programs that lose the race.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_programs_that_create_a_store_becomes_its_writer() {
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let path = folder.path().to_owned();
            tasks.spawn(SlateDbStore::open_local_unless_claimed(path));
        }
        let mut writers = 0;
        for opened in tasks.join_all().await {
            match opened {
                // A later program may have fenced an earlier one that had no run.
                Ok(store) => writers += usize::from(register(&store, 1).await.is_ok()),
                Err(error) => assert_eq!(*error.kind(), ErrorKind::Fenced, "{error}"),
            }
        }
        assert_eq!(writers, 1);
    }
}
