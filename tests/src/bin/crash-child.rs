//! A program that migrates orders, to be killed at one of its writes by itself:
//! `crash-child FOLDER plain|hops|lazy|wrong|undo|redo ORDERS [before:N|after:N]`.
//! `wrong` migrates with a conversion that `redo` corrects.
//!
//! The program resumes the run that claims the store, or else starts a run. At the
//! end, it prints the number of its writes and closes the store.

use std::error::Error;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::path::Path;
use state_migration::{
    ConversionError, Decoder, MigrationRegistry, MigrationRunner, Migrations, RunKind, Runs,
    SlateDbStore, StateMigration, Workflow, WorkflowId,
};
use state_migration_tests::killer::{Kill, Killer};
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, OrderV2ToV3Migration, OrderV3, StateV1,
    StateV2, StateV3, identity, order_v1_to_v2,
};

/// Orders under v4, which know only what is still to be paid.
struct OrderV4;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct StateV4 {
    open: i64,
}

impl Workflow for OrderV4 {
    const NAME: &'static str = "order";
    const VERSION: &'static str = "v4";
    const STATE_SCHEMA_VERSION: u32 = 4;
    type State = StateV4;
    type Event = OrderEvent;

    fn apply(state: StateV4, _: &OrderEvent) -> StateV4 {
        state
    }
}

/// The third hop, hand-written, so that no other program links it.
struct OrderV3ToV4 {
    from: WorkflowId,
    to: WorkflowId,
}

impl StateMigration for OrderV3ToV4 {
    type FromWorkflow = OrderV3;
    type ToWorkflow = OrderV4;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.from
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.to
    }

    fn migrate(&self, old: StateV3) -> Result<StateV4, ConversionError> {
        Ok(StateV4 { open: old.open })
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<StateV4>())
    }
}

/// The first hop, as it was before it was corrected.
struct Wrong {
    from: WorkflowId,
    to: WorkflowId,
}

impl StateMigration for Wrong {
    type FromWorkflow = OrderV1;
    type ToWorkflow = OrderV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.from
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.to
    }

    fn migrate(&self, old: StateV1) -> Result<StateV2, ConversionError> {
        Ok(order_v1_to_v2(StateV1 {
            paid_euro: 0,
            ..old
        }))
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<StateV2>())
    }
}

fn wrong() -> Wrong {
    Wrong {
        from: WorkflowId::of::<OrderV1>(),
        to: WorkflowId::of::<OrderV2>(),
    }
}

fn three_hops() -> Result<MigrationRegistry, state_migration::RegistryError> {
    let last = OrderV3ToV4 {
        from: WorkflowId::of::<OrderV3>(),
        to: WorkflowId::of::<OrderV4>(),
    };
    MigrationRegistry::builder()
        .with(OrderV1ToV2Migration)
        .with(OrderV2ToV3Migration)
        .with(last)
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, folder, scenario, orders, rest @ ..] = args.as_slice() else {
        return Err("say FOLDER, which scenario, and how many orders".into());
    };
    let kill: Option<Kill> = rest.first().map(|kill| kill.parse()).transpose()?;
    let files = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
    let files = Killer::over(files, kill);
    // What writes at times of its own would make another program of each kill.
    let store = SlateDbStore::builder(Path::default(), Arc::new(files.clone()))
        .with_settings(|settings| {
            settings.compactor_options = None;
            settings.garbage_collector_options = None;
            settings.flush_interval = None;
        })
        .open()
        .await?;
    match scenario.as_str() {
        "plain" => run(&store, OrderV1ToV2Migration, Start::Run).await?,
        "hops" => run(&store, three_hops()?, Start::Run).await?,
        "wrong" => run(&store, wrong(), Start::Run).await?,
        "undo" => run(&store, OrderV1ToV2Migration, Start::Undo).await?,
        "redo" => run(&store, OrderV1ToV2Migration, Start::Redo).await?,
        "erase" => run(&store, OrderV1ToV2Migration, Start::Erase).await?,
        "rehearse" => run(&store, OrderV1ToV2Migration, Start::Rehearse).await?,
        "lazy" => open_each(&store, orders.parse()?).await?,
        other => return Err(format!("{other} is no scenario").into()),
    }
    store.close().await?;
    println!("writes {}", files.writes());
    Ok(())
}

/// What is started if there is nothing to resume.
#[derive(Clone, Copy)]
enum Start {
    Run,
    Undo,
    Redo,
    Erase,
    Rehearse,
}

impl Start {
    fn is_of(self, kind: &RunKind) -> bool {
        match self {
            Self::Run => *kind == RunKind::Migrate,
            Self::Undo => matches!(kind, RunKind::Undo { .. }),
            Self::Redo => matches!(kind, RunKind::Redo { .. }),
            Self::Erase => *kind == RunKind::Erase,
            // It leaves no run.
            Self::Rehearse => false,
        }
    }
}

async fn run<M: Migrations>(
    store: &SlateDbStore,
    migrations: M,
    start: Start,
) -> Result<(), Box<dyn Error>> {
    // One worker, which makes each chunk durable before the next one.
    let runner = MigrationRunner::new(migrations, store.clone(), store.clone())
        .chunk_processes(512)
        .actor("crash-child")
        .reason("to be killed");
    runner.control().throttle(NonZeroU32::new(50));
    let history = Runs::of(store)
        .ok_or("the store keeps runs")?
        .list()
        .await?;
    let last = history.last().filter(|run| start.is_of(&run.kind));
    if let Some(over) = last.filter(|run| run.state.is_done()) {
        println!("run {} is over", over.id);
        return Ok(());
    }
    let first = history.first().map(|run| run.id);
    let report = match (last, start) {
        (Some(unfinished), _) => runner.resume(unfinished.id).await,
        (None, Start::Run) => runner.run().await,
        (None, Start::Undo) => runner.undo(first.ok_or("no run to undo")?).await,
        (None, Start::Erase) => runner.erase().await,
        (None, Start::Rehearse) => runner.rehearse().await,
        (None, Start::Redo) => runner.redo(first.ok_or("no run to redo")?).await,
    };
    match report.is_ok() {
        true => Ok(()),
        false => Err(report.to_string().into()),
    }
}

async fn open_each(store: &SlateDbStore, orders: u64) -> Result<(), Box<dyn Error>> {
    let runner = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
    for n in 0..orders {
        runner.open::<OrderV2>(identity::<OrderV2>(n)).await?;
    }
    Ok(())
}
