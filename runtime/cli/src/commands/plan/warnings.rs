//! Warnings for an operator before a run.

use state_migration_core::Selection;
use state_migration_runner::ChangedStep;
use state_migration_store::SlateDbReader;

use crate::commands::plan::estimate::Sample;
use crate::commands::plan::is_stray;
use crate::exit_code::Failure;
use crate::store;
use crate::version_counts::VersionCounts;
use crate::version_status::{VersionDecisions, VersionState};
use crate::view::format::counted;
use crate::view::run_summary::RunLine;

/// Warnings about a selection that matches nothing, which looks like a store that is up
/// to date.
pub(crate) fn of_nothing(
    selection: &Selection,
    unknown_names: Vec<String>,
    counts: &VersionCounts,
) -> Vec<String> {
    let is_of_nothing = counts.versions.is_empty() && counts.unreadable == 0;
    if unknown_names.is_empty() && is_of_nothing && *selection != Selection::all() {
        return vec![format!(
            "no process matches the selection ({selection}); remove a part of it"
        )];
    }
    unknown_names
}

pub(crate) async fn all(
    reader: &SlateDbReader,
    holder: Option<&RunLine>,
    counts: &VersionCounts,
    decisions: &VersionDecisions,
    changed: &[ChangedStep],
    sample: Option<&Sample>,
) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    if cfg!(panic = "abort") {
        warnings.push(
            "this program is built with `panic = \"abort\"`, so it cannot run migrations; build it with `panic = \"unwind\"`"
                .to_owned(),
        );
    }
    warnings.extend(reader.in_use().await?.as_ref().map(store::in_use));
    warnings.extend(holder.and_then(RunLine::blocking_note));
    for (version, number) in &counts.versions {
        let decision = decisions.about(version);
        if is_stray(&decision) {
            let processes = counted(number.processes, "process", "processes");
            warnings.push(match decision.status {
                VersionState::NewerThanProgram => format!(
                    "{processes} at {version} would fail: the version is newer than all versions in this program; use the program that migrated them"
                ),
                _ => format!(
                    "{processes} at {version} would fail: no migration leads from this version; link a migration, or declare with `no_migration!` that processes stay at this version"
                ),
            });
        }
        if number.held > 0 && decision.status == VersionState::Outdated {
            let processes = counted(number.held, "process", "processes");
            warnings.push(format!(
                "{processes} at {version} would be skipped as held; use `release` to include a held process again"
            ));
        }
    }
    if let Some((stream, why)) = &counts.first_unreadable {
        warnings.push(format!(
            "the version of {} cannot be read; the first is {stream}: {why}",
            counted(counts.unreadable, "stream", "streams")
        ));
    }
    warnings.extend(changed.iter().map(ToString::to_string));
    if let Some(sample) = sample {
        warnings.extend(sample.warnings());
        let listed: u64 = sample.failures.iter().map(|failed| failed.count).sum();
        if listed < sample.failed {
            warnings.push(format!(
                "{} of the sample would fail",
                counted(sample.failed - listed, "more process", "more processes")
            ));
        }
    }
    Ok(warnings)
}
