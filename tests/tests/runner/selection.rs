//! A run for some processes touches no others.

use std::collections::BTreeSet;

use state_migration::{
    EventStore, ExpectedSequence, MemoryStore, MigrationReport, MigrationRunner, NewEvent, Process,
    ProcessIdentity, ProcessRegistry, RegistryKey, Selection, SnapshotStore, StreamId, TenantId,
    WorkflowId,
};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::orders::{OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, id};
use state_migration_tests::stores::{OnDisk, Rows};

const EACH: u64 = 30;

/// Tenants whose streams interleave with each other's, as far as ids can.
const TENANTS: [&str; 4] = ["a", "a!b", "a0", "b"];

trait Store: EventStore + SnapshotStore + ProcessRegistry + Clone + 'static {}
impl<S: EventStore + SnapshotStore + ProcessRegistry + Clone + 'static> Store for S {}

fn stream(tenant: &str, n: u64) -> StreamId {
    id(&format!("process/{tenant}/{n:03}"))
}

/// Orders of every tenant, registered; every fifth is over.
async fn fill(store: &impl Store) {
    for n in 0..EACH {
        for tenant in TENANTS {
            let tenant: TenantId = id(tenant);
            let identity = ProcessIdentity::of::<OrderV1>(tenant.clone(), id(&format!("{n:03}")));
            let mut order =
                Process::<OrderV1>::open(identity.clone(), store.clone(), store.clone())
                    .await
                    .unwrap();
            order
                .append(&[OrderEvent::Placed { euro: n }])
                .await
                .unwrap();
            if n % 5 == 0 {
                order.append(&[OrderEvent::Closed]).await.unwrap();
            }
            let key = RegistryKey::Process(identity.process_id().clone());
            store.register(&tenant, &key, &identity).await.unwrap();
        }
    }
    let other = NewEvent::new(WorkflowId::new("invoice", "v1"), "Sent", 1, "{}").unwrap();
    store
        .append(
            &id("process/a/invoice"),
            ExpectedSequence::NoStream,
            vec![other],
        )
        .await
        .unwrap();
}

async fn run(store: &impl Store, selection: Selection) -> MigrationReport {
    MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone())
        .select(selection)
        .run()
        .await
}

/// The streams at v2.
async fn migrated(store: &impl EventStore) -> BTreeSet<StreamId> {
    let mut found = BTreeSet::new();
    for tenant in TENANTS {
        for n in 0..EACH {
            let head = store.head(&stream(tenant, n)).await.unwrap().unwrap();
            if head.workflow_id == WorkflowId::of::<OrderV2>() {
                found.insert(stream(tenant, n));
            }
        }
    }
    found
}

fn all_of(tenant: &str) -> BTreeSet<StreamId> {
    (0..EACH).map(|n| stream(tenant, n)).collect()
}

macro_rules! over_every_store {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            use super::*;
            #[tokio::test]
            async fn in_memory() {
                super::$test(MemoryStore::new()).await;
            }
            #[tokio::test(flavor = "multi_thread")]
            async fn on_disk() {
                let disk = OnDisk::new().await.unwrap();
                super::$test(disk.clone()).await;
            }
            #[tokio::test]
            async fn event_first() {
                super::$test(Faulty::over(MemoryStore::new())).await;
            }
        }
    )*};
}

over_every_store![
    each_way_to_select_picks_what_it_says,
    a_limit_selects_the_first_processes_in_order,
    a_canary_picks_the_same_ones_again_and_a_larger_one_holds_it,
    in_flight_leaves_what_is_over_at_its_version,
];

async fn each_way_to_select_picks_what_it_says(store: impl Store) {
    fill(&store).await;
    let mut expected = BTreeSet::new();
    for (selection, more) in [
        (Selection::all().workflow("invoice"), BTreeSet::new()),
        (Selection::all().tenant(id("absent")), BTreeSet::new()),
        (Selection::all().streams([]), BTreeSet::new()),
        (Selection::all().percent(0.0), BTreeSet::new()),
        (
            Selection::all().tenant(id("a")).prefix("process/b"),
            BTreeSet::new(),
        ),
        (
            Selection::all().streams([stream("b", 7), stream("a", 9)]),
            [stream("b", 7), stream("a", 9)].into(),
        ),
        (
            Selection::all().tenant(id("a")).workflow("order"),
            all_of("a"),
        ),
        (
            Selection::all().prefix("process/a0/00"),
            (0..10).map(|n| stream("a0", n)).collect(),
        ),
        (
            Selection::all().tenant(id("a!b")).tenant(id("b")),
            &all_of("a!b") | &all_of("b"),
        ),
        (Selection::all(), all_of("a0")),
    ] {
        let shown = selection.to_string();
        let before = expected.len();
        expected.extend(more);
        let report = run(&store, selection).await;
        assert_eq!(
            report.migrated,
            expected.len() - before,
            "{shown}: {report}"
        );
        assert_eq!(
            (report.error_count, report.warning_count),
            (0, 0),
            "{shown}: {report}"
        );
        assert_eq!(migrated(&store).await, expected, "{shown}");
    }
    assert_eq!(expected.len() as u64, EACH * 4);
}

