//! The stores of `state-migration`: in memory, and on SlateDB.
//!
//! Programs depend on `state-migration`, which re-exports all of this. The
//! hidden modules are for the other packages of the workspace, and may change
//! in any release.

#[doc(hidden)]
pub mod key;
mod kv;
mod memory;
#[doc(hidden)]
pub mod record;
mod records;
#[cfg(feature = "slatedb")]
mod slate;
mod write_activity;

pub use memory::MemoryStore;
pub use records::{NotDurable, RecordStore};
#[cfg(feature = "slatedb")]
pub use slate::{SlateDbReader, SlateDbStore, SlateDbStoreBuilder};
#[cfg(feature = "slatedb")]
#[doc(hidden)]
pub use slate::{is_no_store, storage_trouble};
