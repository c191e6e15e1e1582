//! The runner behind a control socket, with its types erased, and its current run.
//!
//! The run is in a task that belongs to no client, so no client can end it by leaving.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::BoxStream;
use state_migration_core::Error;
use state_migration_core::store_api::claim::interrupted_by;
use state_migration_runner::forecast::Versions;
use state_migration_runner::forecast::linked::Linked;
use state_migration_runner::forecast::program_fit::{refused_resume, refused_run};
use state_migration_runner::options::{RunOptions, RunRequest};
use state_migration_runner::run::{Confirmation, Unconfirmed};
use state_migration_runner::run_service::RunService;
use state_migration_runner::{MigrationReport, Plan, Progress, RunControl, Runs};
use tokio::sync::watch;

use crate::protocol::{self, ForecastRequest, PlanRequest, Planned, Problem, ProblemKind};

/// A runner controlled by clients.
pub(crate) struct Service {
    runner: Arc<dyn RunService>,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    run: Option<Ended>,
    /// Whether the service ends, so that no run begins.
    is_closing: bool,
}

/// Receives the report of a run that was started through the socket.
pub(crate) type Ended = watch::Receiver<Option<Arc<MigrationReport>>>;

impl Service {
    pub(crate) fn new(runner: Arc<dyn RunService>) -> Self {
        Self {
            runner,
            current: Mutex::default(),
        }
    }

    pub(crate) fn control(&self) -> RunControl {
        self.runner.control()
    }

    /// The last run started through the socket, if it has not ended.
    pub(crate) fn current(&self) -> Option<Ended> {
        let run = self.lock().run.clone();
        run.filter(|ended| ended.borrow().is_none())
    }

