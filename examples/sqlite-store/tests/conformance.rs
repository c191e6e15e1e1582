//! The store follows the rules of every store.

use state_migration::conformance;
use state_migration_sqlite_store::SqliteStore;

#[tokio::test(flavor = "multi_thread")]
async fn the_store_conforms() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("store.db"))?;
    conformance::event_store(&store).await?;
    conformance::snapshot_store(&store).await?;
    conformance::process_registry(&store).await?;
    conformance::transactional_store(&store).await?;
    Ok(())
}
