//! Spans and events of `tracing`, and `metrics`, of a program that migrates.
//!
//! Telemetry is always on: install a subscriber of `tracing` and a recorder of
//! `metrics` to receive it. Without them its cost is too small to measure. A recorder
//! that is installed during a run receives the next run.
//!
//! Telemetry contains streams, versions, stages, classes and numbers only: never a
//! payload, a state, or the text of a conversion's error.
//!
//! # Spans
//!
//! All spans have the target `state_migration`. Numbers are recorded before a span ends.
//!
//! | span | level | fields |
//! |---|---|---|
//! | `run` | info | `run`, `kind`, `dry_run`, `selection`; at the end `state`, `migrated`, `failed`, `skipped`, `conflicts` |
//! | `chunk` | info | `workflow`, `first` (stream), `processes`; at the end `migrated`, `failed`, `skipped`, `bytes`, `conflicts` (how many of its commits were refused) |
//! | `process` | debug | `stream`, `workflow`, `from` |
//!
//! A `chunk` is part of its `run`, and a `process` of its `chunk`. Over separate
//! stores there are no chunks. A process that is migrated as it is opened is
//! part of the span in which it is opened.
//!
//! # Events
//!
//! | event | level | fields |
//! |---|---|---|
//! | `run began`, `run ended` | info | those of the span |
//! | `run paused`, `run continues` | info | |
//! | `run refused` | warn | `class`, `reason` |
//! | `process failed` | warn | `stream`, `stage`, `class`, `sequence` |
//! | `range left` | warn | `class`, `reason`: the store failed; the run can be resumed |
//! | `conflict` | debug | `first` (stream), `processes`: a commit was refused, because others had written to this number of processes; they are read again |
//! | `process migrated when it was opened` | debug | `workflow` |
//!
//! # Metrics
//!
//! Counters count what is durable. Dry runs change none.
//!
//! | name | kind | labels | unit |
//! |---|---|---|---|
//! | [`state_migration_processes_migrated_total`](PROCESSES_MIGRATED) | counter | `workflow` | processes |
//! | [`state_migration_processes_failed_total`](PROCESSES_FAILED) | counter | `workflow`, `class` | processes |
//! | [`state_migration_processes_skipped_total`](PROCESSES_SKIPPED) | counter | `reason` | processes |
//! | [`state_migration_read_bytes_total`](READ_BYTES) | counter | | bytes of events and baselines |
//! | [`state_migration_conflicts_total`](CONFLICTS) | counter | | commits |
//! | [`state_migration_chunk_seconds`](CHUNK_SECONDS) | histogram | | seconds |
//! | [`state_migration_commit_seconds`](COMMIT_SECONDS) | histogram | | seconds |
//! | [`state_migration_durable_seconds`](DURABLE_SECONDS) | histogram | | seconds |
//! | [`state_migration_processes_per_second`](PROCESSES_PER_SECOND) | gauge | | processes per second |
//! | [`state_migration_runs_ended_total`](RUNS_ENDED) | counter | `state` | runs |

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Processes migrated, durably; labelled with their `workflow`.
pub const PROCESSES_MIGRATED: &str = "state_migration_processes_migrated_total";
/// Processes that failed; labelled with their `workflow`, empty if unknown, and the
/// [`class`](state_migration_core::FailureClass) of the failure.
pub const PROCESSES_FAILED: &str = "state_migration_processes_failed_total";
/// Processes skipped; labelled with the `reason`, a field of
/// [`SkippedBy`](state_migration_core::SkippedBy).
pub const PROCESSES_SKIPPED: &str = "state_migration_processes_skipped_total";
/// Bytes of events and baselines read for folding.
pub const READ_BYTES: &str = "state_migration_read_bytes_total";
/// Commits that were refused, because others had written to a process of the chunk.
pub const CONFLICTS: &str = "state_migration_conflicts_total";
/// Duration of a chunk, from its first read to its commit.
pub const CHUNK_SECONDS: &str = "state_migration_chunk_seconds";
/// Duration of the commit of a chunk, before it is durable.
pub const COMMIT_SECONDS: &str = "state_migration_commit_seconds";
/// Duration until the commits of a range were durable.
pub const DURABLE_SECONDS: &str = "state_migration_durable_seconds";
/// Recent rate of the run, in processes per second; 0 after its end.
pub const PROCESSES_PER_SECOND: &str = "state_migration_processes_per_second";
/// Runs that ended; labelled with their final `state`: `done`, `done_with_errors`,
/// `cancelled`, or `running` for a run that was interrupted.
pub const RUNS_ENDED: &str = "state_migration_runs_ended_total";

/// Registers the descriptions of the metrics with the installed recorder.
///
/// Call it once, after installing a recorder. A recorder that shows no descriptions
/// does not need it.
pub fn describe() {
    for (name, unit, text) in [
        (PROCESSES_MIGRATED, Unit::Count, "Processes migrated"),
        (PROCESSES_FAILED, Unit::Count, "Processes that failed"),
        (
            PROCESSES_SKIPPED,
            Unit::Count,
            "Processes that were skipped",
        ),
        (READ_BYTES, Unit::Bytes, "Bytes of events read"),
        (CONFLICTS, Unit::Count, "Chunks that had to be read again"),
        (RUNS_ENDED, Unit::Count, "Runs that ended"),
    ] {
        describe_counter!(name, unit, text);
    }
    for (name, text) in [
        (
            CHUNK_SECONDS,
            "Time from the first read of a chunk to its commit",
        ),
        (
            COMMIT_SECONDS,
            "Time to commit a chunk, before the commit is durable",
        ),
        (
            DURABLE_SECONDS,
            "Time from a commit until the commit is durable",
        ),
    ] {
        describe_histogram!(name, Unit::Seconds, text);
    }
    describe_gauge!(
        PROCESSES_PER_SECOND,
        Unit::CountPerSecond,
        "Processes per second"
    );
}
