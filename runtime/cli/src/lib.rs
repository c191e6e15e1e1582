//! The command-line tool, for a program of two lines.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! # /*
//! use my_workflows as _;
//! # */
//!
//! fn main() -> ExitCode {
//!     state_migration::cli::main()
//! }
//! ```
//!
//! The tool plans, runs, watches and inspects the migrations that are linked into the
//! binary. `docs/cli.md` describes its commands, and `docs/cli.schema.json` is the
//! schema of their output with `--json`.
//!
//! # Exit codes
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | usage error, or a problem with the store, the settings or the program |
//! | 2 | done, and some processes failed |
//! | 3 | interrupted; committed work is kept, and the run can be resumed |
//! | 4 | refused: needs explicit confirmation |

mod args;
mod clap_error;
mod commands;
mod context;
mod dispatch;
mod exit_code;
mod goal;
mod heads;
mod history;
mod local;
mod logging;
mod other_code;
#[cfg(test)]
mod reference;
mod remote;
mod run_selector;
mod selection;
mod settings;
mod shell_words;
mod signals;
mod store;
mod stream_file;
mod take_over;
mod view;

use std::process::ExitCode;
use std::sync::Arc;

use clap::FromArgMatches;
use state_migration_core::Predicates;
use state_migration_store::SlateDbStoreBuilder;

use context::Context;
use dispatch::{Args, command, without_effect};
use exit_code::{Exit, Failure, Reason};
use store::Configure;
use view::output::Output;

/// Executes the command line: the complete body of a `main` function.
///
/// The tool starts an async runtime of its own, so that `main` is not async.
///
/// A program that configures its database itself uses [`Cli`].
#[must_use]
pub fn main() -> ExitCode {
    Cli::new().main()
}

/// The tool with custom configuration, as an alternative to [`main`].
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use state_migration::cli::Cli;
///
/// fn main() -> ExitCode {
///     Cli::new()
///         .configure_store(|builder| builder.memory(1 << 30))
///         .main()
/// }
/// ```
#[must_use]
#[derive(Default)]
pub struct Cli {
    configure: Option<Configure>,
    predicates: Predicates,
}

impl std::fmt::Debug for Cli {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cli").finish_non_exhaustive()
    }
}

impl Cli {
    /// The tool with default configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// Configures the builder of each store that the tool opens.
    ///
    /// The function is applied after the settings of files and variables. Every program
    /// that opens a database must configure it in the same way.
    pub fn configure_store(
        mut self,
        configure: impl Fn(SlateDbStoreBuilder) -> SlateDbStoreBuilder + Send + Sync + 'static,
    ) -> Self {
        self.configure = Some(Arc::new(configure));
        self
    }

    /// Sets the predicates on states that `--matching` may name: those that the
    /// [runner](state_migration_runner::MigrationRunner::predicates) of the service has.
    pub fn predicates(mut self, predicates: Predicates) -> Self {
        self.predicates = predicates;
        self
    }

    /// Executes the command line.
    #[must_use]
    pub fn main(self) -> ExitCode {
        let parsed = command().try_get_matches().and_then(|matches| {
            let args = Args::from_arg_matches(&matches)?;
            Ok((args, without_effect(&matches)))
        });
        match parsed {
            Ok((args, refused)) => self.run(args, refused).into(),
            Err(said) => {
                let words = std::env::args_os().skip(1);
                let words: Vec<String> = words
                    .map(|word| word.to_string_lossy().into_owned())
                    .collect();
                clap_error::print(&said, &words).into()
            }
        }
    }

    fn run(self, args: Args, refused: Option<Failure>) -> Exit {
        let output = Output::new(&args.global);
        let ended = match refused {
            // Another failure says that the command is not for a service at all.
            Some(refused) if args.command.not_through_a_service().is_none() => Err(refused),
            _ => self.in_runtime(args, &output),
        };
        match ended {
            Ok(exit) => exit,
            Err(failure) => {
                let exit = failure.exit();
                if exit == Exit::Interrupted {
                    signals::say_last(move || output.failure(&failure));
                } else {
                    output.failure(&failure);
                }
                exit
            }
        }
    }

    fn in_runtime(self, args: Args, output: &Output) -> Result<Exit, Failure> {
        if tokio::runtime::Handle::try_current().is_ok() {
            return Err(Failure::environment(
                Reason::Usage,
                "the tool was called inside of an async runtime, but it starts its own; call it from a `main` that is not async and has no `#[tokio::main]`",
            ));
        }
        logging::init(&args.global, *output)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                Failure::environment(
                    Reason::System,
                    format!(
                        "cannot start threads: {error}; check the resource limits of the system"
                    ),
                )
            })?;
        let context = Context::new(args.global, self.configure, self.predicates, *output);
        let (command, handles_signals) = (args.command, context.handles_signals());
        let interrupted = command.interrupted();
        let ended = runtime.block_on(signals::interruptible(
            &handles_signals,
            interrupted,
            || async move { command.run(&context).await },
        ));
        // User code that never returns keeps its thread, and must not block the exit.
        match &ended {
            // The command continues until the program ends, and needs the runtime.
            Err(failure) if failure.exit() == Exit::Interrupted => std::mem::forget(runtime),
            _ => runtime.shutdown_background(),
        }
        ended
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[tokio::test]
    async fn the_tool_inside_of_an_async_runtime_says_what_to_do() {
        let args = Args::parse_from(["tool", "migrations"]);
        let output = Output::new(&args.global);
        let failure = Cli::new().in_runtime(args, &output).unwrap_err();
        assert_eq!(failure.exit(), Exit::Environment);
        let message = failure.message();
        assert!(
            message.contains("call it from a `main` that is not async"),
            "{message}"
        );
    }
}
