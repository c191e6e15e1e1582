//! Defects that are planted: each is found, and the list of steps that shows it
//! is made short.

use std::ops::RangeFull;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use state_migration::{EventStore, ExpectedSequence, MIGRATED, NewEvent, SlateDbStore, StreamId};
use state_migration_tests::torture::model::Kind;
use state_migration_tests::torture::shrink::shrink;
use state_migration_tests::torture::steps::{self, Act, Step};
use state_migration_tests::torture::{World, workflows};

/// A stream whose last event is not a migration, and that event.
async fn last_event(store: &SlateDbStore) -> Option<(StreamId, state_migration::Event)> {
    for stream in store.list_streams(None, None, 100).await.unwrap() {
        let events = store.read_all(&stream, 0, 10_000).await.unwrap();
        if let Some(event) = events.into_iter().next_back()
            && event.event_type != MIGRATED
        {
            return Some((stream, event));
        }
    }
    None
}

/// An append that is made again under another id, as by a writer that got no
/// answer and did not look.
async fn double(store: SlateDbStore) {
    let Some((stream, event)) = last_event(&store).await else {
        return;
    };
    let payload: Bytes = event.payload.clone();
    let again = NewEvent::new(event.workflow_id, event.event_type, 1, payload).unwrap();
    let again = again.finishing(event.finishes);
    let end = ExpectedSequence::Exact(event.sequence);
    let appended = store.append(&stream, end, vec![again]).await;
    appended.unwrap();
}

/// A stream goes with all that leads to it, so that nothing in the store says that
/// it was there: a single event that is gone the library sees itself, by the head.
async fn forget(store: SlateDbStore) {
    let Some((stream, _)) = last_event(&store).await else {
        return;
    };
    let id = [stream.as_str().as_bytes(), b"\0"].concat();
    let mut rows = store.db().scan::<RangeFull>(..).await.unwrap();
    let mut keys = Vec::new();
    while let Some(row) = rows.next().await.unwrap() {
        if row.key.windows(id.len()).any(|part| part == id) {
            keys.push(row.key);
        }
    }
    assert!(keys.len() >= 2, "an event and the head: {keys:?}");
    for key in keys {
        store.db().delete(key).await.unwrap();
    }
    store.db().flush().await.unwrap();
}

/// The defect is there in every step in which a snapshot is saved.
fn planted(
    defect: fn(SlateDbStore) -> BoxFuture<'static, ()>,
) -> impl Fn(&Step, SlateDbStore) -> BoxFuture<'static, ()> + Sync {
    move |step, store| match step.act {
        Act::Snapshot if step.crash.is_none() => defect(store),
        _ => async {}.boxed(),
    }
}

fn is_found(defect: fn(SlateDbStore) -> BoxFuture<'static, ()>, kind: Kind) {
    workflows::silence();
    let defect = planted(defect);
    let fails = |seed| {
        World::run(seed, &steps::draw(seed, 60), Some(&defect))
            .1
            .is_err()
    };
    let seed = (1..50).find(|seed| fails(*seed));
    let seed = seed.expect("the defect is not found");
    let steps = steps::draw(seed, 60).into_iter().enumerate().collect();
    let mut found = None;
    let short = shrink(steps, 150, |steps| {
        let steps: Vec<_> = steps.iter().map(|(_, step)| step.clone()).collect();
        let violation = World::run(seed, &steps, Some(&defect)).1.err();
        let fails = violation.is_some();
        found = violation.or(found.take());
        fails
    });
    let acts: Vec<_> = short.iter().map(|(_, step)| &step.act).collect();
    assert!(
        matches!(acts.as_slice(), [_, Act::Snapshot]),
        "the shortest list is {acts:?}"
    );
    assert_eq!(found.unwrap().wrong.kind, kind);
}

#[test]
fn an_event_that_is_doubled_is_found_and_the_steps_are_two() {
    is_found(|store| double(store).boxed(), Kind::Doubled);
}

#[test]
fn a_process_that_is_forgotten_is_found_and_the_steps_are_two() {
    is_found(|store| forget(store).boxed(), Kind::Lost);
}
