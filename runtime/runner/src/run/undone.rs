//! The routes that were undone. No run takes them again with the same code.
//!
//! The claim of an undo closes the routes of the run that it undoes. Otherwise the next
//! run, or a service that migrates as it opens, would move everything again.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use state_migration_core::store_api::row;
use state_migration_core::{Error, ErrorKind, EventStore, Hop, RowWrite, RunId, WorkflowId};

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
    /// The run that was undone, if the hops begin with those of an undone route.
    fn closes(&self, hops: &[Hop]) -> Option<RunId> {
        let mut routes = self.routes.iter();
        routes
            .find(|undone| hops.starts_with(&undone.hops))
            .map(|undone| undone.of)
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
            if row.closes(&route.hops).is_none() {
                row.routes.push(UndoneRoute {
                    hops: route.hops.clone(),
                    of: record.id,
                    by,
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

/// Checks that no route of a plan was undone with the same code.
///
/// # Errors
/// [`ErrorKind::Undone`]: a route was undone; or the store could not be read.
pub(crate) async fn check(store: &Store, plan: &Plan) -> Result<(), Error> {
    for route in &plan.routes {
        check_one(store, route).await?;
    }
    Ok(())
}

async fn check_one(store: &Store, route: &PlannedRoute) -> Result<Option<Bytes>, Error> {
    let (row, held) = read(store, &route.from).await?;
    match row.closes(&route.hops) {
        Some(of) => Err(undone(&route.from, &route.hops, of)),
        None => Ok(held),
    }
}

/// Checks the same for the processes at one version. Returns the guard for their commits.
pub(crate) async fn check_at(
    store: &Store,
    plan: &Plan,
    at: &WorkflowId,
) -> Result<(Vec<u8>, Option<Bytes>), Error> {
    let mut routes = plan.routes.iter();
    let held = match routes.find(|route| route.from == *at) {
        Some(route) => check_one(store, route).await?,
        None => None,
    };
    Ok((rows::undone(at), held))
}

fn undone(from: &WorkflowId, hops: &[Hop], of: RunId) -> Error {
    let to: Vec<&str> = hops.iter().map(|hop| hop.to.as_str()).collect();
    let to = to.join(" -> ");
    Error::new(
        ErrorKind::Undone { run: of },
        format!(
            "the route {from} -> {to} was undone (run {of}) and its code is the same; correct the migration, select other workflows, or run it with `again`"
        ),
    )
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
        let of = RunId::random();
        let row = UndoneRow {
            routes: vec![UndoneRoute {
                hops: hops(&[1, 2]),
                of,
                by: RunId::random(),
            }],
        };
        assert_eq!(row.closes(&hops(&[1, 2])), Some(of));
        assert_eq!(row.closes(&hops(&[1, 2, 3])), Some(of), "a later version");
        assert_eq!(row.closes(&hops(&[1, 3])), None, "corrected");
        assert_eq!(row.closes(&hops(&[1])), None);
    }
}
