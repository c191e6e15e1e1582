//! A plan is confirmed for one store: that of another store is refused.

use crate::program::{run, run_json};
use crate::sample::Sample;
use crate::service::Service;
use crate::store_state::stands;
use crate::suggested_commands::can_be_typed;

/// The fingerprint that a plan prints, and the id of its store.
fn plan(sample: &Sample) -> (String, String) {
    let plan = run_json(sample, &["plan", "--sample", "0"]).exits(0).json();
    let text = |field: &str| plan[field].as_str().unwrap().to_owned();
    (text("fingerprint"), text("store_id"))
}

#[test]
fn a_plan_of_staging_is_refused_in_production() {
    let (staging, production) = (Sample::new(), Sample::imported_again());
    let ((of_staging, other), (of_production, here)) = (plan(&staging), plan(&production));
    assert_eq!(of_staging[..16], of_production[..16]);
    assert_ne!(of_staging, of_production);
    assert_eq!(of_staging, format!("{}-{}", &of_staging[..16], &other[..8]));

    let before = production.files();
    let said = run(&production, &["run", "--plan", &of_staging]).exits(4);
    let (other, here) = (&other[..8], &here[..8]);
    assert_eq!(
        said.stderr,
        format!(
            "error: plan {of_staging} was made for the store whose id starts with {other}, but the id of this store starts with {here}; check the plan of this store\n\
             next: loans-admin --store ./loans plan\n"
        )
    );
    can_be_typed(&production, &said);
    let said = run(&production, &["run", "--plan", &of_staging[..16]]).exits(4);
    assert!(
        said.stderr
            .contains("does not say which store it was made for"),
        "{said:?}"
    );
    assert!(production.files() == before);

    run(&production, &["run", "--plan", &of_production]).exits(0);
    assert_eq!(stands(&production).at("loan@2013"), 240);
    // A copy is the same store.
    let copy = staging.copied();
    run(&copy, &["run", "--plan", &of_staging]).exits(0);
}

#[test]
fn a_dry_run_suggests_the_plan_of_its_store() {
    let sample = Sample::new();
    let said = run(&sample, &["run", "--dry-run", "--limit", "1"]).exits(0);
    let (all, _) = plan(&sample);
    assert!(said.stdout.contains(&all[16..]), "{said:?}");
    can_be_typed(&sample, &said);
}

#[test]
fn a_service_refuses_a_plan_of_another_store() {
    let (of_staging, _) = plan(&Sample::imported_again());
    let mut service = Service::start(Sample::new());
    let refused = service.ask(&["run", "--plan", &of_staging]).exits(4).json();
    assert_eq!(refused["reason"], "another_store");
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains("was made for the store whose id"),
        "{message}"
    );
    let own = service.ask(&["plan"]).exits(0).json();
    let own = own["fingerprint"].as_str().unwrap();
    service.ask(&["run", "--plan", own]).exits(0);
    assert_eq!(service.end().code, Some(0));
}
