//! The plan of a run, with a fingerprint that identifies it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use state_migration_core::{
    Fingerprint, Hop, Migration, MigrationRegistry, Predicates, Route, RunId, Selection, WorkflowId,
};

/// The route of the processes at one version: part of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedRoute {
    /// The version that the processes are at.
    pub from: WorkflowId,
    /// The versions of the route, each with the fingerprint of its code.
    pub hops: Vec<Hop>,
}

impl PlannedRoute {
    pub(crate) fn of(route: &Route) -> Self {
        Self {
            from: route.source().clone(),
            hops: route.baseline_hops(),
        }
    }
}

/// A migration that a plan may apply: part of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedStep {
    /// The source version.
    pub from: WorkflowId,
    /// The target version.
    pub to: WorkflowId,
    /// The fingerprint of the migration code.
    pub code: Fingerprint,
    /// The function, with its file, line and package. For a handwritten migration, the
    /// type.
    pub by: String,
    /// The note of the migration's author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whether the fingerprint covers the code that the function calls, by the key
    /// `covers`. `None` for a handwritten migration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers_calls: Option<bool>,
}

impl PlannedStep {
    fn of(migration: &Migration) -> Self {
        Self {
            from: migration.source().clone(),
            to: migration.target().clone(),
            code: migration.fingerprint(),
            by: migration.place().to_string(),
            note: migration.note().map(ToOwned::to_owned),
            covers_calls: migration.covers_calls(),
        }
    }
}

impl fmt::Display for PlannedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (&self.from, self.to.version());
        write!(f, "{from}->{to} by {}, fingerprint {}", self.by, self.code)?;
        match &self.note {
            Some(note) => write!(f, ": {note}"),
            None => Ok(()),
        }
    }
}

/// A version that processes deliberately stay at: part of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PinnedVersion {
    /// The version.
    pub at: WorkflowId,
    /// The declared reason.
    pub reason: String,
}

impl fmt::Display for PinnedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stays: {}", self.at, self.reason)
    }
}

/// The code of a predicate for one version: part of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedPredicate {
    /// The version whose states the predicate reads.
    pub at: WorkflowId,
    /// The fingerprint of its code.
    pub code: Fingerprint,
}

/// What a run does with the snapshots of processes.
///
/// A snapshot is the state that earlier code folded. If `apply` was corrected since, the
/// snapshot and the events give different states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotUse {
    /// A fold starts from a snapshot where that saves much reading.
    #[default]
    Start,
    /// All states are folded from the events.
    Ignore,
    /// All states are folded from the events, and a process fails if its snapshot gives
    /// another state: [`FailureClass::SnapshotDiffers`]. Not of processes that are too
    /// large for a chunk, which are folded from the events in any case.
    ///
    /// [`FailureClass::SnapshotDiffers`]: state_migration_core::FailureClass::SnapshotDiffers
    Compare,
}

impl SnapshotUse {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What differs from the default, for people.
    #[doc(hidden)]
    #[must_use]
    pub fn described(self) -> Option<&'static str> {
        match self {
            Self::Start => None,
            Self::Ignore => Some("ignore snapshots"),
            Self::Compare => Some("compare snapshots"),
        }
    }
}

impl fmt::Display for SnapshotUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Ignore => "ignore",
            Self::Compare => "compare",
        })
    }
}

/// Options that affect how a run treats a process: part of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlanOptions {
    /// Whether processes that are up to date are counted too.
    #[serde(rename = "count_all")]
    pub count_up_to_date: bool,
    /// Whether user code runs twice on every process, to check that it is
    /// deterministic.
    pub check_determinism: bool,
    /// Timeout of user code for one process, in milliseconds.
    pub deadline_ms: u64,
    /// What the run does with snapshots.
    #[serde(default, skip_serializing_if = "SnapshotUse::is_default")]
    pub snapshots: SnapshotUse,
}

