//! What the tool says: text for people, JSON for programs.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::args::{Global, When};
use crate::exit_code::Failure;

/// The version of what `--json` prints; `docs/cli.schema.json` describes it.
pub(crate) const SCHEMA: u32 = 1;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();

/// What a command says in the end.
pub(crate) trait Answer: Serialize {
    /// The name of the command, or of the line of progress.
    const KIND: &'static str;

    /// The same for people. Styles may be used: they are taken out where they
    /// are not wanted.
    fn text(&self, out: &mut String) -> fmt::Result;
}

/// One JSON document, or one line of several.
#[derive(Serialize)]
struct Envelope<'a, A> {
    schema: u32,
    kind: &'static str,
    #[serde(flatten)]
    answer: &'a A,
}

/// Where the tool says it.
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

    /// Where it says that it was not understood.
    pub(crate) fn of_usage(json: bool) -> Self {
        let color = When::Auto;
        Self { json, color }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Whether somebody watches, so that what was said may be drawn over.
    pub(crate) fn is_watched(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    fn choice(self, stream: &impl IsTerminal, auto: ColorChoice) -> ColorChoice {
        match self.color {
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
            When::Auto if stream.is_terminal() => auto,
            When::Auto => ColorChoice::Never,
        }
    }

    /// Whether colours are to be used on standard error.
    pub(crate) fn colors_errors(self) -> bool {
        let auto = AutoStream::choice(&io::stderr());
        self.choice(&io::stderr(), auto) != ColorChoice::Never
    }

    /// Says something on standard output.
    pub(crate) fn answer<A: Answer>(self, answer: &A) -> Result<(), Failure> {
        let text = if self.json {
            json(A::KIND, answer)?
        } else {
            let mut text = String::new();
            answer
                .text(&mut text)
                .map_err(|error| Failure::environment(error.to_string()))?;
            steady(&text)
        };
        self.print(&text)
    }

    /// Prints text that is what it is, with `--json` too.
    pub(crate) fn print(self, text: &str) -> Result<(), Failure> {
        let stdout = io::stdout();
        let auto = AutoStream::choice(&stdout);
        let choice = self.choice(&stdout, auto);
        let mut stream = AutoStream::new(stdout.lock(), choice);
        let written = stream
            .write_all(text.as_bytes())
            .and_then(|()| stream.flush());
        match written {
            // Who pipes into `head` has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| unwritten(&error)),
        }
    }

    /// Tells people something that is not the answer, on standard error.
    pub(crate) fn say(self, text: &str) {
        if !self.json {
            self.to_stderr(&format!("{text}\n"));
        }
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
        // If nobody listens, nobody is told.
        let _ = stream.write_all(text.as_bytes());
    }

    /// Says why a command was not done: with `--json` on standard output, like
    /// every answer.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            #[derive(Serialize)]
            struct Error<'a> {
                exit: u8,
                #[serde(flatten)]
                failure: &'a Failure,
            }
            let error = Error {
                exit: failure.exit as u8,
                failure,
            };
            if let Ok(text) = json("error", &error)
                && self.print(&text).is_err()
            {
                self.to_stderr(&text);
            }
            return;
        }
        let mut text = format!("{BAD}error:{BAD:#} {}\n", failure.message);
        if let Some(next) = &failure.next {
            let _ = writeln!(text, "{BOLD}next:{BOLD:#} {next}");
        }
        self.to_stderr(&text);
    }
}

/// The failure over an answer that nobody can have.
pub(crate) fn unwritten(error: &io::Error) -> Failure {
    Failure::environment(format!(
        "the answer cannot be written to standard output: {error}; send it where there is room for it"
    ))
}

fn json(kind: &'static str, answer: &impl Serialize) -> Result<String, Failure> {
    let envelope = Envelope {
        schema: SCHEMA,
        kind,
        answer,
    };
    let mut text = serde_json::to_string(&envelope)
        .map_err(|error| Failure::environment(format!("the answer is no JSON: {error}")))?;
    text.push('\n');
    Ok(text)
}

/// Text of others in one line: what would steer a terminal is taken out.
pub(crate) fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The commands that may be typed next, the likeliest first.
pub(crate) fn to_type(next: &[String], out: &mut String) -> fmt::Result {
    for (at, next) in next.iter().enumerate() {
        let name = if at == 0 { "\nnext:" } else { "  or:" };
        writeln!(out, "{BOLD}{name}{BOLD:#} {next}")?;
    }
    Ok(())
}

/// Takes out of what is said to people whatever steers a terminal, but for line
/// ends and colours: names, words and errors out of a store are quoted in it.
fn steady(text: &str) -> String {
    let stays = |(at, letter): (usize, char)| match letter {
        '\n' | '\t' => true,
        '\u{1b}' => sets_a_colour(&text[at..]),
        letter => !letter.is_control(),
    };
    let letters = text.char_indices();
    letters
        .map(|letter| if stays(letter) { letter.1 } else { ' ' })
        .collect()
}

/// Whether a text starts with an escape that changes the style of what follows.
fn sets_a_colour(text: &str) -> bool {
    let rest = text.strip_prefix("\u{1b}[").unwrap_or_default();
    rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';')
        .starts_with('m')
}

/// A table for people: a line each, columns apart, numbers to the right.
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

/// How many columns of a terminal a text takes, but for its styles.
fn width(text: &str) -> usize {
    let plain = anstream::adapter::strip_str(text);
    plain.map(unicode_width::UnicodeWidthStr::width).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

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
