//! Exit codes, and failures of commands.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;
use state_migration_core::{Error, ErrorKind, FailureClass, MigrationError, RunId, StreamId};
use state_migration_runner::RunState;
use state_migration_store::is_no_store;

use crate::shell_words;

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    /// A usage error, or a problem with the store, the settings or the program.
    Environment = 1,
    DoneWithErrors = 2,
    Interrupted = 3,
    /// Refused: needs explicit confirmation.
    Refused = 4,
}

impl Exit {
    /// The exit code for a run that was cancelled, paused or stopped by an error.
    pub(crate) fn of_open_run(state: RunState, stopped_by: Option<&MigrationError>) -> Self {
        match (state, stopped_by.map(|error| error.class)) {
            (RunState::Cancelled | RunState::Paused, _) => Self::Interrupted,
            // The store did not answer: what was committed is kept, as after a cancellation.
            (_, Some(FailureClass::Unavailable)) => Self::Interrupted,
            _ => Self::Environment,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

macro_rules! reasons {
    ($($(#[doc = $about:literal])+ $reason:ident,)+) => {
        /// The reason of a failure: what a program can switch on. The list is part of the
        /// schema of the JSON output.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Reason {
            $($(#[doc = $about])+ $reason,)+
        }

        #[cfg(test)]
        impl Reason {
            /// All reasons, with their descriptions.
            pub(crate) const ALL: &[(Self, &str)] = &[
                $((Self::$reason, concat!($($about),+)),)+
            ];
        }
    };
}

reasons! {
    /// The command line is invalid or incomplete.
    Usage,
    /// SlateDB settings of a file or of a variable are invalid.
    Settings,
    /// The program is built without support for this store or this option.
    Unsupported,
    /// No migrations are linked into the program.
    NoMigrations,
    /// The migrations of the program do not fit together, or allow no such plan.
    MigrationsInvalid,
    /// A selected workflow is unknown.
    UnknownWorkflow,
    /// A predicate that selects processes is unknown.
    UnknownPredicate,
    /// The store does not exist.
    NoStore,
    /// The location contains something other than a store, or cannot be used for one.
    StoreUnusable,
    /// A program has the store open.
    StoreInUse,
    /// Another program took over the store during the command.
    StoreTakenOver,
    /// The storage did not answer, or refused access.
    StoreUnavailable,
    /// A file or a record of the store is damaged.
    StoreDamaged,
    /// The store was written by a newer release.
    NewerFormat,
    /// An interrupted run claims the store until the run is resumed.
    InterruptedRun,
    /// A run is in progress.
    RunInProgress,
    /// The run did not begin, because the runner refused it.
    RunRefused,
    /// The command changes the store and needs confirmation.
    ConfirmationNeeded,
    /// More processes are due than `--at-most` allows.
    TooManyDue,
    /// The plan is not the confirmed one.
    AnotherPlan,
    /// The confirmed plan was made for another store.
    AnotherStore,
    /// The migrations of the program are not those of the run.
    OtherCode,
    /// The store has processes that this program does not know.
    OtherProgram,
    /// An undo has closed a route, and its code is the same.
    RouteUndone,
    /// The store has no such run.
    NoSuchRun,
    /// Several runs fit.
    AmbiguousRun,
    /// The store has no such process.
    NoSuchProcess,
    /// There is nothing to resume, to retry or to control.
    NothingToDo,
    /// Another writer wrote first.
    Conflict,
    /// An operator holds the process.
    ProcessHeld,
    /// The process is at another version than expected.
    WrongVersion,
    /// Whether a write happened is unknown.
    OutcomeUnknown,
    /// Code of a workflow failed.
    WorkflowFailed,
    /// The store rejected the request.
    InvalidRequest,
    /// No service answers on the control socket.
    ServiceUnreachable,
    /// The service rejected the request.
    ServiceRefused,
    /// The service and the tool are of different releases.
    ServiceIncompatible,
    /// A signal ended the command.
    Cancelled,
    /// The answer could not be written.
    OutputFailed,
    /// The operating system refused a resource.
    System,
    /// A bug of the tool.
    Bug,
}

/// A failure of a command.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Failure(Box<Details>);

#[derive(Debug, Clone, Serialize)]
struct Details {
    #[serde(skip)]
    exit: Exit,
    reason: Reason,
    /// One sentence.
    message: String,
    /// The run that the failure is about.
    run: Option<RunId>,
    /// The stream that the failure is about.
    stream: Option<StreamId>,
    /// The suggested next commands, the likeliest first.
    next: Vec<String>,
    /// The same commands as arguments, without a shell.
    next_args: Vec<Vec<String>>,
    /// What each of them does, if there is a choice.
    next_means: Vec<String>,
}

impl Failure {
    fn new(exit: Exit, reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            exit,
            reason,
            message: message.into(),
            run: None,
            stream: None,
            next: Vec::new(),
            next_args: Vec::new(),
            next_means: Vec::new(),
        }))
    }

    pub(crate) fn environment(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Exit::Environment, reason, message)
    }

    pub(crate) fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, reason, message)
    }

    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self::new(Exit::Interrupted, Reason::Cancelled, message)
    }

    pub(crate) fn next(mut self, command: impl Into<String>) -> Self {
        let command = command.into();
        self.0.next_args = vec![shell_words::split(&command)];
        self.0.next = vec![command];
        self.0.next_means = vec![String::new()];
        self
    }

    /// Suggests several commands, each with what it does.
    pub(crate) fn either(mut self, ways: impl IntoIterator<Item = (String, String)>) -> Self {
        let (commands, means) = ways.into_iter().unzip();
        self.0.next = commands;
        self.0.next_args = self
            .0
            .next
            .iter()
            .map(|it| shell_words::split(it))
            .collect();
        self.0.next_means = means;
        self
    }

    pub(crate) fn run(mut self, run: impl Into<Option<RunId>>) -> Self {
        self.0.run = run.into();
        self
    }

    pub(crate) fn stream(mut self, stream: &StreamId) -> Self {
        self.0.stream = Some(stream.clone());
        self
    }

    /// Adds to the message.
    pub(crate) fn and(mut self, text: &str) -> Self {
        self.0.message.push_str(text);
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.0.exit
    }

    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// The suggested next commands, each with what it does if there is a choice.
    pub(crate) fn next_commands(&self) -> impl Iterator<Item = (&str, &str)> {
        let means = self.0.next_means.iter().map(String::as_str);
        self.0.next.iter().map(String::as_str).zip(means)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::Undone { run } => Self::refused(Reason::RouteUndone, text).run(*run),
            ErrorKind::Claimed { run } => Self::refused(Reason::InterruptedRun, text).run(*run),
            ErrorKind::InUse(in_use) => Self::refused(Reason::StoreInUse, text).run(in_use.run),
            ErrorKind::Fenced => Self::refused(Reason::StoreTakenOver, text),
            kind => Self::environment(reason(kind, &error), text),
        }
    }
}

