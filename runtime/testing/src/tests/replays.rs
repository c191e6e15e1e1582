//! Replays of histories with code that gives other states than those that were recorded.

use serde::{Deserialize, Deserializer, Serialize};
use state_migration_core::{
    ConversionError, Decoder, EventPayload, MigrationRegistry, StateMigration, Workflow, WorkflowId,
};
use tempfile::TempDir;

use crate::Histories;
use crate::update::Update;

#[derive(Serialize, Deserialize)]
enum Event {
    Placed { euro: u64 },
    Broken,
}

impl EventPayload for Event {
    fn event_type(&self) -> &'static str {
        "Event"
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct StateV1 {
    euro: u64,
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct StateV2 {
    cents: u64,
    #[serde(deserialize_with = "without_thirteen")]
    lines: Vec<u128>,
}

fn without_thirteen<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u128>, D::Error> {
    let lines = Vec::<u128>::deserialize(from)?;
    match lines.contains(&13) {
        true => Err(serde::de::Error::custom("thirteen")),
        false => Ok(lines),
    }
}

/// The line of an order: a number without a counterpart as a float for 7 euros.
fn line(euro: u64) -> u128 {
    match euro {
        7 => u128::MAX,
        other => other.into(),
    }
}

struct V1;
struct V2;

impl Workflow for V1 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v1";
    type State = StateV1;
    type Event = Event;

    fn apply(mut state: StateV1, event: &Event) -> StateV1 {
        match event {
            Event::Placed { euro } => state.euro += euro,
            Event::Broken => panic!("broken"),
        }
        state
    }
}

impl Workflow for V2 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v2";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = StateV2;
    type Event = Event;

    fn apply(mut state: StateV2, event: &Event) -> StateV2 {
        if let Event::Placed { euro } = event {
            state.cents += euro * 100;
        }
        state
    }
}

/// The migration, with the number of cents of a euro.
struct Migrate(u64);

static FROM: WorkflowId = WorkflowId::of::<V1>();
static TO: WorkflowId = WorkflowId::of::<V2>();

impl StateMigration for Migrate {
    type FromWorkflow = V1;
    type ToWorkflow = V2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &FROM
    }
    fn target_workflow_id(&self) -> &WorkflowId {
        &TO
    }
    fn migrate(&self, old: StateV1) -> Result<StateV2, ConversionError> {
        if self.0 == 0 {
            return Err("no cents".into());
        }
        Ok(StateV2 {
            cents: old.euro * self.0,
            lines: vec![line(old.euro)],
        })
    }
    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<StateV2>())
    }
}

const HEADER: &str = r#"{"format":1,"stream":"process/shop/17","workflow":"order@v1"}"#;
const PLACED: &str = r#"{"sequence":1,"workflow":"order@v1","event_type":"Event","schema_version":1,"payload":{"Placed":{"euro":5}}}"#;
const MIGRATED: &str = r#"{"sequence":2,"workflow":"order@v2","event_type":"$migrated","schema_version":1,"payload":{"workflow":"order","from":"v1","to":"v2","route":[],"run":"00000000-0000-0000-0000-000000000007","state_schema_version":2,"state":{"cents":500,"lines":[5]}}}"#;
const AT_V1: &str = r#"{"state":{"euro":5},"at":"order@v1"}"#;
const AT_V2: &str = r#"{"state":{"cents":500,"lines":[5]},"at":"order@v2"}"#;

fn histories(folder: &TempDir, cents: u64) -> Histories {
    let registry = MigrationRegistry::builder().with(Migrate(cents)).build();
    Histories::new(folder.path())
        .registry(registry.unwrap())
        .version::<V1>()
}

/// The result of a replay of one file, which is relative to the folder.
fn replayed(lines: &[&str], cents: u64) -> Result<usize, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.jsonl"), lines.join("\n")).unwrap();
    let prefix = format!("{}/", folder.path().display());
    let result = histories(&folder, cents).check(Update::No);
    result.map_err(|message| message.replace(&prefix, ""))
}

