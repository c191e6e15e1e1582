//! The table of messages in the docs and the texts of the refused cases are in
//! step: every text has its row, and every row its text.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const TABLE: &str = include_str!("../../../macros/MESSAGES.md");

/// What a row has for what differs from case to case.
const ANYTHING: char = '…';

#[test]
fn every_message_has_a_row_and_every_row_a_message() {
    let rows = rows();
    let messages = messages();
    assert!(messages.len() >= rows.len(), "{} messages", messages.len());

    let mut met = BTreeSet::new();
    for message in &messages {
        let fitting: Vec<&str> = rows
            .iter()
            .copied()
            .filter(|row| fits(message, row))
            .collect();
        assert_eq!(fitting.len(), 1, "rows for `{message}`: {fitting:?}");
        met.extend(fitting);
    }
    let not_met: Vec<&&str> = rows.iter().filter(|row| !met.contains(*row)).collect();
    assert!(not_met.is_empty(), "rows that no case meets: {not_met:?}");
}

/// The first cell of each row of the tables, with every cell filled.
fn rows() -> Vec<&'static str> {
    let rows = TABLE.lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [message, cause, fix] = cells.as_slice() else {
            panic!("a row has a message, a cause and a fix: {row}");
        };
        assert!(!cause.is_empty() && !fix.is_empty(), "{row}");
        *message
    });
    cells.filter(|message| *message != "message").collect()
}

/// The headlines of all texts, without what rustc puts before ours.
fn messages() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/fail");
    let mut messages = BTreeSet::new();
    for text in texts(&folder) {
        let text = fs::read_to_string(text).unwrap();
        for line in text.lines().filter(|line| line.starts_with("error")) {
            let (_, message) = line.split_once(": ").unwrap();
            let own = message.strip_prefix("evaluation panicked: ");
            messages.insert(own.unwrap_or(message).to_owned());
        }
    }
    messages
}

fn texts(folder: &Path) -> Vec<PathBuf> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(self::texts(&path));
        } else if path.extension().is_some_and(|found| found == "stderr") {
            texts.push(path);
        }
    }
    texts
}

/// Whether a message is what a row says.
fn fits(message: &str, row: &str) -> bool {
    let mut parts = row.split(ANYTHING);
    let Some(mut rest) = message.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}

#[test]
fn a_row_fits_what_differs_only_where_it_says_so() {
    assert!(fits("`a` is given twice", "`…` is given twice"));
    assert!(fits("a b c d", "a … c …"));
    assert!(fits("exactly this", "exactly this"));
    for (message, row) in [
        ("`a` is given twice, or not", "`…` is given twice"),
        ("the `a` is given twice", "`…` is given twice"),
        ("exactly this and more", "exactly this"),
        ("a c", "a … b … c"),
    ] {
        assert!(!fits(message, row), "{message} / {row}");
    }
}
