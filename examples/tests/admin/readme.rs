//! The README shows what the tool prints.

use crate::program::{finish, program, run};
use crate::sample::Sample;

#[test]
fn the_status_in_the_readme_is_the_tools_own() {
    let readme = include_str!("../../../README.md");
    let shown = readme
        .split("$ loans-admin status --store ./loans\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let sample = Sample::empty();
    let import = ["--store", "./loans", "--import-only"];
    assert!(readme.contains(&format!(
        "$ cargo run --bin loans -- {}\n",
        import.join(" ")
    )));
    let mut loans = program(env!("CARGO_BIN_EXE_loans"), &import);
    loans.current_dir(sample.folder());
    finish(loans).exits(0);
    let said = run(&sample, &["status"]).exits(0);
    assert_eq!(said.stdout, shown);
}
