//! A program that links the crate of its migrations.

use std::process::Command;

use state_migration::MigrationRegistry;

// A test is a program of its own.
use shop_migrations as _;

fn run(args: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_shop-program"))
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

const SHOWN: &str = r#"cart@1->2 by shop_migrations::cart_1_to_2 (tests/cross-crate/migrations/src/lib.rs:37 in package shop-migrations)
order@v1->v2 by shop_migrations::order_v1_to_v2 (tests/cross-crate/migrations/src/lib.rs:14 in package shop-migrations): from euro to cents
order@v2->v3 by shop_migrations::order_v2_to_v3 (tests/cross-crate/migrations/src/lib.rs:21 in package shop-migrations)
flowchart LR
    subgraph w0["cart"]
        v0["1"]
        v1[["2"]]
    end
    subgraph w1["order"]
        v2["v1"]
        v3["v2"]
        v4[["v3"]]
    end
    v0 -->|"shop_migrations::cart_1_to_2"| v1
    v2 -->|"shop_migrations::order_v1_to_v2"| v3
    v3 -.->|"undo: shop_migrations::order_v2_to_v1"| v2
    v3 -->|"shop_migrations::order_v2_to_v3"| v4
"#;

#[test]
fn all_migrations_of_the_linked_crate_are_there() {
    assert_eq!(run(&[]), (true, SHOWN.to_owned(), String::new()));
}

#[test]
fn a_state_is_upgraded_over_migrations_of_another_crate() {
    let upgraded = format!(
        "{SHOWN}{}\n{}\n",
        r#"{"net_cents":500}"#, "OrderStateV3 { net_cents: 500 }"
    );
    assert_eq!(
        run(&["v1", r#"{"euro":6}"#]),
        (true, upgraded.clone(), String::new())
    );
    assert_eq!(
        run(&["v2", r#"{"cents":600}"#]),
        (true, upgraded, String::new())
    );

    let (done, _, error) = run(&["v1", r#"{"euro":300000000000000000}"#]);
    assert!(
        !done && error.contains("order_v1_to_v2") && error.contains("too much money"),
        "{error}"
    );
}

#[test]
fn the_registry_is_complete() {
    let registry = MigrationRegistry::assert_complete();
    assert_eq!(registry.migrations().len(), 3);
    assert_eq!(registry.undos().len(), 1);
    assert!(registry.migrations().iter().all(|m| m.is_detached()));
}