/// The plan of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// A hash of selection, routes and options, whatever the store. Plans with the same
    /// fingerprint treat each process in the same way.
    pub fingerprint: Fingerprint,
    /// The processes that the run is for.
    pub selection: Selection,
    /// The routes, sorted by source version.
    pub routes: Vec<PlannedRoute>,
    /// The options of the run.
    pub options: PlanOptions,
    /// The predicate of the selection: its code for each version, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predicate: Vec<PlannedPredicate>,
    /// The migrations of the routes, sorted, without duplicates. Empty in the record of
    /// a run from before steps were recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<PlannedStep>,
    /// The versions that processes deliberately stay at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<PinnedVersion>,
}

impl Plan {
    pub(crate) fn new(
        migrations: &MigrationRegistry,
        selection: &Selection,
        predicates: &Predicates,
        options: PlanOptions,
    ) -> Self {
        let named = selection.predicate().and_then(|it| predicates.named(it));
        let predicate = named.into_iter().flatten();
        let mut routes: Vec<PlannedRoute> = migrations
            .routes()
            .filter(|route| selection.selects_workflow(route.source().name()))
            .map(|route| PlannedRoute::of(&route))
            .collect();
        routes.sort_by(|a, b| a.from.cmp(&b.from));
        let mut plan = Self {
            fingerprint: Fingerprint::default(),
            selection: selection.clone(),
            routes,
            options,
            predicate: predicate
                .filter(|(at, _)| selection.selects_workflow(at.name()))
                .map(|(at, predicate)| PlannedPredicate {
                    at: at.clone(),
                    code: predicate.code(),
                })
                .collect(),
            steps: Vec::new(),
            stays: Vec::new(),
        };
        // The hashed text has 0 as its fingerprint, which is part of the format, and
        // omits what has no effect, such as the line of a function.
        let text = serde_json::to_vec(&plan).unwrap_or_default();
        plan.fingerprint = Fingerprint::of_bytes(&text);
        let selects = |id: &WorkflowId| selection.selects_workflow(id.name());
        plan.steps = migrations
            .migrations()
            .iter()
            .filter(|migration| selects(migration.source()))
            .map(PlannedStep::of)
            .collect();
        plan.stays = migrations
            .versions()
            .filter(|id| selects(id))
            .filter_map(|id| Some((id, migrations.stays(id)?)))
            .map(|(at, reason)| PinnedVersion {
                at: at.clone(),
                reason: reason.to_owned(),
            })
            .collect();
        plan
    }

    /// The route from a version.
    pub(crate) fn route_from(&self, version: &WorkflowId) -> Option<&PlannedRoute> {
        self.routes.iter().find(|route| route.from == *version)
    }

    /// The fingerprint of each step in the routes.
    fn codes(&self) -> BTreeMap<(WorkflowId, WorkflowId), Fingerprint> {
        let mut codes = BTreeMap::new();
        for route in &self.routes {
            let mut from = route.from.clone();
            for hop in &route.hops {
                let to = WorkflowId::new(from.name().to_owned(), hop.to.clone());
                codes.insert((from, to.clone()), hop.code);
                from = to;
            }
        }
        codes
    }

    /// The steps whose fingerprint differs in the plan of an earlier run. Code without
    /// a fingerprint cannot be compared.
    pub(crate) fn changed_since(&self, run: RunId, earlier: &Self) -> Vec<ChangedStep> {
        let then = earlier.codes();
        let known = |code: Fingerprint| code != Fingerprint::default();
        let changed = self.codes().into_iter().filter_map(|((from, to), now)| {
            let key = (from, to);
            let was = *then.get(&key)?;
            (was != now && known(was) && known(now)).then(|| {
                let by = |plan: &Self| {
                    let mut steps = plan.steps.iter();
                    steps
                        .find(|step| (&step.from, &step.to) == (&key.0, &key.1))
                        .map(|step| step.by.clone())
                };
                ChangedStep {
                    by: by(self).or_else(|| by(earlier)).unwrap_or_default(),
                    from: key.0.clone(),
                    to: key.1.clone(),
                    run,
                    was,
                    now,
                }
            })
        });
        changed.collect()
    }
}

