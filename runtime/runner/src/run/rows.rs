//! The rows that a run keeps in a store, and their keys.
//!
//! | key | content |
//! |---|---|
//! | `a` run, time, random | a request to the run |
//! | `c` | the claim: the run that has claimed the store |
//! | `d` stream | a process that was in user code when a program ended |
//! | `e` | the epoch of the last writer that closed the store |
//! | `f` run, stream | a process that failed, and the reason |
//! | `g` run, number | a range: its progress and its counts |
//! | `h` length, stream, time, random | a hold or a release of a process |
//! | `l` run | sum of the counts of processes migrated when they were opened |
//! | `l` run, stream | the count of one such process that is not in the sum yet |
//! | `n` | the number of runs |
//! | `r` run | the record of the run |
//! | `u` version | the routes from a version that were undone |
//! | `x` run, number | an execution of the run |
//!
//! Every row is a format byte and JSON. No row is written by two workers of one run,
//! and batches are guarded by the claim only, which a run writes when it begins and
//! when it ends; so bookkeeping causes no conflicts. The row `e` belongs to no run: a
//! SlateDB writer writes it last, when it closes. The rows `d` are for all later runs
//! (`suspects.rs`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use state_migration_core::{
    Error, FailureClass, MigrationError, RunId, SkippedBy, Stage, StreamId, StreamRange, Timestamp,
    WorkflowId,
};
use uuid::Uuid;

use crate::run::counts::CountsByWorkflow;
use crate::run::totals::RunTotals;
use crate::run::{RunCounts, is_zero};

const HOLDS: &[u8] = b"h";
pub(crate) const NUMBER: &[u8] = b"n";
pub(crate) const RUNS: &[u8] = b"r";
pub(crate) const SUSPECTS: &[u8] = b"d";
pub(crate) const UNDONE: &[u8] = b"u";

fn of_run(table: u8, run: RunId, rest: &[u8]) -> Vec<u8> {
    [&[table][..], run.as_uuid().as_bytes(), rest].concat()
}

pub(crate) fn run(run: RunId) -> Vec<u8> {
    of_run(b'r', run, b"")
}

pub(crate) fn range(run: RunId, number: u32) -> Vec<u8> {
    of_run(b'g', run, &number.to_be_bytes())
}

pub(crate) fn ranges(run: RunId) -> Vec<u8> {
    of_run(b'g', run, b"")
}

/// The stream is the end of the key, so that it needs no terminator and keeps its
/// order.
pub(crate) fn failure(run: RunId, stream: &StreamId) -> Vec<u8> {
    of_run(b'f', run, stream.as_str().as_bytes())
}

pub(crate) fn failures(run: RunId) -> Vec<u8> {
    of_run(b'f', run, b"")
}

/// A process may fail when it is opened and be migrated later; each is counted in its
/// own row.
pub(crate) fn lazy(run: RunId, stream: &StreamId, failed: bool) -> Vec<u8> {
    let rest = [stream.as_str().as_bytes(), &[u8::from(failed)]].concat();
    of_run(b'l', run, &rest)
}

/// Key of the sum of the counts of opened processes. It sorts before the rows that are
/// not in the sum.
pub(crate) fn lazies(run: RunId) -> Vec<u8> {
    of_run(b'l', run, b"")
}

pub(crate) fn execution(run: RunId, number: u32) -> Vec<u8> {
    of_run(b'x', run, &number.to_be_bytes())
}

pub(crate) fn executions(run: RunId) -> Vec<u8> {
    of_run(b'x', run, b"")
}

/// Entries of one instant have keys of their own.
fn at(time: Timestamp) -> [u8; 16] {
    let mut key = *Uuid::new_v4().as_bytes();
    key[..8].copy_from_slice(&time.as_micros().to_be_bytes());
    key
}

pub(crate) fn action(run: RunId, time: Timestamp) -> Vec<u8> {
    of_run(b'a', run, &at(time))
}

pub(crate) fn actions(run: RunId) -> Vec<u8> {
    of_run(b'a', run, b"")
}

/// The length keeps the rows of a stream apart from those of longer ids.
pub(crate) fn holds(stream: &StreamId) -> Vec<u8> {
    let stream = stream.as_str().as_bytes();
    let length = u16::try_from(stream.len()).unwrap_or(u16::MAX);
    [HOLDS, &length.to_be_bytes(), stream].concat()
}

pub(crate) fn hold(stream: &StreamId, time: Timestamp) -> Vec<u8> {
    [&holds(stream)[..], &at(time)].concat()
}

/// The stream is the end of the key, as in that of a failure.
pub(crate) fn suspect(stream: &StreamId) -> Vec<u8> {
    [SUSPECTS, stream.as_str().as_bytes()].concat()
}

