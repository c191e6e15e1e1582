//! Checks of conversions, and totals over all processes of a run.

use serde::{Deserialize, Serialize};
use state_migration::{
    ConversionError, Decimal, Decoder, EventPayload, EventStore, FailureClass, Fingerprint,
    MemoryStore, MigrationRegistry, MigrationReport, MigrationRunner, Process, ProcessIdentity,
    RunState, Runs, SlateDbStore, SnapshotStore, StateMigration, Totals, Workflow, WorkflowId,
};
use state_migration_tests::orders::id;
use state_migration_tests::stores::OnDisk;

/// An account in whole euro, then in cents.
struct AccountV1;
struct AccountV2;

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Euro {
    euro: i64,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Cents {
    cents: i128,
}

#[derive(Debug, Serialize, Deserialize)]
struct PaidIn(i64);

impl EventPayload for PaidIn {
    fn event_type(&self) -> &'static str {
        "PaidIn"
    }
}

impl Workflow for AccountV1 {
    const NAME: &'static str = "account";
    const VERSION: &'static str = "v1";
    type State = Euro;
    type Event = PaidIn;

    fn apply(mut state: Euro, PaidIn(euro): &PaidIn) -> Euro {
        state.euro += euro;
        state
    }

    fn totals(state: &Euro) -> Totals {
        Totals::new()
            .with("balance", i128::from(state.euro))
            .with("accounts", 1)
    }
}

impl Workflow for AccountV2 {
    const NAME: &'static str = "account";
    const VERSION: &'static str = "v2";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = Cents;
    type Event = PaidIn;

    fn apply(mut state: Cents, PaidIn(euro): &PaidIn) -> Cents {
        state.cents += i128::from(*euro) * 100;
        state
    }

    fn totals(state: &Cents) -> Totals {
        Totals::new()
            .with("balance", Decimal::new(state.cents, 2))
            .with("accounts", 1)
            .with("in cents", state.cents)
    }
}

/// The migration, which gives too much to accounts with more than `most` euro.
struct ToCents {
    from: WorkflowId,
    to: WorkflowId,
    most: i64,
    is_checked: bool,
}

fn check(old: &Euro, new: &Cents) -> Result<(), ConversionError> {
    match i128::from(old.euro) * 100 == new.cents {
        true => Ok(()),
        false => Err("the balance has changed".into()),
    }
}

impl StateMigration for ToCents {
    type FromWorkflow = AccountV1;
    type ToWorkflow = AccountV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.from
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.to
    }

    fn migrate(&self, old: Euro) -> Result<Cents, ConversionError> {
        let too_much = i128::from(old.euro > self.most);
        let cents = i128::from(old.euro) * 100 + too_much;
        let cents = if old.euro == HUGE { i128::MAX } else { cents };
        Ok(Cents { cents })
    }

    fn check(&self) -> Option<state_migration::Check<Self>> {
        self.is_checked.then_some(check)
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_bytes(self.most.to_string().as_bytes())
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<Cents>())
    }
}

/// An account whose balance in cents cannot be added up.
const HUGE: i64 = 666;

fn linked(most: i64, is_checked: bool) -> MigrationRegistry {
    let migration = ToCents {
        from: WorkflowId::of::<AccountV1>(),
        to: WorkflowId::of::<AccountV2>(),
        most,
        is_checked,
    };
    MigrationRegistry::builder()
        .with(migration)
        .build()
        .unwrap()
}

async fn fill<S: EventStore + SnapshotStore + Clone + 'static>(store: &S, balances: &[i64]) {
    for (n, balance) in balances.iter().enumerate() {
        let identity = ProcessIdentity::of::<AccountV1>(id("bank"), id(&format!("{n:04}")));
        let account = Process::<AccountV1>::open(identity, store.clone(), store.clone());
        account
            .await
            .unwrap()
            .append(&[PaidIn(*balance)])
            .await
            .unwrap();
    }
}

fn runner<S: Clone>(
    store: &S,
    linked: MigrationRegistry,
) -> MigrationRunner<MigrationRegistry, S, S> {
    MigrationRunner::new(linked, store.clone(), store.clone())
}

fn number(report: &MigrationReport, name: &str) -> (String, String) {
    let text = |totals: &Totals| {
        totals
            .get(name)
            .map_or_else(String::new, |it| it.to_string())
    };
    (text(&report.totals.before), text(&report.totals.after))
}

fn pair(before: &str, after: &str) -> (String, String) {
    (before.to_owned(), after.to_owned())
}