impl fmt::Display for Plan {
    /// Writes a line for each step, with its note, and for each version that processes
    /// stay at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plan {}: {}", self.fingerprint, self.selection)?;
        for step in &self.steps {
            write!(f, "\n  {step}")?;
        }
        if self.steps.is_empty() {
            for ((from, to), code) in self.codes() {
                write!(f, "\n  {from}->{}, fingerprint {code}", to.version())?;
            }
        }
        for PlannedPredicate { at, code } in &self.predicate {
            write!(f, "\n  predicate for {at}, fingerprint {code}")?;
        }
        for stay in &self.stays {
            write!(f, "\n  {stay}")?;
        }
        Ok(())
    }
}

/// A migration that was edited after a run had applied it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangedStep {
    /// The source version.
    pub from: WorkflowId,
    /// The target version.
    pub to: WorkflowId,
    /// The last run whose plan had the earlier code.
    pub run: RunId,
    /// The fingerprint in that run.
    pub was: Fingerprint,
    /// The fingerprint in the current plan.
    pub now: Fingerprint,
    /// The function, with its file, line and package.
    pub by: String,
}

impl fmt::Display for ChangedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to, was, now) = (&self.from, &self.to, self.was, self.now);
        write!(
            f,
            "{from}->{} by {} was edited after run {} had used it (fingerprint {was} then, {now} now); if the edit changes no state, add `unchanged = \"{was} = {now}\"` to the attribute; otherwise revert it, or correct the states that the run migrated in a migration from {to}",
            to.version(),
            self.by,
            self.run,
        )
    }
}

