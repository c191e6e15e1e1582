//! Output as text or as JSON.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::args::{Global, When};
use crate::exit_code::{Failure, Reason};

/// Version of the JSON output, described by `docs/cli.schema.json`.
pub(crate) const SCHEMA: u32 = 2;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();

/// The result of a command.
pub(crate) trait Answer: Serialize {
    /// The name of the command, or of the progress line.
    const KIND: &'static str;

    /// The result as text. Styles are removed where they are not supported.
    fn text(&self, out: &mut String) -> fmt::Result;
}

/// A JSON document on one line.
#[derive(Serialize)]
struct Envelope<'a, A> {
    schema: u32,
    kind: &'static str,
    #[serde(flatten)]
    answer: &'a A,
}

/// The output settings: format and colors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    color: When,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            json: global.json,
            color: global.color,
        }
    }

    /// The output for errors in the command line.
    pub(crate) fn of_usage(json: bool) -> Self {
        let color = When::Auto;
        Self { json, color }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Whether standard error is a terminal that may be redrawn.
    pub(crate) fn is_watched(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    fn choice(self, stream: &impl IsTerminal, auto: ColorChoice) -> ColorChoice {
        match self.color {
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
            When::Auto if stream.is_terminal() && is_a_screen() => auto,
            When::Auto => ColorChoice::Never,
        }
    }

    /// Whether to use colors on standard error.
    pub(crate) fn colors_errors(self) -> bool {
        let auto = AutoStream::choice(&io::stderr());
        self.choice(&io::stderr(), auto) != ColorChoice::Never
    }

    /// Prints a result to standard output.
    pub(crate) fn answer<A: Answer>(self, answer: &A) -> Result<(), Failure> {
        let text = if self.json {
            json(A::KIND, answer)?
        } else {
            let mut text = String::new();
            answer
                .text(&mut text)
                .map_err(|error| Failure::environment(Reason::Bug, error.to_string()))?;
            steady(&text)
        };
        self.print(&text)
    }

    /// Prints text unchanged, even with `--json`.
    pub(crate) fn print(self, text: &str) -> Result<(), Failure> {
        let stdout = io::stdout();
        let auto = AutoStream::choice(&stdout);
        let choice = self.choice(&stdout, auto);
        let mut stream = AutoStream::new(stdout.lock(), choice);
        let written = stream
            .write_all(text.as_bytes())
            .and_then(|()| stream.flush());
        match written {
            // A closed pipe is normal, for example with `head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| unwritten(&error)),
        }
    }

    /// Prints a remark to standard error; omitted with `--json`.
    pub(crate) fn say(self, text: &str) {
        if !self.json {
            self.to_stderr(&format!("{text}\n"));
        }
    }

    /// Prints a warning to standard error, also with `--json`.
    pub(crate) fn warn(self, text: &str) {
        self.to_stderr(&format!("{WARN}warning:{WARN:#} {text}\n"));
    }

    pub(crate) fn to_stderr(self, text: &str) {
        let stderr = io::stderr();
        let auto = AutoStream::choice(&stderr);
        let choice = self.choice(&stderr, auto);
        let mut stream = AutoStream::new(stderr.lock(), choice);
        let text = match self.json {
            true => text.to_owned(),
            false => steady(text),
        };
        // A failure to write to standard error cannot be reported.
        let _ = stream.write_all(text.as_bytes());
    }

    /// Prints a failure: with `--json` to standard output, otherwise to standard error.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            #[derive(Serialize)]
            struct Error<'a> {
                exit: u8,
                #[serde(flatten)]
                failure: &'a Failure,
            }
            let error = Error {
                exit: failure.exit() as u8,
                failure,
            };
            if let Ok(text) = json("error", &error)
                && self.print(&text).is_err()
            {
                self.to_stderr(&text);
            }
            return;
        }
        let mut text = format!("{BAD}error:{BAD:#} {}\n", failure.message());
        for (at, (next, means)) in failure.next_commands().enumerate() {
            let name = if at == 0 { "next:" } else { "  or:" };
            let _ = writeln!(text, "{BOLD}{name}{BOLD:#} {next}");
            if !means.is_empty() {
                let _ = writeln!(text, "      {DIM}{means}{DIM:#}");
            }
        }
        self.to_stderr(&text);
    }
}

/// The failure to write to standard output.
pub(crate) fn unwritten(error: &io::Error) -> Failure {
    Failure::environment(
        Reason::OutputFailed,
        format!(
            "cannot write the answer to standard output: {error}; free space, or redirect the output"
        ),
    )
}

fn json(kind: &'static str, answer: &impl Serialize) -> Result<String, Failure> {
    let envelope = Envelope {
        schema: SCHEMA,
        kind,
        answer,
    };
    let mut text = serde_json::to_string(&envelope).map_err(|error| {
        Failure::environment(
            Reason::Bug,
            format!("cannot serialize the answer: {error}; report it as a bug"),
        )
    })?;
    text.push('\n');
    Ok(text)
}