#[test]
fn the_recorded_states_are_compared_at_each_version() {
    assert_eq!(replayed(&[HEADER, PLACED, AT_V1, AT_V2], 100), Ok(1));
    // Other code of the migration.
    let differs = replayed(&[HEADER, PLACED, AT_V1, AT_V2], 99);
    let expected =
        "a.jsonl:4: the state at order@v2 differs at $.cents: 500 was recorded, 495 is the result";
    assert_eq!(differs, Err(expected.to_owned()));
    // Other code of the fold.
    let recorded = AT_V1.replace('5', "6");
    let differs = replayed(&[HEADER, PLACED, "", &recorded, AT_V2], 100);
    let expected =
        "a.jsonl:4: the state at order@v1 differs at $.euro: 6 was recorded, 5 is the result";
    assert_eq!(differs, Err(expected.to_owned()));
}

#[test]
fn a_state_is_that_after_the_events_before_its_line() {
    assert_eq!(
        replayed(&[HEADER, &AT_V1.replace('5', "0"), PLACED, AT_V1], 100),
        Ok(1)
    );
    assert_eq!(
        replayed(&[HEADER, PLACED, AT_V1, MIGRATED, AT_V2], 1),
        Ok(1)
    );
}

#[test]
fn numbers_are_compared_to_the_last_digit() {
    let state = |line: &str| {
        AT_V2
            .replace("500", "700")
            .replace("[5]", &format!("[{line}]"))
    };
    let placed = PLACED.replace("5}", "7}");
    let max = u128::MAX.to_string();
    assert_eq!(replayed(&[HEADER, &placed, &state(&max)], 100), Ok(1));
    let almost = (u128::MAX - 1).to_string();
    let told = replayed(&[HEADER, &placed, &state(&almost)], 100).unwrap_err();
    let expected = "a.jsonl:3: the state at order@v2 differs: \"/lines/0\" differs";
    assert_eq!(told, expected);
}

#[test]
fn a_state_that_cannot_be_read_again_is_told() {
    let state = AT_V2.replace("500", "1300").replace("[5]", "[13]");
    let told = replayed(&[HEADER, &PLACED.replace("5}", "13}"), &state], 100).unwrap_err();
    let expected = "a.jsonl:3: the state at order@v2 cannot be read again: thirteen";
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn every_difference_of_every_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let other = AT_V2.replace("[5]", "[5,6]").replace("500", "1");
    let text = [HEADER, PLACED, &other].join("\n");
    std::fs::write(folder.path().join("b.jsonl"), &text).unwrap();
    std::fs::write(
        folder.path().join("a.jsonl"),
        text.replace("\"at\"", "\"to\""),
    )
    .unwrap();
    std::fs::write(folder.path().join("README.md"), "").unwrap();
    let message = histories(&folder, 100).check(Update::No).unwrap_err();
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains("a.jsonl:3: the line cannot be read: unknown field `to`"));
    assert!(lines[1].contains("b.jsonl:3: ") && lines[1].contains("at $.cents: 1 was"));
    assert!(lines[2].contains("at $.lines[1]: 6 was recorded, absent is the result"));
}

