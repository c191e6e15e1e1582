//! Validation of a set of migrations and versions, which finds all problems.
//! Pure.
//!
//! Migrations with problems of their own are excluded from the other checks,
//! and so are all but the first migration from each version, so that one
//! mistake is reported as one problem.

mod edges;
mod versions;

use crate::registry::linked::VersionRegistration;
use crate::registry::problem::Problem;
use crate::registry::registered::Migration;

fn sound(migrations: &[Migration]) -> Vec<&Migration> {
    let migrations = migrations.iter();
    migrations
        .filter(|migration| edges::by_itself(migration).is_none())
        .collect()
}

/// All problems of forward migrations, which are sorted by source and target,
/// of undos, and of versions that are registered without a migration.
pub(crate) fn problems(
    forward: &[Migration],
    undos: &[Migration],
    registered: &[VersionRegistration],
) -> Vec<Problem> {
    let mut problems: Vec<Problem> = forward
        .iter()
        .chain(undos)
        .filter_map(edges::by_itself)
        .collect();
    let (all, back) = (sound(forward), sound(undos));

    let graph = edges::Graph::of(&all);
    let mut unclear = edges::unclear_names(forward);
    graph.several_from_one(&mut problems);
    let on_cycles = graph.cycles(&mut problems);
    edges::descending(&all, &on_cycles, &mut problems);
    edges::undos(&graph, &back, &mut problems);
    versions::reasons(registered, &mut problems);
    versions::contradictions(&graph, registered, &mut problems);
    let equal = versions::equal(&all, &back, registered, &mut problems);
    unclear.extend(on_cycles.iter().chain(&equal).map(|id| id.name()));
    versions::ends(&graph, &unclear, &equal, registered, &mut problems);
    let mismatched = graph.joins(&back, &mut problems);
    versions::definitions(&all, &back, registered, &mismatched, &mut problems);
    problems
}
