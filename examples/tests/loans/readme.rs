//! The README shows what the program prints.

use crate::program::command;

/// The same text without what differs from run to run: durations and the folder.
fn masked(text: &str) -> String {
    let is_duration = |word: &str| {
        let number = word.trim_end_matches("ms").trim_end_matches('s');
        number != word && number.parse::<f64>().is_ok()
    };
    let mut lines = Vec::new();
    for line in text.lines() {
        let words = line.split(' ').map(|word| {
            if is_duration(word) || word.starts_with('/') {
                "…"
            } else {
                word
            }
        });
        lines.push(words.collect::<Vec<_>>().join(" "));
    }
    lines.join("\n")
}

#[test]
fn the_output_in_the_readme_is_the_programs_own() {
    let readme = include_str!("../../../README.md");
    let shown = readme
        .split("$ cargo run --bin loans\n")
        .nth(1)
        .and_then(|rest| rest.split("\n```").next())
        .unwrap();
    let output = command().output().unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(masked(&printed), masked(shown));
    assert!(masked(shown).contains("240 migrated, 0 skipped, 0 errors"));
    // The program keeps the folder that it made; this one is not needed.
    let folder = printed.lines().find_map(|line| line.strip_prefix("store "));
    std::fs::remove_dir_all(folder.unwrap().trim()).unwrap();
}