/// The stream in the key of a suspect.
pub(crate) fn suspect_stream(key: &[u8]) -> Result<StreamId, Error> {
    let stream = key.get(SUSPECTS.len()..).map(std::str::from_utf8);
    let stream = stream.and_then(|stream| StreamId::new(stream.ok()?).ok());
    stream.ok_or_else(|| {
        Error::corrupt(format!(
            "unexpected key \"{}\" among the suspects; restore the store from a backup",
            key.escape_ascii()
        ))
    })
}

/// The version is the end of the key.
pub(crate) fn undone(from: &WorkflowId) -> Vec<u8> {
    [UNDONE, from.to_string().as_bytes()].concat()
}

/// The number in the key of a range.
pub(crate) fn range_number(key: &[u8]) -> Result<u32, Error> {
    key.get(17..)
        .and_then(|rest| rest.try_into().ok())
        .map(u32::from_be_bytes)
        .ok_or_else(|| {
            Error::corrupt(format!(
                "unexpected key \"{}\" among the ranges of a run; restore the store from a backup",
                key.escape_ascii()
            ))
        })
}

/// The number of runs that a store has seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Number {
    pub(crate) runs: u64,
}

/// The purpose of a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The heads of a range of streams.
    Migrate,
    /// Processes that were born behind the run.
    Sweep,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Progress of a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeRow {
    pub(crate) part: Part,
    pub(crate) after: Option<StreamId>,
    pub(crate) through: Option<StreamId>,
    /// Last stream that has been visited.
    pub(crate) at: Option<StreamId>,
    pub(crate) done: bool,
    /// Number of workers that have had the range. A worker that takes over the range
    /// raises it, so that later commits of the previous worker are refused.
    pub(crate) token: u64,
    /// Number of writes of this row, which shows whether a commit landed.
    pub(crate) commits: u64,
    /// Number of heads passed.
    pub(crate) heads: u64,
    /// Versions at which the run left a process.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) stays: BTreeSet<WorkflowId>,
    /// Failed processes at versions without a route.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) unroutable: u64,
    /// Whether the version of some process could not be read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) unread: bool,
    pub(crate) counts: RunCounts,
    /// The totals of the processes migrated.
    #[serde(default, skip_serializing_if = "RunTotals::is_empty")]
    pub(crate) totals: RunTotals,
    /// `counts` per workflow, as far as known.
    #[serde(default, skip_serializing_if = "CountsByWorkflow::is_empty")]
    pub(crate) by_workflow: CountsByWorkflow,
}

impl RangeRow {
    pub(crate) fn new(part: Part, range: StreamRange) -> Self {
        Self {
            part,
            after: range.after,
            through: range.through,
            at: None,
            done: false,
            token: 1,
            commits: 0,
            heads: 0,
            stays: BTreeSet::new(),
            unroutable: 0,
            unread: false,
            counts: RunCounts::default(),
            totals: RunTotals::default(),
            by_workflow: CountsByWorkflow::default(),
        }
    }

    /// Resets the range for a second pass, which counts skipped processes again. The
    /// counts of migrated and failed processes are kept.
    pub(crate) fn begin_again(&mut self) {
        self.at = None;
        self.done = false;
        self.heads = 0;
        self.stays.clear();
        self.unread = false;
        self.counts.skipped_by = SkippedBy::default();
        self.by_workflow.forget_skipped();
    }

    /// Removes a failed process from the counts; `false` if none is left in them.
    pub(crate) fn forget_failure(&mut self, workflow: &str) -> bool {
        if self.unroutable == 0 {
            return false;
        }
        self.unroutable -= 1;
        self.counts.failed = self.counts.failed.saturating_sub(1);
        let count = self.by_workflow.of(workflow);
        count.failed = count.failed.saturating_sub(1);
        true
    }

    /// Whether a stream is in the range.
    pub(crate) fn contains(&self, stream: &StreamId) -> bool {
        self.after.as_ref().is_none_or(|after| after < stream)
            && self.through.as_ref().is_none_or(|end| stream <= end)
    }

    /// The part of the range that has been visited; `None` before the first stream.
    pub(crate) fn passed(&self) -> Option<StreamRange> {
        let through = match self.done {
            true => self.through.clone(),
            false => Some(self.at.clone()?),
        };
        Some(StreamRange {
            after: self.after.clone(),
            through,
        })
    }

    /// The part of the range that a commit visits for the first time in the run.
    pub(crate) fn visits(&self, up_to: Option<&StreamId>, at_end: bool) -> Option<StreamRange> {
        let rest = self.rest();
        let through = match at_end {
            true => rest.through,
            false => Some(up_to?.clone()),
        };
        (self.part == Part::Migrate).then_some(StreamRange {
            after: rest.after,
            through,
        })
    }

    /// The part of the range that has not been visited.
    pub(crate) fn rest(&self) -> StreamRange {
        StreamRange {
            after: self.at.clone().or_else(|| self.after.clone()),
            through: self.through.clone(),
        }
    }
}

