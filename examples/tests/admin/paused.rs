//! A run that is paused in a living service: what its operator is told to do.

use crate::program::{run, run_json};
use crate::sample::Sample;
use crate::service::Service;
use crate::store_state::stands;

/// A service whose run is paused before its end.
fn paused() -> Service {
    let service = Service::start(Sample::new());
    let mut driver = service.begin(&["run", "--yes", "--throttle", "30"]);
    service.until_migrated(5);
    let state = service.ask(&["pause"]).exits(0).json();
    assert_eq!(state["state"], "paused", "{state}");
    // The run belongs to the service.
    driver.kill().unwrap();
    driver.wait().unwrap();
    service
}

/// Takes out: the kind of the problem in `in_progress` of the service.
#[test]
fn a_paused_run_is_unpaused_and_not_resumed() {
    let mut service = paused();
    for command in [&["resume", "1"][..], &["run", "--yes"]] {
        let refused = service.ask(command).exits(4).json();
        assert_eq!(refused["reason"], "run_in_progress");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(" is paused in this service"), "{message}");
        assert!(
            message.ends_with("; unpause or cancel that run first"),
            "{message}"
        );
        assert_eq!(refused["next"][0], "loans-admin --socket ./control unpause");
    }
    let status = service.ask(&["status"]).exits(0).json();
    assert_eq!(
        (&status["state"], &status["number"]),
        (&"paused".into(), &1.into())
    );
    assert_eq!(status["next"][0], "loans-admin --socket ./control unpause");
    service.ask(&["unpause"]).exits(0);
    service.ask(&["throttle", "off"]).exits(0);
    service.ask(&["watch"]).exits(0);
    let status = service.ask(&["status"]).exits(0).json();
    assert_eq!(
        (&status["state"], &status["number"]),
        (&"done".into(), &1.into())
    );
    assert_eq!(service.end().code, Some(0));
    let moved = stands(&service.sample);
    assert_eq!((moved.at("loan@2013"), moved.at("loan@2011")), (240, 0));
}

/// Takes out: `is_alive` in the commands that read the store.
#[test]
fn beside_a_living_service_no_command_suggests_to_resume() {
    let mut service = paused();
    let sample = &service.sample;
    for args in [&["status"][..], &["plan", "--sample", "0"]] {
        let document = run_json(sample, args).exits(0).json();
        assert_eq!(document["next"].as_array().unwrap().len(), 0, "{document}");
        let warnings = document["warnings"].as_array().unwrap();
        let warnings: Vec<&str> = warnings.iter().map(|it| it.as_str().unwrap()).collect();
        let in_program = "run 1 is paused in the program that has the store open; use --socket PATH to control run 1";
        assert!(warnings.contains(&in_program), "{warnings:#?}");
        assert!(
            !warnings.iter().any(|it| it.contains("resume")),
            "{warnings:#?}"
        );
    }
    for args in [&["show", "1"][..], &["runs"]] {
        let said = run(sample, args).exits(0);
        assert!(!said.stdout.contains("resume"), "{said:?}");
    }
    assert_eq!(service.end().code, Some(0));
}
