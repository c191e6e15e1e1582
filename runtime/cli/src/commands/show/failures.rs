//! The failures of a run, by class and one by one.
//!
//! They are read page by page, so that memory does not grow with their number.

use std::collections::BTreeMap;

use serde::Serialize;
use state_migration_core::{FailureClass, RunId, Stage, StreamId, TenantId};
use state_migration_runner::Failure;

use crate::exit_code::Failure as CommandFailure;
use crate::history::History;
use crate::view::output::{DIM, plain};

const PAGE: usize = 512;

/// Number of examples kept per class.
const EXAMPLES: usize = 3;

/// The failures of one class.
#[derive(Debug, Serialize)]
pub(crate) struct Grouped {
    pub(crate) class: FailureClass,
    pub(crate) count: u64,
    pub(crate) examples: Vec<Failed>,
}

/// Some failures, in the order of their streams.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) failures: Vec<Failed>,
    pub(crate) limit: usize,
    /// The value of `--after` that continues the list, if there is more.
    pub(crate) next_after: Option<String>,
}

/// A process that failed.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    pub(crate) stream: String,
    pub(crate) class: FailureClass,
    pub(crate) stage: Stage,
    pub(crate) sequence: Option<u64>,
    /// The version that the process is at.
    pub(crate) at: Option<String>,
    pub(crate) attempt: u32,
    pub(crate) message: String,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        let Failure {
            error, at, attempt, ..
        } = failure;
        Self {
            stream: error.subject.to_string(),
            class: error.class,
            stage: error.stage,
            sequence: error.sequence,
            at: at.map(|at| at.to_string()),
            attempt,
            message: error.message,
        }
    }
}

impl Failed {
    /// The failure in one line.
    pub(crate) fn text(&self) -> String {
        let Self { stream, stage, .. } = self;
        let at = self.sequence.map(|at| format!(" at event {at}"));
        let again = match self.attempt {
            0 | 1 => String::new(),
            attempt => format!("; attempt {attempt}"),
        };
        let at = at.unwrap_or_default();
        let message = plain(&self.message);
        format!("{stream}  {DIM}{stage}{at}{again}:{DIM:#} {message}")
    }
}

/// The failures of one class in one tenant.
#[derive(Debug, Serialize)]
pub(crate) struct OfTenant {
    /// `None`: streams without a tenant.
    pub(crate) tenant: Option<String>,
    pub(crate) class: FailureClass,
    pub(crate) count: u64,
}

/// The failures of a run by class, most frequent first, and by tenant and class.
pub(crate) async fn grouped(
    runs: &History,
    run: RunId,
) -> Result<(Vec<Grouped>, Vec<OfTenant>), CommandFailure> {
    let mut tenants: BTreeMap<(Option<TenantId>, FailureClass), u64> = BTreeMap::new();
    let mut groups: BTreeMap<FailureClass, Grouped> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = runs.failures(run, &[], after.as_ref(), PAGE).await?;
        let at_end = page.len() < PAGE;
        after = page.last().and_then(|failure| failure.stream().cloned());
        for failure in page {
            let class = failure.error.class;
            let process = failure.stream().and_then(StreamId::process);
            let tenant = process.map(|(tenant, _)| tenant);
            *tenants.entry((tenant, class)).or_default() += 1;
            let group = groups.entry(class).or_insert_with(|| Grouped {
                class,
                count: 0,
                examples: Vec::new(),
            });
            group.count += 1;
            if group.examples.len() < EXAMPLES {
                group.examples.push(failure.into());
            }
        }
        if at_end {
            break;
        }
    }
    let mut groups: Vec<Grouped> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    let tenants = tenants.into_iter();
    let tenants = tenants.map(|((tenant, class), count)| OfTenant {
        tenant: tenant.map(|tenant| tenant.to_string()),
        class,
        count,
    });
    Ok((groups, tenants.collect()))
}

/// At most `limit` failures of a run after a stream.
pub(crate) async fn listed(
    runs: &History,
    run: RunId,
    classes: &[FailureClass],
    after: Option<&StreamId>,
    limit: usize,
) -> Result<Listed, CommandFailure> {
    // One more than shown, to detect whether there is more.
    let mut found = runs
        .failures(run, classes, after, limit.saturating_add(1))
        .await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let failures: Vec<Failed> = found.into_iter().map(Failed::from).collect();
    let last = failures.last().map(|failure| failure.stream.clone());
    Ok(Listed {
        failures,
        limit,
        next_after: last.filter(|_| more),
    })
}
