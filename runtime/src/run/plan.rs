//! A plan: what a run is to do, with a fingerprint that tells two plans apart.

use serde::{Deserialize, Serialize};

use crate::baseline::Hop;
use crate::fingerprint::Fingerprint;
use crate::id::WorkflowId;
use crate::registry::{MigrationRegistry, Route};
use crate::selection::Selection;

/// One way that processes go: part of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedRoute {
    /// Where the processes stand.
    pub from: WorkflowId,
    /// The versions they go through, each with the fingerprint of its code.
    pub hops: Vec<Hop>,
}

impl PlannedRoute {
    fn of(route: &Route) -> Self {
        Self {
            from: route.source().clone(),
            hops: route.baseline_hops(),
        }
    }
}

/// Options that change what a run does to a process: part of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlanOptions {
    /// Whether streams that need nothing are counted too.
    pub full_count: bool,
    /// Whether user code runs twice on every process, to see that it does the same.
    pub twice: bool,
    /// How long user code may take for one process, in milliseconds.
    pub deadline_ms: u64,
}

/// What a run is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// A hash of all the rest: two plans with the same one do the same.
    pub fingerprint: Fingerprint,
    /// Which processes.
    pub selection: Selection,
    /// Which way they go, by where they stand, sorted.
    pub routes: Vec<PlannedRoute>,
    /// How.
    pub options: PlanOptions,
}

impl Plan {
    pub(crate) fn new(
        migrations: &MigrationRegistry,
        selection: &Selection,
        options: PlanOptions,
    ) -> Self {
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
        };
        // With the fingerprint at 0, which is part of the format.
        let text = serde_json::to_vec(&plan).unwrap_or_default();
        plan.fingerprint = Fingerprint::of_bytes(&text);
        plan
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options() -> PlanOptions {
        PlanOptions {
            full_count: false,
            twice: false,
            deadline_ms: 10_000,
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
        };
        let of = |plan: &Plan| Fingerprint::of_bytes(&serde_json::to_vec(plan).unwrap());
        // The text is what a store holds, and what a hash of another release
        // must come to as well.
        assert_eq!(
            serde_json::to_string(&plan).unwrap(),
            r#"{"fingerprint":"0000000000000000","selection":{"workflows":null,"tenants":null,"prefix":null,"streams":null,"first":null,"share":null,"in_flight":false},"routes":[{"from":{"name":"loan","version":"1"},"hops":[{"to":"2","code":"0000000000000003"}]}],"options":{"full_count":false,"twice":false,"deadline_ms":10000}}"#
        );
        let base = of(&plan);
        let mut other = plan.clone();
        other.selection = Selection::all().percent(5.0);
        assert_ne!(of(&other), base);
        let mut other = plan.clone();
        other.routes[0].hops[0].code = Fingerprint::new(4);
        assert_ne!(of(&other), base);
        let mut other = plan;
        other.options.twice = true;
        assert_ne!(of(&other), base);
    }
}
