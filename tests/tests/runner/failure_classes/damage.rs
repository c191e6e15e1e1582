//! Records that cannot be read, are missing, contradict each other or come
//! from a newer version: nothing is guessed and nothing is written.

use state_migration::{MIGRATED, Stage, WorkflowId};
use state_migration_tests::orders::{self, OrderV1, OrderV1ToV2Migration, OrderV2, OrderV3};
use state_migration_tests::stores::{differences, event_key, head_key};

use crate::failure_classes::fixture::{
    Failure, World, converted, expect, in_both_forms, linked, stream,
};

in_both_forms![
    a_head_that_cannot_be_read_fails_its_process,
    a_head_of_a_newer_format_fails_its_process,
    a_head_that_cannot_be_read_does_not_end_a_full_count,
    a_head_that_is_ahead_of_its_events_fails_its_process,
    a_head_that_is_behind_its_events_fails_its_process,
    an_event_that_cannot_be_read_fails_its_process,
    an_event_of_a_newer_format_fails_its_process,
    a_reserved_event_of_a_newer_version_fails_its_process,
    a_baseline_of_a_newer_layout_fails_its_process,
    a_baseline_that_cannot_be_read_fails_its_process,
    a_baseline_that_the_workflow_cannot_read_fails_its_process,
    what_is_damaged_before_the_baseline_does_not_matter,
    a_damaged_process_is_migrated_once_its_record_is_restored,
];

/// The memory store gives up no row.
mod missing_on_disk {
    use state_migration::CommitMode::{self, EventFirst, OneTransaction};

