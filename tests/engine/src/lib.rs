//! The re-exports of `state-migration` without its tool, so that tests that use
//! them are not rebuilt when the tool changes.

#[cfg(feature = "runner")]
pub use state_migration_conformance as conformance;
#[cfg(feature = "control-socket")]
pub use state_migration_control_socket as control_socket;
pub use state_migration_core::*;
#[cfg(feature = "runner")]
pub use state_migration_runner::*;
#[cfg(feature = "runner")]
pub use state_migration_store::*;
#[cfg(feature = "testing")]
pub use state_migration_testing as testing;
