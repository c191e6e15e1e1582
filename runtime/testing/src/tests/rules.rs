//! The rules of the file: which versions it has, which are deployed, and who writes it.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use state_migration_core::{EventPayload, MigrationRegistry, Workflow};
use tempfile::TempDir;

use super::{Nothing, WithEvent, WithState, layouts};
use crate::Layouts;
use crate::update::Update;

#[derive(Default, Clone, Serialize, Deserialize)]
struct Order {
    euro: u64,
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Changed {
    cents: u64,
}

struct V1;
struct V2;
struct V10;

macro_rules! version {
    ($name:ident $version:literal $schema:literal $state:ty) => {
        impl Workflow for $name {
            const NAME: &'static str = "order";
            const VERSION: &'static str = $version;
            const STATE_SCHEMA_VERSION: u32 = $schema;
            type State = $state;
            type Event = Nothing;

            fn apply(state: $state, _: &Nothing) -> $state {
                state
            }
        }
    };
}

version!(V1 "v1" 1 Order);
version!(V2 "v2" 2 Changed);
version!(V10 "v10" 3 Order);

fn of(folder: &TempDir, registry: MigrationRegistry) -> Layouts {
    Layouts::new(folder.path().join("layouts.lock"))
        .registry(registry)
        .version::<V1>()
        .version::<V2>()
}

fn v1(folder: &TempDir) -> Layouts {
    let registry = MigrationRegistry::builder().version::<V1>().build();
    of(folder, registry.unwrap())
}

fn v1_and_v2(folder: &TempDir) -> Layouts {
    let registry = MigrationRegistry::builder()
        .no_migration::<V1>("a test")
        .version::<V2>();
    of(folder, registry.build().unwrap())
}

fn text(folder: &TempDir) -> String {
    std::fs::read_to_string(folder.path().join("layouts.lock")).unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn the_text_of_a_file_is_this() {
    let folder = folder();
    v1(&folder).check(Update::New).unwrap();
    let text = text(&folder);
    let (head, rest) = text.split_once("format").unwrap();
    assert!(head.lines().all(|line| line.starts_with("# ")), "{head}");
    assert_eq!(
        format!("format{rest}"),
        "\
format = 1

['order@v1']
deployed = false
state_schema_version = 1

['order@v1'.state]
samples = [
  { json = '{\"euro\":0}' },
  { json = '{\"euro\":1}' },
]

['order@v1'.state.layout]
'$' = 'struct'
'$.euro' = 'u64'

['order@v1'.event]
samples = [
  { json = '\"Happened\"', event_type = 'NothingHappened', schema_version = 1 },
]

['order@v1'.event.layout]
'$' = 'enum of Happened'
"
    );
}

#[test]
fn two_runs_write_the_same_bytes_and_versions_are_in_natural_order() {
    let folder = folder();
    let layouts = || {
        let registry = MigrationRegistry::builder()
            .version::<V10>()
            .no_migration::<V1>("a test")
            .no_migration::<V2>("a test");
        of(&folder, registry.build().unwrap())
    };
    layouts().check(Update::New).unwrap();
    let first = text(&folder);
    layouts().check(Update::New).unwrap();
    assert_eq!(text(&folder), first);
    let ids: Vec<&str> = first
        .lines()
        .filter(|line| line.starts_with("['") && line.ends_with("']"))
        .collect();
    assert_eq!(ids, ["['order@v1']", "['order@v2']", "['order@v10']"]);
}

#[test]
fn a_missing_version_is_added_by_an_update_only() {
    let folder = folder();
    let missing = v1(&folder).check(Update::No).unwrap_err();
    assert!(missing.starts_with("order@v1 is not in "), "{missing}");
    assert!(missing.contains("run the test once with UPDATE_LAYOUTS=1"));
    v1(&folder).check(Update::Deployed).unwrap();
    let before = text(&folder);
    let missing = v1_and_v2(&folder).check(Update::No).unwrap_err();
    assert!(missing.starts_with("order@v2 is not in "), "{missing}");
    assert_eq!(text(&folder), before);
    v1_and_v2(&folder).check(Update::New).unwrap();
    assert!(text(&folder).starts_with(&before));
    assert!(text(&folder).contains("['order@v2']\ndeployed = false"));
    assert_eq!(v1_and_v2(&folder).check(Update::No), Ok(Vec::new()));
}

#[test]
fn an_update_writes_again_only_what_is_not_deployed() {
    let folder = folder();
    layouts::<WithState<Order>>(&folder)
        .check(Update::New)
        .unwrap();
    let edited = || layouts::<WithState<Changed>>(&folder);
    let changed = edited().check(Update::No).unwrap_err();
    assert!(
        changed.starts_with("edited@1 has changed and is not deployed"),
        "{changed}"
    );
    edited().check(Update::Deployed).unwrap();
    let deployed = text(&folder);
    assert!(deployed.contains("deployed = true") && deployed.contains("$.cents"));
    for update in [Update::No, Update::New, Update::Deployed] {
        let refused = layouts::<WithState<Order>>(&folder).check(update);
        let refused = refused.unwrap_err();
        assert!(
            refused.contains("Order at $.euro\n    before: absent\n    after:  u64"),
            "{refused}"
        );
        let ways_out = [
            "make it in a new version of the workflow with a migration from edited@1",
            "set `deployed = false` in its section",
        ];
        assert!(ways_out.iter().all(|way_out| refused.contains(way_out)));
        assert_eq!(text(&folder), deployed);
    }
}

#[test]
fn a_harmless_edit_leaves_a_deployed_section_as_it_is() {
    #[derive(Default, Clone, Serialize, Deserialize)]
    struct WithDefault {
        #[serde(default)]
        euro: u64,
    }
    let folder = folder();
    layouts::<WithState<Order>>(&folder)
        .check(Update::Deployed)
        .unwrap();
    let before = text(&folder);
    let edited = layouts::<WithState<WithDefault>>(&folder);
    assert_eq!(edited.check(Update::New), Ok(Vec::new()));
    assert_eq!(text(&folder), before);
}

#[test]
fn a_version_that_is_not_linked_any_more_is_told() {
    let folder = folder();
    v1_and_v2(&folder).check(Update::New).unwrap();
    let gone = v1(&folder).check(Update::No).unwrap_err();
    assert!(gone.starts_with("order@v2 is in "), "{gone}");
    v1(&folder).check(Update::New).unwrap();
    assert!(!text(&folder).contains("order@v2"));

    v1_and_v2(&folder).check(Update::Deployed).unwrap();
    for update in [Update::No, Update::New, Update::Deployed] {
        let gone = v1(&folder).check(update).unwrap_err();
        assert!(gone.starts_with("order@v2 is deployed"), "{gone}");
        assert!(gone.contains("remove its section if no process is at that version"));
        assert!(text(&folder).contains("order@v2"));
    }
}

#[test]
fn the_schema_version_of_a_state_matters_where_migrations_lead() {
    let folder = folder();
    let same = || v1(&folder);
    same().check(Update::Deployed).unwrap();
    let raised = text(&folder).replace("state_schema_version = 1", "state_schema_version = 7");
    std::fs::write(folder.path().join("layouts.lock"), raised).unwrap();
    // Only snapshots have it, which are made again.
    assert_eq!(same().check(Update::No), Ok(Vec::new()));

    let migrated = || {
        let migration = state_migration_core::IdentityMigration::<V1>::new(
            state_migration_core::WorkflowId::new("order", "v0"),
            state_migration_core::WorkflowId::of::<V1>(),
        );
        let registry = MigrationRegistry::builder().with(migration).build();
        of(&folder, registry.unwrap())
    };
    let told = migrated().check(Update::New).unwrap_err();
    assert!(
        told.contains("STATE_SCHEMA_VERSION, which migrated processes have stored\n    before: 7\n    after:  1"),
        "{told}"
    );
}

#[test]
fn a_damaged_or_newer_file_is_refused() {
    let folder = folder();
    for (damaged, why) in [
        ("format = 2\n", "format 2"),
        ("format = 1\n[order]\ndeployed = true\n", "missing field"),
        ("format = 1\n['order@v1']\ndeployed = 1\n", "boolean"),
        ("x", "expected"),
    ] {
        std::fs::write(folder.path().join("layouts.lock"), damaged).unwrap();
        for update in [Update::No, Update::New] {
            let refused = v1(&folder).check(update).unwrap_err();
            assert!(refused.contains(why), "{refused}");
            assert_eq!(text(&folder), damaged);
        }
    }
}

/// A number that is validated.
#[derive(Default, Clone, Serialize)]
struct Percent(u8);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Percent")]
        struct Raw(u8);
        match Raw::deserialize(from)?.0 {
            valid @ 41..=43 => Ok(Self(valid)),
            _ => Err(serde::de::Error::custom("not between 41 and 43")),
        }
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct WithPercent {
    share: Percent,
    when: String,
}

#[test]
fn a_type_that_refuses_the_values_that_are_made_up_is_told_until_it_has_a_value() {
    let folder = folder();
    let layouts = || layouts::<WithState<WithPercent>>(&folder);
    let warnings = layouts().check(Update::New).unwrap();
    assert_eq!(
        warnings,
        [
            "warning: the layout of the state of edited@1 was not traced at $: not between 41 and 43; add `.state::<W>(sample)` or `.state_schema::<W>(schema)` to `Layouts`"
        ]
    );
    assert!(text(&folder).contains("'$' = 'not traced: not between 41 and 43'"));
    // It is told each time.
    assert_eq!(layouts().check(Update::No), Ok(warnings));

    let with_value = || layouts().value("Percent", 42);
    assert_eq!(with_value().check(Update::New), Ok(Vec::new()));
    assert!(text(&folder).contains("'$.share' = 'u8'"));
    assert!(text(&folder).contains(r#"'{"share":42,"when":"a"}'"#));

    let with_state =
        || layouts().state::<WithState<WithPercent>>(json!({"share": 42, "when": "x"}));
    assert_eq!(with_state().check(Update::New), Ok(Vec::new()));
    assert!(text(&folder).contains("'$.share' = 'u8'"));
    assert!(text(&folder).contains(r#"'{"share":42,"when":"x"}'"#));
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Both { left: u64, right: u64 },
    One(String),
}

impl Default for Either {
    fn default() -> Self {
        Self::One(String::new())
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum EitherEdited {
    Both { left: u64, other: u64 },
    One(String),
}

impl Default for EitherEdited {
    fn default() -> Self {
        Self::One(String::new())
    }
}

#[test]
fn the_variants_without_a_tag_are_those_of_the_samples() {
    let folder = folder();
    let both = json!({"left": 1, "right": 2});
    let before = layouts::<WithEvent<Either>>(&folder).event::<WithEvent<Either>>(&both);
    assert_eq!(before.check(Update::Deployed), Ok(Vec::new()));
    assert!(text(&folder).contains("'$.right' = 'integer'"));
    let after = layouts::<WithEvent<EitherEdited>>(&folder).event::<WithEvent<EitherEdited>>(&both);
    let told = after.check(Update::No).unwrap_err();
    assert!(
        told.contains("at $.right\n    before: integer\n    after:  absent"),
        "{told}"
    );
    assert!(told.contains("at the given sample 1\n    before: absent\n    after:  not traced: "));
}

#[test]
fn a_schema_stands_for_what_cannot_be_traced() {
    let folder = folder();
    let layouts = |schema: Value| {
        layouts::<WithState<WithPercent>>(&folder).state_schema::<WithState<WithPercent>>(schema)
    };
    let schema = json!({"title": "WithPercent", "properties": {"share": {"type": "integer"}}});
    assert_eq!(
        layouts(schema.clone()).check(Update::Deployed),
        Ok(Vec::new())
    );
    assert_eq!(layouts(schema).check(Update::No), Ok(Vec::new()));
    let edited = json!({"title": "WithPercent", "properties": {"share": {"type": "string"}}});
    let told = layouts(edited).check(Update::No).unwrap_err();
    assert!(
        told.contains(
            "at its schema\n    before: \"type\": \"integer\"\n    after:  \"type\": \"string\""
        ),
        "{told}"
    );
}

#[test]
fn a_state_without_a_migration_has_to_be_named() {
    let folder = folder();
    let registry = MigrationRegistry::builder().version::<V1>().build();
    let layouts = Layouts::new(folder.path().join("layouts.lock")).registry(registry.unwrap());
    let warnings = layouts.check(Update::New).unwrap();
    assert!(
        warnings[0].contains("no migration has this state; add `.version::<W>()` to the test"),
        "{warnings:?}"
    );
}

#[test]
fn the_name_and_the_schema_version_of_an_event_are_parts_of_its_layout() {
    #[derive(Default, Clone, Serialize, Deserialize)]
    struct Renamed;
    struct Other;
    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct OtherName(Renamed);
    impl EventPayload for OtherName {
        fn event_type(&self) -> &'static str {
            "Other"
        }
        fn schema_version(&self) -> u32 {
            2
        }
    }
    impl Workflow for Other {
        const NAME: &'static str = "edited";
        const VERSION: &'static str = "1";
        type State = ();
        type Event = OtherName;
        fn apply((): (), _: &OtherName) {}
    }
    let folder = folder();
    layouts::<WithEvent<Renamed>>(&folder)
        .check(Update::Deployed)
        .unwrap();
    let told = layouts::<Other>(&folder).check(Update::No).unwrap_err();
    assert!(
        told.contains("at event_type\n    before: \"Event\", schema version 1 for null\n    after:  \"Other\", schema version 2"),
        "{told}"
    );
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Flattened {
    #[serde(flatten)]
    order: Order,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[test]
fn fields_that_nothing_shows_are_told_until_a_sample_has_them() {
    let folder = folder();
    let layouts = || layouts::<WithState<Flattened>>(&folder);
    let warnings = layouts().check(Update::New).unwrap();
    assert!(
        warnings[0].contains("add `.state::<W>(sample)` with all fields"),
        "{warnings:?}"
    );
    assert!(!text(&folder).contains("$.notes"));
    let with_sample = layouts().state::<WithState<Flattened>>(Flattened {
        order: Order { euro: 1 },
        notes: vec!["a".to_owned()],
    });
    assert_eq!(with_sample.check(Update::New), Ok(Vec::new()));
    assert!(text(&folder).contains("'$.notes' = 'list, may be missing'"));
}

#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(tag = "outer")]
enum Outer {
    With(Inner),
    #[default]
    Without,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "inner")]
enum Inner {
    First { a: u64 },
    Second { b: u64 },
}

#[test]
fn the_samples_of_a_variant_have_nothing_of_another_one() {
    let folder = folder();
    let layouts = layouts::<WithEvent<Outer>>(&folder);
    layouts.check(Update::New).unwrap();
    let text = text(&folder);
    for sample in [
        r#"{"outer":"Without"}"#,
        r#"{"a":1,"inner":"First","outer":"With"}"#,
        r#"{"b":1,"inner":"Second","outer":"With"}"#,
    ] {
        assert!(text.contains(sample), "{text}");
    }
    assert!(!text.contains("written"), "{text}");
}

/// A type in itself, validated texts, keys and many kinds of values.
#[derive(Default, Clone, Serialize, Deserialize)]
struct Rich {
    tree: Tree,
    expression: Expression,
    id: uuid::Uuid,
    address: Option<std::net::IpAddr>,
    by_kind: std::collections::BTreeMap<Kind, Vec<Kind>>,
    whole: (u8, i8, u128, i128),
    real: (f32, f64),
    letter: char,
    anything: Value,
    raw: Option<Box<serde_json::value::RawValue>>,
    lasted: std::time::Duration,
    result: Option<Result<u8, String>>,
    #[serde(flatten)]
    rest: std::collections::BTreeMap<String, u64>,
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Tree {
    branches: Vec<Tree>,
    parent: Option<Box<Tree>>,
}

#[derive(Clone, Serialize, Deserialize)]
enum Expression {
    Sum(Box<Expression>, Box<Expression>),
    Number(i64),
}

impl Default for Expression {
    fn default() -> Self {
        Self::Number(0)
    }
}

#[derive(Default, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Kind {
    #[default]
    Near,
    Far,
}

#[test]
fn rich_types_are_traced_as_a_whole() {
    let folder = folder();
    let layouts = layouts::<WithState<Rich>>(&folder);
    let warnings = layouts.check(Update::New).unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("warning: the state of edited@1 may have fields, at $ and"),
        "{warnings:?}"
    );
    let text = text(&folder);
    for line in [
        "'$.tree.branches[*]' = 'Tree again'",
        "'$.expression<Number>' = 'i64'",
        "'$.expression<Sum>[0]' = 'Expression again'",
        "'$.address' = 'option of string, may be missing'",
        "'$.by_kind' = 'map by one of Far, Near'",
        "'$.by_kind{*}[*]' = 'enum of Far, Near'",
        "'$.whole[3]' = 'i128'",
        "'$.real[0]' = 'f32'",
        "'$.letter' = 'char'",
        "'$.anything' = 'any JSON value, may be null'",
        "'$.lasted.nanos' = 'u32'",
        "'$.result<Err>' = 'string'",
        "'$.any other field' = 'u64, may be missing'",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
