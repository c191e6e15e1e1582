//! The heads of selected streams, in order, read page by page.

use std::collections::VecDeque;

use state_migration_core::{Error, Head, Selection, StreamId, StreamRange};
use state_migration_store::SlateDbReader;

/// Number of heads read at a time.
const PAGE: usize = 1_024;

/// A stream of heads.
pub(crate) struct Heads<'a> {
    reader: &'a SlateDbReader,
    selection: &'a Selection,
    /// What is left to read.
    ranges: VecDeque<StreamRange>,
    /// What is read and not returned yet.
    page: std::vec::IntoIter<(StreamId, Result<Head, Error>)>,
}

impl<'a> Heads<'a> {
    /// The heads of the selected streams after a stream.
    pub(crate) fn of(
        reader: &'a SlateDbReader,
        selection: &'a Selection,
        after: Option<StreamId>,
    ) -> Self {
        let through = None;
        let whole = StreamRange { after, through };
        Self {
            reader,
            selection,
            ranges: selection.within(&[whole]).into(),
            page: Vec::new().into_iter(),
        }
    }

    /// The next stream with its head, which may be unreadable; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<(StreamId, Result<Head, Error>)>, Error> {
        loop {
            let selection = self.selection;
            if let Some(next) = self.page.find(|(stream, _)| selection.selects(stream)) {
                return Ok(Some(next));
            }
            let Some(range) = self.ranges.front_mut() else {
                return Ok(None);
            };
            let page = self.reader.heads(range, PAGE).await?;
            match page.last() {
                Some((stream, _)) if page.len() == PAGE => range.after = Some(stream.clone()),
                _ => drop(self.ranges.pop_front()),
            }
            self.page = page.into_iter();
        }
    }
}
