//! Tests of a whole program: the stored layouts of its states and events.

mod json;
mod layout;
mod layouts;
mod lock;
#[cfg(test)]
mod tests;
mod update;

use std::path::PathBuf;

pub use layouts::Layouts;

/// Asserts that the stored layouts are those of the file.
#[track_caller]
pub fn assert_layouts(path: impl Into<PathBuf>) {
    Layouts::new(path).assert();
}
