//! Problems of migrations as edges between versions.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::WorkflowId;
use crate::registry::problem::Problem;
use crate::registry::registered::Migration;
use crate::version::natural_cmp;

/// A problem of a single migration, independent of all others.
pub(crate) fn by_itself(migration: &Migration) -> Option<Problem> {
    let (source, target) = (migration.source(), migration.target());
    let own = |id| id == &migration.source_type;
    let ids_fit = if migration.source_workflow.id == migration.target_workflow.id {
        own(source) || own(target)
    } else {
        own(source) && target == &migration.target_type
    };
    if source == target {
        Some(Problem::SameVersion {
            migration: migration.described(),
        })
    } else if source.name() != target.name() {
        Some(Problem::DifferentNames {
            migration: migration.described(),
        })
    } else if !ids_fit {
        Some(Problem::WrongIds {
            migration: migration.described(),
            types: (migration.source_type.clone(), migration.target_type.clone()),
        })
    } else {
        None
    }
}

fn ascends(migration: &Migration) -> Ordering {
    natural_cmp(migration.source().version(), migration.target().version())
}

/// The forward migrations without problems of their own.
pub(crate) struct Graph<'a> {
    pub(crate) by_source: BTreeMap<&'a WorkflowId, Vec<&'a Migration>>,
    /// The first migration from each version.
    pub(crate) next: BTreeMap<&'a WorkflowId, &'a Migration>,
}

impl<'a> Graph<'a> {
    pub fn of(migrations: &[&'a Migration]) -> Self {
        let mut by_source: BTreeMap<&WorkflowId, Vec<&Migration>> = BTreeMap::new();
        for migration in migrations.iter().copied() {
            by_source
                .entry(migration.source())
                .or_default()
                .push(migration);
        }
        let next = by_source
            .iter()
            .filter_map(|(source, leading)| Some((*source, *leading.first()?)))
            .collect();
        Self { by_source, next }
    }

    /// Duplicates and forks.
    pub(crate) fn several_from_one(&self, problems: &mut Vec<Problem>) {
        for (source, leading) in self.by_source.iter().filter(|(_, all)| all.len() > 1) {
            let shown = leading.iter().map(|m| m.described()).collect();
            problems.push(if is_fork(leading) {
                Problem::Fork {
                    source: (*source).clone(),
                    migrations: shown,
                }
            } else {
                Problem::Duplicate { migrations: shown }
            });
        }
    }

    /// Reports each cycle once; returns the versions on cycles.
    pub(crate) fn cycles(&self, problems: &mut Vec<Problem>) -> BTreeSet<&'a WorkflowId> {
        let mut on_cycles = BTreeSet::new();
        let mut settled = BTreeSet::new();
        for start in self.next.keys().copied() {
            let mut path: Vec<&WorkflowId> = Vec::new();
            let mut here = start;
            while !settled.contains(here) {
                if let Some(from) = path.iter().position(|at| *at == here) {
                    on_cycles.extend(path[from..].iter().copied());
                    problems.push(Problem::Cycle {
                        migrations: path[from..]
                            .iter()
                            .filter_map(|at| self.next.get(at))
                            .map(|migration| migration.described())
                            .collect(),
                    });
                    break;
                }
                path.push(here);
                let Some(migration) = self.next.get(here) else {
                    break;
                };
                here = migration.target();
            }
            settled.extend(path);
        }
        on_cycles
    }

    /// Hops join only if their state types are the same; returns the versions
    /// where some types differ.
    pub(crate) fn joins(
        &self,
        back: &[&'a Migration],
        problems: &mut Vec<Problem>,
    ) -> BTreeSet<&'a WorkflowId> {
        let all = || self.by_source.values().flatten().copied();
        let mut mismatched = BTreeSet::new();
        let befores = all().chain(back.iter().copied());
        for before in befores {
            let after = self.by_source.get(before.target()).into_iter().flatten();
            let undone = back
                .iter()
                .filter(|undo| !before.is_undo() && undo.source() == before.target());
            for after in after.chain(undone) {
                if before.target_state.id == after.source_state.id {
                    continue;
                }
                let problem = Problem::StateMismatch {
                    at: before.target().clone(),
                    produces: (before.described(), before.target_state.name.to_owned()),
                    takes: (after.described(), after.source_state.name.to_owned()),
                };
                mismatched.insert(before.target());
                problems.push(problem);
            }
        }
        mismatched
    }

