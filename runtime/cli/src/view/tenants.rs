//! Counts of processes by tenant.

use serde::Serialize;
use state_migration_core::{StreamId, TenantId, WorkflowId};
use state_migration_runner::forecast::OfTenant;
use state_migration_runner::forecast::census::ProcessCounts;

use crate::commands::status::is_shown;
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

/// The tenant that a stream names.
pub(crate) fn tenant_of(stream: &StreamId) -> Option<TenantId> {
    stream.process().map(|(tenant, _)| tenant)
}

/// The lines of these workflows, or of all.
pub(crate) fn of_workflows(tenants: Vec<OfTenant>, workflows: &[String]) -> Vec<TenantLine> {
    let tenants = tenants.into_iter();
    let tenants = tenants.filter(|line| is_shown(&line.version, workflows));
    let lines = tenants.map(|line| TenantLine::of(Some(line.version), line.tenant, line.counts));
    lines.collect()
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