    /// Lets no further run begin. Returns the run in progress.
    pub(crate) fn close(&self) -> Option<Ended> {
        self.lock().is_closing = true;
        self.current()
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a run, with a new rate limit if one is requested. Refused while another run is in progress.
    pub(crate) fn begin(
        &self,
        options: RunOptions,
        request: RunRequest,
        per_second: Option<Option<NonZeroU32>>,
    ) -> Result<(Ended, BoxStream<'static, Progress>), Problem> {
        let mut current = self.lock();
        if current.is_closing {
            let problem =
                "the service is about to end; start the run after the service has restarted";
            return Err(Problem::new(ProblemKind::Service, problem));
        }
        self.check_idle()?;
        let control = self.control();
        // From here on the run counts as in progress, before its first step.
        let guard = control.begin();
        control.forget();
        let watch = control.watch();
        // Set before the first process.
        if let Some(per_second) = per_second {
            control.throttle_next(per_second);
        }
        let (sender, ended) = watch::channel(None);
        let runner = self.runner.clone();
        tokio::spawn(async move {
            let report = runner.start(options, request).await;
            sender.send_replace(Some(Arc::new(report)));
            drop(guard);
        });
        current.run = Some(ended.clone());
        Ok((ended, watch))
    }

    /// Refuses to start a run while another one is in progress.
    pub(crate) fn check_idle(&self) -> Result<(), Problem> {
        let control = self.control();
        match control.is_in_progress() {
            true => Err(in_progress(&control)),
            false => Ok(()),
        }
    }

    /// Refuses to start a run while an interrupted run has claimed the store, unless
    /// the store is to be taken over.
    pub(crate) async fn check_claim(
        &self,
        options: &RunOptions,
        request: &RunRequest,
    ) -> Result<(), Problem> {
        let again = match request {
            request if request.is_dry() => return Ok(()),
            _ if options.take_over => return Ok(()),
            RunRequest::Resume(run) => Some(*run),
            _ => None,
        };
        let Some(runs) = self.runner.runs() else {
            return Ok(());
        };
        let interrupted = runs.interrupted().await.map_err(unreadable)?;
        match interrupted.filter(|run| Some(*run) != again) {
            None => Ok(()),
            Some(run) => {
                Err(Problem::new(ProblemKind::Interrupted, interrupted_by(run)).about(Some(run)))
            }
        }
    }

    /// Refuses to start a run over a store that a newer program has migrated, unless that
    /// is allowed.
    pub(crate) async fn check_program(
        &self,
        request: &RunRequest,
        allow_newer: bool,
    ) -> Result<(), Problem> {
        let newer = self.runner.newer_than_program().await;
        let newer = newer.map_err(unreadable)?.filter(|_| !allow_newer);
        let Some(newer) = newer else {
            return Ok(());
        };
        let (message, run) = match request {
            RunRequest::Resume(run) => (refused_resume(&newer), Some(*run)),
            _ => (refused_run(&newer), None),
        };
        Err(Problem::new(ProblemKind::OlderProgram, message).about(run))
    }

    /// The options of a requested run.
    pub(crate) fn run_options(&self, run: &protocol::Run) -> RunOptions {
        let mut options = self.options_for(&run.which);
        if let Some(actor) = &run.actor {
            options.actor.clone_from(actor);
        }
        options.reason.clone_from(&run.reason);
        options.take_over |= run.take_over;
        options.again |= run.again;
        options.max_failures = run.max_failures.or(options.max_failures);
        options.check_heads = true;
        options
    }

    pub(crate) fn options_for(&self, which: &PlanRequest) -> RunOptions {
        let mut options = self.runner.run_options();
        if let Some(selection) = &which.selection {
            options.selection = Arc::new(selection.clone());
        }
        options.count_up_to_date = which.count_all.unwrap_or(options.count_up_to_date);
        options.check_determinism = which.check_determinism.or(options.check_determinism);
        options.snapshots = which.snapshots.or(options.snapshots);
        if let Some(deadline) = which.deadline_ms {
            options.deadline = Some(Duration::from_millis(deadline.get()));
        }
        options
    }

    pub(crate) fn plan(&self, options: &RunOptions) -> Result<Plan, Problem> {
        let plan = self.runner.plan_for(options);
        plan.map_err(|error| Problem::new(ProblemKind::Service, error.to_string()))
    }

    pub(crate) async fn planned(&self, request: &ForecastRequest) -> Result<Planned, Problem> {
        let options = self.options_for(&request.which);
        options.check_predicate().map_err(unreadable)?;
        let plan = self.plan(&options)?;
        let standing = self.runner.control().throttled();
        let throttle = request.per_second.unwrap_or(standing);
        let forecast = self
            .runner
            .forecast(&options, &plan, throttle, request.sample);
        let forecast = forecast.await.map_err(unreadable)?;
        let store_id = self.runner.store().await.map_err(unreadable)?;
        Ok(Planned {
            confirmation: plan.confirmation(store_id),
            store_id,
            plan,
            forecast: protocol::forecast(forecast),
        })
    }

    pub(crate) async fn versions(&self, by_tenant: bool) -> Result<Versions, Problem> {
        self.runner.versions(by_tenant).await.map_err(unreadable)
    }

    pub(crate) fn linked(&self) -> Result<Linked, Problem> {
        let linked = self.runner.linked();
        linked.map_err(|error| Problem::new(ProblemKind::Service, error.to_string()))
    }

    /// Checks that the selection has a known predicate, and that a confirmed plan is the
    /// plan as it is now, for this store.
    pub(crate) async fn check_plan(
        &self,
        confirmed: Option<&Confirmation>,
        options: &RunOptions,
    ) -> Result<(), Problem> {
        options.check_predicate().map_err(unreadable)?;
        let Some(confirmed) = confirmed else {
            return Ok(());
        };
        let store = self.runner.store().await.map_err(unreadable)?;
        let now = self.plan(options)?.confirmation(store);
        confirmed.check(&now).map_err(|unconfirmed| {
            let (kind, why) = match unconfirmed {
                Unconfirmed::AnotherStore(why) => (ProblemKind::AnotherStore, why),
                Unconfirmed::AnotherPlan(why) => (ProblemKind::AnotherPlan, why),
            };
            Problem::new(kind, format!("{why}; check the plan of this service"))
        })
    }

    pub(crate) fn runs(&self) -> Result<Runs, Problem> {
        self.runner.runs().ok_or_else(|| {
            Problem::new(
                ProblemKind::Service,
                "the stores of the service do not record runs, so there is no list of runs",
            )
        })
    }
}

pub(crate) fn unreadable(error: Error) -> Problem {
    Problem::new(ProblemKind::Service, error.to_string())
}

fn in_progress(control: &RunControl) -> Problem {
    let progress = control.progress();
    // A dry run has no record, so that its id is of no use.
    let run = progress.run.filter(|_| !progress.dry_run);
    let which = match run {
        Some(run) => format!("run {run}"),
        None if progress.rehearsal => "a rehearsal".to_owned(),
        None if progress.dry_run => "a dry run".to_owned(),
        None => "a run".to_owned(),
    };
    let (kind, message) = match control.is_paused() {
        true => (
            ProblemKind::Paused,
            format!(
                "{which} is paused in this service, which executes one run at a time; unpause or cancel that run first"
            ),
        ),
        false => (
            ProblemKind::InProgress,
            format!(
                "{which} is in progress in this service, which executes one run at a time; watch or cancel that run first"
            ),
        ),
    };
    Problem::new(kind, message).about(run)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use state_migration::{MemoryStore, MigrationRegistry, MigrationRunner};

    use super::*;

    fn service() -> Service {
        let (store, registry) = (MemoryStore::new(), MigrationRegistry::builder().build());
        let runner = MigrationRunner::new(registry.unwrap(), store.clone(), store);
        Service::new(Arc::new(runner))
    }

    fn begin(service: &Service) -> Result<Ended, Problem> {
        let begun = service.begin(RunOptions::default(), RunRequest::Run, None);
        begun.map(|(ended, _)| ended)
    }

    /// Fails if `begin` does not ask whether the service is closing: the run would
    /// continue after the service has closed.
    #[tokio::test]
    async fn no_run_begins_once_the_service_closes() {
        let service = service();
        let mut ended = begin(&service).unwrap();
        ended.wait_for(Option::is_some).await.unwrap();
        while service.control().is_in_progress() {
            tokio::task::yield_now().await;
        }
        assert!(service.close().is_none());
        let Err(problem) = begin(&service) else {
            panic!("a run began");
        };
        assert!(problem.message.starts_with("the service is about to end"));
        assert!(!service.control().is_in_progress());
    }

    #[tokio::test]
    async fn a_service_that_closes_knows_the_run_to_wait_for() {
        let service = service();
        let _ended = begin(&service).unwrap();
        // The run has not been polled yet.
        let mut current = service.close().unwrap();
        current.wait_for(Option::is_some).await.unwrap();
        assert!(service.close().is_none());
    }
}
