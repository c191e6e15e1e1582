//! Counts by tenant: `--by-tenant`.

use crate::program::{run, run_json};
use crate::sample::Sample;
use crate::service::Service;

#[test]
fn processes_are_counted_by_tenant() {
    let sample = Sample::new();
    let of_bank = |document: &serde_json::Value, processes: u64| {
        let tenants = document["tenants"].as_array().unwrap();
        let bank = tenants
            .iter()
            .find(|line| line["tenant"] == "bank" && line["version"] != "import@1");
        assert_eq!(bank.unwrap()["processes"], processes, "{document}");
    };
    let status = run_json(&sample, &["status"]).exits(0).json();
    assert_eq!(status["tenants"], serde_json::Value::Null);
    let args = ["status", "--by-tenant", "--workflow", "loan"];
    let status = run_json(&sample, &args).exits(0).json();
    of_bank(&status, 240);
    let said = run(&sample, &args).exits(0);
    assert!(
        said.stdout.contains("VERSION    TENANT  PROCESSES"),
        "{said:?}"
    );

    run(&sample, &["run", "--yes", "--limit", "7"]).exits(0);
    let migrated = ["processes", "--migrated-by", "last", "--by-tenant"];
    let counted = run_json(&sample, &migrated).exits(0).json();
    of_bank(&counted, 7);
    assert_eq!(counted["processes"].as_array().unwrap().len(), 0);
    assert_eq!(counted["next_after"], serde_json::Value::Null);
    let said = run(&sample, &["processes", "--held", "--by-tenant"]).exits(0);
    assert_eq!(said.stdout, "no processes\n");

    let shown = run_json(&sample, &["show", "1", "--by-tenant"])
        .exits(0)
        .json();
    assert_eq!(shown["tenants"].as_array().unwrap().len(), 0);
    // A service counts as the tool does.
    let service = Service::start(sample);
    for args in [&args[..], &["status", "--by-tenant"]] {
        let through = service.ask(args).exits(0).json();
        let beside = run_json(&service.sample, args).exits(0).json();
        assert_eq!(through["tenants"], beside["tenants"], "{args:?}");
        assert!(!through["tenants"].as_array().unwrap().is_empty());
    }
}
