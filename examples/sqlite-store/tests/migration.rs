//! A run migrates the processes of the store, which keeps the record of the run.

use serde::{Deserialize, Serialize};
use state_migration::{
    EventPayload, FailureClass, MigrationRegistry, MigrationReport, MigrationRunner, Process,
    ProcessId, ProcessIdentity, ProcessRegistry, RegistryError, RegistryKey, RunKind, Runs,
    SnapshotStore, TenantId, Workflow, WorkflowId, state_migration,
};
use state_migration_sqlite_store::SqliteStore;

#[derive(Serialize, Deserialize)]
enum Event {
    Paid { euro: u64 },
}

impl EventPayload for Event {
    fn event_type(&self) -> &'static str {
        "Paid"
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct StateV1 {
    euro: u64,
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct StateV2 {
    cents: u64,
}

struct AccountV1;
struct AccountV2;

impl Workflow for AccountV1 {
    const NAME: &'static str = "account";
    const VERSION: &'static str = "1";
    type State = StateV1;
    type Event = Event;

    fn apply(state: StateV1, Event::Paid { euro }: &Event) -> StateV1 {
        StateV1 {
            euro: state.euro + euro,
        }
    }
}

impl Workflow for AccountV2 {
    const NAME: &'static str = "account";
    const VERSION: &'static str = "2";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = StateV2;
    type Event = Event;

    fn apply(state: StateV2, Event::Paid { euro }: &Event) -> StateV2 {
        StateV2 {
            cents: state.cents + euro * 100,
        }
    }
}

#[state_migration(from = AccountV1, to = AccountV2)]
fn account_v1_to_v2(old: StateV1) -> Result<StateV2, String> {
    match old.euro {
        13 => Err("thirteen euro are not migrated".to_owned()),
        euro => Ok(StateV2 { cents: euro * 100 }),
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn identity<W: Workflow>(n: u64) -> Result<ProcessIdentity, Box<dyn std::error::Error>> {
    let process = ProcessId::new(n.to_string())?;
    Ok(ProcessIdentity::of::<W>(TenantId::new("bank")?, process))
}

async fn migrate(store: &SqliteStore) -> Result<MigrationReport, RegistryError> {
    let registry = MigrationRegistry::linked()?;
    let runner = MigrationRunner::new(registry, store.clone(), store.clone());
    Ok(runner.run().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_migrates_every_process_and_leaves_its_record() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("store.db");
    let store = SqliteStore::open(&file)?;
    let tenant = TenantId::new("bank")?;
    for n in 1..=40 {
        let identity = identity::<AccountV1>(n)?;
        let key = RegistryKey::from_process(identity.process_id().clone());
        store.register(&tenant, &key, &identity).await?;
        let mut account =
            Process::<AccountV1>::open(identity, store.clone(), store.clone()).await?;
        account.append(&[Event::Paid { euro: n }]).await?;
        account.take_snapshot().await?;
    }

    let report = migrate(&store).await?;
    assert_eq!((report.migrated, report.errors.len()), (39, 1), "{report}");
    assert_eq!(report.errors[0].class, FailureClass::Refused);
    let again = migrate(&store).await?;
    assert_eq!(again.migrated, 0, "{again}");

    // Everything is in the file, and another program finds it there.
    drop(store);
    let store = SqliteStore::open(&file)?;
    let runs = Runs::of(&store).ok_or("the store keeps no runs")?;
    let kinds: Vec<_> = runs.list().await?.into_iter().map(|run| run.kind).collect();
    assert_eq!(kinds, [RunKind::Migrate, RunKind::Migrate]);
    for n in 1..=40 {
        let at = match n {
            13 => WorkflowId::of::<AccountV1>(),
            _ => WorkflowId::of::<AccountV2>(),
        };
        let key = RegistryKey::from_process(ProcessId::new(n.to_string())?);
        let entry = store.lookup(&tenant, &key).await?.ok_or("no entry")?;
        assert_eq!(entry.workflow_id, at, "account {n}");
        if n == 13 {
            assert!(store.load(entry.stream_id()).await?.is_some());
            continue;
        }
        let identity = identity::<AccountV2>(n)?;
        let mut account =
            Process::<AccountV2>::open(identity, store.clone(), store.clone()).await?;
        account.append(&[Event::Paid { euro: 1 }]).await?;
        assert_eq!(account.state().cents, n * 100 + 100);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_payment_is_lost_while_a_run_migrates() -> Outcome {
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("store.db"))?;
    let accounts: Vec<u64> = (100..130).collect();
    for n in &accounts {
        let mut account =
            Process::<AccountV1>::open(identity::<AccountV1>(*n)?, store.clone(), store.clone())
                .await?;
        account.append(&[Event::Paid { euro: 1 }]).await?;
    }
    // Customers pay through the old code until it is fenced, and then through
    // the new code.
    let mut customers = Vec::new();
    for n in accounts.clone() {
        let (store, old, new) = (
            store.clone(),
            identity::<AccountV1>(n)?,
            identity::<AccountV2>(n)?,
        );
        customers.push(tokio::spawn(async move {
            let mut paid = 1;
            while paid < 10 {
                let old = Process::<AccountV1>::open(old.clone(), store.clone(), store.clone());
                let done = match old.await {
                    Ok(mut account) => account.append(&[Event::Paid { euro: 1 }]).await.is_ok(),
                    Err(_) => {
                        let open =
                            Process::<AccountV2>::open(new.clone(), store.clone(), store.clone());
                        match open.await {
                            Ok(mut it) => it.append(&[Event::Paid { euro: 1 }]).await.is_ok(),
                            Err(_) => false,
                        }
                    }
                };
                paid += u64::from(done);
            }
        }));
    }
    let report = migrate(&store).await?;
    assert!(report.is_ok(), "{report}");
    for customer in customers {
        customer.await?;
    }
    let rest = migrate(&store).await?;
    assert_eq!(report.migrated + rest.migrated, 30, "{report}; {rest}");
    for n in accounts {
        let account =
            Process::<AccountV2>::open(identity::<AccountV2>(n)?, store.clone(), store.clone())
                .await?;
        assert_eq!(account.state().cents, 1_000, "account {n}");
    }
    Ok(())
}
