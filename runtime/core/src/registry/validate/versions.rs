//! Problems of versions: where migrations end, and conflicting definitions of
//! one version.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::WorkflowId;
use crate::migration::codec::TypeRef;
use crate::registry::linked::VersionRegistration;
use crate::registry::problem::{Definition, Problem};
use crate::registry::registered::Migration;
use crate::registry::validate::edges::Graph;
use crate::version::natural_cmp;

/// Versions that have a migration from them although their processes are
/// declared to stay.
pub(crate) fn contradictions(
    graph: &Graph<'_>,
    registered: &[VersionRegistration],
    problems: &mut Vec<Problem>,
) {
    for version in registered.iter().filter(|version| version.stays.is_some()) {
        if let Some(leading) = graph.by_source.get(&version.id) {
            problems.push(Problem::Contradiction {
                version: version.id.clone(),
                decided_by: version.place.to_string(),
                migrations: leading.iter().map(|m| m.described()).collect(),
            });
        }
    }
}

/// Declarations without a reason.
pub(crate) fn reasons(registered: &[VersionRegistration], problems: &mut Vec<Problem>) {
    let is_blank = |version: &&VersionRegistration| {
        let reason = version.stays;
        reason.is_some_and(|reason| reason.trim().is_empty())
    };
    for version in registered.iter().filter(is_blank) {
        problems.push(Problem::NoReason {
            version: version.id.clone(),
            decided_by: version.place.to_string(),
        });
    }
}

/// Versions of one workflow that differ as text and compare as equal; returns
/// them. A migration between two of them is rejected as a problem of its own.
pub(crate) fn equal<'a>(
    forward: &[&'a Migration],
    back: &[&'a Migration],
    registered: &'a [VersionRegistration],
    problems: &mut Vec<Problem>,
) -> BTreeSet<&'a WorkflowId> {
    let edges = || forward.iter().chain(back).copied();
    let mut named_by: BTreeMap<&WorkflowId, String> = BTreeMap::new();
    for version in registered {
        let by = || version.place.to_string();
        named_by.entry(&version.id).or_insert_with(by);
    }
    for edge in edges() {
        for id in [edge.source(), edge.target()] {
            named_by.entry(id).or_insert_with(|| edge.described());
        }
    }
    let joined = |a: &WorkflowId, b: &WorkflowId| {
        edges().any(|edge| {
            let ends = (edge.source(), edge.target());
            ends == (a, b) || ends == (b, a)
        })
    };
    let mut equal = BTreeSet::new();
    // Sorted by version, so that equal versions are adjacent.
    let known: Vec<(&WorkflowId, String)> = named_by.into_iter().collect();
    for alike in known.chunk_by(|(a, _), (b, _)| {
        a.name() == b.name() && natural_cmp(a.version(), b.version()).is_eq()
    }) {
        let [(first, _), .., (last, _)] = alike else {
            continue;
        };
        equal.extend(alike.iter().map(|(id, _)| *id));
        if !joined(first, last) {
            problems.push(Problem::EqualVersions {
                versions: alike.iter().map(|(id, _)| (*id).clone()).collect(),
                named_by: alike.iter().map(|(_, by)| by.clone()).collect(),
            });
        }
    }
    equal
}

/// Checks that the migrations of each workflow end at its newest version or at
/// versions whose processes are declared to stay.
pub(crate) fn ends(
    graph: &Graph<'_>,
    unclear: &BTreeSet<&str>,
    equal: &BTreeSet<&WorkflowId>,
    registered: &[VersionRegistration],
    problems: &mut Vec<Problem>,
) {
    let decided: BTreeSet<&WorkflowId> = registered
        .iter()
        .filter(|version| version.stays.is_some())
        .map(|version| &version.id)
        .collect();
    let reached: BTreeSet<&WorkflowId> = graph
        .by_source
        .values()
        .flatten()
        .map(|migration| migration.target())
        .collect();
    let mut by_name: BTreeMap<&str, BTreeSet<&WorkflowId>> = BTreeMap::new();
    let known = registered.iter().map(|version| &version.id);
    for version in known.chain(reached.iter().copied()) {
        if !graph.by_source.contains_key(version) {
            by_name.entry(version.name()).or_default().insert(version);
        }
    }
    let forks = graph.forked_ends();
    let fork_of = |end: &WorkflowId| forks.iter().find(|ends| ends.contains(end));
    for (name, ends) in by_name {
        let Some(newest) = ends.last().copied() else {
            continue;
        };
        let undecided = |end: &&&WorkflowId| !decided.contains(**end);
        let mut open: BTreeSet<&WorkflowId> = ends
            .iter()
            .filter(undecided)
            .filter(|end| **end != newest && !equal.contains(**end))
            // In an unclear workflow, the ends of migrations are not reported
            // again.
            .filter(|end| !(unclear.contains(name) && reached.contains(**end)))
            .filter(|end| fork_of(end).is_none())
            .copied()
            .collect();
        let gap: Vec<&WorkflowId> = ends
            .iter()
            .filter(undecided)
            .filter(|end| reached.contains(**end))
            // A fork counts as one end, because resolving it leaves one branch.
            .filter(|end| fork_of(end).is_none_or(|ends| ends.last() == Some(*end)))
            .copied()
            .collect();
        if gap.len() > 1 && !unclear.contains(name) {
            problems.push(Problem::Gap {
                name: name.to_owned(),
                ends: gap.iter().map(|id| id.version().to_owned()).collect(),
                migrations: graph
                    .by_source
                    .values()
                    .flatten()
                    .filter(|m| m.source().name() == name)
                    .map(|m| m.described())
                    .collect(),
            });
            // Filling the gap adds a migration from these ends. The last end
            // remains undecided if it is not the newest version.
            for before in &gap[..gap.len() - 1] {
                open.remove(before);
            }
        }
        for version in open {
            problems.push(Problem::Undecided {
                version: version.clone(),
                named_by: named_by(version, graph, registered),
                newest: newest.clone(),
                newest_named_by: named_by(newest, graph, registered),
            });
        }
    }
}

