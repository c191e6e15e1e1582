//! A program that does not link the crate of its migrations.

use std::process::Command;

fn error_of(program: &str) -> String {
    let output = Command::new(program).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn versions_are_undecided_whose_migrations_are_not_linked() {
    let error = error_of(env!("CARGO_BIN_EXE_shop-forgetful"));
    let at = "shop_workflows::register_workflow! (tests/cross-crate/workflows/src/lib.rs:58 in package shop-workflows)";
    let way_out = "add the migration, link its crate with `use my_migrations as _;`, or declare with `no_migration!` that processes stay at this version";
    assert_eq!(
        error,
        format!(
            "the migrations have 2 problems:\n\
             - no migration leads from order@v1 (used by {at}) to the newest version order@v3 (used by {at}); {way_out}\n\
             - no migration leads from order@v2 (used by {at}) to the newest version order@v3 (used by {at}); {way_out}\n"
        )
    );
}

#[test]
fn an_expected_migration_that_is_not_linked_is_named_with_those_that_are() {
    let at = "tests/cross-crate/programs/src/bin/requiring.rs";
    assert_eq!(
        error_of(env!("CARGO_BIN_EXE_requiring")),
        format!(
            "the expected migration cart@1->2 is missing; known migrations: \
             order@v1->v2 by requiring::order_v1_to_v2 ({at}:9 in package shop-programs), \
             order@v2->v3 by requiring::order_v2_to_v3 ({at}:14 in package shop-programs); \
             if its crate is never named in the source, add `use my_domain as _;` with the name of the crate\n"
        )
    );
}
