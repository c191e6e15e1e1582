//! Whether the code of a version may be removed from a program.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use state_migration_core::{
    Baseline, ChunkEvent, DueFilter, DueOf, DueProcess, Error, Head, MIGRATED, SkippedBy, StreamId,
    StreamRange, Verdict, WorkflowId, baseline,
};

use crate::forecast::census::ProcessCounts;
use crate::run::{Plan, RunKind, Runs, Store};
use crate::stages::{fold, scan};

/// What needs the code of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The version.
    pub version: WorkflowId,
    /// The processes at the version.
    pub counts: ProcessCounts,
    /// Processes whose head or history cannot be read.
    pub unreadable: u64,
    /// Whether the store lists the version, so that a process may be created there.
    pub is_listed: bool,
    /// The numbers of the runs that have not ended and lead from or to the version.
    pub runs: Vec<u64>,
    /// The processes that were ever migrated from or to the version. Without its code they
    /// cannot be undone, redone or verified.
    pub history: u64,
}

impl Removal {
    /// Whether something would stop working that is not about the past.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.counts.processes + self.unreadable > 0 || !self.runs.is_empty()
    }
}

/// Processes of one workflow, with the whole history of those that were migrated.
struct OfWorkflow(String);

impl DueFilter for OfWorkflow {
    fn versions(&self) -> Option<&BTreeSet<WorkflowId>> {
        None
    }

    fn verdict(&self, _: &StreamId, head: &Head) -> Verdict {
        match (head.workflow_id.name() == self.0, head.baseline) {
            (false, _) => Verdict::Pass(SkippedBy::default()),
            (true, None) => Verdict::Head,
            (true, Some(_)) => Verdict::Due,
        }
    }
}

impl Runs {
    /// Finds out what needs the code of a version. Reads the history of every process of the
    /// workflow that was ever migrated.
    ///
    /// # Errors
    /// The store could not be read.
    #[doc(hidden)]
    pub async fn removal(&self, version: &WorkflowId) -> Result<Removal, Error> {
        let store = self.transactional();
        let listed = store.versions(version.name()).await?;
        let mut removal = Removal {
            version: version.clone(),
            counts: ProcessCounts::default(),
            unreadable: 0,
            is_listed: listed.iter().any(|listed| listed.version == *version),
            runs: self.open_runs(version).await?,
            history: 0,
        };
        let filter = Arc::new(OfWorkflow(version.name().to_owned()));
        let snapshots = scan::Snapshots {
            whole_history: true,
            ..scan::Snapshots::default()
        };
        let mut range = StreamRange::default();
        loop {
            let of = DueOf::Range(range.clone());
            let most = scan::CHUNK_PROCESSES;
            let page = scan::page(store, of, filter.clone(), most, snapshots.clone()).await?;
            scan::check_page(&page, &range)?;
            for process in page.processes {
                removal.add(store, process).await?;
            }
            if page.at_end {
                return Ok(removal);
            }
            range.after = page.up_to;
        }
    }

    /// The runs that have not ended and whose plans lead from or to a version.
    async fn open_runs(&self, version: &WorkflowId) -> Result<Vec<u64>, Error> {
        let mut open = Vec::new();
        for run in self.list().await? {
            if run.state.is_done() || run.kind == RunKind::Lazy {
                continue;
            }
            let executions = self.executions(run.id).await?;
            if leads(run.last_plan(&executions), version) {
                open.push(run.number);
            }
        }
        Ok(open)
    }
}

fn leads(plan: &Plan, version: &WorkflowId) -> bool {
    let mut routes = plan.routes.iter();
    routes.any(|route| {
        let to = |to: &str| to == version.version();
        route.from.name() == version.name()
            && (route.from == *version || route.hops.iter().any(|hop| to(&hop.to)))
    })
}

impl Removal {
    async fn add(&mut self, store: &Store, process: DueProcess) -> Result<(), Error> {
        let Some(head) = process.head else {
            self.unreadable += 1;
            return Ok(());
        };
        if head.workflow_id == self.version {
            self.counts.add(&head, false);
        }
        let is_of = match process.problem {
            None => self.is_of_history(&head, &process.events),
            Some(_) => self.is_of_large(store, &process.stream, &head).await?,
        };
        self.history += u64::from(is_of);
        Ok(())
    }

    /// Whether one of these events is a migration from or to the version.
    fn is_of_history(&self, head: &Head, events: &[ChunkEvent]) -> bool {
        let mut migrated = events.iter().filter(|event| event.event_type == MIGRATED);
        migrated.any(|event| {
            let parsed = baseline::parse(event.schema_version, &event.payload);
            // A baseline that cannot be read may be one of them.
            parsed.map_or(true, |baseline| self.is_of(event.sequence, head, &baseline))
        })
    }

    /// The same of a process that does not fit into a page.
    async fn is_of_large(
        &self,
        store: &Store,
        stream: &StreamId,
        head: &Head,
    ) -> Result<bool, Error> {
        let mut at = head.first_kept.saturating_sub(1);
        while at < head.sequence {
            let page = match store.read_all(stream, at, fold::PAGE).await {
                Err(error) if error.is_of_record() => return Ok(true),
                page => page?,
            };
            let Some(last) = page.last().map(|event| event.sequence) else {
                return Ok(true);
            };
            at = last;
            let mut migrated = page.iter().filter(|event| event.event_type == MIGRATED);
            let is_of = migrated.any(|event| {
                let baseline = Baseline::from_event(event);
                baseline.map_or(true, |it| self.is_of(event.sequence, head, &it))
            });
            if is_of {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a migration needs the code of the version. What is before the first event
    /// that is left needs none.
    fn is_of(&self, sequence: u64, head: &Head, baseline: &Baseline) -> bool {
        let version = self.version.version();
        if sequence == head.first_kept {
            return baseline.to == version;
        }
        baseline.from == version
            || baseline.to == version
            || baseline.route.iter().any(|hop| hop.to == version)
    }
}
