//! The command line, and dispatch to its command.

use clap::{Parser, Subcommand};

use crate::args::Global;
use crate::commands::{
    completions, graph, inspect, list, pause, plan, resume, retry, run, runs, show, skip, status,
    throttle, watch,
};
use crate::context::Context;
use crate::exit_code::{Exit, Failure};

/// Moves the processes of a store to the newest versions of their workflows.
///
/// Commands that only look shut nobody out and write nothing. A run in a store
/// that a service has open goes on inside that service: see `--via`.
#[derive(Debug, Parser)]
#[command(
    name = "state-migration",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 wrong usage, or something around the tool is not as it must be; 2 done, and some processes failed; 3 interrupted, what was done is kept; 4 refused, since the operator has to say so first"
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
    List(list::List),
    Graph(graph::Graph),
    Status(status::Status),
    Plan(plan::ShowPlan),
    Run(run::Run),
    Resume(resume::Resume),
    Retry(retry::Retry),
    Runs(runs::List),
    Show(show::Show),
    Watch(watch::Watch),
    Pause(pause::Pause),
    Continue(pause::Continue),
    Cancel(pause::Cancel),
    Throttle(throttle::Throttle),
    Skip(skip::Skip),
    Unskip(skip::Unskip),
    Inspect(inspect::Inspect),
    Completions(completions::Completions),
}

impl Command {
    /// Runs the command.
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if let (Some(_), Some(why)) = (&context.global.via, self.not_through_a_service()) {
            return Err(Failure::environment(format!(
                "{why}; name the store with --store, and leave out --via"
            )));
        }
        match self {
            Self::List(list) => list.run(context),
            Self::Graph(graph) => graph.run(context),
            Self::Status(status) => status.run(context).await,
            Self::Plan(plan) => plan.run(context).await,
            Self::Run(run) => run.run(context).await,
            Self::Resume(resume) => resume.run(context).await,
            Self::Retry(retry) => retry.run(context).await,
            Self::Runs(runs) => runs.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::Watch(watch) => watch.run(context).await,
            Self::Pause(pause) => pause.run(context).await,
            Self::Continue(go_on) => go_on.run(context).await,
            Self::Cancel(cancel) => cancel.run(context).await,
            Self::Throttle(throttle) => throttle.run(context).await,
            Self::Skip(skip) => skip.run(context).await,
            Self::Unskip(unskip) => unskip.run(context).await,
            Self::Inspect(inspect) => inspect.run(context).await,
            Self::Completions(completions) => completions.run(context),
        }
    }

    /// The possible effects of an interrupted command, and how to check them.
    pub(crate) fn interrupted(&self) -> &'static str {
        match self {
            Self::Run(_) | Self::Resume(_) | Self::Retry(_) => {
                "the command was broken off before its run began or after it was over; `runs` says which"
            }
            Self::Skip(_) | Self::Unskip(_) => {
                "it is not known whether it was decided; `inspect` says where the process stands"
            }
            Self::Pause(_) | Self::Continue(_) | Self::Cancel(_) | Self::Throttle(_) => {
                "it is not known whether the service was told; `status` says how it stands"
            }
            _ => "the command was broken off; it changes nothing, so type it again",
        }
    }

    /// The reason why a command cannot be sent to a service, if it cannot.
    fn not_through_a_service(&self) -> Option<&'static str> {
        match self {
            Self::Inspect(_) => Some(
                "a process is looked at in the store itself, which shuts nobody out, also while a service has it open",
            ),
            Self::Skip(_) | Self::Unskip(_) => Some(
                "a process is taken out of all runs in the store itself, while no service has it open",
            ),
            _ => None,
        }
    }
}
