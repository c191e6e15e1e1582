//! The warning about a migration that was edited after it was applied.

use state_migration::{
    ConversionError, ExpectedSequence, Fingerprint, MigrationRegistry, MigrationRunner, NewEvent,
    RunState, StateMigration, Workflow, WorkflowId,
};
use state_migration_tests::orders::id;
use state_migration_tests::scripted_workflow::{Job, JobEvent, Store, Upgrade, put};

use crate::runs::runs;

over_both_stores![
    a_step_that_was_edited_after_it_was_applied_is_reported,
    a_run_that_moved_nothing_applied_nothing,
    a_run_applied_only_the_steps_of_workflows_that_it_moved,
];

/// The test fails without `was != now` in `Plan::changed_since` (unchanged migrations
/// are reported), and without `warn_of_changed_steps` (a dry run does not warn).
async fn a_step_that_was_edited_after_it_was_applied_is_reported(store: impl Store) {
    put(&store, 0).await.unwrap();
    let report = Upgrade::new().fingerprint(7).runner(&store).run().await;
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    let first = report.run.unwrap();

    put(&store, 1).await.unwrap();
    let same = Upgrade::new().fingerprint(7).runner(&store);
    assert_eq!(
        runs(&store)
            .changed_steps(&same.plan().unwrap())
            .await
            .unwrap(),
        []
    );
    let report = same.dry_run().await;
    assert!(!report.to_string().contains("was edited"), "{report}");

    let edited = Upgrade::new().fingerprint(8).runner(&store);
    let changed = runs(&store)
        .changed_steps(&edited.plan().unwrap())
        .await
        .unwrap();
    let [step] = changed.as_slice() else {
        panic!("one step was edited: {changed:?}");
    };
    assert_eq!(step.run, first);
    assert_eq!(
        (step.was, step.now),
        (Fingerprint::new(7), Fingerprint::new(8))
    );
    assert_eq!(step.from, WorkflowId::from_static("job", "v1"));
    assert_eq!(step.to, WorkflowId::from_static("job", "v2"));

    let report = edited.dry_run().await;
    let told: Vec<_> = report
        .warnings
        .iter()
        .filter(|warning| warning.message == step.to_string())
        .collect();
    assert_eq!(told.len(), 1, "{report}");
    assert!(
        told[0].message.contains(&format!("run {first} ")),
        "{report}"
    );
}

/// Takes out: `migrated > 0` in `Runs::changed_steps`.
async fn a_run_that_moved_nothing_applied_nothing(store: impl Store) {
    let report = Upgrade::new().fingerprint(7).runner(&store).run().await;
    assert_eq!((report.migrated, report.state), (0, Some(RunState::Done)));
    let edited = Upgrade::new().fingerprint(8).runner(&store);
    assert_eq!(
        runs(&store)
            .changed_steps(&edited.plan().unwrap())
            .await
            .unwrap(),
        []
    );
}

/// A workflow beside the jobs, in the same program.
struct Bill<const VERSION: usize>;

const VERSIONS: [&str; 2] = ["v1", "v2"];

impl<const V: usize> Workflow for Bill<V> {
    const NAME: &'static str = "bill";
    const VERSION: &'static str = VERSIONS[V];
    type State = Job;
    type Event = JobEvent;

    fn apply(job: Job, _: &JobEvent) -> Job {
        job
    }
}

static BILL_V1: WorkflowId = WorkflowId::of::<Bill<0>>();
static BILL_V2: WorkflowId = WorkflowId::of::<Bill<1>>();

struct UpgradeBill(u64);

impl StateMigration for UpgradeBill {
    type FromWorkflow = Bill<0>;
    type ToWorkflow = Bill<1>;

    fn source_workflow_id(&self) -> &WorkflowId {
        &BILL_V1
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &BILL_V2
    }

    fn migrate(&self, job: Job) -> Result<Job, ConversionError> {
        Ok(job)
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(self.0)
    }
}

/// Takes out: the names of workflows in `Runs::changed_steps`.
async fn a_run_applied_only_the_steps_of_workflows_that_it_moved(store: impl Store) {
    let runner = |job, bill| {
        let registry = MigrationRegistry::builder().with(Upgrade::new().fingerprint(job));
        let registry = registry.with(UpgradeBill(bill)).build().unwrap();
        MigrationRunner::new(registry, store.clone(), store.clone())
    };
    let edited = async |job, bill| {
        let plan = runner(job, bill).plan().unwrap();
        let changed = runs(&store).changed_steps(&plan).await.unwrap();
        let names = changed.into_iter().map(|step| step.from.name().to_owned());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    };
    put(&store, 0).await.unwrap();
    let report = runner(1, 1).run().await;
    assert_eq!((report.migrated, report.state), (1, Some(RunState::Done)));
    assert_eq!(edited(1, 2).await, [""; 0], "no bill was migrated");
    assert_eq!(edited(2, 2).await, ["job"]);

    let bill = NewEvent::of::<Bill<0>>(&JobEvent::Step).unwrap();
    store
        .append(
            &id("process/yard/bill"),
            ExpectedSequence::NoStream,
            vec![bill],
        )
        .await
        .unwrap();
    let report = runner(1, 1).run().await;
    assert_eq!((report.migrated, report.state), (1, Some(RunState::Done)));
    assert_eq!(edited(1, 2).await, ["bill"]);
    assert_eq!(edited(2, 2).await, ["bill", "job"]);
}
