//! Nothing is written that its own code cannot read back as it was.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use state_migration::{BoxError, ErrorKind, EventPayload, NewEvent, Workflow};

use crate::process::{Store, open, over_both_stores, state};

over_both_stores![
    an_event_with_a_number_that_json_does_not_have_is_not_appended,
    an_event_that_cannot_be_read_back_is_not_appended,
    an_event_that_is_read_back_as_another_is_not_appended,
    an_event_in_another_order_is_appended,
    what_is_folded_is_what_a_later_load_folds,
    an_event_that_upcast_changes_on_purpose_is_appended,
    an_event_that_upcast_refuses_is_not_appended,
    a_snapshot_that_cannot_be_read_back_is_not_written,
    a_snapshot_in_another_order_is_written,
];

/// A list in a list, and so on.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Nested(Vec<Nested>);

impl Nested {
    fn of(levels: usize) -> Self {
        (1..levels).fold(Self::default(), |inner, _| Self(vec![inner]))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Rate { rate: f64 },
    Counts { counts: HashMap<u64, u64> },
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Flattened<T> {
    id: u8,
    #[serde(flatten)]
    inner: T,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Rate {
    rate: Option<f64>,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Large {
    large: u128,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Lines {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<u8>,
}

/// Two kinds of which the text does not tell which it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untold {
    Opened { at: u64 },
    Closed { at: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Reading {
    Plain(f64),
    Optional(Option<f32>),
    Tagged(Tagged),
    Rate(Flattened<Rate>),
    Nested(Nested),
    Large(Flattened<Large>),
    Lines(Lines),
    Price {
        #[serde(skip_deserializing)]
        price: u64,
    },
    Note {
        text: String,
        #[serde(skip)]
        seen: bool,
    },
    Unordered {
        map: HashMap<String, f64>,
        set: HashSet<u64>,
    },
}

impl EventPayload for Reading {
    fn event_type(&self) -> &'static str {
        "Read"
    }
}

/// The workflow keeps what it has read.
struct Readings;

impl Workflow for Readings {
    const NAME: &'static str = "readings";
    const VERSION: &'static str = "v1";
    type State = Vec<Reading>;
    type Event = Reading;

    fn apply(mut state: Vec<Reading>, event: &Reading) -> Vec<Reading> {
        state.push(event.clone());
        state
    }
}

/// Appends a good event and this one, which is refused for this reason.
async fn refused(store: &impl Store, reading: Reading, reason: &str) {
    let mut process = open::<Readings>(store, 1).await;
    let (state, sequence) = (process.state().clone(), process.sequence());
    let before = store.rows().await.unwrap();

    let refused = process.append(&[Reading::Plain(1.0), reading]).await;
    let refused = refused.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Workflow, "{refused}");
    assert!(
        refused
            .to_string()
            .starts_with("nothing was appended to process/shop/000001: an event of type \"Read\""),
        "{refused}"
    );
    assert!(refused.to_string().contains(reason), "{reason}: {refused}");
    assert_eq!((process.state(), process.sequence()), (&state, sequence));
    assert_eq!(store.rows().await.unwrap(), before);
}

async fn an_event_with_a_number_that_json_does_not_have_is_not_appended(store: &impl Store) {
    let mut process = open::<Readings>(store, 1).await;
    process.append(&[Reading::Plain(0.1)]).await.unwrap();
    let rate = |rate| Flattened {
        id: 1,
        inner: Rate { rate },
    };
    let nan = f64::NAN;
    for (reading, place) in [
        (Reading::Plain(f64::INFINITY), "/Plain"),
        (Reading::Optional(Some(f32::NEG_INFINITY)), "/Optional"),
        (Reading::Tagged(Tagged::Rate { rate: nan }), "/Tagged/rate"),
        (Reading::Rate(rate(Some(nan))), "/Rate/rate"),
    ] {
        let reason = format!(
            " of readings@v1 cannot be serialized: a number that JSON cannot represent (NaN or infinite) at {place:?}"
        );
        refused(store, reading, &reason).await;
    }
    let none = [Reading::Optional(None), Reading::Rate(rate(None))];
    process.append(&none).await.unwrap();
    assert_eq!(state::<Readings>(store, 1).await, *process.state());
}

async fn an_event_that_cannot_be_read_back_is_not_appended(store: &impl Store) {
    let large = Flattened {
        id: 1,
        inner: Large { large: u128::MAX },
    };
    let counts = Tagged::Counts {
        counts: [(7, 1)].into(),
    };
    let lines = Lines { lines: Vec::new() };
    for (reading, reason) in [
        (
            Reading::Nested(Nested::of(129)),
            "recursion limit exceeded at \"/Nested/0/0/0/",
        ),
        (Reading::Tagged(counts), "expected u64; correct"),
        (Reading::Large(large), "u128 is not supported at \"/Large\""),
        (Reading::Lines(lines), "missing field `lines` at \"/Lines\""),
    ] {
        let reason = format!(" cannot be deserialized again: {reason}");
        refused(store, reading, &reason).await;
    }
    let way_out =
        "; correct how `stores::process::round_trip::Reading` is serialized or deserialized";
    refused(store, Reading::Nested(Nested::of(129)), way_out).await;

    let mut process = open::<Readings>(store, 1).await;
    let readings = [
        Reading::Nested(Nested::of(100)),
        Reading::Lines(Lines { lines: vec![1] }),
    ];
    process.append(&readings).await.unwrap();
    assert_eq!(state::<Readings>(store, 1).await, readings);
}

async fn an_event_that_is_read_back_as_another_is_not_appended(store: &impl Store) {
    let reason = "changes when it is deserialized and serialized again: \
                  \"/Price/price\" differs;";
    refused(store, Reading::Price { price: 7 }, reason).await;

    let mut process = open::<Doors>(store, 2).await;
    process.append(&[Untold::Opened { at: 1 }]).await.unwrap();
    let before = store.rows().await.unwrap();
    let refused = process.append(&[Untold::Closed { at: 2 }]).await;
    let refused = refused.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Workflow);
    assert_eq!(
        refused.to_string(),
        "nothing was appended to process/shop/000002: an event of type \"Closed\" has another type after a round trip: \
         \"Opened\"; correct how `stores::process::round_trip::Untold` is serialized or \
         deserialized"
    );
    assert_eq!(store.rows().await.unwrap(), before);
}

impl EventPayload for Untold {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "Opened",
            Self::Closed { .. } => "Closed",
        }
    }
}

struct Doors;

impl Workflow for Doors {
    const NAME: &'static str = "doors";
    const VERSION: &'static str = "v1";
    type State = u64;
    type Event = Untold;

