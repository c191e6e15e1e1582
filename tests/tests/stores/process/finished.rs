//! Finished processes, as their workflow decides and as the head records.

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, Head, MigrationRunner, Workflow, state_migration};
use state_migration_tests::orders::OrderEvent::{Closed, Paid, Placed};
use state_migration_tests::orders::{OrderV1, OrderV2};

use crate::process::{Store, head, migrate_to_v2, open, over_both_stores, v1, v2};

over_both_stores![
    the_head_says_finished_as_the_workflow_does,
    a_migration_may_finish_a_process_and_events_may_reopen_it,
];

async fn the_head_says_finished_as_the_workflow_does(store: &impl Store) {
    let mut order = open::<OrderV1>(store, 1).await;
    order.append(&[Placed { euro: 3 }]).await.unwrap();
    assert!(!head(store, 1).await.finished);
    // The last event of an append need not be the one that finishes.
    order.append(&[Closed, Paid { euro: 3 }]).await.unwrap();
    assert_eq!(
        head(store, 1).await,
        Head {
            revision: 2,
            finished: true,
            ..Head::of(3, v1())
        }
    );
    assert!(order.is_finished());

    let mut open_order = open::<OrderV1>(store, 2).await;
    open_order.append(&[Placed { euro: 3 }]).await.unwrap();
    migrate_to_v2(store, 2).await;
    for (n, sequence, revision, finished) in [(1, 4, 3, true), (2, 2, 2, false)] {
        assert_eq!(
            head(store, n).await,
            Head {
                revision,
                baseline: Some(sequence),
                finished,
                ..Head::of(sequence, v2())
            }
        );
        assert_eq!(open::<OrderV2>(store, n).await.is_finished(), finished);
    }
}

/// Counts to three; a migration from v1 to v2 adds one.
#[derive(Debug, Serialize, Deserialize)]
enum Tick {
    Up,
    Down,
}

impl EventPayload for Tick {
    fn event_type(&self) -> &'static str {
        "Ticked"
    }
}

struct CounterV1;

struct CounterV2;

macro_rules! counter {
    ($counter:ident, $version:literal) => {
        impl Workflow for $counter {
            const NAME: &'static str = "counter";
            const VERSION: &'static str = $version;
            type State = u64;
            type Event = Tick;

            fn apply(count: u64, tick: &Tick) -> u64 {
                match tick {
                    Tick::Up => count + 1,
                    Tick::Down => count - 1,
                }
            }

            fn is_finished(count: &u64) -> bool {
                *count >= 3
            }
        }
    };
}

counter!(CounterV1, "v1");

counter!(CounterV2, "v2");

#[state_migration(from = CounterV1, to = CounterV2)]
fn counter_v1_to_v2(count: u64) -> u64 {
    count + 1
}

async fn a_migration_may_finish_a_process_and_events_may_reopen_it(store: &impl Store) {
    for (n, count) in [(1, 1), (2, 2), (3, 3)] {
        let mut counter = open::<CounterV1>(store, n).await;
        let ups: Vec<_> = (0..count).map(|_| Tick::Up).collect();
        counter.append(&ups).await.unwrap();
        assert_eq!(head(store, n).await.finished, count >= 3);
    }
    let runner = MigrationRunner::new(CounterV1ToV2Migration, store.clone(), store.clone());
    let report = runner.run().await;
    assert_eq!((report.migrated, report.error_count), (3, 0), "{report}");
    for (n, finished) in [(1, false), (2, true), (3, true)] {
        assert_eq!(head(store, n).await.finished, finished, "counter {n}");
        assert_eq!(open::<CounterV2>(store, n).await.is_finished(), finished);
    }
    let mut reopened = open::<CounterV2>(store, 2).await;
    reopened.append(&[Tick::Down]).await.unwrap();
    assert!(!head(store, 2).await.finished);
    assert!(!reopened.is_finished());
}
