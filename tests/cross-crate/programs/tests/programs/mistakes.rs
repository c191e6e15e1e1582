//! Mistakes between crates: found when the crates are linked, and reported with the
//! function, file, line and package of each definition involved.

use std::process::Command;

const V1_TO_V2: &str = "order@v1->v2 by shop_migrations::order_v1_to_v2 (tests/cross-crate/migrations/src/lib.rs:14 in package shop-migrations)";
const V2_TO_V3: &str = "order@v2->v3 by shop_migrations::order_v2_to_v3 (tests/cross-crate/migrations/src/lib.rs:21 in package shop-migrations)";
const CART_1_TO_2: &str = "cart@1->2 by shop_migrations::cart_1_to_2 (tests/cross-crate/migrations/src/lib.rs:37 in package shop-migrations)";
const REGISTERED: &str = "shop_workflows::register_workflow! (tests/cross-crate/workflows/src/lib.rs:58 in package shop-workflows)";

fn in_bin(program: &str, line: u32) -> String {
    format!("(tests/cross-crate/programs/src/bin/{program}.rs:{line} in package shop-programs)")
}

macro_rules! error_of {
    ($program:literal) => {{
        let output = Command::new(env!(concat!("CARGO_BIN_EXE_", $program)))
            .output()
            .unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        error.trim_end().to_owned()
    }};
}

#[test]
fn a_duplicate_of_another_crate_is_refused() {
    let again = format!(
        "order@v1->v2 by duplicate::again {}",
        in_bin("duplicate", 10)
    );
    assert_eq!(
        error_of!("duplicate"),
        format!("duplicate migration: {V1_TO_V2} and {again}; keep one of them")
    );
}

#[test]
fn a_fork_between_crates_is_refused() {
    let shortcut = format!("order@v1->v3 by fork::shortcut {}", in_bin("fork", 10));
    assert_eq!(
        error_of!("fork"),
        format!(
            "several migrations lead from order@v1: {V1_TO_V2} and {shortcut}; keep one of them, or chain their versions"
        )
    );
}

#[test]
fn a_gap_between_crates_is_refused() {
    let after = format!("cart@3->4 by gap::after_the_gap {}", in_bin("gap", 10));
    assert_eq!(
        error_of!("gap"),
        format!(
            "the migrations of cart end at 2 and at 4 instead of a single newest version ({CART_1_TO_2}, {after}); add the missing migration, or declare with `no_migration!` that processes stay at one of these versions"
        )
    );
}

#[test]
fn a_circle_over_crates_is_refused() {
    let back = "order@v3->v1 by `cycle::BackToTheBeginning` (added at tests/cross-crate/programs/src/bin/cycle.rs:37)";
    assert_eq!(
        error_of!("cycle"),
        format!("the migrations form a cycle: {V1_TO_V2}, {V2_TO_V3}, {back}; remove one")
    );
}

#[test]
fn a_schema_version_that_two_crates_share_is_refused() {
    let five = format!("cart@2->5 by schema::back_to_one {}", in_bin("schema", 10));
    assert_eq!(
        error_of!("schema"),
        format!(
            "cart@1, a `shop_workflows::CartState1` in {CART_1_TO_2}, and cart@5, a `shop_workflows::CartState5` in {five}, have different states but the same STATE_SCHEMA_VERSION, 1; give each state its own"
        )
    );
}

#[test]
fn an_undo_without_its_migration_is_refused() {
    let back = format!("cart@4->3 by undo::back {}", in_bin("undo", 10));
    assert_eq!(
        error_of!("undo"),
        format!(
            "the undo {back} has no migration cart@3->4 to undo; add that migration, link its crate with `use my_migrations as _;`, or remove the undo"
        )
    );
}

#[test]
fn an_undecided_version_is_refused() {
    let registered = format!("undecided::register_workflow! {}", in_bin("undecided", 9));
    assert_eq!(
        error_of!("undecided"),
        format!(
            "no migration leads from order@v3 (used by {REGISTERED} and {V2_TO_V3}) to the newest version order@v4 (used by {registered}); add the migration, link its crate with `use my_migrations as _;`, or declare with `no_migration!` that processes stay at this version"
        )
    );
}

#[test]
fn a_version_that_only_leading_zeros_tell_from_another_is_refused() {
    let registered = format!(
        "leading_zeros::register_workflow! {}",
        in_bin("leading_zeros", 23)
    );
    assert_eq!(
        error_of!("leading_zeros"),
        format!(
            "order@v03, which {registered} names, and order@v3, which {REGISTERED} names, are equal, because leading zeros do not count; use one spelling, or give one of them a later version"
        )
    );
}

#[test]
fn a_decision_is_enough() {
    let output = Command::new(env!("CARGO_BIN_EXE_declared"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
}

#[test]
fn several_mistakes_are_told_at_once() {
    let error = error_of!("everything");
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines[0], "the migrations have 3 problems:");
    for (line, start) in lines[1..].iter().zip([
        "- duplicate migration: ",
        "- the migrations of cart end at 2 and at 4",
        "- no migration leads from order@v3 (used by ",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(lines.len(), 4, "{error}");
}

#[test]
fn what_is_refused_is_drawn_all_the_same() {
    let output = Command::new(env!("CARGO_BIN_EXE_undecided"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        r#"flowchart LR
    subgraph w0["cart"]
        v0["1"]
        v1[["2"]]
    end
    subgraph w1["order"]
        v2["v1"]
        v3["v2"]
        v4{{"v3<br/>undecided"}}
        v5[["v4"]]
    end
    v0 -->|"shop_migrations::cart_1_to_2"| v1
    v2 -->|"shop_migrations::order_v1_to_v2"| v3
    v3 -.->|"undo: shop_migrations::order_v2_to_v1"| v2
    v3 -->|"shop_migrations::order_v2_to_v3"| v4
"#
    );
}