    /// For each fork, the versions where its branches end; forks with a common
    /// end are merged.
    pub(crate) fn forked_ends(&self) -> Vec<BTreeSet<&'a WorkflowId>> {
        let mut forks: Vec<BTreeSet<&WorkflowId>> = Vec::new();
        for leading in self.by_source.values().filter(|leading| is_fork(leading)) {
            let mut ends = self.ends_behind(leading);
            forks.retain(|other| {
                let is_other = other.is_disjoint(&ends);
                if !is_other {
                    ends.extend(other);
                }
                is_other
            });
            forks.push(ends);
        }
        forks
    }

    /// The versions where paths that begin with these migrations end.
    fn ends_behind(&self, leading: &[&'a Migration]) -> BTreeSet<&'a WorkflowId> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&WorkflowId> = leading.iter().map(|m| m.target()).collect();
        while let Some(version) = open.pop() {
            if seen.insert(version) {
                let next = self.by_source.get(version).into_iter().flatten();
                open.extend(next.map(|m| m.target()));
            }
        }
        seen.retain(|version| !self.by_source.contains_key(version));
        seen
    }

    /// The migration between two versions.
    fn between(&self, source: &WorkflowId, target: &WorkflowId) -> Option<&'a Migration> {
        let leading = self.by_source.get(source)?;
        leading.iter().find(|m| m.target() == target).copied()
    }
}

fn is_fork(leading: &[&Migration]) -> bool {
    leading
        .windows(2)
        .any(|pair| pair[0].target() != pair[1].target())
}

/// Workflows whose end of migrations is unclear because of a problem other than
/// a fork.
pub(crate) fn unclear_names(forward: &[Migration]) -> BTreeSet<&str> {
    forward
        .iter()
        .filter(|m| by_itself(m).is_some() || ascends(m).is_ge())
        .flat_map(|m| [m.source().name(), m.target().name()])
        .collect()
}

/// Forward migrations that do not lead to a later version. A cycle always
/// contains one, and is already reported.
pub(crate) fn descending(
    migrations: &[&Migration],
    on_cycles: &BTreeSet<&WorkflowId>,
    problems: &mut Vec<Problem>,
) {
    let on_cycle = |m: &Migration| on_cycles.contains(m.source()) && on_cycles.contains(m.target());
    for migration in migrations {
        if ascends(migration).is_ge() && !on_cycle(migration) {
            problems.push(Problem::NotAscending {
                migration: migration.described(),
            });
        }
    }
}

/// An undo leads from a later version to an earlier one, and must be the
/// reverse of a migration.
pub(crate) fn undos(graph: &Graph<'_>, back: &[&Migration], problems: &mut Vec<Problem>) {
    let mut by_pair: BTreeMap<_, Vec<&Migration>> = BTreeMap::new();
    for undo in back.iter().copied() {
        by_pair
            .entry((undo.source(), undo.target()))
            .or_default()
            .push(undo);
    }
    for ((source, target), undos) in by_pair {
        if undos.len() > 1 {
            problems.push(Problem::Duplicate {
                migrations: undos.iter().map(|undo| undo.described()).collect(),
            });
        }
        let Some(undo) = undos.first() else { continue };
        if ascends(undo).is_le() {
            problems.push(Problem::UndoAscends {
                undo: undo.described(),
            });
        } else if graph.between(target, source).is_none() {
            problems.push(Problem::NothingToUndo {
                undo: undo.described(),
                migration: format!("{target}->{}", source.version()),
            });
        }
    }
}
