//! Progress bars on a terminal, one per workflow, redrawn in place.
//!
//! The cursor stays at the start of the first line, and each frame clears from there to
//! the end of the screen. The number of rows of the previous frame is therefore
//! irrelevant: a terminal may wrap or cut long lines when its window becomes narrower.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::num::NonZeroU32;

use anstyle::Style;
use console::Term;
use state_migration_runner::{Progress, RunState, WorkflowProgress};
use unicode_width::UnicodeWidthStr;

use crate::view::format::{self, count};
use crate::view::output::{BAD, DIM, WARN, plain};
use crate::view::progress::{percent, rate, share};

/// Minimum and maximum length of a bar.
const SHORTEST: usize = 10;
const LONGEST: usize = 40;

/// Maximum width of the name of a workflow.
const LONGEST_NAME: usize = 24;

/// Clears from the cursor to the end of the screen.
const CLEAR: &str = "\r\x1b[J";

pub(crate) struct Bars {
    colors: bool,
    term: Term,
}

/// A piece of a line, with its style.
type Piece = (Style, String);

impl Bars {
    pub(crate) fn new(colors: bool) -> Self {
        Self {
            colors,
            term: Term::stderr(),
        }
    }

    /// Draws a frame; `limit` is the throttle of the run.
    pub(crate) fn draw(
        &mut self,
        progress: &Progress,
        limit: Option<NonZeroU32>,
        note: Option<&str>,
    ) {
        let (rows, columns) = match self.term.size() {
            (0, _) | (_, 0) => (24, 80),
            (rows, columns) => (usize::from(rows), usize::from(columns)),
        };
        let lines = lines(progress, limit, note, columns.saturating_sub(1), rows);
        let mut frame = CLEAR.to_owned();
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                frame.push_str("\r\n");
            }
            for (style, text) in line {
                match self.colors {
                    true => drop(write!(frame, "{style}{text}{style:#}")),
                    false => frame.push_str(text),
                }
            }
        }
        if lines.len() > 1 {
            let _ = write!(frame, "\x1b[{}A", lines.len() - 1);
        }
        frame.push('\r');
        write(&frame);
    }

    pub(crate) fn clear(&mut self) {
        write(CLEAR);
    }
}

/// A failure is ignored: the terminal may be gone.
fn write(frame: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(frame.as_bytes());
    let _ = stderr.flush();
}

/// The lines of a frame, at most `width` wide.
fn lines(
    progress: &Progress,
    limit: Option<NonZeroU32>,
    note: Option<&str>,
    width: usize,
    rows: usize,
) -> Vec<Vec<Piece>> {
    let names = progress.workflows.iter().map(|of_it| name(&of_it.workflow));
    let names: Vec<String> = names.collect();
    let widest = names.iter().map(|name| name.width()).max().unwrap_or(0);
    // The last row is for the note below the bars.
    let room = rows.saturating_sub(2).max(1);
    let mut lines: Vec<Vec<Piece>> = progress
        .workflows
        .iter()
        .zip(&names)
        .take(room)
        .map(|(of_it, name)| bar(of_it, limit, name, widest, width))
        .collect();
    let left = progress.workflows.len() - lines.len();
    let below = match note {
        Some(note) => Some((WARN, note.to_owned())),
        None if left > 0 => Some((DIM, format!("and {left} more workflows"))),
        None if lines.is_empty() => Some((DIM, "reading the store".to_owned())),
        None if progress.state == RunState::Paused => Some((WARN, "paused".to_owned())),
        None => of_store(progress).map(|far| (DIM, far)),
    };
    lines.extend(below.map(|(style, text)| vec![(style, cut(&text, width))]));
    lines
}

/// How far a run is whose processes were not counted.
fn of_store(progress: &Progress) -> Option<String> {
    let is_counted = progress.expected.is_some();
    let percent = share(progress).filter(|_| !is_counted)?;
    let left = progress.time_left.map(format::duration);
    let left = left.map_or_else(String::new, |left| format!(", {left} left"));
    Some(format!("{percent} % of the store{left}"))
}

fn name(workflow: &str) -> String {
    cut(&plain(workflow), LONGEST_NAME)
}

