//! A serialized state of any version comes to the newest, without a store.

use std::error::Error as _;

use state_migration::{
    ConversionError, IdentityMigration, MigrationRegistry, UpgradeError, state_migration,
};

use crate::*;

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Rates {
    usual: f64,
    discount: Option<f64>,
}

/// Can be read only of a text that stays.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Tag {
    text: &'static str,
    price: Option<u64>,
}

workflows! {
    Tag1 = "tag" @ "1" of Order, 3;
    Tag2 = "tag" @ "2" of Tag, 4;
    Basket = "basket" @ "1" of Vec<u8>, 3;
    Rate1 = "rate" @ "1" of Order, 3;
    Rate2 = "rate" @ "2" of Rates, 4;
}

#[state_migration(from = Tag1, to = Tag2)]
fn tag(old: Order) -> Tag {
    let price = Some(old.total).filter(|total| *total > 0);
    Tag {
        text: "sale",
        price,
    }
}

static RATE_1: WorkflowId = WorkflowId::from_static("rate", "1");
static RATE_2: WorkflowId = WorkflowId::from_static("rate", "2");

/// Divides, by 0 too.
struct Divide;

impl StateMigration for Divide {
    type FromWorkflow = Rate1;
    type ToWorkflow = Rate2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &RATE_1
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &RATE_2
    }

    #[allow(clippy::cast_precision_loss)]
    fn migrate(&self, old: Order) -> Result<Rates, ConversionError> {
        Ok(Rates {
            usual: 1.0 / old.total as f64,
            discount: None,
        })
    }
}

/// Euro to cents; refuses what is too much.
struct ToCents;

static ORDER_V1: WorkflowId = WorkflowId::from_static("order", "v1");
static ORDER_V2: WorkflowId = WorkflowId::from_static("order", "v2");

#[derive(Debug)]
struct TooMuch(std::num::TryFromIntError);

impl std::fmt::Display for TooMuch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too much money")
    }
}

impl std::error::Error for TooMuch {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl StateMigration for ToCents {
    type FromWorkflow = V1;
    type ToWorkflow = InCents;

    fn source_workflow_id(&self) -> &WorkflowId {
        &ORDER_V1
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &ORDER_V2
    }

