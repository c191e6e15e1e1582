//! User code that fails: `upcast`, decoding, `apply`, the conversion, the new state.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use state_migration::{
    BoxError, ConversionError, Decoder, EventPayload, Stage, StateMigration, StreamId, Workflow,
    WorkflowId,
};

use crate::failure_classes::fixture::{Failure, World, event, in_both_forms, stream};

in_both_forms![
    what_fails_in_user_code_is_one_processs_failure,
    what_failed_is_migrated_once_the_code_is_right,
    an_error_that_cannot_be_shown_is_one_processs_failure,
    a_failure_of_user_code_says_what_to_do,
    a_state_that_panics_when_it_is_dropped_fails_at_most_its_own_process,
];

#[derive(Debug, Serialize, Deserialize)]
enum ParcelEvent {
    Sent {
        #[serde(deserialize_with = "grams")]
        grams: u64,
    },
    Moved,
}

/// Panics where a careful decoder would refuse.
fn grams<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let grams = u64::deserialize(from)?;
    assert_ne!(grams, 9_999, "the scale is broken");
    Ok(grams)
}

impl EventPayload for ParcelEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Sent { .. } => "ParcelSent",
            Self::Moved => "ParcelMoved",
        }
    }
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Parcel {
    grams: u64,
    moves: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
struct Weighed {
    grams: u64,
}

impl Serialize for Weighed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.grams {
            42 => Err(serde::ser::Error::custom("42 is the answer, not a weight")),
            43 => panic!("43 cannot be written"),
            grams => serde_json::json!({ "grams": grams }).serialize(to),
        }
    }
}

/// An error that panics when it is shown.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("words fail me")
    }
}

impl std::error::Error for Unspeakable {}

struct ParcelV1;
struct ParcelV2;

static V1: WorkflowId = WorkflowId::of::<ParcelV1>();
static V2: WorkflowId = WorkflowId::of::<ParcelV2>();

impl Workflow for ParcelV1 {
    const NAME: &'static str = "parcel";
    const VERSION: &'static str = "v1";
    type State = Parcel;
    type Event = ParcelEvent;

    fn apply(mut parcel: Parcel, event: &ParcelEvent) -> Parcel {
        match event {
            ParcelEvent::Sent { grams: 13 } => panic!("13 grams bring bad luck"),
            ParcelEvent::Sent { grams } => parcel.grams += grams,
            ParcelEvent::Moved => parcel.moves += 1,
        }
        parcel
    }

    fn upcast<'a>(
        _: &str,
        schema_version: u32,
        payload: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, BoxError> {
        match schema_version {
            2 => Err("layout 2 was never released".into()),
            3 => panic!("layout {schema_version} is cursed"),
            4 => Err(Box::new(Unspeakable)),
            _ => Ok(Cow::Borrowed(payload)),
        }
    }
}

impl Workflow for ParcelV2 {
    const NAME: &'static str = "parcel";
    const VERSION: &'static str = "v2";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = Weighed;
    type Event = ParcelEvent;

    fn apply(parcel: Weighed, _: &ParcelEvent) -> Weighed {
        parcel
    }

    fn is_finished(parcel: &Weighed) -> bool {
        assert_ne!(parcel.grams, 44, "44 has no end");
        false
    }
}

/// Converts with care, or without.
struct Weigh {
    careful: bool,
}

impl StateMigration for Weigh {
    type FromWorkflow = ParcelV1;
    type ToWorkflow = ParcelV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &V1
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &V2
    }

    fn migrate(&self, old: Parcel) -> Result<Weighed, ConversionError> {
        let grams = old.grams;
        match grams {
            _ if self.careful => Ok(Weighed {
                grams: grams + 100_000,
            }),
            404 => Err(ConversionError::new("the parcel is lost")),
            405 => Err(ConversionError::from_error(
                "no address".parse::<u64>().unwrap_err(),
            )),
            500 => panic!("the scale says {grams}"),
            501 => std::panic::panic_any(grams),
            _ => Ok(Weighed { grams }),
        }
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<Weighed>())
    }
}

/// One parcel that fails: how its second event reads, and how it fails.
struct Bad {
    schema_version: u32,
    payload: String,
    stage: Stage,
    sequence: Option<u64>,
    message: String,
}

/// Fails while its second event is folded.
fn folding(schema_version: u32, payload: &str, message: &str) -> Bad {
    Bad {
        schema_version,
        payload: payload.into(),
        stage: Stage::Folding,
        sequence: Some(2),
        message: message.into(),
    }
}

