//! A migration while processes are loaded: old code is fenced, new code can append.

use state_migration::{ErrorKind, MIGRATED, Process, ProcessIdentity, SnapshotStore, WorkflowId};
use state_migration_tests::orders::OrderEvent::{Closed, Paid, Placed};
use state_migration_tests::orders::{self, OrderV1, OrderV2, OrderV3, StateV2, identity};

use crate::process::loading::NotesV1;
use crate::process::{
    Store, garble, migrate_to_v2, migrated_to_v2, open, over_both_stores, state, stream, sum,
    try_open, v1, v2,
};

over_both_stores![
    code_of_another_version_cannot_open_a_process,
    code_of_another_version_cannot_open_a_process_without_events,
    a_live_handle_of_the_old_version_cannot_append,
    a_live_handle_of_the_old_version_cannot_take_a_snapshot,
    code_of_the_old_version_cannot_write_registry_entries,
    a_live_handle_of_the_old_version_learns_of_the_migration_by_reloading,
    a_process_continues_under_the_new_version,
    events_before_the_baseline_are_never_read,
    a_state_of_another_schema_version_is_not_read_as_ones_own,
];

async fn code_of_another_version_cannot_open_a_process(store: &impl Store) {
    orders::place(store, store, 1).await.unwrap();
    let early = try_open::<OrderV2>(store, 1).await.unwrap_err();
    assert_eq!(*early.kind(), ErrorKind::WrongVersion { stands_at: v1() });
    assert_eq!(
        early.to_string(),
        "process process/shop/000001 is at order@v1, but this code is for order@v2; migrate the process, or use code for its version"
    );
    let foreign = try_open::<NotesV1>(store, 1).await.unwrap_err();
    assert_eq!(*foreign.kind(), ErrorKind::WrongVersion { stands_at: v1() });
    assert_eq!(
        foreign.to_string(),
        "process process/shop/000001 is at order@v1, but this code is for notes@v1; use code for its workflow"
    );

    migrate_to_v2(store, 1).await;
    migrated_to_v2(&try_open::<OrderV1>(store, 1).await.unwrap_err());
    let early = try_open::<OrderV3>(store, 1).await.unwrap_err();
    assert_eq!(*early.kind(), ErrorKind::WrongVersion { stands_at: v2() });
    assert_eq!(open::<OrderV2>(store, 1).await.sequence(), 3);
}

async fn code_of_another_version_cannot_open_a_process_without_events(store: &impl Store) {
    let open_as_v1 = |identity: ProcessIdentity| {
        Process::<OrderV1>::open(identity, store.clone(), store.clone())
    };
    migrated_to_v2(&open_as_v1(identity::<OrderV2>(1)).await.unwrap_err());
    let foreign = open_as_v1(identity::<NotesV1>(1)).await.unwrap_err();
    let stands_at = WorkflowId::of::<NotesV1>();
    assert_eq!(*foreign.kind(), ErrorKind::WrongVersion { stands_at });
}

async fn a_live_handle_of_the_old_version_cannot_append(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    let mut old = open::<OrderV1>(store, 3).await;
    let state = old.state().clone();
    migrate_to_v2(store, 1).await;
    let before = store.rows().await.unwrap();

    migrated_to_v2(&old.append(&[Paid { euro: 1 }]).await.unwrap_err());
    assert_eq!(store.rows().await.unwrap(), before);
    assert_eq!((old.state(), old.sequence()), (&state, 4));
}

async fn a_live_handle_of_the_old_version_cannot_take_a_snapshot(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    let old = open::<OrderV1>(store, 3).await;
    migrate_to_v2(store, 1).await;
    let before = store.rows().await.unwrap();

    migrated_to_v2(&old.take_snapshot().await.unwrap_err());
    assert_eq!(store.rows().await.unwrap(), before);
}

async fn code_of_the_old_version_cannot_write_registry_entries(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    orders::register(store, 3).await.unwrap();
    migrate_to_v2(store, 1).await;
    let before = store.rows().await.unwrap();

    // Over an entry that is there, and under a key that is not.
    for key in orders::keys(3).iter().chain(&orders::keys(4)[1..]) {
        let refused = store
            .register(&orders::tenant(), key, &identity::<OrderV1>(3))
            .await
            .unwrap_err();
        migrated_to_v2(&refused);
    }
    assert_eq!(store.rows().await.unwrap(), before);
    for key in orders::keys(3) {
        let entry = store.lookup(&orders::tenant(), &key).await.unwrap();
        assert_eq!(entry, Some(identity::<OrderV2>(3)));
    }
}