async fn a_limit_selects_the_first_processes_in_order(store: impl Store) {
    fill(&store).await;
    let mut in_order: Vec<StreamId> = TENANTS.iter().flat_map(|t| all_of(t)).collect();
    in_order.sort();
    let mut done = 0;
    for count in [0, 1, 7, 40] {
        let report = run(&store, Selection::all().first(count)).await;
        assert_eq!(
            (report.migrated, report.error_count),
            (count, 0),
            "{report}"
        );
        done += count;
        assert_eq!(
            migrated(&store).await,
            in_order[..done].iter().cloned().collect()
        );
    }
    let of_b = run(&store, Selection::all().tenant(id("b")).first(3)).await;
    assert_eq!(of_b.migrated, 3);
    assert!((0..3).all(|n| in_order.contains(&stream("b", n))));
    let report = run(&store, Selection::all().first(1_000)).await;
    assert_eq!(report.migrated, in_order.len() - done - 3, "{report}");
}

async fn a_canary_picks_the_same_ones_again_and_a_larger_one_holds_it(store: impl Store) {
    fill(&store).await;
    let fifth = Selection::all().percent(20.0);
    let report = run(&store, fifth.clone()).await;
    let picked = migrated(&store).await;
    assert!((10..40).contains(&picked.len()), "{}", picked.len());
    assert_eq!(report.migrated, picked.len(), "{report}");
    let not_selected = 120 - picked.len() + invoice_seen(&report, &fifth);
    assert_eq!(report.skipped_by.not_selected, not_selected, "{report}");
    assert_eq!(run(&store, fifth).await.migrated, 0);
    assert_eq!(migrated(&store).await, picked);
    run(&store, Selection::all().percent(60.0)).await;
    let more = migrated(&store).await;
    assert!(more.is_superset(&picked) && more.len() > picked.len());
}

/// Whether a full scan counted the invoice as not selected.
fn invoice_seen(report: &MigrationReport, selection: &Selection) -> usize {
    let full = report.visited == Some(state_migration::ScanKind::ByFullScan);
    usize::from(full && !selection.selects(&id("process/a/invoice")))
}

async fn in_flight_leaves_what_is_over_at_its_version(store: impl Store) {
    fill(&store).await;
    for _ in 0..2 {
        let before = migrated(&store).await.len();
        let report = run(&store, Selection::all().in_flight()).await;
        assert_eq!(report.migrated, 96 - before, "{report}");
        assert_eq!(report.skipped_by.finished, 24, "{report}");
        let found = migrated(&store).await;
        for tenant in TENANTS {
            for n in 0..EACH {
                assert_eq!(
                    found.contains(&stream(tenant, n)),
                    n % 5 != 0,
                    "{tenant} {n}"
                );
            }
        }
    }
    assert_eq!(run(&store, Selection::all()).await.migrated, 24);
}

async fn only_its_own_keys<S: Store + Rows>(store: S) {
    fill(&store).await;
    let before = store.rows().await.unwrap();
    let report = run(&store, Selection::all().tenant(id("a"))).await;
    assert_eq!((report.migrated, report.error_count), (30, 0), "{report}");
    let after = store.rows().await.unwrap();
    // What else may change: that v2 has processes now.
    let presence = b"worder\0\x01v2\0\x01".to_vec();
    let (mine, entry) = (b"process/a/".to_vec(), b"ra\0\x01".to_vec());
    let is_own = |key: &[u8]| {
        key == presence
            || key.starts_with(&entry)
            || key.windows(mine.len()).any(|part| part == mine)
    };
    let others = |rows: &[(bytes::Bytes, bytes::Bytes)]| {
        let others = rows.iter().filter(|(key, _)| !is_own(key)).cloned();
        others.collect::<Vec<_>>()
    };
    assert!(others(&before).len() > 300);
    assert_eq!(others(&before), others(&after));
    assert_ne!(before, after);
}

#[tokio::test]
async fn a_tenants_run_changes_no_key_of_another_in_memory() {
    only_its_own_keys(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_run_changes_no_key_of_another_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    only_its_own_keys(disk.clone()).await;
}