#[test]
fn what_cannot_be_replayed_is_told_with_its_line() {
    let event = |from: &str, to: &str| PLACED.replace(from, to);
    for (lines, expected) in [
        (vec![""], "a.jsonl:1: the file is empty"),
        (
            vec!["{}"],
            "a.jsonl:1: the header cannot be read: missing field `format`",
        ),
        (
            vec![r#"{"format":2,"stream":"s","workflow":"order@v1"}"#],
            "a.jsonl:1: the history has format 2, but this release reads format 1",
        ),
        (
            vec![r#"{"format":1,"stream":"s","workflow":"order@v0"}"#, AT_V1],
            "a.jsonl:1: order@v0 is unknown to the code: link its crate",
        ),
        (
            vec![HEADER, PLACED],
            "a.jsonl:1: the history has no recorded states",
        ),
        (
            vec![HEADER, PLACED, PLACED, AT_V1],
            "a.jsonl:3: the event has sequence 1, expected 2: export all events",
        ),
        (
            vec![HEADER, &event("\"sequence\":1", "\"sequence\":3"), AT_V1],
            "a.jsonl:2: the event has sequence 3, expected 1",
        ),
        (
            vec![HEADER, &event("order@v1", "order@v2"), AT_V1],
            "a.jsonl:2: the event is of order@v2, but the process is at order@v1",
        ),
        (
            vec![HEADER, &event("euro", "cents"), AT_V1],
            "a.jsonl:2: the event cannot be folded by order@v1: an event of type \"Event\"",
        ),
        (
            vec![
                HEADER,
                &event("{\"Placed\":{\"euro\":5}}", "\"Broken\""),
                AT_V1,
            ],
            "a.jsonl:2: the code panicked: broken",
        ),
        (
            vec![HEADER, &event("\"Event\"", "\"$other\""), AT_V1],
            "a.jsonl:2: the event has a reserved type that this release does not know",
        ),
        (
            vec![
                HEADER,
                PLACED,
                &MIGRATED.replace("order@v2", "order@v1"),
                AT_V1,
            ],
            "a.jsonl:3: the event is of order@v1, but its baseline leads to order@v2",
        ),
        (
            vec![
                HEADER,
                PLACED,
                &MIGRATED.replace("state_schema_version\":2", "state_schema_version\":3"),
                AT_V1,
            ],
            "a.jsonl:3: the baseline at order@v2: the baseline has `STATE_SCHEMA_VERSION` 3, but the code has 2",
        ),
        (
            vec![
                HEADER,
                PLACED,
                &MIGRATED.replace("\"cents\"", "\"euro\""),
                AT_V1,
            ],
            "a.jsonl:3: the baseline at order@v2: missing field `cents`",
        ),
        (
            vec![HEADER, PLACED, MIGRATED, AT_V1],
            "a.jsonl:4: no migration leads from order@v2 to order@v1, where a state was recorded",
        ),
        (
            vec![HEADER, PLACED, "{", AT_V1],
            "a.jsonl:3: the line cannot be read",
        ),
    ] {
        let told = replayed(&lines, 100).unwrap_err();
        assert!(told.starts_with(expected), "{told}\nexpected {expected}");
    }
    let refused = replayed(&[HEADER, PLACED, AT_V2], 0).unwrap_err();
    assert!(refused.starts_with("a.jsonl:3: order@v1->v2 refused the state: no cents"));
}

#[test]
fn states_are_recorded_before_each_migration_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.jsonl");
    let text = |lines: &[&str]| lines.join("\n") + "\n";
    for (before, after) in [
        (
            text(&[HEADER, PLACED]),
            text(&[HEADER, PLACED, AT_V1, AT_V2]),
        ),
        (
            text(&[HEADER, PLACED, MIGRATED]),
            text(&[HEADER, PLACED, AT_V1, MIGRATED, AT_V2]),
        ),
        // One with states stays as it is.
        (
            text(&[HEADER, PLACED, AT_V2]),
            text(&[HEADER, PLACED, AT_V2]),
        ),
    ] {
        std::fs::write(&file, before).unwrap();
        assert_eq!(histories(&folder, 100).check(Update::New), Ok(1));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), after);
        assert_eq!(histories(&folder, 100).check(Update::No), Ok(1));
    }
    let broken = text(&[HEADER, PLACED, PLACED]);
    std::fs::write(&file, &broken).unwrap();
    assert!(histories(&folder, 100).check(Update::New).is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), broken);
}

#[test]
fn no_history_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let none = histories(&folder, 100).check(Update::No).unwrap_err();
    assert!(none.contains("has no histories"), "{none}");
    let missing = Histories::new(folder.path().join("missing"))
        .registry(
            MigrationRegistry::builder()
                .with(Migrate(1))
                .build()
                .unwrap(),
        )
        .check(Update::New);
    assert!(missing.unwrap_err().contains("cannot be read"));
}
