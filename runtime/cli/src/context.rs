//! The context of a command: global options, output, store and suggested commands.

use std::env::consts::EXE_SUFFIX;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant};

use state_migration_core::{MigrationRegistry, Predicates, Problem};
use state_migration_runner::MigrationRunner;
use state_migration_store::{SlateDbReader, SlateDbStore, storage_trouble};
use tokio::time::timeout;

use crate::args::Global;
use crate::exit_code::{Failure, Reason};
use crate::settings;
use crate::shell_words::quoted;
use crate::signals::Signals;
use crate::store::{Claim, Configure, NextStep, OpenFailure, Target};
use crate::take_over::TakeOver;
use crate::view::format;
use crate::view::output::Output;

/// Interval between lines about a store that does not answer.
const SAID_EVERY: Duration = Duration::from_secs(5);

/// The context of a command.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) output: Output,
    configure: Option<Configure>,
    /// The predicates of the program.
    pub(crate) predicates: Predicates,
    warned_of_variables: Once,
    /// Whether the command handles signals itself.
    handles_signals: Arc<AtomicBool>,
    /// How long a run waits for a store that does not answer.
    patience: OnceLock<Duration>,
}

impl Context {
    pub(crate) fn new(
        global: Global,
        configure: Option<Configure>,
        predicates: Predicates,
        output: Output,
    ) -> Self {
        Self {
            global,
            output,
            configure,
            predicates,
            warned_of_variables: Once::new(),
            handles_signals: Arc::default(),
            patience: OnceLock::new(),
        }
    }

    /// Waits this long for a store that does not answer.
    pub(crate) fn be_patient(&self, patience: Duration) {
        // It is said once.
        let _ = self.patience.set(patience);
    }

    /// Starts listening for signals, which the command handles itself from now on.
    pub(crate) fn signals(&self) -> Result<Signals, Failure> {
        let signals = Signals::listen()?;
        self.handles_signals.store(true, Ordering::SeqCst);
        Ok(signals)
    }

    /// Whether the command handles signals itself.
    pub(crate) fn handles_signals(&self) -> Arc<AtomicBool> {
        self.handles_signals.clone()
    }

    /// The linked migrations.
    pub(crate) fn migrations(&self) -> Result<MigrationRegistry, Failure> {
        MigrationRegistry::linked().map_err(|error| match error.problems() {
            [Problem::NothingLinked] => self.unlinked(),
            _ => Failure::refused(Reason::MigrationsInvalid, error.to_string())
                .next(self.command_line("migrations")),
        })
    }

    /// A runner over a store, with the predicates of the program.
    pub(crate) fn runner<S: Clone>(
        &self,
        migrations: MigrationRegistry,
        store: &S,
    ) -> MigrationRunner<MigrationRegistry, S, S> {
        let runner = MigrationRunner::new(migrations, store.clone(), store.clone());
        runner.predicates(self.predicates.clone())
    }

    /// The failure of a program without linked migrations.
    pub(crate) fn unlinked(&self) -> Failure {
        Failure::environment(
            Reason::NoMigrations,
            "no migrations are linked into this program; a crate that is never named in the source is not linked, so add this line, with the name of the crate that has the migrations:\n\n    use my_workflows as _;\n",
        )
    }

    /// The failure of a store that keeps no history of runs.
    pub(crate) fn keeps_no_runs(&self) -> Failure {
        Failure::environment(
            Reason::Unsupported,
            "the store does not record runs; use another store with --store",
        )
    }

