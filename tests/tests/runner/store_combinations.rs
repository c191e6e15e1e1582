//! The contract of the runner over every combination of stores.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use state_migration::{
    CommitMode, Error, ErrorKind, EventStore, ExpectedSequence, MemoryStore, MigrationRegistry,
    MigrationRunner, NewEvent, Process, ProcessIdentity, ProcessRegistry, RegistryKey, Runs,
    ScanKind, SlateDbStore, SnapshotStore, Stage, StreamId, WorkflowId,
};
use state_migration_tests::faulty::{ALL, Faulty};
use state_migration_tests::orders::{
    OrderV1, OrderV1ToV2Migration, OrderV2, OrderV3, UNTAXABLE, folded, history, id, identity,
    keys, order_v1_to_v2, order_v2_to_v3, place, register, tenant,
};
use state_migration_tests::stores::OnDisk;

const ORDERS: u64 = 30;
const FAILING: u64 = UNTAXABLE - 1;

async fn fill<ES, SS>(events: &ES, snapshots: &SS)
where
    ES: EventStore + Clone + 'static,
    SS: SnapshotStore + Clone + 'static,
{
    for n in (0..ORDERS).chain([FAILING]) {
        place(events, snapshots, n).await.unwrap();
    }
    let invoice = NewEvent::new(WorkflowId::new("invoice", "v1"), "Sent", 1, "{}").unwrap();
    let stream: StreamId = id("process/shop/an invoice");
    events
        .append(&stream, ExpectedSequence::NoStream, vec![invoice])
        .await
        .unwrap();
}