    fn apply(_: u64, event: &Untold) -> u64 {
        match event {
            Untold::Opened { at } | Untold::Closed { at } => *at,
        }
    }
}

async fn an_event_in_another_order_is_appended(store: &impl Store) {
    let mut process = open::<Readings>(store, 1).await;
    for n in 0..20 {
        let unordered = Reading::Unordered {
            map: (0..n).map(|n| (n.to_string(), 1.0)).collect(),
            set: (0..n).collect(),
        };
        process.append(&[unordered]).await.unwrap();
    }
    assert_eq!(state::<Readings>(store, 1).await, *process.state());
}

async fn what_is_folded_is_what_a_later_load_folds(store: &impl Store) {
    let mut process = open::<Readings>(store, 1).await;
    let note = |seen| Reading::Note {
        text: "a note".to_owned(),
        seen,
    };
    process.append(&[note(true)]).await.unwrap();
    assert_eq!(*process.state(), [note(false)]);
    assert_eq!(state::<Readings>(store, 1).await, *process.state());
}

/// An amount, of which [`Amounts`] reads another text than is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Amount {
    Euro(u64),
    Cents(u64),
    Shouted {
        text: String,
        #[serde(skip_deserializing)]
        lost: bool,
    },
    Refused,
}

impl EventPayload for Amount {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Euro(_) => "Euro",
            Self::Cents(_) => "Cents",
            Self::Shouted { .. } => "Shouted",
            Self::Refused => "Refused",
        }
    }
}

struct Amounts;

impl Workflow for Amounts {
    const NAME: &'static str = "amounts";
    const VERSION: &'static str = "v1";
    type State = Vec<Amount>;
    type Event = Amount;

    fn apply(mut state: Vec<Amount>, event: &Amount) -> Vec<Amount> {
        state.push(event.clone());
        state
    }

    fn upcast<'a>(event_type: &str, _: u32, payload: &'a [u8]) -> Result<Cow<'a, [u8]>, BoxError> {
        let payload = match event_type {
            "Euro" => {
                let Amount::Euro(euro) = serde_json::from_slice(payload)? else {
                    return Err("not euro".into());
                };
                serde_json::to_vec(&Amount::Cents(euro * 100))?
            }
            "Shouted" => payload.to_ascii_uppercase(),
            "Refused" => return Err("no such amount".into()),
            _ => return Ok(Cow::Borrowed(payload)),
        };
        let text = String::from_utf8(payload)?;
        // The names of the fields are not what is shouted.
        let text = text
            .replace("SHOUTED", "Shouted")
            .replace("TEXT", "text")
            .replace("LOST", "lost")
            .replace("TRUE", "true")
            .replace("FALSE", "false");
        Ok(Cow::Owned(text.into_bytes()))
    }
}

async fn an_event_that_upcast_changes_on_purpose_is_appended(store: &impl Store) {
    let shouted = |text: &str, lost| Amount::Shouted {
        text: text.to_owned(),
        lost,
    };
    let mut process = open::<Amounts>(store, 1).await;
    let amounts = [Amount::Euro(3), shouted("three", false)];
    process.append(&amounts).await.unwrap();
    assert_eq!(
        *process.state(),
        [Amount::Cents(300), shouted("THREE", false)]
    );
    assert_eq!(state::<Amounts>(store, 1).await, *process.state());
    // What is lost is lost, whatever `upcast` changes beside it.
    let refused = process.append(&[shouted("three", true)]).await.unwrap_err();
    let reason = "\"/Shouted/lost\" differs";
    assert!(refused.to_string().contains(reason), "{refused}");
}

