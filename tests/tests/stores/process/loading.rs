//! Loading a process, appending to it, and what neither takes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use state_migration::{
    BoxError, ErrorKind, EventPayload, ExpectedSequence, NewEvent, Workflow, WorkflowId,
};
use state_migration_tests::orders::OrderEvent::{Closed, Paid, Placed};
use state_migration_tests::orders::{self, OrderV1, StateV1, identity};
use state_migration_tests::stores::head_key;

use crate::process::{Store, open, over_both_stores, state, stream, sum, try_open};

over_both_stores![
    a_process_without_events_is_in_the_default_state,
    an_append_is_seen_by_every_later_load,
    of_two_writers_the_second_conflicts_and_writes_nothing,
    of_two_writers_of_the_first_event_the_second_conflicts,
    a_state_is_the_sum_of_all_events_over_several_pages,
    an_append_of_nothing_is_refused,
    an_event_that_cannot_be_serialized_is_refused,
    a_process_that_its_code_cannot_read_does_not_open,
    a_failed_reload_leaves_the_process_as_it_was,
    a_head_that_is_ahead_of_its_events_is_corrupt,
];

async fn a_process_without_events_is_in_the_default_state(store: &impl Store) {
    let before = store.rows().await.unwrap();
    let order = open::<OrderV1>(store, 7).await;
    assert_eq!(*order.state(), StateV1::default());
    assert_eq!(order.sequence(), 0);
    assert!(!order.is_finished());
    assert_eq!(*order.identity(), identity::<OrderV1>(7));
    assert_eq!(store.rows().await.unwrap(), before);
}

async fn an_append_is_seen_by_every_later_load(store: &impl Store) {
    let mut writer = open::<OrderV1>(store, 1).await;
    let mut reader = open::<OrderV1>(store, 1).await;
    writer.append(&[Placed { euro: 9 }]).await.unwrap();
    writer.append(&[Paid { euro: 2 }, Closed]).await.unwrap();
    let expected = StateV1 {
        euro: 9,
        paid_euro: 2,
        closed: true,
    };
    assert_eq!((writer.state(), writer.sequence()), (&expected, 3));
    assert!(writer.is_finished());

    assert_eq!(reader.sequence(), 0);
    reader.reload().await.unwrap();
    assert_eq!((reader.state(), reader.sequence()), (&expected, 3));

    let another = open::<OrderV1>(store, 1).await;
    assert_eq!((another.state(), another.sequence()), (&expected, 3));
    assert_eq!(state::<OrderV1>(store, 2).await, StateV1::default());
}

async fn of_two_writers_the_second_conflicts_and_writes_nothing(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    let mut first = open::<OrderV1>(store, 3).await;
    let mut second = open::<OrderV1>(store, 3).await;
    first.append(&[Paid { euro: 1 }]).await.unwrap();

    let before = store.rows().await.unwrap();
    let (state, sequence) = (second.state().clone(), second.sequence());
    let conflict = second.append(&[Placed { euro: 50 }]).await.unwrap_err();
    assert_eq!(*conflict.kind(), ErrorKind::Conflict);
    assert!(conflict.is_conflict());
    assert_eq!(
        conflict.to_string(),
        "stream process/shop/000003 ends at event 5, not at 4; load the process again and retry"
    );
    assert_eq!(store.rows().await.unwrap(), before);
    assert_eq!((second.state(), second.sequence()), (&state, sequence));

    second.reload().await.unwrap();
    assert_eq!((second.state(), second.sequence()), (first.state(), 5));
    second.append(&[Placed { euro: 50 }]).await.unwrap();
    let expected = StateV1 {
        euro: 54,
        paid_euro: 4,
        closed: false,
    };
    assert_eq!((second.state(), second.sequence()), (&expected, 6));
    assert_eq!(self::state::<OrderV1>(store, 3).await, expected);
}

async fn of_two_writers_of_the_first_event_the_second_conflicts(store: &impl Store) {
    let mut first = open::<OrderV1>(store, 3).await;
    let mut second = open::<OrderV1>(store, 3).await;
    first.append(&[Placed { euro: 5 }]).await.unwrap();
    let before = store.rows().await.unwrap();
    let conflict = second.append(&[Placed { euro: 6 }]).await.unwrap_err();
    assert_eq!(*conflict.kind(), ErrorKind::Conflict);
    assert_eq!(store.rows().await.unwrap(), before);
    assert_eq!(
        (second.state(), second.sequence()),
        (&StateV1::default(), 0)
    );
    assert_eq!(state::<OrderV1>(store, 3).await.euro, 5);
}

async fn a_state_is_the_sum_of_all_events_over_several_pages(store: &impl Store) {
    // Loads read 256 events at a time: one short of a page, a page, two pages
    // and one more, and enough for several.
    for (n, count) in [(1, 255), (2, 256), (3, 513), (4, 1_000)] {
        let events: Vec<_> = (0..count)
            .map(|i| match i % 3 {
                0 => Placed { euro: i },
                _ => Paid { euro: i },
            })
            .collect();
        let mut order = open::<OrderV1>(store, n).await;
        let (some, rest) = events.split_at(events.len() / 3);
        order.append(some).await.unwrap();
        order.append(rest).await.unwrap();
        let expected = sum::<OrderV1>(StateV1::default(), &events);
        assert_eq!((order.state(), order.sequence()), (&expected, count));
        let again = open::<OrderV1>(store, n).await;
        assert_eq!((again.state(), again.sequence()), (&expected, count));
    }
}

