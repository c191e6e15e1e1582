//! State shared by the workers of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use state_migration_core::{
    Fingerprint, Head, MigrationError, MigrationRegistry, RunId, Selection, SkippedBy, StreamId,
    VersionStatus, WorkflowId,
};

use crate::control::RunControl;
use crate::limits::backpressure::Backpressure;
use crate::limits::concurrency::Concurrency;
use crate::limits::in_progress::InProgress;
use crate::observe::Observer;
use crate::restrictions::Restrictions;
use crate::run::Store;
use crate::run::suspects::{Decided, SuspectRow};
use crate::run_context::RunContext;
use crate::stages::commit::Committer;
use crate::stages::history::HistoryRun;
use crate::stages::scan::{self, Filter};
use crate::stages::{convert, due};
use crate::user_code::threads::{UserCode, never_returned};

/// Number of unusable snapshots after which a run stops looking for snapshots.
///
/// By then it is likely that the store's snapshots are not those that the linked code
/// writes, and every further read is wasted.
const BAD_SNAPSHOTS: usize = 8;

/// Processes requested per page before their size is known.
const FIRST_CHUNK: usize = 64;

/// State that every worker needs.
#[derive(Clone)]
pub(crate) struct ChunkContext {
    pub(crate) store: Store,
    /// The routes, by source version.
    pub(crate) routes: Arc<BTreeMap<WorkflowId, Arc<convert::Planned>>>,
    pub(crate) migrations: Arc<MigrationRegistry>,
    pub(crate) filter: Arc<Filter>,
    /// `None` if the run migrates.
    pub(crate) history: Option<Arc<HistoryRun>>,
    pub(crate) unlisted: scan::Unlisted,
    pub(crate) run: RunId,
    pub(crate) selection: Arc<Selection>,
    /// What the selection asks for beyond the heads.
    pub(crate) restrictions: Restrictions,
    /// Whether user code runs twice on every process.
    pub(crate) check_determinism: bool,
    pub(crate) code: UserCode,
    pub(crate) control: RunControl,
    pub(crate) observer: Observer,
    pub(crate) backpressure: Arc<Backpressure>,
    pub(crate) concurrency: Arc<Concurrency>,
    pub(crate) in_progress: InProgress,
    pub(crate) chunk_processes: usize,
    pub(crate) sizes: Arc<ProcessSizes>,
    /// The versions whose snapshots a fold may start from.
    pub(crate) snapshots: scan::Snapshots,
    pub(crate) bad_snapshots: Arc<AtomicUsize>,
    pub(crate) committer: Committer,
    /// The processes whose code ended the program, or did not return.
    pub(crate) decided: Decided,
    /// The suspects that a run with a limit has not reached yet.
    pub(crate) open_suspects: Arc<Mutex<BTreeMap<StreamId, SuspectRow>>>,
}

/// Recent average of the bytes read and written per process.
///
/// A page requests no more processes than fit into it.
#[derive(Default)]
pub(crate) struct ProcessSizes(AtomicUsize);

impl ProcessSizes {
    /// Number of processes that fit into a page.
    pub(crate) fn fit(&self) -> usize {
        match self.0.load(Ordering::Relaxed) {
            0 => FIRST_CHUNK,
            bytes => (scan::CHUNK_BYTES / bytes).max(1),
        }
    }

    /// Records that `processes` processes took `bytes` bytes.
    pub(crate) fn record(&self, processes: usize, bytes: usize) {
        let Some(now) = bytes.checked_div(processes) else {
            return;
        };
        let before = self.0.load(Ordering::Relaxed);
        let next = if before == 0 {
            now
        } else {
            before / 2 + now / 2
        };
        self.0.store(next.max(1), Ordering::Relaxed);
    }
}