/// One migration, then the whole registry, then everything again.
async fn contract<ES, SS>(events: ES, snapshots: SS, form: CommitMode)
where
    ES: EventStore + Clone + 'static,
    SS: SnapshotStore + Clone + 'static,
{
    fill(&events, &snapshots).await;
    let by_index = form == CommitMode::OneTransaction;
    let visited = if by_index {
        ScanKind::ByIndex
    } else {
        ScanKind::ByFullScan
    };

    let runner = MigrationRunner::new(OrderV1ToV2Migration, events.clone(), snapshots.clone());
    let report = runner.run().await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.migrated, 31);
    assert_eq!(report.skipped, usize::from(!by_index));
    assert_eq!(report.skipped_by.other_workflow, usize::from(!by_index));
    assert_eq!((report.form, report.visited), (Some(form), Some(visited)));
    for n in 0..ORDERS {
        let order =
            Process::<OrderV2>::open(identity::<OrderV2>(n), events.clone(), snapshots.clone())
                .await
                .unwrap();
        assert_eq!(
            *order.state(),
            order_v1_to_v2(folded::<OrderV1>(n)),
            "order {n}"
        );
        assert_eq!(order.sequence(), history(n).len() as u64 + 1);
        let snapshot = snapshots
            .load(identity::<OrderV2>(n).stream_id())
            .await
            .unwrap();
        // With one store the migration event serves as the snapshot.
        assert_eq!(snapshot.is_some(), !by_index);
        if let Some(snapshot) = snapshot {
            assert_eq!(snapshot.workflow_id, WorkflowId::of::<OrderV2>());
            assert_eq!(
                (snapshot.sequence, snapshot.state_schema_version),
                (order.sequence(), 2)
            );
        }
    }

    let linked = MigrationRegistry::linked().unwrap();
    let runner = MigrationRunner::new(linked, events.clone(), snapshots.clone());
    for (run, migrated) in [30, 0].into_iter().enumerate() {
        let report = runner.run().await;
        assert_eq!(report.migrated, migrated, "run {run}: {report}");
        assert_eq!((report.error_count, report.errors.len()), (1, 1));
        let error = &report.errors[0];
        assert_eq!(error.subject, *identity::<OrderV2>(FAILING).stream_id());
        assert_eq!(error.stage, Stage::Converting);
        assert!(
            error.message.contains("666 euro cannot be taxed"),
            "{error}"
        );
        assert!(!report.is_ok());
        let already_there = if by_index { 0 } else { run * 30 };
        assert_eq!(report.skipped_by.already_there, already_there);
    }
    for n in 0..ORDERS {
        let order =
            Process::<OrderV3>::open(identity::<OrderV3>(n), events.clone(), snapshots.clone())
                .await
                .unwrap();
        let expected = order_v2_to_v3(order_v1_to_v2(folded::<OrderV1>(n))).unwrap();
        assert_eq!(*order.state(), expected, "order {n}");
    }
    // The one that failed stays usable where it stands.
    let failed = Process::<OrderV2>::open(identity::<OrderV2>(FAILING), events, snapshots)
        .await
        .unwrap();
    assert_eq!(failed.state().cents, UNTAXABLE * 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_over_every_combination_of_separate_stores() {
    let form = CommitMode::EventFirst;
    let (disk, other_disk) = (OnDisk::new().await.unwrap(), OnDisk::new().await.unwrap());
    contract(MemoryStore::new(), MemoryStore::new(), form).await;
    contract(MemoryStore::new(), disk.clone(), form).await;
    contract(other_disk.clone(), MemoryStore::new(), form).await;
    let (disk, other_disk) = (OnDisk::new().await.unwrap(), OnDisk::new().await.unwrap());
    contract(disk.clone(), other_disk.clone(), form).await;
    let own = Faulty::over(MemoryStore::new());
    contract(own.clone(), own, form).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_over_one_store_in_one_transaction() {
    let form = CommitMode::OneTransaction;
    let memory = MemoryStore::new();
    contract(memory.clone(), memory, form).await;
    let disk = OnDisk::new().await.unwrap();
    contract(disk.clone(), disk.clone(), form).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_on_clones_of_one_database_are_one_store() {
    let disk = OnDisk::new().await.unwrap();
    let events = SlateDbStore::from_db(disk.db().clone()).await.unwrap();
    let snapshots: Arc<dyn SnapshotStore> =
        Arc::new(SlateDbStore::from_db(disk.db().clone()).await.unwrap());
    contract(events, snapshots, CommitMode::OneTransaction).await;
}

/// Where the entries of order `n` lead, by key.
async fn entries(registry: &dyn ProcessRegistry, n: u64) -> Vec<Option<WorkflowId>> {
    let mut found = Vec::new();
    for key in keys(n) {
        let entry = registry.lookup(&tenant(), &key).await.unwrap();
        if let Some(entry) = &entry {
            let expected =
                ProcessIdentity::new(id(&format!("{n:06}")), tenant(), entry.workflow_id.clone());
            assert_eq!(*entry, expected);
        }
        found.push(entry.map(|entry| entry.workflow_id));
    }
    found
}

fn all_at(version: WorkflowId) -> Vec<Option<WorkflowId>> {
    vec![Some(version); 3]
}

#[tokio::test]
async fn over_separate_handles_run_leaves_the_registry_alone() {
    let (store, registry) = (MemoryStore::new(), MemoryStore::new());
    for n in 0..5 {
        place(&store, &store, n).await.unwrap();
        register(&registry, n).await.unwrap();
    }
    let before = registry.dump();
    let own = Faulty::over(store.clone());
    let report = MigrationRunner::new(OrderV1ToV2Migration, own.clone(), own)
        .run()
        .await;
    assert_eq!((report.migrated, report.error_count), (5, 0), "{report}");
    assert_eq!(registry.dump(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_one_store_every_entry_moves_with_its_process_in_every_form_of_run() {
    for with_registry in [false, true] {
        let disk = OnDisk::new().await.unwrap();
        for n in 0..20 {
            place(&disk.clone(), &disk.clone(), n).await.unwrap();
            register(&*disk, n).await.unwrap();
        }
        let runner = MigrationRunner::new(OrderV1ToV2Migration, disk.clone(), disk.clone());
        let report = if with_registry {
            runner.run_and_update_registry(&*disk).await
        } else {
            runner.run().await
        };
        assert_eq!((report.migrated, report.repaired), (20, 0), "{report}");
        assert_eq!(
            (report.warning_count, report.form),
            (0, Some(CommitMode::OneTransaction))
        );
        for n in 0..20 {
            assert_eq!(
                entries(&*disk, n).await,
                all_at(WorkflowId::of::<OrderV2>())
            );
        }
        // Also where the event comes first: the events' store holds the registry.
        let disk = OnDisk::new().await.unwrap();
        place(&disk.clone(), &disk.clone(), 1).await.unwrap();
        register(&*disk, 1).await.unwrap();
        let runner = MigrationRunner::new(OrderV1ToV2Migration, disk.clone(), MemoryStore::new());
        let report = runner.run().await;
        assert_eq!(
            (report.migrated, report.form),
            (1, Some(CommitMode::EventFirst))
        );
        assert_eq!(
            entries(&*disk, 1).await,
            all_at(WorkflowId::of::<OrderV2>())
        );
    }
}

/// The registry is elsewhere, and fails for a while.
async fn failing_registry<ES, SS>(events: ES, snapshots: SS, form: CommitMode)
where
    ES: EventStore + Clone + 'static,
    SS: SnapshotStore + Clone + 'static,
{
    let registry = Faulty::over(MemoryStore::new());
    for n in 0..10 {
        place(&events, &snapshots, n).await.unwrap();
        if n != 9 {
            register(&registry, n).await.unwrap();
        }
    }
    // Where transactions are possible but not used, the report says why.
    let hint = usize::from(form == CommitMode::EventFirst && events.transactional().is_some());
    let run = async || {
        let linked = MigrationRegistry::linked().unwrap();
        let runner = MigrationRunner::new(linked, events.clone(), snapshots.clone());
        runner.run_and_update_registry(&registry).await
    };
    registry.faults.register.store(ALL, Ordering::SeqCst);
    let report = run().await;
    assert!(
        report.is_ok(),
        "a registry that fails is no error: {report}"
    );
    assert_eq!((report.migrated, report.form), (10, Some(form)));
    assert_eq!(
        (report.warning_count, report.repaired),
        (9 + hint, 0),
        "{report}"
    );
    assert!(
        report.warnings[0].message.contains("next run repairs"),
        "{report}"
    );
    assert_eq!(
        entries(&registry, 0).await,
        all_at(WorkflowId::of::<OrderV1>())
    );

    // The next run fails for three processes, and sets the others right.
    registry.faults.register.store(3, Ordering::SeqCst);
    let report = run().await;
    assert_eq!(
        (report.migrated, report.warning_count),
        (0, 3 + hint),
        "{report}"
    );
    assert_eq!(report.repaired, 6, "{report}");

    // Of the last three, one cannot even be looked up.
    registry.faults.lookup.store(1, Ordering::SeqCst);
    let report = run().await;
    assert_eq!(
        (report.repaired, report.warning_count),
        (2, 1 + hint),
        "{report}"
    );
    let report = run().await;
    assert_eq!(
        (report.repaired, report.warning_count),
        (1, hint),
        "{report}"
    );
    for n in 0..9 {
        assert_eq!(
            entries(&registry, n).await,
            all_at(WorkflowId::of::<OrderV3>())
        );
    }
    assert_eq!(entries(&registry, 9).await, vec![None, None, None]);
    let report = run().await;
    assert_eq!(
        (report.migrated, report.repaired, report.warning_count),
        (0, 0, hint),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_registry_is_a_warning_and_the_next_run_repairs_it() {
    let memory = MemoryStore::new();
    failing_registry(memory.clone(), memory, CommitMode::OneTransaction).await;
    let disk = OnDisk::new().await.unwrap();
    failing_registry(disk.clone(), disk.clone(), CommitMode::OneTransaction).await;
}

#[tokio::test]
async fn a_failing_registry_over_separate_handles_is_repaired_by_comparing() {
    failing_registry(
        MemoryStore::new(),
        MemoryStore::new(),
        CommitMode::EventFirst,
    )
    .await;
}

#[tokio::test]
async fn a_key_that_was_given_to_another_process_is_not_taken_back() {
    let (store, registry) = (MemoryStore::new(), MemoryStore::new());
    place(&store, &store, 1).await.unwrap();
    register(&registry, 1).await.unwrap();
    let [_, conversation, _] = keys(1);
    let other = identity::<OrderV1>(2);
    registry
        .register(&tenant(), &conversation, &other)
        .await
        .unwrap();
    let runner = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store);
    let report = runner.run_and_update_registry(&registry).await;
    assert_eq!(report.migrated, 1, "{report}");
    let found = registry.lookup(&tenant(), &conversation).await.unwrap();
    assert_eq!(found, Some(other));
    let own = registry
        .lookup(&tenant(), &keys(1)[0])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(own.workflow_id, WorkflowId::of::<OrderV2>());
}

/// A registry that knows nothing of an index from processes to keys.
struct OwnKeyOnly(MemoryStore);

#[async_trait::async_trait]
impl ProcessRegistry for OwnKeyOnly {
    async fn register(
        &self,
        tenant: &state_migration::TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        self.0.register(tenant, key, identity).await
    }
    async fn lookup(
        &self,
        tenant: &state_migration::TenantId,
        key: &RegistryKey,
    ) -> Result<Option<ProcessIdentity>, Error> {
        self.0.lookup(tenant, key).await
    }
    async fn remove(
        &self,
        tenant: &state_migration::TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        self.0.remove(tenant, key, identity).await
    }
}

#[tokio::test]
async fn a_users_own_registry_has_the_processs_own_key_rewritten() {
    let store = MemoryStore::new();
    let registry = OwnKeyOnly(MemoryStore::new());
    place(&store, &store, 3).await.unwrap();
    register(&registry, 3).await.unwrap();
    let own = Faulty::over(store);
    let runner = MigrationRunner::new(OrderV1ToV2Migration, own.clone(), own);
    let report = runner.run_and_update_registry(&registry).await;
    assert_eq!((report.migrated, report.warning_count), (1, 0), "{report}");
    let (v1, v2) = (WorkflowId::of::<OrderV1>(), WorkflowId::of::<OrderV2>());
    assert_eq!(
        entries(&registry, 3).await,
        vec![Some(v2), Some(v1.clone()), Some(v1)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_can_be_a_task_of_its_own() {
    for one_store in [true, false] {
        let (events, others) = (MemoryStore::new(), MemoryStore::new());
        let snapshots = if one_store {
            events.clone()
        } else {
            others.clone()
        };
        place(&events, &snapshots, 1).await.unwrap();
        let runner = MigrationRunner::new(OrderV1ToV2Migration, events, snapshots);
        let task = tokio::spawn(async move {
            (
                runner.run().await,
                runner.run_and_update_registry(&others).await,
            )
        });
        let (first, second) = task.await.unwrap();
        assert_eq!((first.migrated, second.migrated), (1, 0));
    }
}

#[tokio::test]
async fn a_full_count_sets_a_registry_elsewhere_right_after_a_run_without_it() {
    let (store, registry) = (MemoryStore::new(), MemoryStore::new());
    for n in 0..4 {
        place(&store, &store, n).await.unwrap();
        register(&registry, n).await.unwrap();
    }
    let runner = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
    assert_eq!(runner.run().await.migrated, 4);
    assert_eq!(
        entries(&registry, 3).await,
        all_at(WorkflowId::of::<OrderV1>())
    );
    let counting = runner.count_up_to_date(true);
    for repaired in [4, 0] {
        let report = counting.run_and_update_registry(&registry).await;
        assert_eq!(
            (report.migrated, report.repaired),
            (0, repaired),
            "{report}"
        );
    }
    assert_eq!(
        entries(&registry, 3).await,
        all_at(WorkflowId::of::<OrderV2>())
    );
}

/// Gives a key to another process just after it was looked up.
struct MovesKeys(MemoryStore);

#[async_trait::async_trait]
impl ProcessRegistry for MovesKeys {
    async fn register(
        &self,
        tenant: &state_migration::TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        self.0.register(tenant, key, identity).await
    }
    async fn lookup(
        &self,
        tenant: &state_migration::TenantId,
        key: &RegistryKey,
    ) -> Result<Option<ProcessIdentity>, Error> {
        let found = self.0.lookup(tenant, key).await?;
        if matches!(key, RegistryKey::Correlation(_)) {
            self.0
                .register(tenant, key, &identity::<OrderV1>(9))
                .await?;
        }
        Ok(found)
    }
    async fn replace(
        &self,
        tenant: &state_migration::TenantId,
        key: &RegistryKey,
        expected: &ProcessIdentity,
        identity: &ProcessIdentity,
    ) -> Result<bool, Error> {
        self.0.replace(tenant, key, expected, identity).await
    }
    async fn remove(
        &self,
        tenant: &state_migration::TenantId,
        key: &RegistryKey,
        identity: &ProcessIdentity,
    ) -> Result<(), Error> {
        self.0.remove(tenant, key, identity).await
    }
    async fn keys_of(
        &self,
        tenant: &state_migration::TenantId,
        process: &state_migration::ProcessId,
    ) -> Result<Vec<RegistryKey>, Error> {
        self.0.keys_of(tenant, process).await
    }
}

#[tokio::test]
async fn a_key_that_moves_while_it_is_rewritten_stays_where_it_went() {
    let store = MemoryStore::new();
    let registry = MovesKeys(MemoryStore::new());
    place(&store, &store, 1).await.unwrap();
    register(&registry.0, 1).await.unwrap();
    let runner = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store);
    let report = runner.run_and_update_registry(&registry).await;
    assert_eq!((report.migrated, report.warning_count), (1, 0), "{report}");
    let [own, conversation, correlation] = keys(1);
    for key in [own, conversation] {
        let entry = registry.0.lookup(&tenant(), &key).await.unwrap().unwrap();
        assert_eq!(entry, identity::<OrderV2>(1));
    }
    let entry = registry.0.lookup(&tenant(), &correlation).await.unwrap();
    assert_eq!(entry, Some(identity::<OrderV1>(9)));
}

/// To see it fail: do not look at the claim in `MigrationRunner::prepared`, or leave out
/// `leave_to_the_run`.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_appends_events_first_is_refused_while_a_run_claims_the_events() {
    let (events, elsewhere) = (MemoryStore::new(), MemoryStore::new());
    for n in 0..5 {
        place(&events, &events, n).await.unwrap();
    }
    let first = MigrationRunner::new(OrderV1ToV2Migration, events.clone(), events.clone());
    let control = first.control();
    control.pause();
    let running = tokio::spawn(async move { first.run().await });
    let runs = Runs::of(&events).unwrap();
    while runs.claimed_by().await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let claimed_by = runs.claimed_by().await.unwrap().unwrap();
    let second = MigrationRunner::new(OrderV1ToV2Migration, events.clone(), elsewhere.clone());
    let refused = second.run().await;
    assert_eq!((refused.migrated, refused.error_count), (0, 1), "{refused}");
    let message = &refused.errors[0].message;
    let claims = format!("run {claimed_by} claims the store");
    assert!(message.contains(&claims), "{message}");
    // Nor does opening a process migrate it without the run.
    let stream = identity::<OrderV1>(3).stream_id().clone();
    let before = events.head(&stream).await.unwrap();
    let refused = second.open::<OrderV2>(identity::<OrderV2>(3)).await;
    let refused = refused.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::Claimed { run: claimed_by });
    assert_eq!(events.head(&stream).await.unwrap(), before);
    control.unpause();
    let report = running.await.unwrap();
    assert_eq!((report.migrated, report.error_count), (5, 0), "{report}");
    // The process is opened as soon as the run has migrated it.
    second
        .open::<OrderV2>(identity::<OrderV2>(3))
        .await
        .unwrap();
    // Afterwards it may run, and says why it uses no transactions.
    let report = second.run().await;
    assert_eq!(report.form, Some(CommitMode::EventFirst));
    let warning = &report.warnings[0].message;
    assert!(
        warning.contains("the snapshots are in another store"),
        "{warning}"
    );
}

/// Fails if `Outcome::Held` is left out of the form over separate stores.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_process_stays_as_it_is_where_events_come_first() {
    let store = MemoryStore::new();
    for n in 0..5 {
        place(&store, &store, n).await.unwrap();
    }
    let runs = Runs::of(&store).unwrap();
    let held = identity::<OrderV1>(3).stream_id().clone();
    runs.hold(&held, "ann", "in court").await.unwrap();
    let before = store.dump();
    let handle = || Arc::new(Faulty::over(store.clone()));
    let runner = MigrationRunner::new(OrderV1ToV2Migration, handle(), handle());

    let report = runner.dry_run().await;
    assert_eq!(report.form, Some(CommitMode::EventFirst));
    let counts = (report.migrated, report.skipped_by.held, report.error_count);
    assert_eq!(counts, (4, 1, 0), "{report}");
    let refused = runner.open::<OrderV2>(identity::<OrderV2>(3)).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused.kind(), ErrorKind::WrongVersion { .. }),
        "{refused}"
    );
    assert_eq!(store.dump(), before);

    let report = runner.run().await;
    let counts = (report.migrated, report.skipped_by.held, report.error_count);
    assert_eq!(counts, (4, 1, 0), "{report}");
    let head = store.head(&held).await.unwrap().unwrap();
    assert!(head.held && head.workflow_id == WorkflowId::of::<OrderV1>());
    let hold = runs.held(&held).await.unwrap().unwrap();
    assert_eq!((&*hold.actor, &*hold.reason), ("ann", "in court"));
    assert!(
        runner
            .open::<OrderV2>(identity::<OrderV2>(3))
            .await
            .is_err()
    );

    runs.release(&held, "ann", "settled").await.unwrap();
    runner
        .open::<OrderV2>(identity::<OrderV2>(3))
        .await
        .unwrap();
}
