//! A program without migrations. It has a binary of its own, which must name
//! none.

use state_migration::{MigrationRegistry, Problem};

#[test]
fn a_program_without_migrations_is_told_what_to_write() {
    let Err(error) = MigrationRegistry::linked() else {
        unreachable!("this program has no migrations");
    };
    assert_eq!(error.problems(), [Problem::NothingLinked]);
    assert_eq!(
        error.to_string(),
        "no migration is linked into this program; a crate that is never named in source is not linked, so write `use my_domain as _;` with the name of the crate that holds the migrations"
    );
}
