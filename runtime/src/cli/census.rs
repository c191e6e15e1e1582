//! How many processes stand at which version: one pass over the heads of the
//! streams, a page at a time, whatever is in them.

use std::collections::BTreeMap;

use crate::SlateDbReader;
use crate::error::Error;
use crate::id::{StreamId, WorkflowId};
use crate::selection::Selection;
use crate::store::{Head, StreamRange};

const PAGE: usize = 1_024;

/// The processes at one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) processes: u64,
    /// Those that are not over: their last append did not say so, and no run
    /// found it.
    pub(crate) in_flight: u64,
    /// Those that an operator took out of all runs.
    pub(crate) held: u64,
    /// Those that a run of a selection is for: neither held nor, if it is for
    /// what is in flight only, over. A run that folds them may find more that
    /// are over.
    pub(crate) due: u64,
}

/// The processes of a selection, by version.
#[derive(Debug, Default)]
pub(crate) struct Census {
    pub(crate) versions: BTreeMap<WorkflowId, Standing>,
    /// Streams whose heads cannot be read.
    pub(crate) unreadable: u64,
    /// The first of them, and why.
    pub(crate) first_unreadable: Option<(StreamId, String)>,
}

impl Census {
    /// Counts the processes of a selection; its limit is left to the caller.
    pub(crate) async fn of(reader: &SlateDbReader, selection: &Selection) -> Result<Self, Error> {
        let mut census = Self::default();
        for mut range in selection.within(&[StreamRange::default()]) {
            loop {
                let page = reader.heads(&range, PAGE).await?;
                let at_end = page.len() < PAGE;
                range.after = page.last().map(|(stream, _)| stream.clone());
                for (stream, head) in page {
                    if selection.selects(&stream) {
                        census.add(stream, head, selection);
                    }
                }
                if at_end {
                    break;
                }
            }
        }
        Ok(census)
    }

    fn add(&mut self, stream: StreamId, head: Result<Head, Error>, selection: &Selection) {
        let head = match head {
            Ok(head) => head,
            Err(error) => {
                self.unreadable += 1;
                self.first_unreadable
                    .get_or_insert_with(|| (stream, error.to_string()));
                return;
            }
        };
        if !selection.selects_workflow(head.workflow_id.name()) {
            return;
        }
        let selected = selection.selects_finished(head.finished) && !head.held;
        let standing = match self.versions.get_mut(&head.workflow_id) {
            Some(standing) => standing,
            None => self.versions.entry(head.workflow_id).or_default(),
        };
        standing.processes += 1;
        standing.in_flight += u64::from(!head.finished);
        standing.held += u64::from(head.held);
        standing.due += u64::from(selected);
    }
}