    /// The store named on the command line.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let Some(url) = &self.global.store else {
            return Err(Failure::environment(
                Reason::Usage,
                "no store given; add `--store URL`, or set STATE_MIGRATION_STORE",
            ));
        };
        if url.is_empty() {
            return Err(Failure::environment(
                Reason::Usage,
                "the store name in `--store` or STATE_MIGRATION_STORE is empty; give a folder or a URL",
            ));
        }
        let foreign = settings::of_a_platform();
        if !foreign.is_empty() {
            self.warned_of_variables.call_once(|| {
                self.output.warn(&format!(
                    "ignored {}, which a container platform sets for a service; SlateDB has no such setting",
                    foreign.join(", ")
                ));
            });
        }
        Target::new(url, self.global.settings.as_deref(), self.configure.clone())
    }

    /// Opens the store read-only, which does not fence its writer.
    pub(crate) async fn reader(&self) -> Result<SlateDbReader, Failure> {
        let patience = self.patience.get().copied();
        let target = self.target()?.with_patience(patience);
        self.announced(Box::pin(target.reader())).await
    }

    /// Says from time to time that the store does not answer.
    async fn announced<T>(&self, mut opening: impl Future<Output = T> + Unpin) -> T {
        let began = Instant::now();
        loop {
            match timeout(SAID_EVERY, &mut opening).await {
                Ok(opened) => return opened,
                Err(_) => {
                    let waited = format::duration(began.elapsed());
                    let why = storage_trouble().unwrap_or_else(|| "no answer yet".to_owned());
                    let text = format!("opening the store for {waited}: {why}");
                    self.output.to_stderr(&format!("{text}\n"));
                }
            }
        }
    }

    /// Opens the store for writing.
    pub(crate) async fn writer(
        &self,
        take_over: TakeOver,
        claim: Claim,
    ) -> Result<SlateDbStore, Failure> {
        let patience = self.patience.get().copied();
        let target = self.target()?.with_patience(patience);
        let opened = self
            .announced(Box::pin(target.writer(take_over, claim)))
            .await;
        opened.map_err(|OpenFailure { failure, next_step }| match next_step {
            Some(NextStep::Inspect) => failure.next(self.command_line("status")),
            Some(NextStep::TakeOver) => failure.next(self.same_command_with("--take-over")),
            Some(NextStep::Resume(run)) => {
                failure.next(self.command_line(&format!("resume {run}")))
            }
            Some(NextStep::ResumeByTakingOver(run)) => {
                failure.next(self.command_line(&format!("resume {run} --take-over")))
            }
            None => failure,
        })
    }

    /// The current command line with one more option.
    fn same_command_with(&self, option: &str) -> String {
        let words = std::env::args_os().skip(1);
        let mut words: Vec<String> = words
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        // Arguments after `--` are not options.
        let end = words.iter().position(|word| word == "--");
        words.insert(end.unwrap_or(words.len()), option.to_owned());
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        format!("{} {}", typed(), words.join(" "))
    }

    /// A command line of this program for the same store, as the suggested next
    /// command.
    pub(crate) fn command_line(&self, command: &str) -> String {
        let socket = option_if("--socket", path(self.global.socket.as_deref()));
        format!("{}{}{socket} {command}", typed(), self.in_place())
    }

    /// The suggested command line of a command that reads the store itself. Returns
    /// `None` if only a service is named.
    pub(crate) fn in_store(&self, command: &str) -> Option<String> {
        self.global.store.as_ref()?;
        Some(format!("{}{} {command}", typed(), self.in_place()))
    }

    /// The options that name the store, each with a leading space.
    fn in_place(&self) -> String {
        let settings = path(self.global.settings.as_deref());
        let store = option_if("--store", self.global.store.clone());
        format!("{store}{}", option_if("--settings", settings))
    }
}

fn option_if(name: &str, value: Option<String>) -> String {
    value.map_or_else(String::new, |value| option(name, &value))
}

/// An option with its value, with a leading space.
pub(crate) fn option(name: &str, value: &str) -> String {
    // A separate value that starts with `-` would be parsed as an option.
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!(" {name}{between}{}", quoted(value))
}

/// A positional value as the last word of a command line.
pub(crate) fn last_word(value: &str) -> String {
    let before = if value.starts_with('-') { "-- " } else { "" };
    format!("{before}{}", quoted(value))
}

fn path(path: Option<&Path>) -> Option<String> {
    path.map(|path| path.display().to_string())
}

/// The name under which the program was started.
pub(crate) fn program() -> String {
    let first = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&first).file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    match name.strip_suffix(EXE_SUFFIX).unwrap_or(&name) {
        "" => "state-migration".to_owned(),
        name => name.to_owned(),
    }
}

/// The program as it was typed, so that a suggested command line can be copied.
///
/// A program that was started by its path may not be found by its name.
pub(crate) fn typed() -> String {
    let first = std::env::args_os().next().unwrap_or_default();
    let first = first.to_string_lossy();
    match first.contains(std::path::is_separator) {
        true => quoted(&first),
        false => program(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_begins_like_an_option_is_not_taken_for_one() {
        assert_eq!(option("--store", "x y"), " --store 'x y'");
        assert_eq!(option("--store", "-x y"), " --store='-x y'");
        assert_eq!(last_word("x"), "x");
        assert_eq!(last_word("-x"), "-- -x");
    }
}
