//! Sizes of the tests that repeat one operation: worlds, kills, races, processes
//! of a store, events of a stream.
//!
//! `STATE_MIGRATION_TEST_SIZE=gate`, the default, is for every change and takes
//! minutes; `full` is run manually before a release.

/// The variable that says it.
pub const VARIABLE: &str = "STATE_MIGRATION_TEST_SIZE";

/// The first of the two, or the second in the full size.
///
/// # Panics
/// The variable says another size.
pub fn size<T>(gate: T, full: T) -> T {
    let size = std::env::var(VARIABLE);
    let size = size.as_deref().unwrap_or("gate");
    assert!(
        matches!(size, "gate" | "full"),
        "{VARIABLE} is {size:?}; give it gate or full"
    );
    match size {
        "full" => full,
        _ => gate,
    }
}
