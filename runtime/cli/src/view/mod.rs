//! Output of the tool.

pub(crate) mod format;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod run_summary;
pub(crate) mod summary;
pub(crate) mod svg;
pub(crate) mod tenants;
pub(crate) mod totals;
pub(crate) mod version;
