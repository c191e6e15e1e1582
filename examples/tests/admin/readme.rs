//! The README shows what the tool prints.

use crate::program::run;
use crate::sample::Sample;

#[test]
fn the_status_in_the_readme_is_the_tools_own() {
    let readme = include_str!("../../../README.md");
    let shown = readme
        .split("$ loans-admin status --store ./loans\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let said = run(&Sample::new(), &["status"]).exits(0);
    assert_eq!(said.stdout, shown);
}
