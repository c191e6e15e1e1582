//! In place of `observe`, without the feature `telemetry`: nothing.

use crate::failure::MigrationError;
use crate::id::{StreamId, WorkflowId};
use crate::run::{RunCounts, RunState};
use crate::runner::commit::Done;
use crate::runner::report::MigrationReport;
use crate::runner::{Progress, Run};
use crate::store_api::DueProcess;

#[derive(Debug, Clone)]
pub(super) struct Observer;

impl Observer {
    pub(super) fn of(_: &Run) -> Self {
        Self
    }
    pub(super) fn of_none() -> Self {
        Self
    }
    pub(super) fn during<F: Future>(&self, work: F) -> F {
        work
    }
    pub(super) fn ended(&self, _: &MigrationReport) {}
    pub(super) fn state(&self, _: RunState) {}
    pub(super) fn progress(&self, _: &Progress) {}
    pub(super) fn done(&self, _: &Done) {}
    pub(super) fn migrated(&self, _: &str, _: u64) {}
    pub(super) fn counted(&self, _: &RunCounts) {}
    pub(super) fn failed(&self, _: &MigrationError, _: &str) {}
    pub(super) fn broken(&self, _: &MigrationError) {}
    pub(super) fn opened(&self, _: &Done) {}
    pub(super) fn conflict(&self, _: &StreamId, _: usize) {}
    pub(super) fn chunk(&self, _: &[DueProcess]) -> Chunk {
        Chunk
    }
    pub(super) fn committed(&self, _: Clock) {}
    pub(super) fn durable(&self, _: Clock) {}
}

pub(super) struct Chunk;

impl Chunk {
    pub(super) fn during<F: Future>(&self, work: F) -> F {
        work
    }
    pub(super) fn committed(self, _: &Done) {}
    pub(super) fn conflicted(self) {}
}

pub(super) struct Clock;

impl Clock {
    pub(super) fn now() -> Self {
        Self
    }
}

pub(super) struct Here;

impl Here {
    pub(super) fn now() -> Self {
        Self
    }
    pub(super) fn go_on<T>(&self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

pub(super) fn process<T>(_: &StreamId, _: &WorkflowId, work: impl FnOnce() -> T) -> T {
    work()
}

pub(super) fn process_during<F: Future>(_: &StreamId, _: &WorkflowId, work: F) -> F {
    work
}