/// Keeps the last run for each step and each earlier fingerprint.
pub(crate) fn last_of_each(changed: Vec<ChangedStep>) -> Vec<ChangedStep> {
    let mut seen = BTreeSet::new();
    let mut last: Vec<ChangedStep> = changed
        .into_iter()
        .rev()
        .filter(|step| seen.insert((step.from.clone(), step.to.clone(), step.was)))
        .collect();
    last.reverse();
    last
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options() -> PlanOptions {
        PlanOptions {
            count_up_to_date: false,
            check_determinism: false,
            deadline_ms: 10_000,
            snapshots: SnapshotUse::Start,
        }
    }

    #[test]
    fn the_fingerprint_of_a_plan_changes_with_each_of_its_parts() {
        let plan = Plan {
            fingerprint: Fingerprint::default(),
            selection: Selection::all(),
            routes: vec![PlannedRoute {
                from: WorkflowId::from_static("loan", "1"),
                hops: vec![Hop {
                    to: "2".into(),
                    code: Fingerprint::new(3),
                }],
            }],
            options: options(),
            predicate: Vec::new(),
            steps: Vec::new(),
            stays: Vec::new(),
        };
        let of = |plan: &Plan| Fingerprint::of_bytes(&serde_json::to_vec(plan).unwrap());
        // Stores contain this text, and every release must compute the same hash.
        assert_eq!(
            serde_json::to_string(&plan).unwrap(),
            r#"{"fingerprint":"0000000000000000","selection":{"workflows":null,"tenants":null,"prefix":null,"streams":null,"first":null,"share":null,"in_flight":false},"routes":[{"from":{"name":"loan","version":"1"},"hops":[{"to":"2","code":"0000000000000003"}]}],"options":{"count_all":false,"check_determinism":false,"deadline_ms":10000}}"#
        );
        let base = of(&plan);
        let mut other = plan.clone();
        other.selection = Selection::all().percent(5.0);
        assert_ne!(of(&other), base);
        let mut other = plan.clone();
        other.routes[0].hops[0].code = Fingerprint::new(4);
        assert_ne!(of(&other), base);
        let mut other = plan;
        other.options.check_determinism = true;
        assert_ne!(of(&other), base);
    }

    fn planned(code: u64, steps: Vec<PlannedStep>) -> Plan {
        let hop = |to: &str, code| Hop {
            to: to.into(),
            code: Fingerprint::new(code),
        };
        Plan {
            fingerprint: Fingerprint::new(1),
            selection: Selection::all(),
            routes: vec![PlannedRoute {
                from: WorkflowId::from_static("loan", "1"),
                hops: vec![hop("2", 3), hop("3", code)],
            }],
            options: options(),
            predicate: Vec::new(),
            steps,
            stays: Vec::new(),
        }
    }

    fn step() -> PlannedStep {
        PlannedStep {
            from: WorkflowId::from_static("loan", "2"),
            to: WorkflowId::from_static("loan", "3"),
            code: Fingerprint::new(5),
            by: "bank::v2_to_v3 (src/lib.rs:7 in package bank)".into(),
            note: Some("rounds up".into()),
            covers_calls: Some(false),
        }
    }

    #[test]
    fn a_step_on_disk_is_this_and_may_be_missing() {
        let plan = planned(5, vec![step()]);
        let text = serde_json::to_string(&plan).unwrap();
        let steps = r#","steps":[{"from":{"name":"loan","version":"2"},"to":{"name":"loan","version":"3"},"code":"0000000000000005","by":"bank::v2_to_v3 (src/lib.rs:7 in package bank)","note":"rounds up","covers_calls":false}]}"#;
        assert!(text.ends_with(steps), "{text}");
        let without = text.replace(steps, "}");
        let read: Plan = serde_json::from_str(&without).unwrap();
        assert_eq!(read, planned(5, Vec::new()));
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn a_plan_shows_its_steps_with_their_notes() {
        let mut plan = planned(5, vec![step()]);
        plan.stays.push(PinnedVersion {
            at: WorkflowId::from_static("loan", "9"),
            reason: "over by May".into(),
        });
        let selection = plan.selection.to_string();
        assert_eq!(
            plan.to_string(),
            format!(
                "plan 0000000000000001: {selection}\n  loan@2->3 by bank::v2_to_v3 (src/lib.rs:7 in package bank), fingerprint 0000000000000005: rounds up\n  loan@9 stays: over by May"
            )
        );
        assert_eq!(
            planned(5, Vec::new()).to_string(),
            format!(
                "plan 0000000000000001: {selection}\n  loan@1->2, fingerprint 0000000000000003\n  loan@2->3, fingerprint 0000000000000005"
            )
        );
    }

    #[test]
    fn a_step_with_another_code_than_in_an_earlier_run_is_changed() {
        let run = RunId::random();
        let changed = planned(5, vec![step()]).changed_since(run, &planned(4, Vec::new()));
        let [changed] = changed.as_slice() else {
            unreachable!("{changed:?}");
        };
        assert_eq!(
            changed.to_string(),
            format!(
                "loan@2->3 by bank::v2_to_v3 (src/lib.rs:7 in package bank) was edited after run {run} had used it (fingerprint 0000000000000004 then, 0000000000000005 now); if the edit changes no state, add `unchanged = \"0000000000000004 = 0000000000000005\"` to the attribute; otherwise revert it, or correct the states that the run migrated in a migration from loan@3"
            )
        );
        // The same code, and code without a fingerprint.
        for (now, then) in [(5, 5), (0, 5), (5, 0)] {
            let now = planned(now, Vec::new());
            assert_eq!(now.changed_since(run, &planned(then, Vec::new())), []);
        }
    }

    #[test]
    fn of_each_code_that_a_step_had_the_last_run_is_named() {
        let runs: Vec<RunId> = (0..4).map(|_| RunId::random()).collect();
        let now = planned(5, vec![step()]);
        let changed = [4, 6, 4, 5].iter().zip(&runs);
        let changed =
            changed.flat_map(|(code, run)| now.changed_since(*run, &planned(*code, Vec::new())));
        let named: Vec<(RunId, u64)> = last_of_each(changed.collect())
            .iter()
            .map(|step| (step.run, step.was.get()))
            .collect();
        assert_eq!(named, [(runs[1], 6), (runs[2], 4)]);
    }
}
