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
        "no migrations are linked into this program; a crate that is never named in the source is not linked, so add `use my_domain as _;` with the name of the crate that has the migrations (of a static library, a linker takes them only with `--whole-archive`)"
    );
}
