//! The states of a process before and after a migration, compared line by line.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use similar::{ChangeTag, TextDiff};
use state_migration_core::{
    Error, EventStore, FailureClass, Head, MigrationRegistry, Stage, StreamId, VersionStatus,
};
use state_migration_runner::preview::{self, Preview, StateJson};

use crate::commands::inspect::stream::Stream;
use crate::view::output::{BAD, BOLD, DIM, GOOD, plain};

/// The states of a process before and after a migration.
#[derive(Debug, Serialize)]
pub(crate) struct Change {
    /// Whether this is the next migration or the last one.
    pub(crate) when: When,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) before: Option<Box<RawValue>>,
    pub(crate) after: Option<Box<RawValue>>,
    /// Reason why one of the states is missing.
    pub(crate) missing: Option<String>,
    pub(crate) failure: Option<Failed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum When {
    Next,
    Last,
}

/// A failure of user code for the process.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    stage: Stage,
    class: FailureClass,
    /// The event that failed, if known.
    sequence: Option<u64>,
    message: String,
}

impl Change {
    pub(crate) async fn of(
        events: &impl EventStore,
        migrations: &MigrationRegistry,
        stream: &StreamId,
        head: &Head,
        read: &Stream,
        deadline: Duration,
    ) -> Result<Option<Self>, Error> {
        if let VersionStatus::Behind(route) = migrations.version_status(&head.workflow_id) {
            let (from, to) = (route.source().to_string(), route.target().to_string());
            let preview =
                preview::next_migration(events, migrations, route, stream, head, deadline);
            return Ok(Some(Self::new(When::Next, (from, to), preview.await?)));
        }
        let Some((last, before)) = read.migrations.split_last() else {
            return Ok(None);
        };
        let replayed = before.last().map_or(0, |before| before.sequence - 1);
        let window = (replayed, last.sequence - 1);
        let baseline = &last.baseline;
        let preview =
            preview::past_migration(events, migrations, stream, head, window, baseline, deadline);
        let ends = (baseline.source().to_string(), baseline.target().to_string());
        Ok(Some(Self::new(When::Last, ends, preview.await?)))
    }

    fn new(when: When, (from, to): (String, String), preview: Preview) -> Self {
        let mut missing = None;
        let mut raw = |shown: StateJson| match shown.map(RawValue::from_string) {
            Ok(Ok(json)) => Some(json),
            Ok(Err(error)) => {
                missing = Some(error.to_string());
                None
            }
            Err(why) => {
                missing = Some(why);
                None
            }
        };
        Self {
            when,
            from,
            to,
            before: raw(preview.before),
            after: raw(preview.after),
            missing,
            failure: preview.failure.map(|failure| Failed {
                stage: failure.stage,
                class: failure.class,
                sequence: failure.sequence,
                message: failure.message,
            }),
        }
    }

    pub(crate) fn text(&self, out: &mut String) -> fmt::Result {
        let (from, to) = (plain(&self.from), plain(&self.to));
        let when = match self.when {
            When::Next => "what the next run would change",
            When::Last => "what the last migration changed",
        };
        writeln!(out, "{BOLD}{from} -> {to}{BOLD:#}  {DIM}{when}{DIM:#}")?;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => diff(before, after, out)?,
            (Some(one), None) | (None, Some(one)) => {
                for line in pretty(one.get()).lines() {
                    writeln!(out, "  {}", plain(line))?;
                }
            }
            (None, None) => {}
        }
        if let Some(missing) = self.missing.as_ref().filter(|_| self.failure.is_none()) {
            writeln!(out, "{DIM}not shown: {}{DIM:#}", plain(missing))?;
        }
        if let Some(failed) = &self.failure {
            let place = failed
                .sequence
                .map_or_else(String::new, |at| format!(" at event {at}"));
            writeln!(
                out,
                "{BAD}failed:{BAD:#} {}{place} ({}): {}",
                failed.stage,
                failed.class,
                plain(&failed.message)
            )?;
        }
        Ok(())
    }
}

fn diff(before: &RawValue, after: &RawValue, out: &mut String) -> fmt::Result {
    let (before, after) = (pretty(before.get()), pretty(after.get()));
    for change in TextDiff::from_lines(&before, &after).iter_all_changes() {
        let line = plain(change.value().trim_end_matches('\n'));
        match change.tag() {
            ChangeTag::Delete => writeln!(out, "{BAD}- {line}{BAD:#}")?,
            ChangeTag::Insert => writeln!(out, "{GOOD}+ {line}{GOOD:#}")?,
            ChangeTag::Equal => writeln!(out, "  {line}")?,
        }
    }
    Ok(())
}

/// Indents JSON, and keeps the order of members and the text of numbers.
fn pretty(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut letters = json.chars().peekable();
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                text.push('"');
                while let Some(letter) = letters.next() {
                    text.push(letter);
                    match letter {
                        '\\' => text.extend(letters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                text.push(letter);
                while letters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(end);
                } else {
                    depth += 1;
                    line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
                text.push(letter);
            }
            ',' => {
                text.push(',');
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            space if space.is_ascii_whitespace() => {}
            other => text.push(other),
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_and_otherwise_left_as_it_is() {
        let json =
            r#"{"z":[],"a":{},"n":12345678901234567890.10,"s":"a,{\"}: ","l":[1,{"b":null}]}"#;
        let laid_out = "{\n  \"z\": [],\n  \"a\": {},\n  \"n\": 12345678901234567890.10,\n  \"s\": \"a,{\\\"}: \",\n  \"l\": [\n    1,\n    {\n      \"b\": null\n    }\n  ]\n}\n";
        assert_eq!(pretty(json), laid_out);
        // Existing whitespace is replaced.
        assert_eq!(pretty(laid_out), laid_out);
        assert_eq!(pretty("17"), "17\n");
    }

    #[test]
    fn lines_that_change_are_told_from_those_that_stay() {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let mut out = String::new();
        diff(&raw(r#"{"a":1,"b":2}"#), &raw(r#"{"a":1,"c":3}"#), &mut out).unwrap();
        let plain = anstream::adapter::strip_str(&out).to_string();
        assert_eq!(
            plain,
            "  {\n    \"a\": 1,\n-   \"b\": 2\n+   \"c\": 3\n  }\n"
        );
        assert!(out.contains(&format!("{BAD}- ")) && out.contains(&format!("{GOOD}+ ")));
    }
}
