//! The operator's tool where the migrations of its binary do not fit together:
//! it shows what there is and what is wrong, and does nothing to a store.

use std::process::Command;

use crate::program::{Ran, finish, program};
use crate::sample::Sample;

fn bare(args: &[&str]) -> Command {
    program(env!("CARGO_BIN_EXE_misfit-admin"), args)
}

/// Runs the program over the store of a sample.
fn run(sample: &Sample, args: &[&str]) -> Ran {
    let mut command = bare(args);
    command.current_dir(sample.folder());
    command.args(["--store", "./loans"]);
    finish(command)
}

#[test]
fn what_does_not_fit_together_is_listed_with_what_is_wrong() {
    let said = finish(bare(&["migrations", "--json"])).exits(4);
    let list = said.json();
    let problem = list["problems"][0].as_str().unwrap();
    assert!(
        problem.starts_with("several migrations lead from loan@2012: "),
        "{list}"
    );
    let of = |version: &str| {
        let mut versions = list["versions"].as_array().unwrap().iter();
        let found = versions.find(|it| it["version"] == version).unwrap();
        (found["decision"].clone(), found["reason"].clone())
    };
    assert_eq!(of("loan@2009"), ("stays".into(), "never deployed".into()));
    assert_eq!(of("loan@2012"), ("migrates".into(), None::<&str>.into()));
    assert_eq!(of("loan@2013"), ("undecided".into(), None::<&str>.into()));
    assert_eq!(of("loan@2014"), ("newest".into(), None::<&str>.into()));
    let mut migrations = list["migrations"].as_array().unwrap().iter();
    let noted = migrations.find(|it| it["to"] == "loan@2014").unwrap();
    assert_eq!(noted["note"], "in one go");
    assert_eq!(noted["function"], "misfit_admin::loan_2012_to_2014");

    let text = finish(bare(&["migrations"])).exits(4).stdout;
    assert!(text.contains("problem: several migrations"), "{text}");
    assert!(
        text.contains("loan@2009  stays: never deployed\n"),
        "{text}"
    );
    assert!(text.ends_with("\nnext: misfit-admin graph\n"), "{text}");
}

#[test]
fn what_does_not_fit_together_is_drawn() {
    let said = finish(bare(&["graph"])).exits(0);
    assert_eq!(
        said.stdout,
        "loan\n  \
         2009          stays: never deployed\n  \
         2011 -> 2012  state_migration_examples::migrations::loan_2011_to_2012\n  \
         2012 -> 2013  state_migration_examples::migrations::loan_2012_to_2013\n  \
         2012 -> 2014  misfit_admin::loan_2012_to_2014\n  \
         2013          undecided\n  \
         2014          newest\n"
    );
    assert_eq!(
        said.stderr,
        "the migrations are inconsistent; `migrations` shows why\n"
    );
    let picture = finish(bare(&["graph", "--format", "svg"])).exits(0).stdout;
    for text in [
        "loan@2013",
        "undecided",
        "stays: never deployed",
        "misfit_admin::loan_2012_to_2014",
    ] {
        assert!(picture.contains(text), "{text}: {picture}");
    }
    let said = finish(bare(&["graph", "--format", "dot", "--json"]))
        .exits(0)
        .json();
    assert_eq!(
        (&said["fits"], &said["format"]),
        (&false.into(), &"dot".into())
    );
}

#[test]
fn a_store_is_shown_and_nothing_is_done_to_it() {
    let sample = Sample::new();
    let before = sample.files();
    let status = run(&sample, &["status", "--json"]).exits(0).json();
    let loans = &status["versions"][1];
    assert_eq!(loans["version"], "loan@2011");
    assert_eq!(
        (&loans["processes"], &loans["status"]),
        (&240.into(), &"undecided".into())
    );
    let warning = status["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("several migrations"), "{warning}");
    for args in [&["plan"][..], &["run", "--yes"], &["run", "--dry-run"]] {
        let said = run(&sample, args).exits(4);
        assert_eq!(said.stdout, "");
        assert!(
            said.stderr
                .starts_with("error: several migrations lead from loan@2012: "),
            "{said:?}"
        );
        assert!(
            said.stderr
                .ends_with("\nnext: misfit-admin --store ./loans migrations\n"),
            "{said:?}"
        );
    }
    assert!(sample.files() == before);
}
