//! The SlateDB store, and its reader.

mod answer;
#[cfg(test)]
mod cancelled;
mod conditions;
mod damage;
mod durable;
mod gradual;
mod in_use;
mod kv;
mod litter;
mod location;
mod memory_budget;
mod no_retry;
mod open;
mod openings;
mod probe;
mod reader;
pub(crate) mod rehearsal;
mod trouble;

use slatedb::{CloseReason, Db};

pub use kv::SlateDbKv;
#[doc(hidden)]
pub use location::is_no_store;
pub use open::SlateDbStoreBuilder;
pub use reader::SlateDbReader;
#[doc(hidden)]
pub use trouble::storage_trouble;

use crate::records::RecordStore;
use state_migration_core::{Error, ErrorKind};

/// A store in SlateDB: events, snapshots and process registry in one database,
/// on the local disk or in an object store.
///
/// Clones are handles of the same store, and so are stores made
/// [from](SlateDbStore::from_db) clones of one [`Db`].
///
/// SlateDB allows one writer: opening a database takes it over, and a handle
/// that was opened before gets
/// [`ErrorKind::Fenced`](state_migration_core::ErrorKind::Fenced) when it waits
/// for a write to become durable. Until then its writes appear to succeed,
/// which is why every write here waits unless its type says otherwise
/// ([`NotDurable`](crate::NotDurable)). A [`SlateDbReader`] does not take the
/// store over.
///
/// Consequences of SlateDB's design:
///
/// - A run on a live service runs inside that service. A second program that
///   opens the store, even only to inspect it, fences the first one, unless it
///   uses a [`SlateDbReader`] or, to run,
///   [`open_local_unless_claimed`](SlateDbStore::open_local_unless_claimed).
/// - Whether the program that has the store open is alive can be determined on
///   the machine where it runs. A run that was killed elsewhere keeps its claim
///   on the store, like a live one, until
///   [`open_unless_alive`](SlateDbStoreBuilder::open_unless_alive) takes the
///   store over.
/// - A store needs memory for its caches and for rows that are not in files
///   yet: about 256 MiB whatever its size, unless
///   [`memory`](SlateDbStoreBuilder::memory) sets another limit.
/// - A store scales to what one writer can do. A fleet has several stores, with
///   a runner each.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use state_migration::{
///     EventStore, ExpectedSequence, NewEvent, ProcessId, SlateDbStore, StreamId, TenantId,
///     WorkflowId,
/// };
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let store = SlateDbStore::open_local(folder).await?;
/// let stream = StreamId::for_process(&TenantId::new("shop")?, &ProcessId::new("17")?);
/// let placed = NewEvent::new(WorkflowId::new("order", "v1"), "OrderPlaced", 1, "{}")?;
/// store.append(&stream, ExpectedSequence::NoStream, vec![placed]).await?;
/// store.close().await?;
///
/// let store = SlateDbStore::open_local(folder).await?;
/// assert_eq!(store.read(&stream, 0, 10).await?.len(), 1);
/// # Ok(())
/// # }
/// ```
pub type SlateDbStore = RecordStore<SlateDbKv>;

impl SlateDbStore {
    /// The underlying database. Writes to it bypass all checks of the store.
    #[must_use]
    pub fn db(&self) -> &Db {
        self.kv().db()
    }

    /// Makes everything durable and closes the database for all handles.
    ///
    /// Other programs can then see that no program has the store open, which
    /// [`open_unless_in_use`](SlateDbStoreBuilder::open_unless_in_use) checks.
    /// A store that was only dropped does not show that.
    ///
    /// # Errors
    /// Writes that were not yet durable may be lost.
    pub async fn close(&self) -> Result<(), Error> {
        let unclosed = |error| kv::error("the store could not be closed", error);
        // A handle that is known to be fenced has nothing to make durable.
        let ended = self.db().status().close_reason;
        let is_open = ended.is_none();
        let farewell = match is_open {
            true => in_use::mark_closed(self.db()).await,
            false => Ok(()),
        };
        if is_open && farewell.is_ok() {
            self.kv().remove_litter().await;
        }
        let closed = self.db().close().await;
        if let Some(mark) = self.kv().mark() {
            let why = match (&farewell, ended) {
                (Err(error), _) => Some(error.kind()),
                (Ok(()), ended) => ended.map(slatedb::ErrorKind::Closed),
            };
            match why {
                None
                | Some(slatedb::ErrorKind::Closed(CloseReason::Clean | CloseReason::Fenced)) => {
                    mark.remove().await;
                }
                // The database does not record that it was closed.
                Some(_) => mark.clone().failed().await,
            }
        }
        // Later errors follow from the first one, or are not reported.
        farewell.map_err(unclosed)?;
        match closed {
            Err(error)
                if is_open && error.kind() == slatedb::ErrorKind::Closed(CloseReason::Clean) =>
            {
                let message = "the store was not closed cleanly: everything is durable in its log, but not yet in its other files; check that the object store has space and answers";
                Err(Error::new(ErrorKind::Unavailable, message).with_source(error))
            }
            closed => closed.map_err(unclosed),
        }
    }
}
