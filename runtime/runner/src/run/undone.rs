//! The routes that were undone. No run takes them again with the same code.
//!
//! The claim of an undo closes the routes of the run that it undoes. Otherwise the next
//! run, or a service that migrates as it opens, would move everything again. An undo of
//! selected processes closes them for the processes that it took back, whose heads say so;
//! an undo of all processes closes them for every process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use state_migration_core::store_api::row;
use state_migration_core::{Error, ErrorKind, EventStore, Head, Hop, RowWrite, RunId, WorkflowId};

use crate::run::{Plan, PlannedRoute, RunKind, RunRecord, Runs, Store, rows, run_log};

/// The undone routes from one version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoneRow {
    routes: Vec<UndoneRoute>,
}

/// A route that was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UndoneRoute {
    hops: Vec<Hop>,
    /// The run that was undone.
    of: RunId,
    /// The undo that closed the route.
    by: RunId,
    /// Whether it is closed only for processes that were undone.
    partial: bool,
}

/// The row of a version as it is stored.
type Stored = (UndoneRow, Option<Bytes>);

async fn read(store: &Store, from: &WorkflowId) -> Result<Stored, Error> {
    let held = run_log::row(store, &rows::undone(from)).await?;
    let row = match &held {
        Some(held) => row::read(held.clone(), format_args!("the undone routes from {from}"))?,
        None => UndoneRow::default(),
    };
    Ok((row, held))
}

impl UndoneRow {
    /// The undone route with which the hops begin, if any: one that is closed for every
    /// process before one that is closed for some.
    fn closes(&self, hops: &[Hop]) -> Option<&UndoneRoute> {
        let routes = self.routes.iter();
        routes
            .filter(|undone| hops.starts_with(&undone.hops))
            .min_by_key(|undone| undone.partial)
    }

    /// The write of what is left of the row that is held.
    fn replacing(&self, key: Vec<u8>, held: Bytes) -> Result<RowWrite, Error> {
        let write = match self.routes.is_empty() {
            true => RowWrite::remove(key),
            false => RowWrite::put(key, row::write(self)?),
        };
        Ok(write.expecting(Some(held)))
    }
}

/// The writes that close the routes of a run with each code that its states come from:
/// that of the run, and that of a redo of it. The undo is `by`, with the selection of
/// `plan`.
pub(crate) async fn close(
    store: &Store,
    runs: &Runs,
    record: &RunRecord,
    (by, plan): (RunId, &Plan),
) -> Result<Vec<RowWrite>, Error> {
    let mut plans = Vec::new();
    for run in runs.list().await? {
        let is_redo = run.kind == RunKind::Redo { of: record.id };
        if is_redo || run.id == record.id {
            let executions = runs.executions(run.id).await?.into_iter();
            plans.push(run.plan);
            plans.extend(executions.filter_map(|execution| execution.plan));
        }
    }
    let is_selected = |route: &&PlannedRoute| {
        let name = route.from.name();
        plan.selection.selects_workflow(name) && record.plan.selection.selects_workflow(name)
    };
    let mut routes: BTreeMap<&WorkflowId, Vec<&PlannedRoute>> = BTreeMap::new();
    for plan in &plans {
        for route in plan.routes.iter().filter(is_selected) {
            routes.entry(&route.from).or_default().push(route);
        }
    }
    let mut writes = Vec::new();
    for (from, routes) in routes {
        let (mut row, held) = read(store, from).await?;
        let before = row.clone();
        for route in routes {
            let partial = plan.selection.leaves_out();
            let closed = row.closes(&route.hops);
            if closed.is_none_or(|closed| closed.partial && !partial) {
                row.routes.push(UndoneRoute {
                    hops: route.hops.clone(),
                    of: record.id,
                    by,
                    partial,
                });
            }
        }
        if row != before {
            let write = RowWrite::put(rows::undone(from), row::write(&row)?);
            writes.push(write.expecting(held));
        }
    }
    Ok(writes)
}

/// The writes that open the routes of a plan again.
pub(crate) async fn reopen(store: &Store, plan: &Plan) -> Result<Vec<RowWrite>, Error> {
    let mut writes = Vec::new();
    for route in &plan.routes {
        let (mut row, held) = read(store, &route.from).await?;
        row.routes
            .retain(|undone| !route.hops.starts_with(&undone.hops));
        let Some(held) = held else { continue };
        writes.push(row.replacing(rows::undone(&route.from), held)?);
    }
    Ok(writes)
}