    fn migrate(&self, old: Order) -> Result<Cents, ConversionError> {
        let total = u32::try_from(old.total)
            .map_err(|error| ConversionError::from_error(TooMuch(error)))?;
        let total = u64::from(total) * 100;
        Ok(Cents { total })
    }
}

fn registry() -> MigrationRegistry {
    MigrationRegistry::builder()
        .with(ToCents)
        .with(IdentityMigration::<Twice>::new(order("v2"), order("v3")))
        .version::<Basket>()
        .build()
        .unwrap()
}

fn message(result: Result<impl std::fmt::Debug, UpgradeError>) -> String {
    placeless(&result.unwrap_err().to_string())
}

#[test]
fn a_state_comes_over_every_hop_to_the_newest_version() {
    for (from, state) in [("v1", r#" {"total": 7} "#), ("v2", r#"{"total":700}"#)] {
        let upgraded = registry().upgrade("order", from, state).unwrap();
        assert_eq!(upgraded.version, order("v3"));
        assert_eq!(upgraded.state, r#"{"total":700}"#);
    }
}

#[test]
fn a_state_of_the_newest_version_is_left_as_it_came() {
    let state = br#"{ "total": 700 }"#;
    let upgraded = registry().upgrade("order", "v3", state).unwrap();
    assert_eq!(upgraded.version, order("v3"));
    assert_eq!(upgraded.state.as_bytes(), state);
    // Nothing is known of how this one is read.
    let upgraded = registry().upgrade("basket", "1", "[ -1 ]").unwrap();
    assert_eq!(
        (upgraded.version.name(), upgraded.state.as_str()),
        ("basket", "[ -1 ]")
    );
}

#[test]
fn a_state_of_a_version_that_stays_is_left_as_it_came() {
    let registry = MigrationRegistry::builder()
        .with(ToCents)
        .no_migration::<InCents>("they end there")
        .version::<V3>()
        .build()
        .unwrap();
    let upgraded = registry.upgrade("order", "v1", r#"{"total":7}"#).unwrap();
    assert_eq!(upgraded.version, order("v2"));
    assert_eq!(
        message(registry.upgrade_to::<V3>("v1", r#"{"total":7}"#)),
        "no route leads from order@v1 to order@v3, because the route from order@v1 ends at order@v2; ask for order@v2"
    );
    assert_eq!(
        message(registry.upgrade_to::<V3>("v2", r#"{"total":7}"#)),
        "no route leads from order@v2 to order@v3, because the route from order@v2 ends at order@v2; ask for order@v2"
    );
}

#[test]
fn a_state_that_no_migration_leads_to_is_read_as_others_of_its_type_are() {
    let registry = MigrationRegistry::builder()
        .with(ToCents)
        .no_migration::<Invoice1>("it stays")
        .build()
        .unwrap();
    let upgraded = registry.upgrade("invoice", "2025-10-01", r#"{ "total": 7 }"#);
    assert_eq!(upgraded.unwrap().state, r#"{ "total": 7 }"#);
    let refused = message(registry.upgrade("invoice", "2025-10-01", r#"{"total":"secret"}"#));
    assert!(
        refused
            .starts_with("the state of invoice@2025-10-01 cannot be read as a `registry::Order`: "),
        "{refused}"
    );
    assert!(!refused.contains("secret"), "{refused}");
}

#[test]
fn a_state_that_only_an_undo_reads_is_read_likewise() {
    let registry = MigrationRegistry::builder()
        .with(ToCents)
        .with(Step::<InCents, V1>::undo())
        .build()
        .unwrap();
    let refused = message(registry.upgrade("order", "v2", "{}"));
    assert!(
        refused.starts_with("the state of order@v2 cannot be read as a `registry::Cents`: "),
        "{refused}"
    );
}

#[test]
fn a_state_is_upgraded_to_the_type_of_any_version_on_its_route() {
    let registry = registry();
    let state = r#"{"total":7}"#;
    assert_eq!(
        registry.upgrade_to::<V1>("v1", state).unwrap(),
        Order { total: 7 }
    );
    assert_eq!(
        registry.upgrade_to::<InCents>("v1", state).unwrap(),
        Cents { total: 700 }
    );
    assert_eq!(
        registry.upgrade_to::<Twice>("v1", state).unwrap(),
        Cents { total: 700 }
    );
    assert_eq!(
        registry.upgrade_to::<Twice>("v2", state).unwrap(),
        Cents { total: 7 }
    );
    assert_eq!(
        message(registry.upgrade_to::<V1>("v2", state)),
        "no route leads from order@v2 to order@v1, because the route from order@v2 ends at order@v3; ask for order@v3"
    );
}

#[test]
fn another_type_than_the_one_of_the_migrations_is_refused() {
    assert_eq!(
        message(registry().upgrade_to::<V3>("v1", r#"{"total":7}"#)),
        "the state of order@v3 is a `registry::Cents`, not a `registry::Order`; ask for the workflow type that the migrations use"
    );
}

#[test]
fn an_unknown_name_is_refused_with_those_that_are_known() {
    assert_eq!(
        message(registry().upgrade("ordr", "v1", "{}")),
        "unknown workflow \"ordr\" (known workflows: basket, order); correct the name, or link its migrations with `use my_migrations as _;`"
    );
    let nothing = MigrationRegistry::builder().build().unwrap();
    assert_eq!(
        message(nothing.upgrade("order", "v1", "{}")),
        "unknown workflow \"order\" (no workflow is linked); correct the name, or link its migrations with `use my_migrations as _;`"
    );
}

#[test]
fn an_unknown_version_is_refused_with_those_that_are_known() {
    assert_eq!(
        message(registry().upgrade("order", "v0", "{}")),
        "unknown version order@v0 (known versions: v1, v2, v3); correct the version, or link its migration with `use my_migrations as _;`"
    );
    assert_eq!(
        message(registry().upgrade("order", "order@v2", "{}")),
        "unknown version order@order@v2 (known versions: v1, v2, v3); give the version without the name: \"v2\""
    );
    assert_eq!(
        message(registry().upgrade_to::<V1>("v10", "{}")),
        "unknown version order@v10 (known versions: v1, v2, v3); this version is newer than all of them, so use the program that wrote the state"
    );
}

#[test]
fn a_state_that_cannot_be_read_is_refused_with_the_place_and_no_value() {
    let unreadable = |of: &str, ty: &str, problem: &str| {
        format!(
            "the state of {of} cannot be read as a `{ty}`: {problem}; check that the state is complete and of this version"
        )
    };
    let registry = registry();
    for (state, problem) in [
        (
            "{\n\"total\":\"secret\"}",
            r#"expected u64 at "/total", line 2 column 16"#,
        ),
        (
            "{}",
            "missing field `total` at the top level, line 1 column 2",
        ),
        (
            r#"{"total":7"#,
            "EOF while parsing an object at line 1 column 10",
        ),
        (
            r#"{"total":7} 8"#,
            "trailing characters at line 1 column 13",
        ),
        ("", "EOF while parsing a value at line 1 column 0"),
    ] {
        let expected = unreadable("order@v1", "registry::Order", problem);
        assert_eq!(message(registry.upgrade("order", "v1", state)), expected);
        assert_eq!(message(registry.upgrade_to::<Twice>("v1", state)), expected);
        assert_eq!(message(registry.upgrade_to::<V1>("v1", state)), expected);
        let there = unreadable("order@v3", "registry::Cents", problem);
        assert_eq!(message(registry.upgrade("order", "v3", state)), there);
    }
    assert_eq!(
        message(registry.upgrade("order", "v1", b"{\"total\":\"\xff\"}")),
        unreadable("order@v1", "registry::Order", "not UTF-8 from byte 10 on")
    );
    assert_eq!(
        message(registry.upgrade("order", "v3", b"\xff")),
        unreadable("order@v3", "JSON value", "not UTF-8 from byte 0 on")
    );
    assert_eq!(
        message(registry.upgrade("basket", "1", "{")),
        unreadable(
            "basket@1",
            "JSON value",
            "EOF while parsing an object at line 1 column 1"
        )
    );
}

#[test]
fn a_refusal_names_the_migration_and_keeps_its_sources() {
    let error = registry()
        .upgrade("order", "v1", r#"{"total":5000000000}"#)
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(
            "order@v1->v2 by `registry::upgrade::ToCents` (added at runtime/core/tests/"
        ),
        "{text}"
    );
    assert!(
        text.ends_with(") refused the state: too much money"),
        "{text}"
    );
    assert_eq!(
        error.source().unwrap().to_string(),
        "out of range integral type conversion attempted"
    );
}

#[test]
fn a_number_that_json_does_not_have_is_refused_with_its_field() {
    let registry = MigrationRegistry::builder()
        .with(Divide)
        .with(IdentityMigration::<Rate2>::new(
            RATE_2.clone(),
            WorkflowId::from_static("rate", "3"),
        ))
        .build()
        .unwrap();
    let upgraded = registry.upgrade("rate", "1", r#"{"total":4}"#).unwrap();
    assert_eq!(upgraded.state, r#"{"usual":0.25,"discount":null}"#);
    assert_eq!(
        message(registry.upgrade("rate", "1", r#"{"total":0}"#)),
        "the state that rate@2->3 produced cannot be serialized: a number that JSON cannot represent (NaN or infinite) at \"/usual\""
    );
}

#[test]
fn a_state_that_borrows_is_accepted_where_it_cannot_be_read() {
    let registry = MigrationRegistry::builder().with(TagMigration);
    let registry = registry.build().unwrap();
    let upgraded = registry.upgrade("tag", "1", r#"{"total":0}"#).unwrap();
    assert_eq!(upgraded.state, r#"{"text":"sale","price":null}"#);
    let newest = r#"{ "text": "sale", "price": 7 }"#;
    let upgraded = registry.upgrade("tag", "2", newest).unwrap();
    assert_eq!(upgraded.state, newest);
    let refused = message(registry.upgrade("tag", "2", r#"{"text":"sale","#));
    assert!(
        refused.contains("cannot be read as a `JSON value`"),
        "{refused}"
    );
}