/// Whether the terminal understands control sequences: an empty TERM means that it does
/// not, like `dumb`.
pub(crate) fn is_a_screen() -> bool {
    let term = std::env::var("TERM");
    cfg!(windows) || term.is_ok_and(|term| !term.is_empty() && term != "dumb")
}

/// Foreign text in one line, with control characters removed.
pub(crate) fn plain(text: &str) -> String {
    text.replace(controls, " ")
}

/// Foreign text in one line of at most this many characters.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let text = plain(text);
    match text.char_indices().nth(most) {
        None => text,
        Some(_) => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            format!("{kept}…")
        }
    }
}

/// Whether a character controls a terminal, or the direction or the lines of a text.
fn controls(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Writes the suggested next commands, most likely first.
pub(crate) fn to_type(next: &[String], out: &mut String) -> fmt::Result {
    for (at, next) in next.iter().enumerate() {
        if at == 0 {
            writeln!(out)?;
        }
        let name = if at == 0 { "next:" } else { "  or:" };
        writeln!(out, "{BOLD}{name}{BOLD:#} {next}")?;
    }
    Ok(())
}

/// Removes control characters except line breaks, tabs and colors. Names and messages
/// from a store are part of the text and could control the terminal.
fn steady(text: &str) -> String {
    let stays = |(at, letter): (usize, char)| match letter {
        '\n' | '\t' => true,
        '\u{1b}' => sets_a_colour(&text[at..]),
        letter => !controls(letter),
    };
    let letters = text.char_indices();
    letters
        .map(|letter| if stays(letter) { letter.1 } else { ' ' })
        .collect()
}

/// Whether a text starts with an escape sequence that sets a style.
fn sets_a_colour(text: &str) -> bool {
    let rest = text.strip_prefix("\u{1b}[").unwrap_or_default();
    rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';')
        .starts_with('m')
}

/// Formats a table, with numeric columns aligned to the right.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    let mut widths: Vec<usize> = header.iter().map(|name| width(name)).collect();
    let mut is_number = vec![!rows.is_empty(); header.len()];
    for row in &rows {
        for (at, cell) in row.iter().enumerate().take(header.len()) {
            widths[at] = widths[at].max(width(cell));
            is_number[at] &= cell.chars().all(|c| c.is_ascii_digit() || "-,".contains(c));
        }
    }
    let header: Vec<String> = header
        .iter()
        .map(|name| format!("{DIM}{name}{DIM:#}"))
        .collect();
    let mut text = String::new();
    for row in std::iter::once(&header).chain(&rows) {
        let mut line = String::new();
        for ((cell, wide), to_the_right) in row.iter().zip(&widths).zip(&is_number) {
            let space = " ".repeat(wide - width(cell));
            let (before, after) = match to_the_right {
                true => (space.as_str(), ""),
                false => ("", space.as_str()),
            };
            let _ = write!(line, "{before}{cell}{after}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Width of a text in terminal columns, without its styles.
fn width(text: &str) -> usize {
    let plain = anstream::adapter::strip_str(text);
    plain.map(unicode_width::UnicodeWidthStr::width).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_of_the_next_command_starts_on_its_line() {
        let mut text = String::new();
        let written = to_type(&["x plan".to_owned(), "x run".to_owned()], &mut text);
        assert!(written.is_ok());
        let expected = format!("\n{BOLD}next:{BOLD:#} x plan\n{BOLD}  or:{BOLD:#} x run\n");
        assert_eq!(text, expected);
    }

    #[test]
    fn columns_are_apart_whatever_styles_there_are_and_numbers_stand_to_the_right() {
        let rows = [("ann", 5, GOOD), ("日本", 1234, BAD)];
        let rows = rows.map(|(who, count, style)| {
            vec![
                format!("{style}{who}{style:#}"),
                count.to_string(),
                "x".to_owned(),
            ]
        });
        let text = table(&["WHO", "N", "WHY"], rows);
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "WHO      N  WHY\nann      5  x\n日本  1234  x\n"
        );
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a [31mb c");
        for reverses in ['\u{202e}', '\u{2066}', '\u{200f}', '\u{2028}'] {
            let text = format!("a{reverses}b");
            assert_eq!((plain(&text), steady(&text)), ("a b".into(), "a b".into()));
        }
        assert_eq!(shortened("abcde", 5), "abcde");
        assert_eq!(shortened("abc\nef", 5), "abc …");
        for (text, steady_text) in [
            (
                "a\u{1b}[1;31mb\u{1b}[0m\n\tc",
                "a\u{1b}[1;31mb\u{1b}[0m\n\tc",
            ),
            (
                "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}2J\r\u{1b}",
                " [2J ]0;x  2J  ",
            ),
        ] {
            assert_eq!(steady(text), steady_text);
        }
    }
}
