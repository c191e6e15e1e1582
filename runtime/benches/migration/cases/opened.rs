//! Processes that are migrated when they are opened, many concurrently.

use std::sync::Arc;
use std::time::{Duration, Instant};

use state_migration::{
    ConversionError, EventStore, MigrationRunner, ProcessId, ProcessIdentity, Runs, SnapshotStore,
    StateMigration, TenantId, WorkflowId,
};
use tokio::task::JoinSet;

use super::Bench;
use super::memory::in_memory;
use crate::data::{self, Made, Shape};
use crate::family::{self, Family, Order};
use crate::location::Place;

/// A slow conversion. It is handwritten, since it holds its duration.
struct Slow {
    source: WorkflowId,
    target: WorkflowId,
    takes: Duration,
}

impl StateMigration for Slow {
    type FromWorkflow = Family<0, 0>;
    type ToWorkflow = Family<0, 1>;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.source
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.target
    }

    fn migrate(&self, state: Order<0>) -> Result<Order<1>, ConversionError> {
        if !self.takes.is_zero() {
            std::thread::sleep(self.takes);
        }
        Ok(state.into_version())
    }
}

/// Line 6: all processes opened concurrently succeed, and each is counted once.
pub(super) async fn opened(bench: &mut Bench) {
    let shape = Shape::new(bench.sizes.opened);
    let fast = Place::memory();
    data::make(&fast, &shape).await;
    let slow = fast.clone().with_latency(Duration::from_millis(20));
    let (mut failed, mut miscounted) = (0, 0);
    for milliseconds in bench.sizes.opened_ms.clone() {
        let takes = Duration::from_millis(milliseconds);
        let mut set = |store: &str, outcome: Outcome| {
            failed += outcome.failed;
            miscounted += outcome.counted.abs_diff(outcome.opened);
            let name = format!("opened.{store}_{milliseconds}ms");
            let figures = &mut bench.figures;
            figures.set(&format!("{name}.failed"), outcome.failed as f64);
            figures.set(&format!("{name}.counted"), outcome.counted as f64);
            figures.set(&format!("{name}.s"), outcome.took.as_secs_f64());
        };
        set(
            "memory",
            open_all(&in_memory(shape.processes).await, &shape, takes).await,
        );
        for (name, place) in [("slatedb", &fast), ("slow", &slow)] {
            let copy = place.copy();
            let store = copy.place.open().await;
            set(name, open_all(&store, &shape, takes).await);
            store.close().await.expect("a close");
        }
    }
    bench.figures.set("opened.failed", failed as f64);
    bench.figures.set("opened.miscounted", miscounted as f64);
}

struct Outcome {
    opened: u64,
    failed: u64,
    counted: u64,
    took: Duration,
}

async fn open_all<S>(store: &S, shape: &Shape, takes: Duration) -> Outcome
where
    S: EventStore + SnapshotStore + Clone + 'static,
{
    let slow = Slow {
        source: family::id(0, 0),
        target: family::id(0, 1),
        takes,
    };
    let runner = Arc::new(MigrationRunner::new(slow, store.clone(), store.clone()));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for Made {
        tenant, process, ..
    } in data::processes(shape)
    {
        let runner = runner.clone();
        tasks.spawn(async move {
            let tenant = TenantId::new(tenant).expect("an id");
            let process = ProcessId::new(process).expect("an id");
            let identity = ProcessIdentity::of::<Family<0, 1>>(tenant, process);
            runner.open::<Family<0, 1>>(identity).await.map(drop)
        });
    }
    let (mut opened, mut failed) = (0, 0);
    for outcome in tasks.join_all().await {
        match outcome {
            Ok(()) => opened += 1,
            Err(error) => {
                if failed == 0 {
                    println!("the first that failed: {error}");
                }
                failed += 1;
            }
        }
    }
    let took = began.elapsed();
    let mut counted = 0;
    let runs = Runs::of(store).expect("it keeps runs");
    for run in runs.list().await.expect("the runs") {
        counted += runs.counts(run.id).await.expect("counts").lazy;
    }
    Outcome {
        opened,
        failed,
        counted,
        took,
    }
}
