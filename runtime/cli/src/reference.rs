//! The reference `docs/cli.md`, generated from the definitions of the commands.
//!
//! A test compares the file with them; `DOCS=overwrite` writes it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};

use crate::dispatch::{Args, named};
use crate::exit_code::Reason;

/// Placeholder for the name of the user's program.
const NAME: &str = "loans-admin";

const INTRODUCTION: &str = include_str!("reference.md");

#[test]
fn the_reference_is_what_the_commands_are() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let reference = reference();
    if std::env::var_os("DOCS").is_some_and(|value| value == "overwrite") {
        return fs::write(&file, reference).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    if written == reference {
        return;
    }
    let mut lines = written.lines().zip(reference.lines()).enumerate();
    let differs = lines.find(|(_, (written, reference))| written != reference);
    panic!("docs/cli.md is out of date; DOCS=overwrite writes it anew: {differs:?}");
}

#[test]
fn every_command_says_what_it_is_for_and_has_an_example() {
    for command in commands() {
        let name = command.get_name().to_owned();
        assert!(command.get_about().is_some(), "{name}");
        let examples = examples(&command);
        assert!(!examples.is_empty(), "{name} has no example");
        for example in examples {
            let start = format!("{NAME} {name}");
            assert!(example.starts_with(&start), "{name}: {example}");
        }
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{name}: {}", arg.get_id());
        }
    }
}

#[test]
fn help_fits_80_columns_and_ends_without_a_full_stop() {
    let mut all = named(Args::command(), NAME.to_owned());
    all.build();
    let top = all.clone();
    for mut command in commands().into_iter().chain([top]) {
        let name = command.get_name().to_owned();
        for help in [command.render_help(), command.render_long_help()] {
            for line in help.to_string().lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
        }
        // An example that is broken over two lines cannot be copied.
        let help = command.render_long_help().to_string();
        for example in examples(&command) {
            assert!(help.contains(&format!("  {example}")), "{example}");
        }
        let about = command.get_about().map(ToString::to_string);
        let args = command.get_arguments();
        let texts = args.filter_map(|arg| arg.get_help().map(ToString::to_string));
        for text in texts.chain(about) {
            assert!(!text.ends_with('.'), "{name}: {text}");
        }
    }
}

#[test]
fn the_command_line_is_sound() {
    Args::command().debug_assert();
}

fn commands() -> Vec<Command> {
    let mut all = named(Args::command(), NAME.to_owned());
    all.build();
    let commands = all.get_subcommands().cloned();
    commands
        .filter(|command| command.get_name() != "help")
        .collect()
}

/// The example lines of a command.
fn examples(command: &Command) -> Vec<String> {
    let after = command.get_after_help().map(ToString::to_string);
    let after = after.unwrap_or_default();
    let examples = after.split_once("Examples:\n").map_or("", |(_, rest)| rest);
    examples
        .lines()
        .map(|line| line.trim().to_owned())
        .collect()
}

fn reference() -> String {
    let mut reasons = "| reason | meaning |\n|---|---|\n".to_owned();
    for (reason, about) in Reason::ALL {
        let name = serde_json::to_value(reason).unwrap();
        let (name, about) = (name.as_str().unwrap(), about.trim().trim_end_matches('.'));
        let _ = writeln!(reasons, "| `{name}` | {about} |");
    }
    let mut text = INTRODUCTION.replace("<!-- reasons -->\n", &reasons);
    let commands = commands();
    text.push_str("\n## Global options\n\n");
    let top = named(Args::command(), NAME.to_owned());
    options(
        &mut text,
        top.get_arguments().filter(|arg| arg.is_global_set()),
    );
    for command in &commands {
        let about = command.get_long_about().or_else(|| command.get_about());
        let about = about.map(ToString::to_string).unwrap_or_default();
        let name = command.get_name();
        let mut usage = command.clone();
        let usage = usage.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").trim();
        let _ = write!(
            text,
            "\n## {name}\n\n{}\n\n```text\n{usage}\n```\n",
            paragraphs(&about)
        );
        let own = |arg: &&Arg| !arg.is_global_set() && arg.get_id() != "help";
        let own = |arg: &&Arg| own(arg) && arg.get_id() != "version";
        if command.get_arguments().any(|arg| own(&arg)) {
            text.push('\n');
            options(&mut text, command.get_arguments().filter(own));
        }
        text.push_str("\n```console\n");
        for example in examples(command) {
            let _ = writeln!(text, "$ {example}");
        }
        text.push_str("```\n");
    }
    text
}

/// Normalizes the paragraphs of a help text.
fn paragraphs(text: &str) -> String {
    let lines = text.lines().map(str::trim_end);
    lines.collect::<Vec<_>>().join("\n")
}

fn options<'a>(text: &mut String, args: impl Iterator<Item = &'a Arg>) {
    text.push_str("| option | meaning |\n|---|---|\n");
    for arg in args.filter(|arg| !arg.is_hide_set()) {
        let mut name = String::new();
        if let Some(short) = arg.get_short() {
            let _ = write!(name, "-{short}, ");
        }
        if let Some(long) = arg.get_long() {
            let _ = write!(name, "--{long}");
        }
        let takes = arg.get_action().takes_values() || arg.is_positional();
        if takes {
            let values = arg.get_value_names().unwrap_or_default();
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            let separator = if name.is_empty() { "" } else { " " };
            let _ = write!(name, "{separator}{}", values.join(" "));
        }
        let help = arg.get_long_help().or_else(|| arg.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        let mut help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        // clap removes the final full stop.
        let mut notes = Vec::new();
        let values: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|_| takes)
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if !values.is_empty() {
            notes.push(format!("one of {}", values.join(", ")));
        }
        let defaults = arg.get_default_values();
        let shown = takes && !arg.is_hide_default_value_set();
        if let Some(default) = defaults.first().filter(|_| shown) {
            notes.push(format!("default `{}`", default.to_string_lossy()));
        }
        if let Some(variable) = arg.get_env() {
            notes.push(format!("variable `{}`", variable.to_string_lossy()));
        }
        if !notes.is_empty() {
            let _ = write!(help, " ({})", notes.join("; "));
        }
        let help = help.replace('|', "\\|");
        let _ = writeln!(text, "| `{name}` | {help} |");
    }
}