    async fn a_missing_event_fails_its_process(form: CommitMode) {
        let world = crate::failure_classes::fixture::World::on_disk(form).await;
        super::a_missing_event_fails_its_process(world).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_one_transaction() {
        a_missing_event_fails_its_process(OneTransaction).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn event_first() {
        a_missing_event_fails_its_process(EventFirst).await;
    }
}

const RESTORE: &str = "; restore the record from a backup (nothing was changed)";

/// The order that is damaged, which has four events.
const BROKEN: u64 = 3;

/// Places orders, of which one is about to be damaged.
async fn place(world: &World) {
    world.place(0..world.crowd()).await;
    assert_eq!(world.head(&stream(BROKEN)).await.sequence, 4);
}

/// How many orders are not damaged.
fn others(world: &World) -> usize {
    usize::try_from(world.crowd()).unwrap() - 1
}

/// All orders go to v3 but the damaged one, which fails in each of two runs.
async fn only_the_broken_one_fails(world: &World, failure: Failure) {
    world
        .migrates_all_but(linked(), others(world), &[failure])
        .await;
    the_others_are_at_v3(world).await;
}

async fn the_others_are_at_v3(world: &World) {
    for n in (0..world.crowd()).filter(|n| *n != BROKEN) {
        assert_eq!(world.load::<OrderV3>(n).await.unwrap(), converted(n));
    }
}

/// Overwrites a row of the broken order, in turn, and sees the run fail each time.
async fn each(world: &World, key: Vec<u8>, damages: &[(&[u8], &str)], what: &str) {
    place(world).await;
    let whole = world.row(&key).await;
    let mut migrated = others(world);
    for (damage, why) in damages {
        world.put_row(key.clone(), *damage).await;
        let failure = Failure::of(BROKEN, Stage::Reading, format!("{what} {why}"));
        world.migrates_all_but(linked(), migrated, &[failure]).await;
        migrated = 0;
    }
    the_others_are_at_v3(world).await;
    world.put_row(key, whole).await;
    // It still runs under its old version.
    let state = world.load::<OrderV1>(BROKEN).await.unwrap();
    assert_eq!(state, orders::folded::<OrderV1>(BROKEN));
}

async fn a_head_that_cannot_be_read_fails_its_process(world: World) {
    let key = head_key(&stream(BROKEN));
    let number = |n: u8| [0, 0, 0, 0, 0, 0, 0, n];
    let numbers = [number(4), number(4), number(0), number(1)].concat();
    let whole = [&b"\x02\0"[..], &numbers, b"\0\x05order\0\x02v1"].concat();
    let too_long = [&whole[..], b"?"].concat();
    let no_sequence = [&whole[..9], b"\0", &whole[10..]].concat();
    let bad_text = [&whole[..36], b"\xFFrder\0\x02v1"].concat();
    each(
        &world,
        key,
        &[
            (b"", &format!("too short{RESTORE}")),
            (b"\x02\0\0", &format!("too short{RESTORE}")),
            (&too_long, &format!("too long{RESTORE}")),
            (
                &no_sequence,
                &format!("its numbers contradict each other{RESTORE}"),
            ),
            (&bad_text, &format!("a string is not UTF-8{RESTORE}")),
            (b"\0", &format!("format 0 does not exist{RESTORE}")),
        ],
        "the head of stream process/shop/000003 cannot be read:",
    )
    .await;
}

fn newer(what: &str) -> String {
    format!("{what} has format 3, but this release reads formats up to 2; upgrade state-migration")
}

async fn a_head_of_a_newer_format_fails_its_process(world: World) {
    place(&world).await;
    let key = head_key(&stream(BROKEN));
    let mut row = world.row(&key).await;
    row[0] = 3;
    world.put_row(key, row).await;
    let message = newer("the head of stream process/shop/000003");
    only_the_broken_one_fails(&world, Failure::of(BROKEN, Stage::Reading, message)).await;
}

async fn a_head_that_cannot_be_read_does_not_end_a_full_count(world: World) {
    world.place(0..8).await;
    expect(&world.run().await, 8, &[]);
    world.place(10..14).await;
    // One that needed nothing, and one that was to be migrated.
    let damaged = [6, 11];
    for n in damaged {
        world.put_row(head_key(&stream(n)), b"\x02").await;
    }
    let report = world.runner(linked()).count_up_to_date(true).run().await;
    let failures = damaged.map(|n| {
        let what = format!("the head of stream {}", stream(n));
        let message = format!("{what} cannot be read: too short{RESTORE}");
        Failure::of(n, Stage::Reading, message)
    });
    expect(&report, 3, &failures);
    assert_eq!(report.skipped_by.already_there, 7, "{report}");
}

/// Sets the sequence number that the head of the broken order says.
async fn set_head_sequence(world: &World, sequence: u64) {
    let key = head_key(&stream(BROKEN));
    let mut row = world.row(&key).await;
    row[2..10].copy_from_slice(&sequence.to_be_bytes());
    world.put_row(key, row).await;
}

async fn a_head_that_is_ahead_of_its_events_fails_its_process(world: World) {
    place(&world).await;
    set_head_sequence(&world, 5).await;
    let before = world.rows_of(&stream(BROKEN)).await;
    let report = world.run().await;
    missing(&report, others(&world), 5);
    assert_eq!(world.rows_of(&stream(BROKEN)).await, before);
    the_others_are_at_v3(&world).await;
}

/// Checks that a report names an event of the broken order as missing, and no more.
fn missing(report: &state_migration::MigrationReport, migrated: usize, sequence: u64) {
    assert_eq!(
        (report.migrated, report.error_count),
        (migrated, 1),
        "{report}"
    );
    let error = &report.errors[0];
    assert_eq!(
        (&error.subject, error.stage),
        (&stream(BROKEN).into(), Stage::Reading)
    );
    let what = format!("event {sequence} of stream process/shop/000003 is missing; ");
    assert!(error.message.starts_with(&what), "{error}");
    let way_out = "restore the event from a backup (nothing was changed)";
    assert!(error.message.ends_with(way_out), "{error}");
}

async fn a_head_that_is_behind_its_events_fails_its_process(world: World) {
    place(&world).await;
    // The next event would be written over one that is there.
    set_head_sequence(&world, 2).await;
    let before = world.rows_of(&stream(BROKEN)).await;
    let report = world.run().await;
    let after = world.rows_of(&stream(BROKEN)).await;
    assert_eq!(differences(&before, &after), [""; 0], "{report}");
    assert_eq!(
        (report.migrated, report.error_count),
        (others(&world), 1),
        "{report}"
    );
    assert_eq!(report.errors[0].subject, stream(BROKEN));
    assert!(
        report.errors[0].message.contains("from a backup"),
        "{report}"
    );
}

async fn an_event_that_cannot_be_read_fails_its_process(world: World) {
    let key = event_key(&stream(BROKEN), 2);
    let cut_in_name = [&[2][..], &[0; 29], b"\0\x05ord"].concat();
    let bad_type = [&[2][..], &[0; 29], b"\0\x05order\0\x02v1\0\x01\xFF{}"].concat();
    each(
        &world,
        key,
        &[
            (b"", &format!("too short{RESTORE}")),
            (b"\x02garbage", &format!("unknown flag{RESTORE}")),
            (&cut_in_name, &format!("too short{RESTORE}")),
            (&bad_type, &format!("a string is not UTF-8{RESTORE}")),
            (b"\0", &format!("format 0 does not exist{RESTORE}")),
        ],
        "event 2 of stream process/shop/000003 cannot be read:",
    )
    .await;
}

async fn an_event_of_a_newer_format_fails_its_process(world: World) {
    place(&world).await;
    let key = event_key(&stream(BROKEN), 2);
    let mut row = world.row(&key).await;
    row[0] = 3;
    world.put_row(key, row).await;
    let message = newer("event 2 of stream process/shop/000003");
    only_the_broken_one_fails(&world, Failure::of(BROKEN, Stage::Reading, message)).await;
}

async fn a_missing_event_fails_its_process(world: World) {
    place(&world).await;
    let mut migrated = others(&world);
    for sequence in [1, 2, 4] {
        let key = event_key(&stream(BROKEN), sequence);
        let row = world.row(&key).await;
        assert!(world.remove_row(&key).await);
        let before = world.rows_of(&stream(BROKEN)).await;
        assert_eq!(before.len(), 4, "three events and the head");
        for migrated in [migrated, 0] {
            let report = world.run().await;
            missing(&report, migrated, sequence);
        }
        assert_eq!(world.rows_of(&stream(BROKEN)).await, before);
        assert!(world.load::<OrderV1>(BROKEN).await.is_err());
        world.put_row(key, row).await;
        migrated = 0;
    }
    the_others_are_at_v3(&world).await;
    let state = world.load::<OrderV1>(BROKEN).await.unwrap();
    assert_eq!(state, orders::folded::<OrderV1>(BROKEN));
}

/// The record of an event of order@v1: no id, no time.
fn record(event_type: &str, schema_version: u8, payload: &str) -> Vec<u8> {
    let length = u8::try_from(event_type.len()).unwrap();
    let mut record = vec![2];
    record.extend([0; 25]);
    record.extend([0, 0, 0, schema_version]);
    record.extend(b"\0\x05order\0\x02v1");
    record.extend([0, length]);
    record.extend(event_type.as_bytes());
    record.extend(payload.as_bytes());
    record
}

async fn a_reserved_event_of_a_newer_version_fails_its_process(world: World) {
    place(&world).await;
    let key = event_key(&stream(BROKEN), 2);
    world
        .put_row(
            key.clone(),
            record("OrderPaid", 1, r#"{"Paid":{"euro":1}}"#),
        )
        .await;
    assert_eq!(
        world.load::<OrderV1>(BROKEN).await.unwrap(),
        orders::folded::<OrderV1>(BROKEN),
        "a crafted record is read"
    );
    world.put_row(key, record("$archived", 1, "{}")).await;
    let message = "event 2 of stream process/shop/000003: the reserved event type \"$archived\" is unknown to this release; upgrade state-migration";
    let failure = Failure::of(BROKEN, Stage::Folding, message).at(2);
    only_the_broken_one_fails(&world, failure).await;
}

/// Takes all orders to v2, so that the next run starts from their baselines.
async fn at_v2(world: &World) {
    place(world).await;
    let report = world.runner(OrderV1ToV2Migration).run().await;
    expect(&report, others(world) + 1, &[]);
    let head = world.head(&stream(BROKEN)).await;
    assert_eq!((head.sequence, head.baseline), (5, Some(5)));
    assert_eq!(
        world.all_events(&stream(BROKEN)).await[4].event_type,
        MIGRATED
    );
}

async fn a_baseline_of_a_newer_layout_fails_its_process(world: World) {
    at_v2(&world).await;
    let key = event_key(&stream(BROKEN), 5);
    let mut row = world.row(&key).await;
    // After format, flags, id and time: the schema version, the layout of the baseline.
    assert_eq!(row[26..30], [0, 0, 0, 1]);
    row[29] = 2;
    world.put_row(key, row).await;
    let message = "the `$migrated` event 5 of stream process/shop/000003 has layout 2, but this release reads layouts up to 1; upgrade state-migration";
    let failure = Failure::of(BROKEN, Stage::Folding, message).at(5);
    only_the_broken_one_fails(&world, failure).await;
    assert_eq!(
        world.head(&stream(BROKEN)).await.workflow_id,
        WorkflowId::of::<OrderV2>()
    );
    // A snapshot at the baseline would do in its place.
    world.snapshots.delete(&stream(BROKEN)).await.unwrap();
    let refused = world.load::<OrderV2>(BROKEN).await.unwrap_err();
    assert_eq!(refused.to_string(), message);
}

/// Replaces the payload of the broken order's baseline.
async fn set_baseline(world: &World, payload: &[u8]) {
    let key = event_key(&stream(BROKEN), 5);
    let row = world.row(&key).await;
    let mark = MIGRATED.as_bytes();
    let at = row
        .windows(mark.len())
        .position(|part| part == mark)
        .unwrap();
    let fixed = &row[..at + mark.len()];
    world.put_row(key, [fixed, payload].concat()).await;
}

async fn a_baseline_that_cannot_be_read_fails_its_process(world: World) {
    at_v2(&world).await;
    let mut migrated = others(&world);
    for payload in [&b""[..], b"{", b"{}", b"null"] {
        set_baseline(&world, payload).await;
        let before = world.rows_of(&stream(BROKEN)).await;
        let report = world.run().await;
        assert_eq!(
            (report.migrated, report.error_count),
            (migrated, 1),
            "{report}"
        );
        let error = &report.errors[0];
        assert_eq!((error.stage, error.sequence), (Stage::Folding, Some(5)));
        let what = "the `$migrated` event 5 of stream process/shop/000003 cannot be read";
        assert!(error.message.starts_with(what), "{error}");
        assert!(error.message.contains("from a backup"), "{error}");
        assert_eq!(world.rows_of(&stream(BROKEN)).await, before);
        migrated = 0;
    }
    the_others_are_at_v3(&world).await;
}

async fn a_baseline_that_the_workflow_cannot_read_fails_its_process(world: World) {
    at_v2(&world).await;
    let whole = world.row(&event_key(&stream(BROKEN), 5)).await;
    let whole = String::from_utf8_lossy(&whole).into_owned();
    let (_, payload) = whole.split_once(MIGRATED).unwrap();
    let (before, _) = payload.split_once("\"state\":").unwrap();
    let payload = format!("{before}\"state\":{{\"cents\":\"many\"}}}}");
    set_baseline(&world, payload.as_bytes()).await;
    let message = "event 5 of stream process/shop/000003: the state in the baseline or snapshot \
                   cannot be decoded: expected u64 at line 1 column 15";
    let failure = Failure::of(BROKEN, Stage::Folding, message).at(5);
    only_the_broken_one_fails(&world, failure).await;
}

async fn what_is_damaged_before_the_baseline_does_not_matter(world: World) {
    at_v2(&world).await;
    for sequence in 1..=4 {
        let key = event_key(&stream(BROKEN), sequence);
        world.put_row(key.clone(), b"\x02garbage").await;
        world.remove_row(&key).await;
    }
    world
        .migrates_all_but(linked(), others(&world) + 1, &[])
        .await;
    assert_eq!(
        world.load::<OrderV3>(BROKEN).await.unwrap(),
        converted(BROKEN)
    );
}

async fn a_damaged_process_is_migrated_once_its_record_is_restored(world: World) {
    place(&world).await;
    let key = event_key(&stream(BROKEN), 4);
    let whole = world.row(&key).await;
    world.put_row(key.clone(), b"\x02").await;
    assert_eq!(world.run().await.error_count, 1);
    world.put_row(key, whole).await;
    world.migrates_all_but(linked(), 1, &[]).await;
    assert_eq!(
        world.load::<OrderV3>(BROKEN).await.unwrap(),
        converted(BROKEN)
    );
}
