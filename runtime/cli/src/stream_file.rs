//! Streams that are named in a file, one in each line.

use std::io::Read as _;
use std::str::FromStr;

use state_migration_core::StreamId;

/// The streams of a file; `-` is the standard input.
#[derive(Debug, Clone)]
pub(crate) struct StreamFile {
    path: String,
    streams: Vec<StreamId>,
}

impl StreamFile {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn streams(&self) -> &[StreamId] {
        &self.streams
    }
}

impl FromStr for StreamFile {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        let text = match path {
            "-" => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map(|_| text)
            }
            _ => std::fs::read_to_string(path),
        };
        let text = text.map_err(|error| format!("the file cannot be read: {error}"))?;
        Ok(Self {
            path: path.to_owned(),
            streams: parse(&text)?,
        })
    }
}

/// Empty lines are ignored.
fn parse(text: &str) -> Result<Vec<StreamId>, String> {
    // Editors on Windows begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate();
    let named = lines.filter(|(_, line)| !line.trim().is_empty());
    let streams: Vec<StreamId> = named
        .map(|(at, line)| {
            StreamId::new(line.trim())
                .map_err(|error| format!("line {} is not a stream: {error}", at + 1))
        })
        .collect::<Result<_, _>>()?;
    match streams.is_empty() {
        true => Err("the file names no stream".to_owned()),
        false => Ok(streams),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_line_names_a_stream() {
        let streams = parse("\u{feff}process/a/1\n\n  process/a/2\r\n").unwrap();
        let names: Vec<&str> = streams.iter().map(StreamId::as_str).collect();
        assert_eq!(names, ["process/a/1", "process/a/2"]);
        assert_eq!(parse(" \n").unwrap_err(), "the file names no stream");
        let long = format!("a\n{}", "x".repeat(100_000));
        let error = parse(&long).unwrap_err();
        assert!(error.starts_with("line 2 is not a stream: "), "{error}");
        let error = "/no/such/file".parse::<StreamFile>().unwrap_err();
        assert!(error.starts_with("the file cannot be read: "), "{error}");
    }
}
