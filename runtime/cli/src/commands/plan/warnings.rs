//! Warnings for an operator before a run.

use std::fmt::Display;

use state_migration_core::Selection;
use state_migration_runner::Plan;
use state_migration_runner::forecast::sample::Sample;
use state_migration_runner::forecast::version_status::VersionState;
use state_migration_runner::forecast::{AtVersion, Forecast, Versions};

use crate::commands::plan::is_stray;
use crate::view::format::{count, counted};
use crate::view::output::plain;

pub(crate) fn all(plan: &Plan, forecast: &Forecast) -> Vec<String> {
    let refused = forecast.refused.iter();
    let mut warnings: Vec<_> = refused
        .map(|why| format!("a run would be refused: {why}"))
        .collect();
    for at in &forecast.versions.versions {
        let AtVersion {
            version,
            counts,
            decision,
        } = at;
        if is_stray(decision) {
            let processes = counted(counts.processes, "process", "processes");
            warnings.push(match decision.status {
                VersionState::NewerThanProgram => format!(
                    "{processes} at {version} would fail: the version is newer than all versions in this program; use the program that migrated them"
                ),
                _ => format!(
                    "{processes} at {version} would fail: no migration leads from this version; link a migration, or declare with `no_migration!` that processes stay at this version"
                ),
            });
        }
        if counts.held > 0 && decision.status == VersionState::Outdated {
            let processes = counted(counts.held, "process", "processes");
            warnings.push(format!(
                "{processes} at {version} would be skipped as held; use `release` to include a held process again"
            ));
        }
        if decision.status == VersionState::Outdated {
            warnings.extend(undone(counts.undone, version));
        }
    }
    warnings.extend(unreadable(&forecast.versions));
    warnings.extend(forecast.edited.iter().map(ToString::to_string));
    if let Some(sample) = &forecast.sample {
        warnings.extend(sample.stopped_by.iter().map(|error| {
            format!(
                "the sample ended early, without a result for all processes: {}",
                plain(error)
            )
        }));
        warnings.extend(failures(sample, forecast.due));
    }
    warnings.extend(of_more_than_heads(&plan.selection));
    warnings.extend(of_nothing(&plan.selection, forecast));
    warnings
}

/// The warning about undone processes at a version.
pub(crate) fn undone(processes: u64, version: impl Display) -> Option<String> {
    let was = match processes {
        0 => return None,
        1 => "was",
        _ => "were",
    };
    let processes = counted(processes, "process", "processes");
    Some(format!(
        "{processes} at {version} {was} undone; a run with the same code does not migrate undone processes, unless `--again` is given"
    ))
}

/// What the counts of a plan do not tell, since they are those of heads.
fn of_more_than_heads(selection: &Selection) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(predicate) = selection.predicate() {
        warnings.push(format!(
            "the numbers of processes include those that do not match `{predicate}`, which only a run finds out"
        ));
    }
    if let Some(run) = selection.failures_left_out() {
        warnings.push(format!(
            "the numbers of processes include those that failed in run {run}, which a run leaves out"
        ));
    }
    warnings
}

/// The warning about streams whose version cannot be read.
pub(crate) fn unreadable(versions: &Versions) -> Option<String> {
    let unreadable = versions.unreadable.as_ref()?;
    Some(format!(
        "the version of {} cannot be read; the first is {}: {}",
        counted(unreadable.streams, "stream", "streams"),
        unreadable.first,
        unreadable.reason
    ))
}

/// Warnings about the failures of a sample, put to all processes that are due.
fn failures(sample: &Sample, due: u64) -> impl Iterator<Item = String> {
    let tried = sample.processes;
    sample.failures.iter().map(move |failed| {
        let about = match tried < due {
            _ if sample.stopped_by.is_some() => String::new(),
            true => format!(", about {} of {}", count(failed.expected), count(due)),
            false => String::new(),
        };
        format!(
            "{} of {} tried would fail with class {}{about}; the first is {}: {}",
            count(failed.count),
            count(tried),
            failed.class,
            failed.subject,
            plain(&failed.message)
        )
    })
}

/// Warnings about a selection that matches nothing, which looks like a store that is up
/// to date.
fn of_nothing(selection: &Selection, forecast: &Forecast) -> Vec<String> {
    let versions = &forecast.versions;
    let is_of_nothing = versions.versions.is_empty() && versions.unreadable.is_none();
    if forecast.unknown_names.is_empty() && is_of_nothing && *selection != Selection::all() {
        return vec![format!(
            "no process matches the selection ({selection}); remove a part of it"
        )];
    }
    forecast.unknown_names.clone()
}
