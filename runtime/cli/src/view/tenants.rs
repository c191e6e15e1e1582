//! Counts of processes by tenant.

use std::collections::BTreeMap;

use serde::Serialize;
use state_migration_core::{Error, Head, Selection, StreamId, TenantId, WorkflowId};
use state_migration_runner::forecast::census::ProcessCounts;
use state_migration_store::SlateDbReader;

use crate::heads::Heads;
use crate::view::format::count;
use crate::view::output::{plain, table};

/// The processes of one tenant, at one version if versions are told apart.
#[derive(Debug, Serialize)]
pub(crate) struct TenantLine {
    /// `None`: all versions together.
    version: Option<String>,
    /// `None`: streams whose ids name no tenant.
    tenant: Option<String>,
    processes: u64,
    in_flight: u64,
    held: u64,
}

impl TenantLine {
    pub(crate) fn of(
        version: Option<WorkflowId>,
        tenant: Option<TenantId>,
        counts: ProcessCounts,
    ) -> Self {
        Self {
            version: version.map(|version| version.to_string()),
            tenant: tenant.map(|tenant| tenant.to_string()),
            processes: counts.processes,
            in_flight: counts.in_flight,
            held: counts.held,
        }
    }
}

/// The counts of one tenant, or of one tenant at one version.
pub(crate) type Counts<K> = BTreeMap<K, ProcessCounts>;

/// The tenant that a stream names.
pub(crate) fn tenant_of(stream: &StreamId) -> Option<TenantId> {
    stream.process().map(|(tenant, _)| tenant)
}

pub(crate) fn add<K: Ord>(counts: &mut Counts<K>, of: K, head: &Head) {
    let counted = counts.entry(of).or_default();
    counted.processes += 1;
    counted.in_flight += u64::from(!head.finished);
    counted.held += u64::from(head.held);
}

/// The processes of some workflows, or of all, by version and tenant.
pub(crate) async fn of_versions(
    reader: &SlateDbReader,
    workflows: &[String],
) -> Result<Vec<TenantLine>, Error> {
    let selection = Selection::all();
    let mut counts = Counts::new();
    let mut heads = Heads::of(reader, &selection, None);
    while let Some((stream, head)) = heads.next().await? {
        // The streams that cannot be read are counted by version.
        let Ok(head) = head else { continue };
        let name = head.workflow_id.name();
        if workflows.is_empty() || workflows.iter().any(|it| it == name) {
            let of = (head.workflow_id.clone(), tenant_of(&stream));
            add(&mut counts, of, &head);
        }
    }
    let lines = counts.into_iter();
    let lines =
        lines.map(|((version, tenant), counts)| TenantLine::of(Some(version), tenant, counts));
    Ok(lines.collect())
}

/// A table of tenants, which is not empty.
pub(crate) fn tenant_table(tenants: &[TenantLine]) -> String {
    let has_versions = tenants.iter().any(|line| line.version.is_some());
    let rows = tenants.iter().map(|line| {
        let version = line.version.as_deref().map(plain);
        let mut row: Vec<String> = version.into_iter().collect();
        row.extend([
            plain(line.tenant.as_deref().unwrap_or("-")),
            count(line.processes),
            count(line.in_flight),
            count(line.held),
        ]);
        row
    });
    let header = ["VERSION", "TENANT", "PROCESSES", "IN FLIGHT", "HELD"];
    table(&header[usize::from(!has_versions)..], rows)
}