/// The migrations and registrations that name a version without a migration
/// from it.
fn named_by(
    version: &WorkflowId,
    graph: &Graph<'_>,
    registered: &[VersionRegistration],
) -> Vec<String> {
    let leading = graph
        .by_source
        .values()
        .flatten()
        .filter(|migration| migration.target() == version)
        .map(|migration| migration.described());
    let named = registered
        .iter()
        .filter(|registered| registered.id == *version)
        .map(|registered| registered.place.to_string());
    named.chain(leading).collect()
}

/// The definition of a version in one place.
struct Claim<'a> {
    version: &'a WorkflowId,
    state: TypeRef,
    /// The type of the workflow and its `STATE_SCHEMA_VERSION`; `None` at the end
    /// of an identity migration whose type is unknown.
    workflow: Option<(TypeRef, u32)>,
    by: String,
}

impl Claim<'_> {
    fn definition(&self) -> Definition {
        let (workflow, schema_version) = match self.workflow {
            Some((workflow, schema_version)) => (Some(workflow.name.to_owned()), schema_version),
            None => (None, 0),
        };
        Definition {
            version: self.version.clone(),
            workflow,
            state: self.state.name.to_owned(),
            schema_version,
            by: self.by.clone(),
        }
    }

    /// Whether another claim says the same, or less.
    fn covers(&self, other: &Self) -> bool {
        let own = self
            .workflow
            .map(|(workflow, schema)| (workflow.id, schema));
        let its = other
            .workflow
            .map(|(workflow, schema)| (workflow.id, schema));
        self.state.id == other.state.id && (its.is_none() || own == its)
    }
}

fn claims<'a>(
    forward: &[&'a Migration],
    back: &[&'a Migration],
    registered: &'a [VersionRegistration],
) -> BTreeMap<&'a WorkflowId, Vec<Claim<'a>>> {
    let mut claims: BTreeMap<&WorkflowId, Vec<Claim<'_>>> = BTreeMap::new();
    let mut add = |claim: Claim<'a>| claims.entry(claim.version).or_default().push(claim);
    for version in registered {
        let [workflow, state] = version.types();
        add(Claim {
            version: &version.id,
            state,
            workflow: Some((workflow, version.schema_version)),
            by: version.place.to_string(),
        });
    }
    for migration in forward.iter().chain(back).copied() {
        let own = |id: &WorkflowId, of: &WorkflowId, workflow, schema| {
            (id == of).then_some((workflow, schema))
        };
        add(Claim {
            version: migration.source(),
            state: migration.source_state,
            workflow: own(
                migration.source(),
                &migration.source_type,
                migration.source_workflow,
                migration.source_schema_version,
            ),
            by: migration.described(),
        });
        add(Claim {
            version: migration.target(),
            state: migration.target_state,
            workflow: own(
                migration.target(),
                &migration.target_type,
                migration.target_workflow,
                migration.target_schema_version(),
            ),
            by: migration.described(),
        });
    }
    claims
}

/// Checks that each version has one definition, and that versions with
/// different states have different `STATE_SCHEMA_VERSION`s.
pub(crate) fn definitions(
    forward: &[&Migration],
    back: &[&Migration],
    registered: &[VersionRegistration],
    mismatched: &BTreeSet<&WorkflowId>,
    problems: &mut Vec<Problem>,
) {
    let claims = claims(forward, back, registered);
    let mut by_schema: BTreeMap<(&str, u32), Vec<(TypeId, Definition)>> = BTreeMap::new();
    for (version, claims) in &claims {
        let mut seen: Vec<&Claim<'_>> = Vec::new();
        for claim in claims {
            if !seen.iter().any(|other| other.covers(claim)) {
                // A definition with a type replaces those without.
                seen.retain(|other| !claim.covers(other));
                seen.push(claim);
            }
        }
        if seen.len() > 1 && !mismatched.contains(version) {
            problems.push(Problem::SeveralDefinitions {
                version: (*version).clone(),
                definitions: seen.iter().map(|claim| claim.definition()).collect(),
            });
        }
        if let [one] = seen.as_slice()
            && let Some((_, schema_version)) = one.workflow
        {
            by_schema
                .entry((version.name(), schema_version))
                .or_default()
                .push((one.state.id, one.definition()));
        }
    }
    for ((_, schema_version), all) in by_schema {
        let states: BTreeSet<TypeId> = all.iter().map(|(state, _)| *state).collect();
        if states.len() > 1 {
            problems.push(Problem::SharedSchemaVersion {
                schema_version,
                definitions: all.into_iter().map(|(_, definition)| definition).collect(),
            });
        }
    }
}
