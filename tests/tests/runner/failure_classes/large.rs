//! Processes whose events do not fit into a chunk of half a mebibyte.

use state_migration::{NewEvent, Stage};
use state_migration_tests::orders::{OrderV1, OrderV1ToV2Migration, OrderV2, OrderV3, StateV3};
use state_migration_tests::stores::{differences, event_key, head_key};

use crate::failure_classes::fixture::{
    Failure, World, converted, event, in_both_forms, linked, stream,
};

in_both_forms![
    a_process_of_many_events_is_migrated_with_its_neighbours,
    a_process_with_one_event_of_any_size_is_migrated_with_its_neighbours,
    processes_that_fill_more_than_a_chunk_together_are_all_migrated,
    a_large_process_that_cannot_be_folded_fails_alone,
    a_large_process_with_a_record_that_cannot_be_read_fails_alone,
    a_large_process_whose_head_is_behind_its_events_fails_alone,
    a_large_process_whose_conversion_is_refused_fails_alone,
    a_large_process_is_small_once_it_has_a_baseline,
];

/// What one chunk holds at most.
const CHUNK_BYTES: usize = 512 << 10;

/// The order that is large; small ones stand on both sides.
const LARGE: u64 = 3;

/// An order of 1 euro with an extra field of `bytes` bytes.
fn wordy(bytes: usize) -> NewEvent {
    let words = "x".repeat(bytes);
    let payload = format!(r#"{{"Placed":{{"euro":1,"words":"{words}"}}}}"#);
    event::<OrderV1>("OrderPlaced", 1, payload)
}

/// Appends `count` events of about 500 bytes.
async fn place_many(world: &World, n: u64, count: usize) {
    let events = (0..count).map(|_| wordy(450)).collect();
    world.append(&stream(n), events).await;
}

async fn place_neighbours(world: &World) {
    world.place((0..8).filter(|n| *n != LARGE)).await;
}

async fn neighbours_are_at_v3(world: &World) {
    for n in (0..8).filter(|n| *n != LARGE) {
        assert_eq!(world.load::<OrderV3>(n).await.unwrap(), converted(n));
    }
}

async fn stored_bytes(world: &World, n: u64) -> usize {
    let events = world.all_events(&stream(n)).await;
    events.iter().map(|event| event.payload.len()).sum()
}

/// The state at v3 of an unpaid order of `euro` euro.
fn at_v3(euro: u64) -> StateV3 {
    StateV3 {
        net: euro * 10_000 / 120,
        tax: euro * 100 - euro * 10_000 / 120,
        open: i64::try_from(euro * 100).unwrap(),
        closed: false,
    }
}

async fn a_process_of_many_events_is_migrated_with_its_neighbours(world: World) {
    place_neighbours(&world).await;
    place_many(&world, LARGE, 3_000).await;
    assert!(stored_bytes(&world, LARGE).await > 2 * CHUNK_BYTES);
    world.migrates_all_but(linked(), 8, &[]).await;
    assert_eq!(world.load::<OrderV3>(LARGE).await.unwrap(), at_v3(3_000));
    assert_eq!(world.head(&stream(LARGE)).await.baseline, Some(3_001));
    neighbours_are_at_v3(&world).await;
}

async fn a_process_with_one_event_of_any_size_is_migrated_with_its_neighbours(world: World) {
    place_neighbours(&world).await;
    // Below the limit, about at it, and above.
    for (n, bytes) in [
        (LARGE, CHUNK_BYTES + 100_000),
        (20, CHUNK_BYTES - 200),
        (21, CHUNK_BYTES - 100),
        (22, CHUNK_BYTES - 50),
        (23, CHUNK_BYTES),
        (24, 3 * CHUNK_BYTES),
    ] {
        world.append(&stream(n), vec![wordy(bytes)]).await;
    }
    world.migrates_all_but(linked(), 13, &[]).await;
    for n in [LARGE, 20, 21, 22, 23, 24] {
        assert_eq!(world.load::<OrderV3>(n).await.unwrap(), at_v3(1));
    }
    neighbours_are_at_v3(&world).await;
}

async fn processes_that_fill_more_than_a_chunk_together_are_all_migrated(world: World) {
    for n in 0..12 {
        place_many(&world, n, 400).await;
    }
    assert!(stored_bytes(&world, 0).await > CHUNK_BYTES / 3);
    assert!(stored_bytes(&world, 0).await < CHUNK_BYTES / 2);
    world.migrates_all_but(linked(), 12, &[]).await;
    for n in 0..12 {
        assert_eq!(world.load::<OrderV3>(n).await.unwrap(), at_v3(400));
    }
}

async fn a_large_process_that_cannot_be_folded_fails_alone(world: World) {
    place_neighbours(&world).await;
    place_many(&world, LARGE, 2_000).await;
    let unreadable = event::<OrderV1>("OrderLost", 1, r#"{"Lost":{}}"#);
    world.append(&stream(LARGE), vec![unreadable]).await;
    let message = "event 2001 of stream process/shop/000003: an event of type \"OrderLost\", \
                   schema version 1, is unknown to the code: \
                   expected one of `Placed`, `Paid`, `Closed` at line 1 column 7";
    let failure = Failure::of(LARGE, Stage::Folding, message).at(2_001);
    world.migrates_all_but(linked(), 7, &[failure]).await;
    neighbours_are_at_v3(&world).await;
}

async fn a_large_process_with_a_record_that_cannot_be_read_fails_alone(world: World) {
    place_neighbours(&world).await;
    place_many(&world, LARGE, 2_000).await;
    world
        .put_row(event_key(&stream(LARGE), 1_500), b"\x02")
        .await;
    let message = "event 1500 of stream process/shop/000003 cannot be read: too short; \
                   restore the record from a backup (nothing was changed)";
    let failure = Failure::of(LARGE, Stage::Reading, message);
    world.migrates_all_but(linked(), 7, &[failure]).await;
    neighbours_are_at_v3(&world).await;
}

async fn a_large_process_whose_head_is_behind_its_events_fails_alone(world: World) {
    place_neighbours(&world).await;
    place_many(&world, LARGE, 2_000).await;
    // The next event would be written over one that is there.
    let key = head_key(&stream(LARGE));
    let mut head = world.row(&key).await;
    head[2..10].copy_from_slice(&1_900_u64.to_be_bytes());
    world.put_row(key, head).await;
    let before = world.rows_of(&stream(LARGE)).await;
    for migrated in [7, 0] {
        let report = world.run().await;
        let after = world.rows_of(&stream(LARGE)).await;
        assert_eq!(differences(&before, &after), [""; 0], "{report}");
        assert_eq!(
            (report.migrated, report.error_count),
            (migrated, 1),
            "{report}"
        );
        assert_eq!(report.errors[0].subject, stream(LARGE));
        assert!(
            report.errors[0].message.contains("from a backup"),
            "{report}"
        );
    }
    neighbours_are_at_v3(&world).await;
}

async fn a_large_process_whose_conversion_is_refused_fails_alone(world: World) {
    place_neighbours(&world).await;
    // As many euro as cannot be taxed, in events of one euro.
    let events = (0..666).map(|_| wordy(900)).collect();
    world.append(&stream(LARGE), events).await;
    assert!(stored_bytes(&world, LARGE).await > CHUNK_BYTES);
    let before = world.rows_of(&stream(LARGE)).await;
    for migrated in [7, 0] {
        let report = world.run().await;
        assert_eq!(
            (report.migrated, report.error_count),
            (migrated, 1),
            "{report}"
        );
        let error = &report.errors[0];
        assert_eq!(
            (&error.subject, error.stage),
            (&stream(LARGE).into(), Stage::Converting)
        );
        assert!(
            error.message.contains("666 euro cannot be taxed"),
            "{error}"
        );
    }
    assert_eq!(world.rows_of(&stream(LARGE)).await, before);
    assert_eq!(world.load::<OrderV1>(LARGE).await.unwrap().euro, 666);
    neighbours_are_at_v3(&world).await;
}

async fn a_large_process_is_small_once_it_has_a_baseline(world: World) {
    place_many(&world, LARGE, 2_000).await;
    world.migrates_all_but(OrderV1ToV2Migration, 1, &[]).await;
    assert_eq!(world.load::<OrderV2>(LARGE).await.unwrap().cents, 200_000);
    // Nothing before the baseline is read, so it may as well be gone.
    for sequence in 1..=2_000 {
        world
            .put_row(event_key(&stream(LARGE), sequence), b"\x02")
            .await;
        if !world.is_in_memory() && sequence == 20 {
            break;
        }
    }
    world.migrates_all_but(linked(), 1, &[]).await;
    assert_eq!(world.load::<OrderV3>(LARGE).await.unwrap(), at_v3(2_000));
}