/// A [`MigrationError`] of a process, with the names that it has on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredError {
    pub(crate) stream_id: StreamId,
    pub(crate) stage: Stage,
    pub(crate) class: FailureClass,
    pub(crate) sequence: Option<u64>,
    pub(crate) message: String,
}

impl StoredError {
    pub(crate) fn of(stream: &StreamId, error: &MigrationError) -> Self {
        Self {
            stream_id: stream.clone(),
            stage: error.stage,
            class: error.class,
            sequence: error.sequence,
            message: error.message.clone(),
        }
    }
}

impl From<StoredError> for MigrationError {
    fn from(error: StoredError) -> Self {
        Self {
            subject: error.stream_id.into(),
            stage: error.stage,
            class: error.class,
            sequence: error.sequence,
            message: error.message,
        }
    }
}

/// A process that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRow {
    pub(crate) error: StoredError,
    /// The version that the process was at, if known.
    pub(crate) at: Option<WorkflowId>,
    /// Attempt number, over a run and its retries, starting at 1.
    pub(crate) attempt: u32,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use state_migration_core::store_api::row::{read, write};

    fn id() -> RunId {
        RunId::from_uuid(Uuid::from_u128(0x0102))
    }

    #[test]
    fn the_keys_on_disk_are_these() {
        let with = |table: u8, rest: &[u8]| {
            let uuid = [&[0; 14][..], &[1, 2]].concat();
            [&[table][..], &uuid, rest].concat()
        };
        let stream = StreamId::new("process/t/p").unwrap();
        assert_eq!(run(id()), with(b'r', b""));
        assert_eq!(range(id(), 258), with(b'g', &[0, 0, 1, 2]));
        assert_eq!(range_number(&range(id(), 258)).unwrap(), 258);
        assert!(range_number(&ranges(id())).is_err());
        assert_eq!(failure(id(), &stream), with(b'f', b"process/t/p"));
        assert_eq!(NUMBER, b"n");
        assert_eq!(suspect(&stream), b"dprocess/t/p");
        assert_eq!(suspect_stream(&suspect(&stream)).unwrap(), stream);
        assert!(suspect_stream(b"d").is_err());
        assert_eq!(lazy(id(), &stream, true), with(b'l', b"process/t/p\x01"));
        assert_eq!(lazies(id()), with(b'l', b""));
        let time = Timestamp::from_micros(258);
        let (one, other) = (action(id(), time), action(id(), time));
        assert!(one != other && one.starts_with(&with(b'a', &[0, 0, 0, 0, 0, 0, 1, 2])));
        assert_eq!(one.len(), actions(id()).len() + 16);
        assert_eq!(holds(&stream), b"h\0\x0bprocess/t/p");
        assert_eq!(hold(&stream, time).len(), holds(&stream).len() + 16);
    }

    #[test]
    fn the_rows_on_disk_are_these() {
        let text = |row: Vec<u8>| {
            assert_eq!(row[0], 2);
            String::from_utf8(row[1..].to_vec()).unwrap()
        };
        let mut row = RangeRow::new(Part::Migrate, StreamRange::default());
        row.at = Some(StreamId::new("process/t/p").unwrap());
        row.counts.migrated = 2;
        let written = write(&row).unwrap();
        assert_eq!(
            text(written.clone()),
            r#"{"part":"migrate","after":null,"through":null,"at":"process/t/p","done":false,"token":1,"commits":0,"heads":0,"counts":{"migrated":2,"migrated_further":0,"failed":0,"skipped_by":{"empty":0,"other_workflow":0,"already_there":0,"finished":0,"not_selected":0,"held":0,"undone":0,"never_migrated":0},"large":0,"swept":0,"unregistered":0,"lazy":0,"by_function":0,"erased":0,"bytes":0}}"#
        );
        assert_eq!(read::<RangeRow>(written.into(), "it").unwrap(), row);
        row.by_workflow.of("loan").migrated = 2;
        row.stays.insert(WorkflowId::from_static("loan", "1"));
        row.unread = true;
        let written = write(&row).unwrap();
        let counts = r#","by_workflow":[{"workflow":"loan","migrated":2,"failed":0,"skipped":0}]}"#;
        assert!(text(written.clone()).ends_with(counts));
        let stays = r#""heads":0,"stays":[{"name":"loan","version":"1"}],"unread":true,"counts""#;
        assert!(text(written.clone()).contains(stays));
        assert_eq!(read::<RangeRow>(written.into(), "it").unwrap(), row);
        let failure = FailureRow {
            error: StoredError {
                stream_id: StreamId::new("process/t/p").unwrap(),
                stage: Stage::Converting,
                class: FailureClass::Panic,
                sequence: Some(3),
                message: "no".into(),
            },
            at: None,
            attempt: 1,
        };
        assert_eq!(
            text(write(&failure).unwrap()),
            r#"{"error":{"stream_id":"process/t/p","stage":"converting","class":"panic","sequence":3,"message":"no"},"at":null,"attempt":1}"#
        );
    }
}
