//! Processes that a run has found to be finished.

use std::process::Command;

use serde::{Deserialize, Serialize};
use state_migration::{
    ConversionError, EventPayload, EventStore, ExpectedSequence, Fingerprint, MigrationReport,
    MigrationRunner, NewEvent, Selection, SlateDbStore, StateMigration, StreamId, Workflow,
    WorkflowId,
};
use state_migration_tests::orders::id;
use state_migration_tests::stores::OnDisk;

/// A step of a task.
#[derive(Debug, Serialize, Deserialize)]
struct Step;

impl EventPayload for Step {
    fn event_type(&self) -> &'static str {
        "Step"
    }
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Steps {
    steps: u64,
}

const CORRECTED: &str = "STATE_MIGRATION_IS_FINISHED_IS_CORRECTED";
const FOLDER: &str = "STATE_MIGRATION_FOLDER_OF_FINISHED";

struct Task<const VERSION: usize>;

const VERSIONS: [&str; 2] = ["v1", "v2"];

impl<const V: usize> Workflow for Task<V> {
    const NAME: &'static str = "task";
    const VERSION: &'static str = VERSIONS[V];
    type State = Steps;
    type Event = Step;

    fn apply(task: Steps, _: &Step) -> Steps {
        Steps {
            steps: task.steps + 1,
        }
    }

    /// A mistake, until it is corrected.
    fn is_finished(task: &Steps) -> bool {
        task.steps > 0 && std::env::var_os(CORRECTED).is_none()
    }
}

static V1: WorkflowId = WorkflowId::of::<Task<0>>();
static V2: WorkflowId = WorkflowId::of::<Task<1>>();

struct Upgrade;

impl StateMigration for Upgrade {
    type FromWorkflow = Task<0>;
    type ToWorkflow = Task<1>;

    fn source_workflow_id(&self) -> &WorkflowId {
        &V1
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &V2
    }

    fn migrate(&self, task: Steps) -> Result<Steps, ConversionError> {
        Ok(task)
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(1)
    }
}

async fn run(store: &SlateDbStore) -> MigrationReport {
    let runner = MigrationRunner::new(Upgrade, store.clone(), store.clone());
    runner.select(Selection::all().in_flight()).run().await
}

/// The next build of this program is a copy of it, which corrects `is_finished` by a
/// variable. The migration is the same.
///
/// Fails if `Planned::finished_by` does not depend on the build.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_build_found_to_be_finished_is_looked_at_again_by_another_build() {
    let disk = OnDisk::new().await.unwrap();
    for n in 0..3 {
        let task: StreamId = id(&format!("process/yard/{n}"));
        let step = NewEvent::of::<Task<0>>(&Step).unwrap();
        disk.append(&task, ExpectedSequence::NoStream, vec![step])
            .await
            .unwrap();
    }
    for _ in 0..2 {
        let report = run(&disk).await;
        let counts = (report.migrated, report.skipped_by.finished);
        assert_eq!(counts, (0, 3), "{report}");
    }
    disk.close().await.unwrap();

    let builds = tempfile::tempdir().unwrap();
    let next = builds.path().join("next");
    std::fs::copy(std::env::current_exe().unwrap(), &next).unwrap();
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut next = Command::new(next);
    next.args(["--exact", &format!("{module}::in_the_next_build")])
        .args(["--nocapture", "--ignored"])
        .env(FOLDER, disk.folder())
        .env(CORRECTED, "yes");
    let next = tokio::task::spawn_blocking(move || next.output());
    let next = next.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&next.stdout);
    let cried = String::from_utf8_lossy(&next.stderr);
    assert!(next.status.success(), "{said}{cried}");
    assert!(said.contains("1 passed"), "{said}{cried}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "part of the test above, which starts it"]
async fn in_the_next_build() {
    let folder = std::env::var(FOLDER).unwrap();
    let store = SlateDbStore::open_local(folder).await.unwrap();
    let report = run(&store).await;
    let counts = (report.migrated, report.skipped_by.finished);
    assert_eq!(counts, (3, 0), "{report}");
    store.close().await.unwrap();
}