impl ChunkContext {
    /// The context of a run, whose migrations are recorded under `id`. The filter
    /// selects processes at the source versions of the routes.
    pub(crate) fn new(run: &RunContext, id: RunId, store: Store) -> Self {
        let routes: BTreeMap<_, _> = run
            .migrations
            .routes()
            .filter(|route| run.selection.selects_workflow(route.source().name()))
            .map(|route| {
                let source = route.source().clone();
                (source, Arc::new(convert::Planned::new(route, id)))
            })
            .collect();
        let snapshots = routes.iter().map(|(source, planned)| {
            let first = &planned.route.hops()[0];
            (source.clone(), first.source_schema_version)
        });
        let routes = Arc::new(routes.clone());
        let history = HistoryRun::of(run, id).map(Arc::new);
        let unlisted = scan::Unlisted::default();
        let filter = Filter {
            versions: Some(routes.keys().cloned().collect()),
            routes: routes.clone(),
            migrations: run.migrations.clone(),
            selection: run.selection.clone(),
            undone: run.undone.clone(),
            history: history.clone(),
            compares: false,
            listed: None,
            unlisted: unlisted.clone(),
        };
        let committer = Committer::new(run, store.clone());
        Self {
            store,
            snapshots: match &history {
                Some(history) => scan::Snapshots {
                    whole_history: !history.erases(),
                    ..scan::Snapshots::default()
                },
                None => scan::Snapshots {
                    of: Arc::new(snapshots.collect()),
                    ..scan::Snapshots::default()
                }
                .used(run.snapshots),
            },
            bad_snapshots: Arc::default(),
            filter: Arc::new(filter),
            history,
            unlisted,
            routes,
            migrations: run.migrations.clone(),
            run: id,
            selection: run.selection.clone(),
            restrictions: run.restrictions.clone(),
            check_determinism: run.check_determinism,
            code: run.code(),
            control: run.control.clone(),
            observer: run.observer.clone(),
            backpressure: committer.backpressure.clone(),
            concurrency: Arc::new(Concurrency::new()),
            in_progress: InProgress::new(),
            chunk_processes: run.chunk_processes.clamp(1, scan::CHUNK_PROCESSES),
            sizes: Arc::default(),
            committer,
            decided: Decided::default(),
            open_suspects: Arc::default(),
        }
    }

    /// Restricts the filter to these versions; `None` removes the restriction, to count
    /// all processes.
    pub(crate) fn restrict_to(&mut self, versions: Option<BTreeSet<WorkflowId>>, compares: bool) {
        self.filter = Arc::new(Filter {
            versions,
            routes: self.routes.clone(),
            migrations: self.migrations.clone(),
            selection: self.selection.clone(),
            undone: self.filter.undone.clone(),
            history: self.history.clone(),
            compares,
            listed: None,
            unlisted: self.unlisted.clone(),
        });
    }

    /// Restricts the filter to these versions, which are those that the store lists, and
    /// notices outdated processes at other versions on the way.
    pub(crate) fn restrict_to_listed(&mut self, listed: BTreeSet<WorkflowId>) {
        let versions = listed.iter().chain(self.routes.keys()).cloned();
        self.restrict_to(Some(versions.collect()), false);
        if let Some(filter) = Arc::get_mut(&mut self.filter) {
            filter.listed = Some(listed);
        }
    }

    /// The versions with outdated processes that the store did not list.
    pub(crate) fn unlisted(&self) -> BTreeSet<WorkflowId> {
        let unlisted = self.unlisted.lock();
        unlisted.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The snapshots that a fold of this page may start from.
    pub(crate) fn snapshots(&self) -> scan::Snapshots {
        match self.bad_snapshots.load(Ordering::Relaxed) {
            0..BAD_SNAPSHOTS => self.snapshots.clone(),
            _ => self.snapshots.none(),
        }
    }

    /// The outcome of a process that has no route in this run: either it was migrated
    /// after it was found, or it failed in an earlier run because it has no route.
    pub(crate) fn without_route(
        &self,
        stream: &StreamId,
        version: &WorkflowId,
    ) -> Result<SkippedBy, MigrationError> {
        let mut skipped = SkippedBy::default();
        match self.migrations.version_status(version) {
            VersionStatus::Newest | VersionStatus::Stays => skipped.already_there = 1,
            VersionStatus::OtherWorkflow => skipped.other_workflow = 1,
            VersionStatus::Behind(_) => skipped.not_selected = 1,
            VersionStatus::NoRoute => {
                return Err(due::no_route(&self.migrations, stream.clone(), version));
            }
        }
        Ok(skipped)
    }

    /// The failure of a process whose code is not run again.
    pub(crate) fn decided(&self, stream: &StreamId, head: Option<&Head>) -> Option<MigrationError> {
        let head = head.filter(|head| self.filter.keeps(head).is_none())?;
        let code = self.code_for(&head.workflow_id)?;
        if self.code.abandoned().has(stream) {
            return Some(never_returned(stream.clone()));
        }
        self.decided.failure(stream, code)
    }

    /// The fingerprint of the code that is run on processes at a version.
    pub(crate) fn code_for(&self, version: &WorkflowId) -> Option<Fingerprint> {
        match &self.history {
            Some(history) => Some(history.code),
            None => self.routes.get(version).map(|planned| planned.code),
        }
    }

    /// The run whose failed processes are skipped: this run, where it may read the same
    /// processes again.
    pub(crate) fn failed_before(&self) -> Option<RunId> {
        let run_log = self.committer.bookkeeping.run_log()?;
        let again = self.committer.sweeps || run_log.record().executions > 1;
        again.then_some(self.run)
    }
}
