//! What `state-migration` re-exports, without its tool: tests that
//! name this are not built again when the tool changes.

#[cfg(feature = "runner")]
pub use state_migration_conformance as conformance;
#[cfg(feature = "control-socket")]
pub use state_migration_control_socket as control_socket;
pub use state_migration_core::*;
#[cfg(feature = "runner")]
pub use state_migration_runner::*;
#[cfg(feature = "runner")]
pub use state_migration_store::*;