fn reason(kind: &ErrorKind, error: &Error) -> Reason {
    match kind {
        ErrorKind::Conflict => Reason::Conflict,
        ErrorKind::Migrated { .. } | ErrorKind::WrongVersion { .. } => Reason::WrongVersion,
        ErrorKind::Held => Reason::ProcessHeld,
        ErrorKind::Corrupt => Reason::StoreDamaged,
        ErrorKind::NewerFormat => Reason::NewerFormat,
        ErrorKind::Invalid if is_no_store(error) => Reason::NoStore,
        ErrorKind::Invalid => Reason::InvalidRequest,
        ErrorKind::OutcomeUnknown => Reason::OutcomeUnknown,
        ErrorKind::Workflow => Reason::WorkflowFailed,
        // Kinds are added without a new major version.
        _ => Reason::StoreUnavailable,
    }
}

impl Failure {
    /// The failure to open a store.
    pub(crate) fn of_opening(error: Error) -> Self {
        let is_unusable = *error.kind() == ErrorKind::Invalid && !is_no_store(&error);
        let mut failure = Self::from(error);
        if is_unusable {
            failure.0.reason = Reason::StoreUnusable;
        }
        failure
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use state_migration_core::{FailureClass, Stage};
    use state_migration_runner::run::RunState;

    use super::*;

    fn name(reason: Reason) -> String {
        serde_json::to_value(reason)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn the_schema_lists_exactly_the_reasons_that_failures_have() {
        let schema = include_str!("../../../docs/cli.schema.json");
        let schema: Value = serde_json::from_str(schema).unwrap();
        let listed = schema["$defs"]["reason"]["enum"].as_array().unwrap();
        let listed: BTreeSet<&str> = listed.iter().map(|it| it.as_str().unwrap()).collect();
        let all: Vec<String> = Reason::ALL
            .iter()
            .map(|(reason, _)| name(*reason))
            .collect();
        let all: BTreeSet<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(listed, all);
        let error = &schema["$defs"]["error"];
        let required = error["required"].as_array().unwrap();
        for field in ["reason", "run", "stream", "next", "next_args", "next_means"] {
            assert!(required.contains(&field.into()), "{field}");
        }
    }

    /// The names of an enum, which serde lists for a name that is not among them.
    fn names<T: serde::de::DeserializeOwned>() -> BTreeSet<String> {
        let unknown = serde_json::from_value::<T>("?".into()).err().unwrap();
        let unknown = unknown.to_string();
        let (_, listed) = unknown.split_once("expected one of").unwrap();
        listed
            .split(',')
            .map(|name| name.trim().trim_matches('`').to_owned())
            .collect()
    }

    #[test]
    fn the_schema_lists_exactly_the_states_the_stages_and_the_classes_of_failures() {
        let schema = include_str!("../../../docs/cli.schema.json");
        let schema: Value = serde_json::from_str(schema).unwrap();
        let classes = FailureClass::ALL.map(FailureClass::as_str);
        for (listed, all) in [
            ("run_state", names::<RunState>()),
            ("stage", names::<Stage>()),
            ("failure_class", classes.map(str::to_owned).into()),
        ] {
            let of_schema = schema["$defs"][listed]["enum"].as_array().unwrap();
            let of_schema: BTreeSet<String> = of_schema
                .iter()
                .map(|it| it.as_str().unwrap().to_owned())
                .collect();
            assert_eq!(of_schema, all, "{listed}");
        }
    }

    #[test]
    fn every_kind_of_error_has_a_reason_and_its_run() {
        let run = RunId::from_uuid(uuid::Uuid::from_u128(7));
        let failed = |kind: ErrorKind| {
            let failure = Failure::from(Error::new(kind, "x"));
            (name(failure.0.reason), failure.0.exit as u8, failure.0.run)
        };
        for (kind, reason, exit, about) in [
            (ErrorKind::Claimed { run }, "interrupted_run", 4, Some(run)),
            (ErrorKind::Fenced, "store_taken_over", 4, None),
            (ErrorKind::Unavailable, "store_unavailable", 1, None),
            (ErrorKind::Corrupt, "store_damaged", 1, None),
            (ErrorKind::NewerFormat, "newer_format", 1, None),
            (ErrorKind::Invalid, "invalid_request", 1, None),
            (ErrorKind::OutcomeUnknown, "outcome_unknown", 1, None),
            (ErrorKind::Workflow, "workflow_failed", 1, None),
            (ErrorKind::Conflict, "conflict", 1, None),
            (ErrorKind::Held, "process_held", 1, None),
        ] {
            assert_eq!(failed(kind), (reason.to_owned(), exit, about));
        }
        let unusable = Failure::of_opening(Error::new(ErrorKind::Invalid, "x"));
        assert_eq!(unusable.0.reason, Reason::StoreUnusable);
    }

    #[test]
    fn a_failure_in_json_has_the_next_command_also_as_arguments() {
        let failure = Failure::environment(Reason::NoSuchProcess, "x")
            .next("./loans-admin --store 'my loans' inspect bank/1");
        let json = serde_json::to_value(&failure).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "reason": "no_such_process",
                "message": "x",
                "run": null,
                "stream": null,
                "next": ["./loans-admin --store 'my loans' inspect bank/1"],
                "next_args": [["./loans-admin", "--store", "my loans", "inspect", "bank/1"]],
                "next_means": [""],
            })
        );
    }
}