async fn a_live_handle_of_the_old_version_learns_of_the_migration_by_reloading(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    let mut old = open::<OrderV1>(store, 3).await;
    let state = old.state().clone();
    migrate_to_v2(store, 1).await;
    migrated_to_v2(&old.reload().await.unwrap_err());
    assert_eq!((old.state(), old.sequence()), (&state, 4));
    assert_eq!(old.identity().workflow_id, v1());
}

async fn a_process_continues_under_the_new_version(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    migrate_to_v2(store, 1).await;
    let mut model = orders::order_v1_to_v2(orders::folded::<OrderV1>(3));

    // What a registry said before the migration still finds the process.
    let found = identity::<OrderV1>(3);
    let mut order = Process::<OrderV2>::open(found, store.clone(), store.clone())
        .await
        .unwrap();
    assert_eq!(order.identity().workflow_id, v2());
    assert_eq!((order.state(), order.sequence()), (&model, 5));

    let first = [Placed { euro: 20 }, Paid { euro: 7 }];
    order.append(&first).await.unwrap();
    model = sum::<OrderV2>(model, &first);
    order.take_snapshot().await.unwrap();
    let second = [Paid { euro: 1 }];
    order.append(&second).await.unwrap();
    model = sum::<OrderV2>(model, &second);
    assert_eq!((order.state(), order.sequence()), (&model, 8));
    let expected = StateV2 {
        cents: 2_400,
        open_cents: 2_400 - 300 - 700 - 100,
        closed: false,
    };
    assert_eq!(model, expected);

    let again = open::<OrderV2>(store, 3).await;
    assert_eq!((again.state(), again.sequence()), (&model, 8));
    SnapshotStore::delete(store, &stream(3)).await.unwrap();
    assert_eq!(state::<OrderV2>(store, 3).await, model);

    let kinds: Vec<_> = store
        .read_all(&stream(3), 0, 100)
        .await
        .unwrap()
        .into_iter()
        .map(|event| (event.event_type.to_string(), event.workflow_id))
        .collect();
    let expected = [
        ("OrderPlaced", v1()),
        ("OrderPaid", v1()),
        ("OrderPaid", v1()),
        ("OrderPaid", v1()),
        (MIGRATED, v2()),
        ("OrderPlaced", v2()),
        ("OrderPaid", v2()),
        ("OrderPaid", v2()),
    ]
    .map(|(event_type, workflow_id)| (event_type.to_owned(), workflow_id));
    assert_eq!(kinds, expected);
}

async fn events_before_the_baseline_are_never_read(store: &impl Store) {
    orders::place(store, store, 3).await.unwrap();
    migrate_to_v2(store, 1).await;
    let mut order = open::<OrderV2>(store, 3).await;
    order.append(&[Paid { euro: 1 }]).await.unwrap();
    let expected = order.state().clone();
    garble(store, 3, 1..=4).await;
    let mut order = open::<OrderV2>(store, 3).await;
    assert_eq!((order.state(), order.sequence()), (&expected, 6));
    order.append(&[Closed]).await.unwrap();
    assert!(state::<OrderV2>(store, 3).await.closed);
}

/// Version v2 with a newer layout of its state, and no migration to it.
struct OrderV2Relaid;

#[derive(Default, Clone, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct Relaid {
    millis: u64,
}

impl state_migration::Workflow for OrderV2Relaid {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v2";
    const STATE_SCHEMA_VERSION: u32 = 22;
    type State = Relaid;
    type Event = orders::OrderEvent;
    fn apply(state: Relaid, _: &orders::OrderEvent) -> Relaid {
        state
    }
}

async fn a_state_of_another_schema_version_is_not_read_as_ones_own(store: &impl Store) {
    orders::place(store, store, 1).await.unwrap();
    migrate_to_v2(store, 1).await;
    let error = try_open::<OrderV2Relaid>(store, 1).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Workflow);
    assert_eq!(
        error.to_string(),
        "the `$migrated` event 3 of stream process/shop/000001 holds a state of schema version 2, \
         but the code expects 22; a changed state needs a new `VERSION` of the workflow \
         and a migration to it"
    );
}
