//! Finds everything that is wrong with a set of migrations. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::WorkflowId;
use crate::registry::edge::Migration;
use crate::registry::problem::Problem;

/// All problems of migrations that are sorted by source and target.
///
/// A migration that is wrong by itself is left out of the rest, and so is all
/// but the first of those that lead from one version: one mistake, one problem.
pub(crate) fn problems(migrations: &[Migration]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = migrations.iter().filter_map(ends).collect();

    let mut by_source: BTreeMap<&WorkflowId, Vec<&Migration>> = BTreeMap::new();
    for migration in migrations.iter().filter(|m| ends(m).is_none()) {
        by_source
            .entry(migration.source())
            .or_default()
            .push(migration);
    }
    let mut forked: BTreeSet<&str> = BTreeSet::new();
    for (source, leading) in &by_source {
        if leading.len() > 1 {
            let problem = duplicate_or_fork(source, leading);
            if matches!(problem, Problem::Fork { .. }) {
                forked.insert(source.name());
            }
            problems.push(problem);
        }
    }
    let next: BTreeMap<&WorkflowId, &Migration> = by_source
        .iter()
        .filter_map(|(source, leading)| Some((*source, *leading.first()?)))
        .collect();
    let on_cycles = cycles(&next, &mut problems);
    gaps(&next, &on_cycles, &forked, &mut problems);
    joins(&by_source, &mut problems);
    problems
}

/// What is wrong with one migration by itself.
fn ends(migration: &Migration) -> Option<Problem> {
    let (source, target) = (migration.source(), migration.target());
    let own = |id| id == &migration.source_type;
    let ids_fit = if migration.same_workflow_type {
        own(source) || own(target)
    } else {
        own(source) && target == &migration.target_type
    };
    if source == target {
        Some(Problem::SameVersion {
            migration: migration.to_string(),
        })
    } else if source.name() != target.name() {
        Some(Problem::DifferentNames {
            migration: migration.to_string(),
        })
    } else if !ids_fit {
        Some(Problem::WrongIds {
            migration: migration.to_string(),
            types: (migration.source_type.clone(), migration.target_type.clone()),
        })
    } else {
        None
    }
}

fn duplicate_or_fork(source: &WorkflowId, leading: &[&Migration]) -> Problem {
    let shown = leading.iter().map(ToString::to_string).collect();
    let targets: BTreeSet<_> = leading.iter().map(|m| m.target()).collect();
    if targets.len() == 1 {
        Problem::Duplicate { migrations: shown }
    } else {
        Problem::Fork {
            source: source.clone(),
            migrations: shown,
        }
    }
}

/// Reports each circle once; returns the versions that lie on one.
fn cycles<'a>(
    next: &BTreeMap<&'a WorkflowId, &'a Migration>,
    problems: &mut Vec<Problem>,
) -> BTreeSet<&'a WorkflowId> {
    let mut on_cycles = BTreeSet::new();
    let mut settled = BTreeSet::new();
    for start in next.keys().copied() {
        let mut path: Vec<&WorkflowId> = Vec::new();
        let mut here = start;
        while !settled.contains(here) {
            if let Some(from) = path.iter().position(|at| *at == here) {
                on_cycles.extend(path[from..].iter().copied());
                problems.push(Problem::Cycle {
                    migrations: path[from..]
                        .iter()
                        .filter_map(|at| next.get(at))
                        .map(ToString::to_string)
                        .collect(),
                });
                break;
            }
            path.push(here);
            let Some(migration) = next.get(here) else {
                break;
            };
            here = migration.target();
        }
        settled.extend(path);
    }
    on_cycles
}

/// Each workflow must end at one version.
fn gaps(
    next: &BTreeMap<&WorkflowId, &Migration>,
    on_cycles: &BTreeSet<&WorkflowId>,
    forked: &BTreeSet<&str>,
    problems: &mut Vec<Problem>,
) {
    let mut ends: BTreeMap<&str, BTreeSet<&WorkflowId>> = BTreeMap::new();
    for start in next.keys().copied() {
        let mut here = start;
        while let Some(migration) = next.get(here) {
            if on_cycles.contains(here) {
                break;
            }
            here = migration.target();
        }
        if !on_cycles.contains(here) {
            ends.entry(start.name()).or_default().insert(here);
        }
    }
    for (name, ends) in ends {
        // The ways of a fork end at different versions, which is not another problem.
        if ends.len() > 1 && !forked.contains(name) {
            problems.push(Problem::Gap {
                name: name.to_owned(),
                ends: ends.iter().map(|id| id.version().to_owned()).collect(),
                migrations: next
                    .values()
                    .filter(|m| m.source().name() == name)
                    .map(ToString::to_string)
                    .collect(),
            });
        }
    }
}

/// Hops join only where the state types are the same.
fn joins(by_source: &BTreeMap<&WorkflowId, Vec<&Migration>>, problems: &mut Vec<Problem>) {
    for before in by_source.values().flatten() {
        for after in by_source.get(before.target()).into_iter().flatten() {
            let problem = Problem::StateMismatch {
                at: before.target().clone(),
                produces: (before.to_string(), before.target_state.name.to_owned()),
                takes: (after.to_string(), after.source_state.name.to_owned()),
            };
            // A duplicate does not fit as the first one does not.
            if before.target_state.id != after.source_state.id && !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
}
