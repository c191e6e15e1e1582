//! Selection of a run by `last`, its number, its id, or an unambiguous prefix of its
//! id.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use state_migration_runner::{RunKind, RunRecord};

use crate::context::Context;
use crate::exit_code::{Failure, Reason};
use crate::history::History;

/// Length of the first group of an id, which may consist of digits only.
const FIRST_GROUP: usize = 8;

/// A run, as named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WhichRun {
    Last,
    Named(String),
}

impl FromStr for WhichRun {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.to_ascii_lowercase() {
            last if last == "last" => Self::Last,
            named => Self::Named(named),
        })
    }
}

impl fmt::Display for WhichRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Last => "last",
            Self::Named(named) => named,
        })
    }
}

impl WhichRun {
    /// Finds the selected run.
    pub(crate) async fn find(
        &self,
        runs: &History,
        context: &Context,
    ) -> Result<RunRecord, Failure> {
        let known = runs.list().await?;
        let next = if known.is_empty() { "plan" } else { "runs" };
        self.among(known)
            .map_err(|failure| failure.next(context.command_line(next)))
    }

    fn among(&self, mut known: Vec<RunRecord>) -> Result<RunRecord, Failure> {
        if known.is_empty() {
            return Err(Failure::environment(
                Reason::NoSuchRun,
                "the store has no runs yet; plan a run first",
            ));
        }
        let named = match self {
            Self::Last => {
                let started = known.into_iter().filter(|run| run.kind != RunKind::Lazy);
                let last = started.max_by_key(|run| run.number);
                return last.ok_or_else(|| Failure::environment(Reason::NoSuchRun, "the store has no run that was started by a command; give the number or the id of a run"));
            }
            Self::Named(named) => named,
        };
        let number = named.strip_prefix('#').unwrap_or(named).parse::<u64>().ok();
        if let Some(number) = number
            && let Some(at) = known.iter().position(|run| run.number == number)
        {
            return Ok(known.swap_remove(at));
        }
        // A number must not select another run whose id starts with the same digits.
        let is_id = number.is_none() || named.len() >= FIRST_GROUP;
        known.retain(|run| {
            is_id && !named.is_empty() && run.id.to_string().starts_with(named.as_str())
        });
        match known.len() {
            1 => Ok(known.swap_remove(0)),
            0 => Err(Failure::environment(
                Reason::NoSuchRun,
                format!(
                    "no run {named:?} in the store; give a number, an id, the start of an id, or `last`"
                ),
            )),
            several => Err(Failure::environment(
                Reason::AmbiguousRun,
                format!(
                    "the ids of {several} runs start with {named:?}; give more of the id, or the number of the run"
                ),
            )),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;
    use state_migration_core::{Selection, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn run(number: u64, id: u128) -> RunRecord {
        let record = json!({
            "id": Uuid::from_u128(id),
            "number": number,
            "kind": "migrate",
            "actor": "",
            "reason": "",
            "plan": {
                "fingerprint": "0000000000000000",
                "selection": Selection::all(),
                "routes": [],
                "options": { "count_all": false, "check_determinism": false, "deadline_ms": 1 },
                "steps": [],
                "stays": [],
            },
            "state": "done",
            "executions": 1,
            "took_over": null,
            "started": Timestamp::from_micros(0),
            "ended": null,
        });
        serde_json::from_value(record).unwrap()
    }

    fn found(which: &str) -> Result<u64, String> {
        let runs = vec![
            run(1, 0xabcd_0000_0000_0000_0000_0000_0000_0001),
            run(2, 0xab12_0000_0000_0000_0000_0000_0000_0002),
            run(3, 0x1234_0000_0000_0000_0000_0000_0000_0003),
        ];
        let which: WhichRun = which.parse().unwrap();
        let found = which.among(runs);
        found
            .map(|run| run.number)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_run_is_named_by_number_by_id_by_the_start_of_its_id_or_as_the_last() {
        assert_eq!(found("last"), Ok(3));
        assert_eq!(found("LAST"), Ok(3));
        let mut opened = run(4, 4);
        opened.kind = RunKind::Lazy;
        let last = WhichRun::Last.among(vec![run(1, 1), opened.clone()]);
        assert_eq!(last.ok().map(|run| run.number), Some(1));
        let error = WhichRun::Last.among(vec![opened]).unwrap_err().to_string();
        assert!(
            error.starts_with("the store has no run that was started"),
            "{error}"
        );
        assert_eq!(found("1"), Ok(1));
        assert_eq!(found("#2"), Ok(2));
        assert_eq!(found("abcd"), Ok(1));
        assert_eq!(found("AB12"), Ok(2));
        assert_eq!(found("12340000"), Ok(3));
        assert_eq!(found("12340000-0000-0000-0000-000000000003"), Ok(3));
    }

    #[test]
    fn a_name_of_no_run_or_of_several_is_refused_with_the_way_out() {
        assert_eq!(
            found("ab").unwrap_err(),
            "the ids of 2 runs start with \"ab\"; give more of the id, or the number of the run"
        );
        // A number only selects a run by number, even if an id starts with it.
        for none in ["17", "12", "#12", "1234", "xyz", ""] {
            let error = found(none).unwrap_err();
            assert!(error.starts_with("no run "), "{error}");
        }
        let error = WhichRun::Last.among(Vec::new()).unwrap_err().to_string();
        assert_eq!(error, "the store has no runs yet; plan a run first");
    }
}