/// The writes that open the routes again which an undo has closed.
pub(crate) async fn reopen_after(store: &Store, by: RunId) -> Result<Vec<RowWrite>, Error> {
    let runs = Runs::of(store as &dyn EventStore);
    let found = match runs {
        Some(runs) => runs.all_rows(rows::UNDONE).await?,
        None => Vec::new(),
    };
    let mut writes = Vec::new();
    for (key, held) in found {
        let mut row: UndoneRow = row::read(held.clone(), "the undone routes from a version")?;
        let before = row.routes.len();
        row.routes.retain(|undone| undone.by != by);
        if row.routes.len() == before {
            continue;
        }
        writes.push(row.replacing(key.to_vec(), held)?);
    }
    Ok(writes)
}

/// The undone routes of a plan that are closed for some processes.
#[derive(Debug, Default)]
pub(crate) struct ClosedForSome {
    /// The versions whose undone processes stay there.
    pub(crate) versions: Arc<BTreeSet<WorkflowId>>,
    /// What was read, to check that it is the same at the commit.
    pub(crate) guards: Vec<(Vec<u8>, Option<Bytes>)>,
}

/// Checks that no route of a plan was undone, with the same code, for all processes.
///
/// # Errors
/// [`ErrorKind::Undone`]: a route was undone; or the store could not be read.
pub(crate) async fn check(store: &Store, plan: &Plan) -> Result<ClosedForSome, Error> {
    let (mut versions, mut guards) = (BTreeSet::new(), Vec::new());
    for route in &plan.routes {
        let (row, held) = read(store, &route.from).await?;
        match row.closes(&route.hops) {
            Some(closed) if !closed.partial => return Err(closed.error(route)),
            Some(_) => {
                versions.insert(route.from.clone());
            }
            None => {}
        }
        guards.push((rows::undone(&route.from), held));
    }
    Ok(ClosedForSome {
        versions: Arc::new(versions),
        guards,
    })
}

/// Checks the same for a process with this head, which has this route. Returns the guard for its commit.
pub(crate) async fn check_one(
    store: &Store,
    route: Option<&PlannedRoute>,
    head: &Head,
) -> Result<(Vec<u8>, Option<Bytes>), Error> {
    let at = &head.workflow_id;
    let (row, held) = read(store, at).await?;
    if let Some(route) = route
        && let Some(closed) = row.closes(&route.hops)
        && (head.undone || !closed.partial)
    {
        return Err(closed.error(route));
    }
    Ok((rows::undone(at), held))
}

impl UndoneRoute {
    fn error(&self, route: &PlannedRoute) -> Error {
        let to: Vec<&str> = self.hops.iter().map(|hop| hop.to.as_str()).collect();
        let (from, to, of) = (&route.from, to.join(" -> "), self.of);
        Error::new(
            ErrorKind::Undone { run: of },
            format!(
                "the migrations {from} -> {to} are those of run {of}, which was undone; correct them, select other workflows, or allow them (`--again` of `run`, `again` in code)"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use state_migration_core::Fingerprint;

    use super::*;

    fn hops(codes: &[u64]) -> Vec<Hop> {
        let hop = |code: &u64| Hop {
            to: "2".to_owned(),
            code: Fingerprint::new(*code),
        };
        codes.iter().map(hop).collect()
    }

    #[test]
    fn a_route_is_closed_until_its_code_changes() {
        let route = |codes: &[u64], partial| UndoneRoute {
            hops: hops(codes),
            of: RunId::random(),
            by: RunId::random(),
            partial,
        };
        let mut row = UndoneRow {
            routes: vec![route(&[1, 2], true)],
        };
        let closes =
            |row: &UndoneRow, codes: &[u64]| row.closes(&hops(codes)).map(|closed| closed.partial);
        assert_eq!(closes(&row, &[1, 2]), Some(true));
        row.routes.push(route(&[1, 2], false));
        assert_eq!(closes(&row, &[1, 2]), Some(false), "for all processes");
        assert_eq!(closes(&row, &[1, 2, 3]), Some(false), "a later version");
        assert_eq!(closes(&row, &[1, 3]), None, "corrected");
        assert_eq!(closes(&row, &[1]), None);
    }
}