async fn totals_are_compared<S>(store: S)
where
    S: EventStore + SnapshotStore + Clone + 'static,
{
    let balances: Vec<i64> = (0..300).map(|n| n - 100).collect();
    let sum: i64 = balances.iter().sum();
    fill(&store, &balances).await;
    // A dry run tells, too.
    let dry = runner(&store, linked(197, false)).dry_run().await;
    assert_eq!(dry.failed_by_class[&FailureClass::TotalsDiffer], 1, "{dry}");
    assert_eq!(dry.migrated, 300);
    let run = runner(&store, linked(197, false)).run().await;
    assert_eq!((run.migrated, run.error_count), (300, 1), "{run}");
    assert_eq!(run.state, Some(RunState::DoneWithErrors));
    let error = &run.errors[0];
    assert!(
        error
            .message
            .contains(&format!("`balance` was {sum} and is {sum}.02")),
        "{error}"
    );
    assert_eq!(number(&run, "accounts"), pair("300", "300"));
    assert_eq!(
        number(&run, "balance"),
        pair(&sum.to_string(), &format!("{sum}.02"))
    );
    assert_eq!(
        number(&run, "in cents"),
        pair("", &format!("{}", sum * 100 + 2))
    );
    let runs = Runs::of(&store).unwrap();
    assert_eq!(runs.totals(run.run.unwrap()).await.unwrap(), run.totals);
}

async fn what_a_check_refuses_stays<S>(store: S)
where
    S: EventStore + SnapshotStore + Clone + 'static,
{
    fill(&store, &[1, 2, 3, HUGE, 4]).await;
    let run = runner(&store, linked(2, true)).run().await;
    assert_eq!(run.failed_by_class[&FailureClass::CheckFailed], 3, "{run}");
    assert_eq!((run.migrated, run.error_count), (2, 3), "{run}");
    let message = &run.errors[0].message;
    assert!(
        message.starts_with("the check failed: the balance has changed, in account@v1->v2"),
        "{message}"
    );
    assert_eq!(number(&run, "balance"), pair("3", "3.00"));
    // The rest, of which one is too large to be added up.
    let run = runner(&store, linked(i64::MAX, false)).run().await;
    assert_eq!(
        run.failed_by_class[&FailureClass::TotalTooLarge],
        1,
        "{run}"
    );
    assert_eq!((run.migrated, run.error_count), (2, 1), "{run}");
    assert!(run.errors[0].message.contains("`balance`"), "{run}");
    assert_eq!(number(&run, "balance"), pair("7", "7.00"));
}

#[tokio::test]
async fn in_memory() {
    totals_are_compared(MemoryStore::new()).await;
    what_a_check_refuses_stays(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_disk() {
    let store: OnDisk = OnDisk::new().await.unwrap();
    totals_are_compared::<SlateDbStore>((*store).clone()).await;
    let other = OnDisk::new().await.unwrap();
    what_a_check_refuses_stays::<SlateDbStore>((*other).clone()).await;
}

/// To see it fail: let `stop_at_failures` do nothing.
#[tokio::test]
async fn a_run_stops_at_failures() {
    let store = MemoryStore::new();
    let balances: Vec<i64> = (0..2_000).collect();
    fill(&store, &balances).await;
    let failing = || linked(-1, true);
    let stopped = runner(&store, failing())
        .chunk_processes(16)
        .max_failures(10);
    let stopped = stopped.run().await;
    assert!(stopped.too_many_failures, "{stopped}");
    assert_eq!(stopped.state, Some(RunState::Cancelled), "{stopped}");
    let failed = stopped.error_count;
    assert!((11..1_500).contains(&failed), "{failed}");
    let runs = Runs::of(&store).unwrap();
    let run = stopped.run.unwrap();
    let cancelled = runs.actions(run).await.unwrap().pop().unwrap();
    assert_eq!(cancelled.reason, "more than 10 processes failed");
    let rest = runner(&store, failing())
        .max_failures(5_000)
        .resume(run)
        .await;
    assert!(!rest.too_many_failures, "{rest}");
    assert_eq!(rest.state, Some(RunState::DoneWithErrors), "{rest}");
    assert_eq!(rest.error_count, 2_000, "{rest}");
}

/// Over separate stores, totals are in the report alone.
#[tokio::test]
async fn over_separate_stores() {
    let (events, snapshots) = (MemoryStore::new(), MemoryStore::new());
    fill(&events, &[1, 2, 3]).await;
    let run = MigrationRunner::new(linked(2, false), events, snapshots)
        .run()
        .await;
    assert_eq!(run.failed_by_class[&FailureClass::TotalsDiffer], 1, "{run}");
    assert_eq!(run.state, Some(RunState::DoneWithErrors));
}

/// A process that is migrated as it is opened is checked, too.
#[tokio::test]
async fn as_they_are_opened() {
    let store = MemoryStore::new();
    fill(&store, &[1, 3]).await;
    let opener = runner(&store, linked(2, true));
    let identity = |n: u64| ProcessIdentity::of::<AccountV2>(id("bank"), id(&format!("{n:04}")));
    opener.open::<AccountV2>(identity(0)).await.unwrap();
    let refused = opener.open::<AccountV2>(identity(1)).await.unwrap_err();
    assert!(
        refused.to_string().contains("the check failed"),
        "{refused}"
    );
    let head = store.head(identity(1).stream_id()).await.unwrap().unwrap();
    assert_eq!(head.workflow_id, WorkflowId::of::<AccountV1>());
}
