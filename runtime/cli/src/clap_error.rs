//! Formatting of clap's errors and help.

use std::io::{self, Write as _};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::context::typed;
use crate::exit_code::{Exit, Failure, Reason};
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
        let whole = [ErrorKind::MissingSubcommand, ErrorKind::InvalidSubcommand];
        if json || whole.contains(&said.kind()) {
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
    let mut next = match command {
        Some(command) => format!("{command} --help"),
        None => "--help".to_owned(),
    };
    let message = match said.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "no command given; add one, such as `status`".to_owned()
        }
        ErrorKind::InvalidSubcommand => {
            let word = match said.get(ContextKind::InvalidSubcommand) {
                Some(ContextValue::String(word)) => word.as_str(),
                _ => "",
            };
            match elsewhere(word) {
                Some((message, command)) => {
                    command.clone_into(&mut next);
                    message.to_owned()
                }
                None => unknown(word, said),
            }
        }
        _ => sentence(&said.render().to_string()),
    };
    Failure::environment(Reason::Usage, message).next(format!("{} {next}", typed()))
}

/// What to use instead of a command that other tools have, and the command to look at.
fn elsewhere(word: &str) -> Option<(&'static str, &'static str)> {
    match word {
        "rollback" | "revert" | "down" => Some((
            "the command that takes the processes of a run back is `undo RUN`; `runs` lists the runs",
            "undo --help",
        )),
        "history" => Some((
            "the history of a store is the list of its runs; use `runs`, and `show` for a single run",
            "runs",
        )),
        _ => None,
    }
}

/// The sentence for an unknown command. A similar command is named only if the command
/// does not write: a mistyped word must not lead to a run.
fn unknown(word: &str, said: &clap::Error) -> String {
    const READS: [&str; 11] = [
        "migrations",
        "graph",
        "status",
        "plan",
        "runs",
        "show",
        "watch",
        "inspect",
        "processes",
        "verify",
        "completions",
    ];
    let similar: Vec<&String> = match said.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(all)) => all.iter().collect(),
        Some(ContextValue::String(one)) => vec![one],
        _ => Vec::new(),
    };
    let mut sentence = format!("unrecognized command '{word}'");
    let similar = similar
        .into_iter()
        .find(|name| READS.contains(&name.as_str()));
    if let Some(similar) = similar {
        sentence.push_str(&format!("; a similar command exists: '{similar}'"));
    } else {
        sentence.push_str("; `--help` lists the commands");
    }
    sentence
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
                "unrecognized command 'retri'; `--help` lists the commands",
                "--help",
            ),
            (
                "stats",
                "unrecognized command 'stats'; a similar command exists: 'status'",
                "--help",
            ),
            (
                "rollback 3",
                "the command that takes the processes of a run back is `undo RUN`; `runs` lists the runs",
                "undo --help",
            ),
            (
                "--store loans history",
                "the history of a store is the list of its runs; use `runs`, and `show` for a single run",
                "runs",
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
                "invalid value 'zzz' for '--plan <FINGERPRINT>': expected a fingerprint as printed by `plan`, such as 5be1a5f3c0ffee00-1f0c9a7e",
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
            assert_eq!(failure.message(), message);
            let (command, _) = failure.next_commands().next().unwrap();
            assert!(command.ends_with(&format!(" {next}")), "{line}");
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
