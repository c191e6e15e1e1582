//! The replay of exported histories: each is folded and migrated with the code of today, and
//! the states are compared with those that were recorded in it.

mod file;
mod process;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use state_migration_core::type_code::{KnownVersion, StateCode};
use state_migration_core::{MigrationRegistry, Workflow};

use crate::given_or_linked;
use crate::replay::file::{History, Line};
use crate::replay::process::Replayed;
use crate::update::{self, Update};

/// The replay of exported histories, with options. See [`replay`](crate::replay).
#[derive(Debug, Default)]
#[must_use]
pub struct Histories {
    path: PathBuf,
    registry: Option<MigrationRegistry>,
    states: Vec<StateCode>,
}

impl Histories {
    /// The histories in a folder, whose path is relative to the package of the test.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            path: folder.into(),
            ..Self::default()
        }
    }

    /// Replays with the migrations of this registry instead of the linked ones.
    pub fn registry(mut self, registry: MigrationRegistry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Makes the state of a version known that has no migration. A migration makes the
    /// states of its two versions known.
    pub fn version<W: Workflow>(mut self) -> Self
    where
        W::State: Serialize + DeserializeOwned,
    {
        self.states.push(StateCode::of::<W>());
        self
    }

    /// Replays all histories, and records their states if `UPDATE_HISTORIES` says so.
    ///
    /// # Panics
    /// The assertion fails; the message lists all differences.
    #[track_caller]
    // A test fails by a panic.
    #[allow(clippy::panic)]
    pub fn assert(self) {
        let result = update::update(update::HISTORIES).and_then(|update| self.check(update));
        if let Err(message) = result {
            panic!("{message}");
        }
    }

    /// Replays all histories, and returns their number.
    pub(crate) fn check(self, update: Update) -> Result<usize, String> {
        let registry = given_or_linked(self.registry.as_ref())?;
        let versions = registry.known_versions(&self.states);
        let files = self.files()?;
        let code = Code {
            registry: &registry,
            versions: &versions,
        };
        let replay = |file: &PathBuf| self.problems(&code, file, update);
        let problems: Vec<String> = files.iter().flat_map(replay).collect();
        if problems.is_empty() {
            Ok(files.len())
        } else {
            Err(problems.join("\n"))
        }
    }

    /// The files of the folder, sorted by name.
    fn files(&self) -> Result<Vec<PathBuf>, String> {
        let folder = update::in_package(&self.path);
        let unreadable = |error| format!("{} cannot be read: {error}", folder.display());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "jsonl")
            {
                files.push(path);
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(format!(
                "{} has no histories: export some as `*.jsonl`",
                folder.display()
            ));
        }
        Ok(files)
    }

    fn problems(&self, code: &Code<'_>, path: &Path, update: Update) -> Vec<String> {
        let shown = self.path.join(path.file_name().unwrap_or_default());
        let shown = shown.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return vec![format!("{shown}: cannot be read: {error}")],
        };
        let line = Cell::new(1);
        let outcome = catch_unwind(AssertUnwindSafe(|| replay(code, &text, update, &line)))
            .unwrap_or_else(|panic| Err(format!("the code panicked: {}", message(&*panic))));
        match outcome {
            Ok(Outcome::Compared(differences)) => differences
                .into_iter()
                .map(|(line, difference)| format!("{shown}:{line}: {difference}"))
                .collect(),
            Ok(Outcome::Recorded(text)) => match std::fs::write(path, text) {
                Ok(()) => Vec::new(),
                Err(error) => vec![format!("{shown}: cannot be written: {error}")],
            },
            Err(problem) => vec![format!("{shown}:{}: {problem}", line.get())],
        }
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(owned).unwrap_or("without a message")
}

/// The code of today.
pub(crate) struct Code<'a> {
    registry: &'a MigrationRegistry,
    versions: &'a [KnownVersion],
}

impl Code<'_> {
    fn version(&self, name: &str) -> Result<&KnownVersion, String> {
        let mut known = self.versions.iter();
        known
            .find(|version| version.id.to_string() == name)
            .ok_or_else(|| {
                format!(
                    "{name} is unknown to the code: link its crate (`use my_workflows as _;`), or \
                     remove the history if no process is at that version"
                )
            })
    }
}

/// The result of one history.
enum Outcome {
    /// The differences, with their lines.
    Compared(Vec<(usize, String)>),
    /// The text with the states that were recorded.
    Recorded(String),
}

/// Replays a history. `at` is the line that is replayed.
fn replay(
    code: &Code<'_>,
    text: &str,
    update: Update,
    at: &Cell<usize>,
) -> Result<Outcome, String> {
    let history = History::parse(text, at)?;
    at.set(1);
    let has_states = history
        .lines
        .iter()
        .any(|(_, line)| matches!(line, Line::State(_)));
    if !has_states && update == Update::No {
        return Err(
            "the history has no recorded states: run the test once with UPDATE_HISTORIES=1, \
             review them, and commit the file"
                .to_owned(),
        );
    }
    let mut process = Replayed::new(code, &history.workflow)?;
    let mut differences = Vec::new();
    let mut recorded = Vec::new();
    for (number, line) in &history.lines {
        at.set(*number);
        match line {
            Line::Event(event) => {
                if !has_states && event.view().is_migrated() {
                    recorded.extend(process.state_here()?);
                }
                process.apply(event)?;
                recorded.push(event.text.to_owned());
            }
            Line::State(state) => {
                let found = process.differences(state)?;
                differences.extend(found.into_iter().map(|text| (*number, text)));
            }
        }
    }
    if has_states {
        return Ok(Outcome::Compared(differences));
    }
    recorded.extend(process.states_on_route()?);
    Ok(Outcome::Recorded(history.with(&recorded)))
}
