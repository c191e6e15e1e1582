//! The parts of a selection that need more than the head of a process: the predicate on
//! its state, and the failures of earlier runs.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use state_migration_core::{
    DuePage, Error, FailureClass, Hop, MigrationRegistry, Predicate, Predicates, RunId, Selection,
    StreamId, WorkflowId,
};

use crate::run::history::{self, Failure};
use crate::run::{Plan, Runs, Store};
use crate::user_code::panics::{UserCodeFailure, catch};

/// What a selection asks for beyond the heads, with the code and the runs that it names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Restrictions {
    /// Whether finished processes are excluded.
    pub(crate) in_flight: bool,
    pub(crate) predicate: Option<Arc<NamedPredicate>>,
    pub(crate) left_out: Option<Arc<LeftOut>>,
}

impl Restrictions {
    /// Looks up what a selection names.
    pub(crate) async fn of(
        selection: &Selection,
        predicates: &Predicates,
        migrations: &MigrationRegistry,
        runs: Option<&Runs>,
    ) -> Result<Self, Error> {
        let predicate = NamedPredicate::of(selection, predicates)?;
        let left_out = match selection.failures_left_out() {
            None => None,
            Some(run) => Some(LeftOut::of(run, migrations, runs).await?),
        };
        Ok(Self {
            in_flight: selection.is_in_flight(),
            predicate: predicate.map(Arc::new),
            left_out: left_out.map(Arc::new),
        })
    }
}

/// A process whose state is known, or the reason why its run is not for it.
pub(crate) enum Selected<T> {
    Yes(T),
    /// The process is finished, and the selection excludes finished processes.
    Finished,
    /// The state does not match the predicate of the selection.
    NotMatching,
}

impl<T> Selected<T> {
    pub(crate) fn and_then<U, E>(
        self,
        next: impl FnOnce(T) -> Result<U, E>,
    ) -> Result<Selected<U>, E> {
        Ok(match self {
            Self::Yes(value) => Selected::Yes(next(value)?),
            Self::Finished => Selected::Finished,
            Self::NotMatching => Selected::NotMatching,
        })
    }
}

/// The predicate of a selection, for each version.
#[derive(Debug)]
pub(crate) struct NamedPredicate {
    name: String,
    of: BTreeMap<WorkflowId, Predicate>,
}

impl NamedPredicate {
    /// The predicate that a selection names.
    pub(crate) fn of(
        selection: &Selection,
        predicates: &Predicates,
    ) -> Result<Option<Self>, Error> {
        let Some(name) = selection.predicate() else {
            return Ok(None);
        };
        let Some(of) = predicates.named(name) else {
            return Err(Error::invalid(format!(
                "the predicate {name:?} is not registered with this runner ({}); correct the name, or register the predicate",
                predicates.known()
            )));
        };
        Ok(Some(Self {
            name: name.to_owned(),
            of: of.clone(),
        }))
    }

    /// Whether a process at this version matches, by its state. Runs user code.
    pub(crate) fn matches(
        &self,
        at: &WorkflowId,
        state: &(dyn Any + Send),
    ) -> Result<bool, UserCodeFailure> {
        let Some(predicate) = self.of.get(at) else {
            return Ok(false);
        };
        let failed = |class, what: &str| UserCodeFailure {
            class,
            message: format!("the predicate {}: {what}", self.name),
        };
        match catch(|| predicate.holds(state)) {
            Ok(Some(matches)) => Ok(matches),
            Ok(None) => Err(failed(
                FailureClass::UnreadableState,
                "the migration has another type of state",
            )),
            Err(panic) => Err(failed(panic.class, &panic.message)),
        }
    }
}

/// The failures of earlier runs that a run leaves out.
///
/// A process is left out while its migration is the same code that failed: the same
/// route, with the same fingerprints.
#[derive(Debug)]
pub(crate) struct LeftOut {
    earlier: Vec<EarlierRun>,
    /// The routes of this program.
    now: BTreeMap<WorkflowId, Vec<Hop>>,
}

#[derive(Debug)]
struct EarlierRun {
    id: RunId,
    /// Its plans, of which one was executed when a process failed.
    plans: Vec<Plan>,
}

impl LeftOut {
    async fn of(
        run: RunId,
        migrations: &MigrationRegistry,
        runs: Option<&Runs>,
    ) -> Result<Self, Error> {
        let Some(runs) = runs else {
            return Err(Error::invalid(
                "the stores keep no record of runs, so the failures of a run cannot be left out; select other processes",
            ));
        };
        let mut earlier: Vec<EarlierRun> = Vec::new();
        let mut next = Some(run);
        while let Some(id) = next {
            let Some(record) = runs.get(id).await? else {
                return Err(Error::invalid(format!(
                    "run {id}, whose failures are to be left out, is not in the store; check the id in the list of runs"
                )));
            };
            let executions = runs.executions(id).await?;
            let later = executions.into_iter().filter_map(|it| it.plan);
            // A run without failures of its own may have left out those of others.
            next = record.plan.selection.failures_left_out();
            next = next.filter(|next| earlier.iter().all(|earlier| earlier.id != *next));
            let plans = std::iter::once(record.plan).chain(later).collect();
            earlier.push(EarlierRun { id, plans });
        }
        let routes = migrations.routes();
        Ok(Self {
            earlier,
            now: routes
                .map(|route| (route.source().clone(), route.baseline_hops()))
                .collect(),
        })
    }

    /// The processes of a page that are left out.
    pub(crate) async fn of_page(
        &self,
        store: &Store,
        page: &DuePage,
    ) -> Result<BTreeSet<StreamId>, Error> {
        let mut left_out = BTreeSet::new();
        let (Some(first), Some(last)) = (page.processes.first(), page.processes.last()) else {
            return Ok(left_out);
        };
        let before = state_migration_core::selection::before(first.stream.as_str());
        let at: BTreeMap<&StreamId, Option<&WorkflowId>> = page
            .processes
            .iter()
            .map(|process| {
                let head = process.head.as_ref();
                (&process.stream, head.map(|head| &head.workflow_id))
            })
            .collect();
        for run in &self.earlier {
            let through = Some(&last.stream);
            let failures =
                history::failures(store, run.id, &[], before.as_ref(), through, usize::MAX);
            for failure in failures.await? {
                if let Some(stream) = failure.stream()
                    && let Some(at) = at.get(stream)
                    && self.applies(run, &failure, *at)
                {
                    left_out.insert(stream.clone());
                }
            }
        }
        Ok(left_out)
    }

    /// Whether a process at this version is left out.
    pub(crate) async fn has(
        &self,
        runs: &Runs,
        stream: &StreamId,
        at: &WorkflowId,
    ) -> Result<bool, Error> {
        for run in &self.earlier {
            if let Some(failure) = runs.failure(run.id, stream).await?
                && self.applies(run, &failure, Some(at))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the code that failed is the code of now, for a process at this version.
    fn applies(&self, run: &EarlierRun, failure: &Failure, at: Option<&WorkflowId>) -> bool {
        let Some(failed_at) = &failure.at else {
            // The head could not be read, whatever the code.
            return at.is_none();
        };
        let now = self.now.get(failed_at);
        let route = |plan: &Plan| {
            let mut routes = plan.routes.iter();
            let route = routes.find(|route| route.from == *failed_at);
            route.map(|route| &route.hops) == now
        };
        at.is_none_or(|at| at == failed_at) && run.plans.iter().all(route)
    }
}