/// The line of one workflow, with as many details as fit.
fn bar(
    of_it: &WorkflowProgress,
    limit: Option<NonZeroU32>,
    name: &str,
    widest: usize,
    width: usize,
) -> Vec<Piece> {
    let done = of_it.processes();
    let failed = match of_it.failed {
        0 => (DIM, "0 failed".to_owned()),
        failed => (BAD, format!("{} failed", count(failed))),
    };
    let of = match of_it.expected {
        Some(expected) => format!("{}/{}", count(done), count(expected)),
        None => format!("{} done", count(done)),
    };
    let left = of_it.time_left.map(format::duration).filter(|_| done > 0);
    let left = left.map(|left| (Style::new(), format!("{left} left")));
    let limit = limit.map_or_else(String::new, |limit| {
        format!(" (limit {}/s)", count(limit.get().into()))
    });
    let per_second = (Style::new(), rate(of_it.per_second) + &limit);
    let of = (Style::new(), of);
    // From most to fewest details.
    let tails = [
        [Some(&of), Some(&per_second), left.as_ref(), Some(&failed)],
        [Some(&of), None, left.as_ref(), Some(&failed)],
        [Some(&of), None, None, Some(&failed)],
        [None, None, None, Some(&failed)],
    ];
    let space = " ".repeat(widest - name.width());
    let head: Piece = (Style::new(), format!("{name}{space}"));
    let share = of_it.expected.map(|expected| percent(done, expected));
    for tail in tails {
        let tail: Vec<&Piece> = tail.into_iter().flatten().collect();
        let taken: usize = tail.iter().map(|(_, text)| text.width() + 2).sum();
        // Brackets and percentage: `  [] 100 %`.
        let around = widest + taken + if share.is_some() { 10 } else { 0 };
        let shortest = if share.is_some() { SHORTEST } else { 0 };
        if around + shortest > width {
            continue;
        }
        let mut line = vec![head];
        if let Some(share) = share {
            let room = (width - around).min(LONGEST);
            line.push((
                Style::new(),
                format!("  {} {share:>3} %", drawn(share, room)),
            ));
        }
        for (style, text) in tail {
            line.push((Style::new(), "  ".to_owned()));
            line.push((*style, text.clone()));
        }
        return line;
    }
    let share = share.map_or(of.1, |share| format!("{share} %"));
    vec![(Style::new(), cut(&format!("{name} {share}"), width))]
}

fn drawn(share: u64, room: usize) -> String {
    let full = usize::try_from(share).unwrap_or(0) * room / 100;
    let head = if full < room { ">" } else { "" };
    format!("[{:-<room$}]", "=".repeat(full) + head)
}

/// Truncates a text to a width.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    for letter in text.chars() {
        cut.push(letter);
        if cut.width() > width {
            cut.pop();
            break;
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn progress(of_each: &[(&str, u64, u64, Option<u64>)]) -> Progress {
        let mut progress = Progress::default();
        for (workflow, migrated, failed, expected) in of_each {
            let mut of_it = WorkflowProgress::new(workflow);
            (of_it.migrated, of_it.failed) = (*migrated, *failed);
            of_it.expected = *expected;
            of_it.per_second = 1_234.4;
            of_it.time_left = Some(Duration::from_secs(80));
            progress.workflows.push(of_it);
        }
        progress
    }

    fn text(progress: &Progress, note: Option<&str>, width: usize) -> Vec<String> {
        let lines = lines(progress, None, note, width, 24);
        let text = |line: Vec<Piece>| line.into_iter().map(|(_, text)| text).collect();
        lines.into_iter().map(text).collect()
    }

    #[test]
    fn a_bar_says_what_there_is_room_for() {
        let loans = progress(&[("loan", 1_000, 80, Some(2_400))]);
        for (width, line) in [
            (
                103,
                "loan  [==================>---------------------]  45 %  1,080/2,400  1,234/s  1 m 20 s left  80 failed",
            ),
            (
                79,
                "loan  [=======>---------]  45 %  1,080/2,400  1,234/s  1 m 20 s left  80 failed",
            ),
            (
                70,
                "loan  [=======>---------]  45 %  1,080/2,400  1 m 20 s left  80 failed",
            ),
            (50, "loan  [=====>------]  45 %  1,080/2,400  80 failed"),
            (40, "loan  [======>--------]  45 %  80 failed"),
            (20, "loan 45 %"),
            (7, "loan 45"),
        ] {
            let said = text(&loans, None, width);
            assert_eq!(said, [line], "{width}");
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long = "a workflow with a name that takes a lot of room";
        let all = progress(&[
            (long, 1_000_000, 0, Some(1_000_000)),
            ("日本", 5, 1, None),
            ("x\x1b[31m\n", 0, 0, Some(0)),
        ]);
        for width in 1..200 {
            for line in text(&all, Some("a note that is long enough to be cut"), width) {
                assert!(line.width() <= width, "{width}: {line:?}");
                assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
    }

    #[test]
    fn a_workflow_is_full_when_it_is_done_and_not_before() {
        let almost = progress(&[("a", 999, 0, Some(1_000)), ("bc", 5, 0, Some(5))]);
        let said = text(&almost, None, 60);
        assert!(said[0].starts_with("a   ["), "{said:?}");
        assert!(said[0].contains(">]  99 %"), "{said:?}");
        assert!(said[1].contains("=] 100 %"), "{said:?}");
    }

    #[test]
    fn more_workflows_than_rows_are_counted() {
        let many: Vec<(&str, u64, u64, Option<u64>)> = vec![("a", 1, 0, Some(2)); 10];
        let lines = lines(&progress(&many), None, None, 80, 6);
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[4][0].1, "and 6 more workflows");
    }
}