async fn an_event_that_upcast_refuses_is_not_appended(store: &impl Store) {
    let before = store.rows().await.unwrap();
    let mut process = open::<Amounts>(store, 1).await;
    let refused = process.append(&[Amount::Refused]).await.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Workflow);
    let reason = "an event of type \"Refused\" is rejected by `upcast`: no such amount";
    assert!(refused.to_string().contains(reason), "{refused}");
    assert_eq!(store.rows().await.unwrap(), before);
}

/// Workflows whose state is this one after any event.
macro_rules! always {
    ($($name:ident: $state:ty = $value:expr;)*) => {$(
        struct $name;

        impl Workflow for $name {
            const NAME: &'static str = stringify!($name);
            const VERSION: &'static str = "v1";
            type State = $state;
            type Event = Reading;

            fn apply(_: $state, _: &Reading) -> $state {
                $value
            }
        }
    )*};
}

always! {
    NotANumber: f64 = f64::NAN;
    MaybeNotANumber: Option<f64> = Some(f64::NAN);
    FlattenedNotANumber: Flattened<Rate> = Flattened {
        id: 1,
        inner: Rate { rate: Some(f64::NAN) },
    };
    TaggedNotANumber: Option<Tagged> = Some(Tagged::Rate { rate: f64::NAN });
    Deep: Nested = Nested::of(129);
    Counts: Option<Tagged> = Some(Tagged::Counts { counts: [(7, 1)].into() });
    FlattenedLarge: Flattened<Large> = Flattened {
        id: 1,
        inner: Large { large: u128::MAX },
    };
    NoLines: Lines = Lines { lines: Vec::new() };
    Unordered: (HashMap<u64, u64>, HashSet<u64>) = (
        (0..20).map(|n| (n, n)).collect(),
        (0..20).collect(),
    );
}

async fn no_snapshot<W>(store: &impl Store, n: u64, expected: &str)
where
    W: Workflow<Event = Reading, State: Serialize + serde::de::DeserializeOwned>,
{
    let mut process = open::<W>(store, n).await;
    process.append(&[Reading::Plain(1.0)]).await.unwrap();
    let before = store.rows().await.unwrap();
    let refused = process.take_snapshot().await.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Workflow, "{refused}");
    let refused = refused.to_string();
    assert!(
        refused.contains(&format!("process/shop/{n:06}")),
        "{refused}"
    );
    assert!(refused.contains(expected), "{expected}: {refused}");
    assert_eq!(store.rows().await.unwrap(), before);
}

async fn a_snapshot_that_cannot_be_read_back_is_not_written(store: &impl Store) {
    let not_finite = |place: &str| {
        format!(
            "the state of process/shop/000001 cannot be serialized: a number that JSON cannot represent (NaN or infinite) at {place}"
        )
    };
    no_snapshot::<NotANumber>(store, 1, &not_finite("the top level")).await;
    let at = |place| not_finite(place).replace("000001", "000002");
    no_snapshot::<MaybeNotANumber>(store, 2, &at("the top level")).await;
    let at = |place| not_finite(place).replace("000001", "000003");
    no_snapshot::<FlattenedNotANumber>(store, 3, &at("\"/rate\"")).await;
    let at = |place| not_finite(place).replace("000001", "000004");
    no_snapshot::<TaggedNotANumber>(store, 4, &at("\"/rate\"")).await;
    no_snapshot::<Deep>(store, 5, "recursion limit exceeded at \"/0/0/").await;
    no_snapshot::<Counts>(
        store,
        6,
        "its state cannot be deserialized again: expected u64",
    )
    .await;
    no_snapshot::<FlattenedLarge>(store, 7, "u128 is not supported at the top level").await;
    no_snapshot::<NoLines>(
        store,
        8,
        "no snapshot of process/shop/000008 was written: its state cannot be deserialized again: \
         missing field `lines` at the top level; correct how `stores::process::round_trip::Lines` is \
         serialized or deserialized",
    )
    .await;
}

async fn a_snapshot_in_another_order_is_written(store: &impl Store) {
    let mut process = open::<Unordered>(store, 1).await;
    process.append(&[Reading::Plain(1.0)]).await.unwrap();
    process.take_snapshot().await.unwrap();
    crate::process::garble(store, 1, 1..=1).await;
    assert_eq!(state::<Unordered>(store, 1).await, *process.state());
}

#[test]
fn an_event_by_itself_is_serialized_without_loss() {
    let refused = NewEvent::of::<Readings>(&Reading::Optional(Some(f32::NAN))).unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Workflow);
    assert_eq!(
        refused.to_string(),
        "an event of type \"Read\" of readings@v1 cannot be serialized: a number that JSON cannot represent (NaN or infinite) at \"/Optional\""
    );
}
