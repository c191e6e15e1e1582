//! Formatting of clap's errors and help.

use std::io::{self, Write as _};

use clap::error::ErrorKind;

use crate::context::typed;
use crate::exit_code::{Exit, Failure};
use crate::view::output::{Output, unwritten};

/// Prints clap's message and returns the exit code: clap's own code 2 means something
/// else here.
pub(crate) fn print(said: &clap::Error, words: &[String]) -> Exit {
    let json = words
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| word == "--json");
    let output = Output::of_usage(json);
    if said.use_stderr() {
        if json || said.kind() == ErrorKind::MissingSubcommand {
            output.failure(&failure(said, words));
        } else {
            output.to_stderr(&said.render().ansi().to_string());
        }
        return Exit::Environment;
    }
    match said.print().and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            output.failure(&unwritten(&error));
            Exit::Environment
        }
        _ => Exit::Done,
    }
}

/// Converts clap's message to a failure in one sentence, with the help command as the
/// next step.
fn failure(said: &clap::Error, words: &[String]) -> Failure {
    let top = crate::dispatch::command();
    let known = |word: &&String| top.find_subcommand(word).is_some();
    let command = words.iter().find(known);
    let next = match command {
        Some(command) => format!("{command} --help"),
        None => "--help".to_owned(),
    };
    let message = match said.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "no command given; add one, such as `status`".to_owned()
        }
        _ => sentence(&said.render().to_string()),
    };
    Failure::environment(message).next(format!("{} {next}", typed()))
}

/// The text before the usage, in one line.
fn sentence(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let lines = lines.take_while(|line| {
        !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    let mut sentence = String::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let line = line.strip_prefix("error: ").unwrap_or(line);
        let tip = line.strip_prefix("tip: ");
        sentence.push_str(match tip {
            Some(_) => "; ",
            None if sentence.is_empty() => "",
            None => " ",
        });
        sentence.push_str(tip.unwrap_or(line));
    }
    sentence
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_in_one_sentence_with_the_help_to_look_at() {
        for (line, message, next) in [
            ("", "no command given; add one, such as `status`", "--help"),
            (
                "retri 1",
                "unrecognized subcommand 'retri'; a similar subcommand exists: 'retry'",
                "--help",
            ),
            (
                "hold process/bank/1",
                "the following required arguments were not provided: --reason <TEXT>",
                "hold --help",
            ),
            (
                "run --yes --plam x",
                "unexpected argument '--plam' found; a similar argument exists: '--plan'",
                "run --help",
            ),
            (
                "run --plan zzz",
                "invalid value 'zzz' for '--plan <FINGERPRINT>': expected a fingerprint of 16 hexadecimal digits, as printed by `plan`",
                "run --help",
            ),
            (
                "status --color pink",
                "invalid value 'pink' for '--color <WHEN>' [possible values: auto, always, never]",
                "status --help",
            ),
        ] {
            let words: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
            let typed = std::iter::once("x".to_owned()).chain(words.clone());
            let said = crate::dispatch::command().try_get_matches_from(typed);
            let failure = failure(&said.unwrap_err(), &words);
            assert_eq!(failure.message, message);
            assert!(
                failure.next.unwrap().ends_with(&format!(" {next}")),
                "{line}"
            );
        }
    }

    #[test]
    fn numbers_that_mean_nothing_are_refused_with_the_way_out() {
        for line in [
            "run --yes --throttle 0",
            "run --yes --throttle -5",
            "run --yes --limit 0",
            "run --yes --limit -1",
            "runs --limit 0",
            "show 1 --limit none",
            "inspect s --limit 0",
        ] {
            let typed = std::iter::once("x").chain(line.split_whitespace());
            let said = crate::dispatch::command().try_get_matches_from(typed);
            let sentence = sentence(&said.unwrap_err().render().to_string());
            let or_off = if line.contains("--throttle") {
                " or `off`"
            } else {
                ""
            };
            let expected = format!(
                "expected a positive integer{or_off}; correct the value, or omit the option"
            );
            assert!(sentence.ends_with(&expected), "{sentence}");
        }
    }
}
