//! A conversion can refuse a state with any error that can be shown.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};
use state_migration::{ConversionError, EventPayload, StateMigration, Workflow, state_migration};

#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderPlaced"
    }
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    total: u64,
}

macro_rules! versions {
    ($($name:ident $version:literal),*) => {$(
        struct $name;

        impl Workflow for $name {
            const NAME: &'static str = "order";
            const VERSION: &'static str = $version;
            type State = State;
            type Event = OrderEvent;

            fn apply(state: State, _: &OrderEvent) -> State {
                state
            }
        }
    )*};
}

versions!(V1 "1", V2 "2", V3 "3", V4 "4", V5 "5", V6 "6", V7 "7", V8 "8", V9 "9", V10 "10");

#[state_migration(from = V1, to = V2)]
fn text(old: State) -> Result<State, String> {
    Err(format!("no {}", old.total))
}

#[state_migration(from = V2, to = V3)]
fn literal(_: State) -> Result<State, &'static str> {
    Err("no literal")
}

enum Rejected {
    Negative,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Negative => f.write_str("negative"),
        }
    }
}

// `Rejected` is shown, but no `Error`.
#[state_migration(from = V3, to = V4)]
fn shown(_: State) -> Result<State, Rejected> {
    Err(Rejected::Negative)
}

#[derive(Debug)]
struct Failed(std::num::ParseIntError);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn parse() -> Result<u64, Failed> {
    "x".parse().map_err(Failed)
}

#[state_migration(from = V4, to = V5)]
fn with_source(_: State) -> Result<State, Failed> {
    Ok(State { total: parse()? })
}

#[state_migration(from = V5, to = V6)]
fn conversion_error(_: State) -> Result<State, ConversionError> {
    Err(ConversionError::from_error(Failed(
        "".parse::<u8>().unwrap_err(),
    )))
}

type Fallible<S> = Result<S, Box<dyn Error + Send + Sync>>;

#[state_migration(from = V6, to = V7)]
fn behind_an_alias(old: State) -> Fallible<State> {
    if old.total > 0 {
        return Ok(old);
    }
    Err(Failed("x".parse::<u8>().unwrap_err()).into())
}

// These errors are not `Send`; only their messages leave their thread.
#[state_migration(from = V7, to = V8)]
fn boxed(_: State) -> Result<State, Box<dyn Error>> {
    Ok(State { total: parse()? })
}

#[state_migration(from = V8, to = V9)]
fn boxed_and_sent(_: State) -> Result<State, Box<dyn Error + Send>> {
    Err(Box::new(Failed("x".parse::<u8>().unwrap_err())))
}

#[derive(Debug)]
struct Shared(std::rc::Rc<Failed>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

#[state_migration(from = V9, to = V10)]
fn shared(_: State) -> Result<State, Shared> {
    let failed = Failed("x".parse::<u8>().unwrap_err());
    Err(Shared(std::rc::Rc::new(failed)))
}

fn refusal(
    migration: impl StateMigration<FromWorkflow: Workflow<State = State>>,
) -> (String, Option<String>) {
    match migration.migrate(State { total: 0 }) {
        Ok(_) => panic!("the conversion refuses"),
        Err(error) => (error.to_string(), error.source().map(ToString::to_string)),
    }
}

fn main() {
    let no_source = |message: &str| (message.to_owned(), None);
    assert_eq!(refusal(TextMigration), no_source("no 0"));
    assert_eq!(refusal(LiteralMigration), no_source("no literal"));
    assert_eq!(refusal(ShownMigration), no_source("negative"));

    let with_source = |source: &str| ("failed".to_owned(), Some(source.to_owned()));
    let invalid = "invalid digit found in string";
    let empty = "cannot parse integer from empty string";
    assert_eq!(refusal(WithSourceMigration), with_source(invalid));
    assert_eq!(refusal(ConversionErrorMigration), with_source(empty));
    assert_eq!(refusal(BehindAnAliasMigration), with_source(invalid));

    assert_eq!(refusal(BoxedMigration), with_source(invalid));
    assert_eq!(refusal(BoxedAndSentMigration), with_source(invalid));
    assert_eq!(refusal(SharedMigration), with_source(invalid));

    let state = BehindAnAliasMigration.migrate(State { total: 1 }).unwrap();
    assert_eq!(state, State { total: 1 });
}