async fn an_append_of_nothing_is_refused(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    let before = store.rows().await.unwrap();
    for n in [3, 8] {
        let mut order = open::<OrderV1>(store, n).await;
        let (state, sequence) = (order.state().clone(), order.sequence());
        let refused = order.append(&[]).await.unwrap_err();
        assert_eq!(*refused.kind(), ErrorKind::Invalid);
        assert_eq!(
            refused.to_string(),
            format!("an append to {} has no events", stream(n))
        );
        assert_eq!((order.state(), order.sequence()), (&state, sequence));
    }
    assert_eq!(store.rows().await.unwrap(), before);
}

/// An event whose serialization is up to it.
#[derive(Debug, Deserialize)]
pub(crate) enum Note {
    Plain,
    Unwritable,
    Reserved,
}

impl Serialize for Note {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unwritable => Err(serde::ser::Error::custom("this note is not for paper")),
            plain => to.serialize_str(&format!("{plain:?}")),
        }
    }
}

impl EventPayload for Note {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Reserved => "$noted",
            _ => "Noted",
        }
    }
}

pub(crate) struct NotesV1;

impl Workflow for NotesV1 {
    const NAME: &'static str = "notes";
    const VERSION: &'static str = "v1";
    type State = u64;
    type Event = Note;

    fn apply(count: u64, _: &Note) -> u64 {
        count + 1
    }

    fn upcast<'a>(
        _: &str,
        schema_version: u32,
        payload: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, BoxError> {
        match schema_version {
            1 => Ok(Cow::Borrowed(payload)),
            2 => Ok(Cow::Owned(b"\"Plain\"".to_vec())),
            other => Err(format!("layout {other} is not known").into()),
        }
    }
}

async fn an_event_that_cannot_be_serialized_is_refused(store: &impl Store) {
    let mut notes = open::<NotesV1>(store, 1).await;
    notes.append(&[Note::Plain]).await.unwrap();
    let before = store.rows().await.unwrap();

    let refused = notes
        .append(&[Note::Plain, Note::Unwritable])
        .await
        .unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Workflow);
    assert_eq!(
        refused.to_string(),
        "nothing was appended to process/shop/000001: an event of type \"Noted\" of notes@v1 cannot \
         be serialized: this note is not for paper"
    );
    let refused = notes.append(&[Note::Reserved]).await.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Invalid);
    assert!(
        refused.to_string().contains("\"$noted\" is reserved"),
        "{refused}"
    );

    assert_eq!((*notes.state(), notes.sequence()), (1, 1));
    assert_eq!(store.rows().await.unwrap(), before);
}

/// Appends an event from its parts, as other code might have written it.
async fn append_raw(store: &impl Store, n: u64, event: NewEvent) {
    let stream = stream(n);
    let expected = match store.head(&stream).await.unwrap() {
        Some(head) => ExpectedSequence::Exact(head.sequence),
        None => ExpectedSequence::NoStream,
    };
    store.append(&stream, expected, vec![event]).await.unwrap();
}

async fn a_process_that_its_code_cannot_read_does_not_open(store: &impl Store) {
    let note = |schema_version, payload: &'static str| {
        NewEvent::new(
            WorkflowId::of::<NotesV1>(),
            "Noted",
            schema_version,
            payload,
        )
        .unwrap()
    };
    append_raw(store, 1, note(1, "\"Plain\"")).await;
    append_raw(store, 1, note(2, "{\"an\":\"old layout\"}")).await;
    assert_eq!(state::<NotesV1>(store, 1).await, 2);

    append_raw(store, 1, note(1, "\"Sung\"")).await;
    let unread = try_open::<NotesV1>(store, 1).await.unwrap_err();
    assert_eq!(*unread.kind(), ErrorKind::Workflow);
    assert!(
        unread.to_string().starts_with(
            "event 3 of stream process/shop/000001: an event of type \"Noted\", schema version 1, \
             is unknown to the code: expected one of `Plain`"
        ),
        "{unread}"
    );

    append_raw(store, 2, note(3, "\"Plain\"")).await;
    let unread = try_open::<NotesV1>(store, 2).await.unwrap_err();
    assert_eq!(*unread.kind(), ErrorKind::Workflow);
    assert!(
        unread.to_string().starts_with(
            "event 1 of stream process/shop/000002: `upcast` refused an event of type \"Noted\", \
             schema version 3: layout 3 is not known"
        ),
        "{unread}"
    );
}

async fn a_failed_reload_leaves_the_process_as_it_was(store: &impl Store) {
    let mut notes = open::<NotesV1>(store, 1).await;
    notes.append(&[Note::Plain, Note::Plain]).await.unwrap();
    let unreadable = NewEvent::new(WorkflowId::of::<NotesV1>(), "Noted", 1, "\"Sung\"").unwrap();
    append_raw(store, 1, unreadable).await;
    let unread = notes.reload().await.unwrap_err();
    assert_eq!(*unread.kind(), ErrorKind::Workflow);
    assert_eq!((*notes.state(), notes.sequence()), (2, 2));
}

async fn a_head_that_is_ahead_of_its_events_is_corrupt(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    let rows = store.rows().await.unwrap();
    let key = head_key(&stream(3));
    let mut row = rows.iter().find(|(k, _)| *k == key).unwrap().1.to_vec();
    // After format and flags: the last sequence number.
    row[2..10].copy_from_slice(&6_u64.to_be_bytes());
    store.put_row(key, row).await.unwrap();
    let corrupt = try_open::<OrderV1>(store, 3).await.unwrap_err();
    assert_eq!(*corrupt.kind(), ErrorKind::Corrupt);
    assert_eq!(
        corrupt.to_string(),
        "event 5 of stream process/shop/000003 is missing; restore the event from a backup (nothing was changed)"
    );
}
