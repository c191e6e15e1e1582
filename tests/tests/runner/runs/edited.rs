//! The warning about a migration that was edited after it was applied.

use state_migration::{Fingerprint, RunState, WorkflowId};
use state_migration_tests::scripted_workflow::{Store, Upgrade, put};

use crate::runs::runs;

over_both_stores![
    a_step_that_was_edited_after_it_was_applied_is_reported,
    a_run_that_moved_nothing_applied_nothing,
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
