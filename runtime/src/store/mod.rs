//! Stores: in memory, and on SlateDB.

#[cfg(feature = "tokio")]
pub(crate) mod key;
#[cfg(feature = "tokio")]
mod kv;
#[cfg(feature = "tokio")]
mod memory;
#[cfg(feature = "tokio")]
pub(crate) mod record;
#[cfg(feature = "tokio")]
mod records;
#[cfg(feature = "slatedb")]
mod slatedb;
#[cfg(feature = "tokio")]
pub(crate) mod write_activity;

#[cfg(feature = "slatedb")]
pub use self::slatedb::{SlateDbReader, SlateDbStore, SlateDbStoreBuilder};
#[cfg(feature = "tokio")]
pub use memory::MemoryStore;
#[cfg(feature = "tokio")]
pub use records::{NotDurable, RecordStore};
