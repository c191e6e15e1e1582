//! The command line, and dispatch to its command.

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, Parser, Subcommand};

use crate::args::Global;
use crate::commands::{
    completions, erase, export, graph, history, hold, inspect, migrations, pause, plan, processes,
    rehearse, resume, retry, run, runs, show, status, throttle, watch,
};
use crate::context::{self, Context};
use crate::exit_code::{Exit, Failure, Reason};

/// Migrate the processes of a store to the newest versions of their workflows
///
/// Commands that only read never write to the store and never fence its
/// writer. A run over a store that a service has open is executed by that
/// service: see `--socket`.
#[derive(Debug, Parser)]
#[command(
    name = "state-migration",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 80,
    after_help = "Exit codes:\n  0  done\n  1  usage error, or a problem with the store, the settings or the program\n  2  done, but some processes failed\n  3  interrupted; what was committed is kept, and a run can be resumed\n  4  refused: needs explicit confirmation"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do. The text of each is at its own type.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Migrations(migrations::Migrations),
    Graph(graph::Graph),
    Status(status::Status),
    Processes(processes::Processes),
    Plan(plan::ShowPlan),
    Rehearse(rehearse::Rehearse),
    Run(run::Run),
    Resume(resume::Resume),
    Retry(retry::Retry),
    Verify(history::Verify),
    Undo(history::Undo),
    Redo(history::Redo),
    Erase(erase::Erase),
    Runs(runs::List),
    Show(show::Show),
    Watch(watch::Watch),
    Pause(pause::Pause),
    Unpause(pause::Unpause),
    Cancel(pause::Cancel),
    Throttle(throttle::Throttle),
    Hold(hold::Hold),
    Release(hold::Release),
    Inspect(inspect::Inspect),
    Export(export::Export),
    Completions(completions::Completions),
}

impl Command {
    /// Runs the command.
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if let (Some(_), Some(why)) = (&context.global.socket, self.not_through_a_service()) {
            return Err(Failure::environment(Reason::Unsupported, why));
        }
        match self {
            Self::Migrations(migrations) => migrations.run(context).await,
            Self::Graph(graph) => graph.run(context),
            Self::Status(status) => status.run(context).await,
            Self::Processes(processes) => processes.run(context).await,
            Self::Plan(plan) => plan.run(context).await,
            Self::Rehearse(rehearse) => rehearse.run(context).await,
            Self::Run(run) => run.run(context).await,
            Self::Resume(resume) => resume.run(context).await,
            Self::Retry(retry) => retry.run(context).await,
            Self::Verify(verify) => verify.run(context).await,
            Self::Undo(undo) => undo.run(context).await,
            Self::Redo(redo) => redo.run(context).await,
            Self::Erase(erase) => erase.run(context).await,
            Self::Runs(runs) => runs.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::Watch(watch) => watch.run(context).await,
            Self::Pause(pause) => pause.run(context).await,
            Self::Unpause(unpause) => unpause.run(context).await,
            Self::Cancel(cancel) => cancel.run(context).await,
            Self::Throttle(throttle) => throttle.run(context).await,
            Self::Hold(hold) => hold.run(context).await,
            Self::Release(release) => release.run(context).await,
            Self::Inspect(inspect) => inspect.run(context).await,
            Self::Export(export) => export.run(context).await,
            Self::Completions(completions) => completions.run(context, command()),
        }
    }

    /// The possible effects of an interrupted command, and how to check them.
    pub(crate) fn interrupted(&self) -> &'static str {
        match self {
            Self::Run(_)
            | Self::Resume(_)
            | Self::Retry(_)
            | Self::Undo(_)
            | Self::Redo(_)
            | Self::Erase(_) => {
                "the command stopped before its run began or after the run ended; `runs` shows which"
            }
            Self::Rehearse(_) => {
                "the command stopped; the store is as it was, and the next rehearsal removes the copy"
            }
            Self::Hold(_) | Self::Release(_) => {
                "the processes may or may not be changed; `processes --held` shows which are held"
            }
            Self::Pause(_) | Self::Unpause(_) | Self::Cancel(_) | Self::Throttle(_) => {
                "the service may or may not have received the request; `status` shows the state of its run"
            }
            _ => "the command stopped; it writes nothing, so run it again",
        }
    }

    /// The reason why a command cannot be sent to a service, if it cannot.
    pub(crate) fn not_through_a_service(&self) -> Option<&'static str> {
        match self {
            Self::Graph(_) => Some(
                "`graph` draws the migrations of this program; use `migrations` for those of the service, or omit --socket",
            ),
            Self::Inspect(_) => Some(
                "`inspect` reads the store directly, even while a service has it open; use --store instead of --socket",
            ),
            Self::Export(_) => Some(
                "`export` reads the store directly, even while a service has it open; use --store instead of --socket",
            ),
            Self::Processes(_) => Some(
                "`processes` reads the store directly, even while a service has it open; use --store instead of --socket",
            ),
            _ => None,
        }
    }
}

/// Options that only have an effect on a command that opens the store itself.
const NOT_FOR_A_SERVICE: [(&str, &str); 3] = [
    (
        "patience",
        "--patience has no effect with --socket: the service waits as long as its own program says; omit the option",
    ),
    (
        "fence_live_program",
        "--fence-live-program has no effect with --socket: the service has the store open; omit the option",
    ),
    (
        "settings",
        "--settings has no effect with --socket: the service has its own settings; omit the option",
    ),
];

/// The failure of a command for a service with an option that has no effect there.
pub(crate) fn without_effect(matches: &ArgMatches) -> Option<Failure> {
    let (name, of_command) = matches.subcommand()?;
    let is_given = |option: &str| {
        of_command.try_contains_id(option).is_ok()
            && of_command.value_source(option) == Some(ValueSource::CommandLine)
    };
    if !is_given("socket") {
        return None;
    }
    // The settings belong to the store in suggested commands.
    let names_a_store = of_command.value_source("store").is_some();
    let is_without = |option: &str| match option {
        "settings" => is_given(option) && !names_a_store,
        _ => is_given(option),
    };
    let holds = matches!(name, "hold" | "release");
    let mut options = NOT_FOR_A_SERVICE.iter();
    let why = match options.find(|(option, _)| is_without(option)) {
        Some((_, why)) => why,
        None if holds && is_given("take_over") => {
            &"--take-over has no effect on `hold` and `release` with --socket: the service has the store open; omit the option"
        }
        None => return None,
    };
    Some(Failure::environment(Reason::Unsupported, *why))
}

/// The command line, with the name of the program in the examples.
pub(crate) fn command() -> clap::Command {
    named(Args::command(), context::program())
}

/// Hides the options of a plan that a command does not support.
fn without_unsupported(mut command: clap::Command) -> clap::Command {
    if matches!(command.get_name(), "verify" | "undo" | "redo" | "erase") {
        for id in crate::selection::NOT_BY_STREAM {
            command = command.mut_arg(id, |arg| arg.hide(true));
        }
    }
    command
}

pub(crate) fn named(command: clap::Command, name: String) -> clap::Command {
    command
        .mut_subcommands(without_unsupported)
        .mut_subcommands(|command| {
            let Some(after) = command.get_after_help() else {
                return command;
            };
            let lines = after.to_string();
            let lines = lines.lines().map(|line| match line.strip_prefix("  ") {
                Some(example) => format!("  {name} {example}"),
                None => line.to_owned(),
            });
            let after = lines.collect::<Vec<_>>().join("\n");
            command.after_help(after)
        })
        .display_name(name.clone())
        .bin_name(name)
}
