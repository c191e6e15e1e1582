//! A store over SQLite: an example of a store of your own, which holds events,
//! snapshots, process registry and the rows of runs in one database file.
//!
//! `docs/your-own-store.md` explains it. `tests/conformance.rs` runs the suite
//! that checks every store, and `tests/migration.rs` migrates processes in it.

mod convert;
mod events;
mod page;
mod registry;
mod snapshots;
mod transactional;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use state_migration::{DurableStoreId, Error, ErrorKind, StoreId};

/// How long a write waits for another program that writes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A store in one SQLite file.
///
/// Clones are handles of the same store. Open a file once in a program, and
/// clone the handle.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

struct Shared {
    connection: Mutex<Connection>,
    id: StoreId,
    durable_id: DurableStoreId,
}

impl SqliteStore {
    /// Opens the store in a file, which is created if it is missing.
    ///
    /// # Errors
    /// The file could not be opened, read or written.
    pub fn open(file: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_file(file.as_ref()).map_err(Error::from)
    }

    fn open_file(file: &Path) -> Result<Self, Failure> {
        let mut connection = Connection::open(file)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A commit returns when it is durable.
        connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.execute(
            "INSERT INTO store (id) SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM store)",
            [DurableStoreId::random().to_string()],
        )?;
        let id: String = transaction.query_row("SELECT id FROM store", [], |row| row.get(0))?;
        transaction.commit()?;
        let durable_id = id
            .parse()
            .map_err(|_| corrupt("the id of the store", &id))?;
        Ok(Self {
            shared: Arc::new(Shared {
                connection: Mutex::new(connection),
                id: StoreId::unique(),
                durable_id,
            }),
        })
    }

    /// Reads as of one instant.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        self.transact(TransactionBehavior::Deferred, work).await
    }

    /// Writes in one transaction, and returns when it is durable.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        self.transact(TransactionBehavior::Immediate, work).await
    }

    /// Runs a transaction on a thread for blocking work, so that the threads of
    /// the runtime are free. If the caller goes away, the transaction still ends.
    async fn transact<T: Send + 'static>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = self.shared.clone();
        let transaction = tokio::task::spawn_blocking(move || {
            let connection = shared.connection.lock();
            let mut connection = connection.unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction_with_behavior(behavior)?;
            // A transaction that is dropped is rolled back.
            let value = work(&transaction)?;
            transaction.commit().map_err(|error| {
                Error::new(
                    ErrorKind::OutcomeUnknown,
                    "SQLite did not say whether a transaction was committed; read again",
                )
                .with_source(error)
            })?;
            Ok::<T, Failure>(value)
        });
        match transaction.await {
            Ok(outcome) => outcome.map_err(Error::from),
            Err(error) => Err(Error::new(
                ErrorKind::Unavailable,
                "a transaction of SQLite ended early",
            )
            .with_source(error)),
        }
    }
}

/// The reason why a transaction was not committed.
enum Failure {
    Sqlite(rusqlite::Error),
    Store(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let error = match failure {
            Failure::Store(error) => return error,
            Failure::Sqlite(error) => error,
        };
        let kind = match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => ErrorKind::Corrupt,
            // Among these: busy for longer than `PATIENCE`, a full disk.
            Some(_) => ErrorKind::Unavailable,
            None => ErrorKind::Corrupt,
        };
        Self::new(kind, "SQLite did not do what it was asked to").with_source(error)
    }
}

/// The error for a value that this store does not write.
fn corrupt(what: &str, value: &str) -> Failure {
    Failure::Store(Error::new(
        ErrorKind::Corrupt,
        format!("{what} is {value:?}, which cannot be read; restore the file from a backup"),
    ))
}