/// An event that folds to a state of `grams` grams, and fails at a later stage.
fn later(grams: u64, stage: Stage, message: &str) -> Bad {
    Bad {
        schema_version: 1,
        payload: format!(r#"{{"Sent":{{"grams":{}}}}}"#, grams - 1),
        stage,
        sequence: None,
        message: format!("{message}, in parcel@v1->v2"),
    }
}

fn all_bad() -> Vec<Bad> {
    use Stage::{Converting, Encoding};
    let event = "event 2 of stream {stream}: ";
    let sent = r#"an event of type "ParcelSent", schema version"#;
    vec![
        folding(
            1,
            r#"{"Lost":{}}"#,
            &format!(
                "{event}{sent} 1, is unknown to the code: \
                 expected `Sent` or `Moved` at line 1 column 7"
            ),
        ),
        folding(
            1,
            r#"{"Sent":{"grams":-1}}"#,
            &format!(
                "{event}{sent} 1, cannot be decoded: \
                 expected u64 at line 1 column 19"
            ),
        ),
        folding(
            2,
            r#"{"Sent":{"grams":1}}"#,
            &format!("{event}`upcast` refused {sent} 2: layout 2 was never released"),
        ),
        folding(
            3,
            r#"{"Sent":{"grams":1}}"#,
            "user code panicked: layout 3 is cursed",
        ),
        folding(
            1,
            r#"{"Sent":{"grams":9999}}"#,
            "user code panicked: assertion `left != right` failed: the scale is broken",
        ),
        folding(
            1,
            r#"{"Sent":{"grams":13}}"#,
            "user code panicked: 13 grams bring bad luck",
        ),
        later(404, Converting, "the parcel is lost"),
        later(405, Converting, "invalid digit found in string"),
        later(500, Converting, "user code panicked: the scale says 500"),
        later(501, Converting, "user code panicked"),
        later(42, Encoding, "42 is the answer, not a weight"),
        later(43, Encoding, "user code panicked: 43 cannot be written"),
        later(
            44,
            Encoding,
            "user code panicked: assertion `left != right` failed: 44 has no end",
        ),
    ]
}

const SENT: &str = r#"{"Sent":{"grams":1}}"#;

async fn put(world: &World, n: u64, second: (u32, String)) {
    let first = event::<ParcelV1>("ParcelSent", 1, SENT);
    let second = event::<ParcelV1>("ParcelSent", second.0, second.1);
    let third = event::<ParcelV1>("ParcelMoved", 1, r#""Moved""#);
    world.append(&stream(n), vec![first, second, third]).await;
}

fn good(n: u64) -> (u32, String) {
    (1, format!(r#"{{"Sent":{{"grams":{}}}}}"#, 1_000 + n))
}

/// Puts bad parcels, and good ones before each.
async fn good_and_bad(world: &World) -> (Vec<u64>, Vec<Failure>) {
    let (mut goods, mut failures) = (Vec::new(), Vec::new());
    let goods_for_each = world.crowd() / 8;
    let mut n = 0;
    for bad in all_bad() {
        for _ in 0..goods_for_each {
            put(world, n, good(n)).await;
            goods.push(n);
            n += 1;
        }
        put(world, n, (bad.schema_version, bad.payload)).await;
        failures.push(Failure {
            stream: stream(n),
            stage: bad.stage,
            sequence: bad.sequence,
            class: None,
            message: bad.message.replace("{stream}", stream(n).as_str()),
        });
        n += 1;
    }
    (goods, failures)
}

/// The parcel of a stream.
fn number(stream: &StreamId) -> u64 {
    let (_, process) = stream.process().unwrap();
    process.as_str().parse().unwrap()
}

async fn what_fails_in_user_code_is_one_processs_failure(world: World) {
    let (goods, failures) = good_and_bad(&world).await;
    let migration = Weigh { careful: false };
    world
        .migrates_all_but(migration, goods.len(), &failures)
        .await;
    for n in goods {
        let expected = Weighed { grams: 1_001 + n };
        assert_eq!(world.load::<ParcelV2>(n).await.unwrap(), expected);
    }
    for failure in &failures {
        assert_eq!(world.head(&failure.stream).await.workflow_id, V1);
        if failure.stage != Stage::Folding {
            let parcel = world.load::<ParcelV1>(number(&failure.stream)).await;
            assert_eq!(parcel.unwrap().moves, 1);
        }
    }
}

async fn what_failed_is_migrated_once_the_code_is_right(world: World) {
    let (goods, failures) = good_and_bad(&world).await;
    let report = world.runner(Weigh { careful: false }).run().await;
    assert_eq!((report.migrated, report.error_count), (goods.len(), 13));

    let (unfolded, refused): (Vec<_>, Vec<_>) = failures
        .into_iter()
        .partition(|failure| failure.stage == Stage::Folding);
    world
        .migrates_all_but(Weigh { careful: true }, refused.len(), &unfolded)
        .await;
    let mut grams = Vec::new();
    for failure in &refused {
        let parcel = world.load::<ParcelV2>(number(&failure.stream)).await;
        grams.push(parcel.unwrap().grams - 100_000);
    }
    assert_eq!(grams, [404, 405, 500, 501, 42, 43, 44]);
}

async fn an_error_that_cannot_be_shown_is_one_processs_failure(world: World) {
    for n in [0, 2] {
        put(&world, n, good(n)).await;
    }
    put(&world, 1, (4, SENT.into())).await;
    let before = world.rows_of(&stream(1)).await;
    // On a thread of its own, which a panic ends in place of the test.
    let runner = world.runner(Weigh { careful: false });
    let runtime = tokio::runtime::Handle::current();
    let report = std::thread::spawn(move || runtime.block_on(runner.run()))
        .join()
        .expect("a run does not panic");
    assert_eq!((report.migrated, report.error_count), (2, 1), "{report}");
    let error = &report.errors[0];
    assert_eq!(error.subject, stream(1));
    assert_eq!((error.stage, error.sequence), (Stage::Folding, Some(2)));
    assert_eq!(world.rows_of(&stream(1)).await, before);
}

async fn a_failure_of_user_code_says_what_to_do(world: World) {
    good_and_bad(&world).await;
    let report = world.runner(Weigh { careful: false }).run().await;
    assert_eq!(report.error_count, 13);
    for error in &report.errors {
        assert!(error.message.contains("retry"), "{error}");
    }
}

/// A state that cannot even be dropped.
#[derive(Default, Clone, Serialize, Deserialize)]
struct Sticky {
    grams: u64,
}

impl Drop for Sticky {
    fn drop(&mut self) {
        // A second panic at a time would end the program.
        if self.grams == 14 && !std::thread::panicking() {
            panic!("14 does not let go");
        }
    }
}

struct StickyV1;

impl Workflow for StickyV1 {
    const NAME: &'static str = "parcel";
    const VERSION: &'static str = "v1";
    type State = Sticky;
    type Event = ParcelEvent;
    fn apply(mut state: Sticky, event: &ParcelEvent) -> Sticky {
        if let ParcelEvent::Sent { grams } = event {
            state.grams = *grams;
        }
        state
    }
}

struct Unstick;

impl StateMigration for Unstick {
    type FromWorkflow = StickyV1;
    type ToWorkflow = ParcelV2;
    fn source_workflow_id(&self) -> &WorkflowId {
        &V1
    }
    fn target_workflow_id(&self) -> &WorkflowId {
        &V2
    }
    fn migrate(&self, old: Sticky) -> Result<Weighed, ConversionError> {
        Ok(Weighed { grams: old.grams })
    }
    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<Weighed>())
    }
}

async fn a_state_that_panics_when_it_is_dropped_fails_at_most_its_own_process(world: World) {
    for n in [0, 2, 4] {
        put(&world, n, good(n)).await;
    }
    // Both are folded to what does not let go: one is converted, the other
    // meets an event that cannot be read.
    let stuck = r#"{"Sent":{"grams":14}}"#;
    put(&world, 1, (1, stuck.into())).await;
    let bad = r#"{"Sent":{}}"#;
    let events = [stuck, bad].map(|payload| event::<ParcelV1>("ParcelSent", 1, payload));
    world.append(&stream(3), events.to_vec()).await;
    let report = world.runner(Unstick).run().await;
    assert_eq!((report.migrated, report.error_count), (3, 2), "{report}");
    let failed: Vec<_> = report
        .errors
        .iter()
        .map(|e| (number(e.subject.stream().unwrap()), e.stage))
        .collect();
    assert!(failed.contains(&(1, Stage::Converting)), "{report}");
    assert!(failed.contains(&(3, Stage::Folding)), "{report}");
}
