//! The file of layouts: one section for each version, sorted.

mod compare;
mod text;

use std::collections::BTreeMap;

use state_migration_core::WorkflowId;

pub(crate) use compare::{Change, Of, changes};

use crate::layout::Layout;

/// The layouts of all versions.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lock {
    pub(crate) versions: BTreeMap<WorkflowId, Section>,
}

/// The layouts of a version.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Section {
    pub(crate) deployed: bool,
    pub(crate) state_schema_version: u32,
    pub(crate) state: Part,
    pub(crate) event: Part,
}

/// The layout of one type.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Part {
    pub(crate) layout: Layout,
    /// The schema that the user gave, as JSON of several lines.
    pub(crate) schema: Option<String>,
}

impl Part {
    /// The places that are unknown, with the reasons.
    pub(crate) fn untraced(&self) -> &[(String, String)] {
        match self.schema {
            Some(_) => &[],
            None => &self.layout.untraced,
        }
    }
}
