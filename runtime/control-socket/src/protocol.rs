//! The protocol of a control socket: one JSON object per line, each with the version of
//! the protocol.
//!
//! `docs/control-socket.md` describes it.

use std::num::{NonZeroU32, NonZeroU64};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use state_migration_core::{DurableStoreId, FailureClass, RunId, Selection, StreamId};
use state_migration_runner::forecast::linked::Linked;
use state_migration_runner::forecast::{Forecast, Versions};
use state_migration_runner::run::Confirmation;
use state_migration_runner::run::actions::HeldProcess;
use state_migration_runner::{
    Execution, Failure, MigrationReport, Plan, Progress, RunAction, RunCounts, RunRecord,
    RunTotals, SnapshotUse,
};

/// The version of the protocol.
pub const VERSION: u32 = 2;

/// Maximum bytes of a request, including a selection with many streams.
pub const LONGEST_REQUEST: usize = 1 << 20;

/// Maximum bytes of an answer.
pub const LONGEST_ANSWER: usize = 16 << 20;

/// Maximum number of failures in an answer.
pub const MOST_FAILURES: usize = 1_000;

/// Maximum bytes of the text of a failure or a warning in an answer. The message of a
/// conversion may be of any length.
const LONGEST_TEXT: usize = 4 << 10;

/// Maximum total bytes of the texts in an answer.
const LONGEST_TEXTS: usize = 1 << 20;

/// A line: the protocol version and a message.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line<T> {
    pub version: u32,
    #[serde(flatten)]
    pub said: T,
}

impl<T: Serialize> Line<T> {
    pub fn bytes(said: T) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(&Self {
            version: VERSION,
            said,
        })?;
        line.push(b'\n');
        Ok(line)
    }
}

/// The part of a line that every protocol version has.
#[derive(Debug, Deserialize)]
pub struct Versioned {
    pub version: u32,
}

/// A request of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// The state and the progress of the run.
    Status,
    /// The progress of the run, repeatedly until it ends.
    Watch,
    Pause(By),
    Unpause(By),
    Cancel(By),
    /// Limits this run and later ones; `None` removes the limit.
    Throttle {
        #[serde(flatten)]
        by: By,
        // A missing field is an error: it must not remove the limit.
        #[serde(deserialize_with = "Option::deserialize")]
        per_second: Option<NonZeroU32>,
    },
    Run(Run),
    Resume {
        run: RunId,
        #[serde(default)]
        actor: Option<String>,
        #[serde(default)]
        reason: String,
        #[serde(default)]
        force: bool,
        /// As in [`Run`].
        #[serde(default)]
        take_over: bool,
        /// As in [`Run`].
        #[serde(default)]
        allow_newer: bool,
        /// As in [`Run`].
        #[serde(default)]
        max_failures: Option<u64>,
        /// A new limit, or null for none. If missing, the run keeps its limit.
        #[serde(
            default,
            deserialize_with = "given",
            skip_serializing_if = "Option::is_none"
        )]
        per_second: Option<Option<NonZeroU32>>,
    },
    Retry {
        run: RunId,
        #[serde(default)]
        classes: Vec<FailureClass>,
        #[serde(flatten)]
        options: Run,
    },
    /// Verifies the migrations of a run, or of all runs.
    Verify(HistoryRequest),
    /// Takes the processes of a run back to the versions that they had.
    Undo(HistoryRequest),
    /// Computes the states of the processes of a run again.
    Redo(HistoryRequest),
    /// Removes the events of processes before their baselines.
    Erase(HistoryRequest),
    /// Executes a run on a copy of the store, verifies it there, and removes the copy.
    Rehearse(RehearsalRequest),
    /// The plan of a run, and what the run would do.
    Plan(ForecastRequest),
    /// The processes at each version.
    Versions {
        /// Whether the processes of each tenant are counted, too.
        #[serde(default)]
        by_tenant: bool,
    },
    /// The migrations and versions of the service.
    Migrations,
    /// Holds processes: excludes them from runs.
    Hold(Hold),
    /// Releases held processes.
    Release(Hold),
    /// The history of runs: the last `limit` runs, and the run that has claimed the
    /// store.
    Runs {
        #[serde(default)]
        limit: Option<usize>,
    },
    /// One run, with some of its failures.
    Show {
        run: RunId,
        /// The classes of the failures; none means all.
        #[serde(default)]
        classes: Vec<FailureClass>,
        #[serde(default)]
        after: Option<StreamId>,
        limit: usize,
    },
}

/// Who makes a request to the run in progress, and the reason: recorded with the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    #[serde(default)]
    pub actor: Option<String>,
    #[serde(default)]
    pub reason: String,
}

/// Processes to hold or to release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub streams: Vec<StreamId>,
    #[serde(flatten)]
    pub by: By,
}

/// A field of which null is a value, and not the same as a missing field.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Selection and options of a run; a missing field means the setting of the service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanRequest {
    #[serde(default)]
    pub selection: Option<Selection>,
    #[serde(default)]
    pub count_all: Option<bool>,
    #[serde(default)]
    pub check_determinism: Option<bool>,
    #[serde(default)]
    pub deadline_ms: Option<NonZeroU64>,
    #[serde(default)]
    pub snapshots: Option<SnapshotUse>,
}

/// A run to forecast.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ForecastRequest {
    #[serde(flatten)]
    pub which: PlanRequest,
    /// Maximum number of processes to try in the service; 0 tries none.
    #[serde(default)]
    pub sample: usize,
    /// As in [`Run`].
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub per_second: Option<Option<NonZeroU32>>,
}

/// Parameters of a new run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    #[serde(flatten)]
    pub which: PlanRequest,
    #[serde(default)]
    pub actor: Option<String>,
    #[serde(default)]
    pub reason: String,
    /// The required plan, and its store.
    #[serde(default)]
    pub plan: Option<Confirmation>,
    #[serde(default)]
    pub dry_run: bool,
    /// Whether to take over the store from an interrupted run that has claimed it.
    #[serde(default)]
    pub take_over: bool,
    /// Whether to take routes that were undone.
    #[serde(default)]
    pub again: bool,
    /// Whether to run although processes of the store are newer than the program of the
    /// service; they fail.
    #[serde(default)]
    pub allow_newer: bool,
    /// The number of failures after which the run is cancelled.
    #[serde(default)]
    pub max_failures: Option<u64>,
    /// The limit of this run, or null for none. If missing, the limit of the service
    /// holds, or in a retry that of the earlier run.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub per_second: Option<Option<NonZeroU32>>,
}

/// Parameters of a run over the history of processes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryRequest {
    /// The run that migrated the processes. Only a verification can be of all runs.
    #[serde(default)]
    pub run: Option<RunId>,
    #[serde(flatten)]
    pub options: Run,
}

/// Parameters of a rehearsal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RehearsalRequest {
    /// Whether the copy is kept.
    #[serde(default)]
    pub keep: bool,
    #[serde(flatten)]
    pub options: Run,
}

/// An answer of the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Status(Status),
    /// The progress of the run; more answers follow.
    Progress {
        progress: Progress,
    },
    /// The run has ended. `report` is `None` if the run was not started through the
    /// socket.
    Ended {
        report: Option<Box<MigrationReport>>,
        progress: Progress,
    },
    Plan(Box<Planned>),
    Versions(Versions),
    Migrations(Linked),
    /// The processes that were held or released.
    Held {
        processes: Vec<HeldProcess>,
    },
    /// One of several runs; [`Answer::End`] follows the last.
    Run {
        record: Box<RunRecord>,
        counts: RunCounts,
    },
    End {
        /// The run that has claimed the store.
        claimed_by: Option<RunId>,
        /// The same run, if it is known to be dead.
        #[serde(default)]
        interrupted: Option<RunId>,
    },
    Show {
        record: Box<RunRecord>,
        counts: RunCounts,
        executions: Vec<Execution>,
        actions: Vec<RunAction>,
        #[serde(default, skip_serializing_if = "RunTotals::is_empty")]
        totals: RunTotals,
        failures: Vec<Failure>,
    },
    Error(Problem),
}

/// The state of the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub in_progress: bool,
    /// Whether a pause is requested; chunks may still be in progress.
    pub pausing: bool,
    pub per_second: Option<NonZeroU32>,
    pub progress: Progress,
}

/// The plan of a run, and what the run would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub plan: Plan,
    /// What confirms this plan for the store of the service.
    pub confirmation: Confirmation,
    /// The id that the store of the service keeps.
    pub store_id: Option<DurableStoreId>,
    #[serde(flatten)]
    pub forecast: Forecast,
}

/// The reason why a request was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub kind: ProblemKind,
    /// What happened, and what to do.
    pub message: String,
    /// The run concerned, if any.
    pub run: Option<RunId>,
}

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The line is not a valid request of this protocol version.
    Invalid,
    /// The client uses another protocol version.
    Version,
    /// The line is too long, or incomplete when the time limit expired.
    Line,
    /// The maximum number of clients is connected.
    TooMany,
    /// Another run is in progress; only one run is allowed at a time.
    InProgress,
    /// The same, and that run is paused.
    Paused,
    /// An interrupted run has claimed the store until it is resumed.
    Interrupted,
    /// No run is in progress.
    NoRun,
    /// The fingerprint of the plan is not the required one.
    AnotherPlan,
    /// The required plan was made for another store.
    AnotherStore,
    /// Processes of the store are newer than the program of the service.
    OlderProgram,
    /// The store does not know the run.
    UnknownRun,
    /// A problem with the store or the program of the service.
    Service,
}

impl Problem {
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            run: None,
        }
    }

    pub fn about(mut self, run: Option<RunId>) -> Self {
        self.run = run;
        self
    }
}

/// Parses a request.
pub fn request(line: &[u8]) -> Result<Request, Problem> {
    let invalid = |error: serde_json::Error| {
        Problem::new(
            ProblemKind::Invalid,
            format!(
                "invalid request for version {VERSION} of the control protocol: {error}; see docs/control-socket.md"
            ),
        )
    };
    let Versioned { version } = serde_json::from_slice(line).map_err(invalid)?;
    if version != VERSION {
        return Err(Problem::new(
            ProblemKind::Version,
            format!(
                "the request has version {version} of the control protocol, but this service speaks version {VERSION}; use the tool of the release that the service is built with"
            ),
        ));
    }
    let given: Value = serde_json::from_slice(line).map_err(invalid)?;
    let line: Line<Request> = serde_json::from_slice(line).map_err(invalid)?;
    // A misspelt `dry_run` or `selection` must not begin another run.
    let understood = serde_json::to_value(&line).map_err(invalid)?;
    match unknown_field(&given, &understood) {
        None => Ok(line.said),
        Some(field) => Err(Problem::new(
            ProblemKind::Invalid,
            format!(
                "the request has an unknown field {field:?}; correct its name, see docs/control-socket.md"
            ),
        )),
    }
}

/// Fields that are left out when they are null.
const LEFT_OUT: [&str; 2] = ["matching", "except_failed_in"];

/// The first field of a JSON value that was not understood: that is not there when what was
/// understood is written again.
fn unknown_field(given: &Value, understood: &Value) -> Option<String> {
    let (given, understood) = (given.as_object()?, understood.as_object()?);
    given
        .iter()
        .find_map(|(name, value)| match understood.get(name) {
            Some(understood) => {
                unknown_field(value, understood).map(|within| format!("{name}.{within}"))
            }
            None if value.is_null() && LEFT_OUT.contains(&name.as_str()) => None,
            None => Some(name.clone()),
        })
}

/// Truncates the texts of a report to the limits of an answer; counts are kept.
pub fn shown(mut report: MigrationReport) -> MigrationReport {
    let mut budget = TextBudget::default();
    report
        .errors
        .retain_mut(|error| budget.takes(&mut error.message));
    let warnings = &mut report.warnings;
    warnings.retain_mut(|warning| budget.takes(&mut warning.message));
    report
}

/// Truncates the texts of a forecast to the limits of an answer.
pub fn forecast(mut forecast: Forecast) -> Forecast {
    let mut budget = TextBudget::default();
    for failures in forecast.sample.iter_mut().flat_map(|it| &mut it.failures) {
        budget.takes(&mut failures.message);
    }
    forecast
}

/// Truncates a page of failures to the limits of an answer. The next page starts after
/// the last failure kept.
pub fn page(mut failures: Vec<Failure>) -> Vec<Failure> {
    let mut budget = TextBudget::default();
    failures.retain_mut(|failure| budget.takes(&mut failure.error.message));
    failures
}

/// Total bytes of the texts in an answer so far.
#[derive(Default)]
struct TextBudget {
    taken: usize,
}

impl TextBudget {
    /// Truncates a text. Returns `false` once the total limit is reached.
    fn takes(&mut self, text: &mut String) -> bool {
        if text.len() > LONGEST_TEXT {
            text.truncate(text.floor_char_boundary(LONGEST_TEXT));
            text.push('…');
        }
        self.taken += text.len();
        self.taken <= LONGEST_TEXTS
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;
    use state_migration_core::{MigrationError, Stage, Timestamp};

    fn read(line: &str) -> Request {
        request(line.as_bytes()).unwrap()
    }

    #[test]
    fn a_field_with_an_unknown_name_is_refused() {
        for (fields, unknown) in [
            (json!({"request": "status", "foo": 1}), "foo"),
            (json!({"request": "run", "dry_rum": true}), "dry_rum"),
            (json!({"request": "run", "Selection": {}}), "Selection"),
            (json!({"request": "run", "Dry_Run": null}), "Dry_Run"),
            (
                json!({"request": "plan", "selection": {"tenant": ["x"]}}),
                "selection.tenant",
            ),
            (json!({"request": "pause", "per_second": 5}), "per_second"),
            (
                json!({"request": "resume", "run": RunId::random(), "plan": "x"}),
                "plan",
            ),
        ] {
            let mut line = fields;
            line["version"] = VERSION.into();
            let problem = request(line.to_string().as_bytes()).unwrap_err();
            assert_eq!(problem.kind, ProblemKind::Invalid, "{line}");
            let named = format!("unknown field {unknown:?};");
            assert!(problem.message.contains(&named), "{}", problem.message);
        }
        let none = r#"{"version":2,"request":"plan","deadline_ms":0}"#;
        let problem = request(none.as_bytes()).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::Invalid);
        assert!(problem.message.contains("nonzero"), "{}", problem.message);
        let plan = r#"{"version":2,"request":"plan","selection":{"tenants":["x"],"matching":null},"per_second":null,"sample":3}"#;
        let tenant = state_migration_core::TenantId::new("x").unwrap();
        assert_eq!(
            read(plan),
            Request::Plan(ForecastRequest {
                which: PlanRequest {
                    selection: Some(Selection::all().tenant(tenant)),
                    ..PlanRequest::default()
                },
                sample: 3,
                per_second: Some(None),
            })
        );
    }

    /// These are the lines in `docs/control-socket.md`.
    #[test]
    fn requests_read_like_this() {
        assert_eq!(read(r#"{"version":2,"request":"status"}"#), Request::Status);
        assert_eq!(
            read(r#"{"version":2,"request":"throttle","per_second":50}"#),
            Request::Throttle {
                per_second: NonZeroU32::new(50),
                by: By::default()
            }
        );
        assert_eq!(
            read(r#"{"version":2,"request":"throttle","per_second":null}"#),
            Request::Throttle {
                per_second: None,
                by: By::default()
            }
        );
        assert_eq!(
            read(r#"{"version":2,"request":"pause"}"#),
            Request::Pause(By::default())
        );
        assert_eq!(
            read(r#"{"version":2,"request":"cancel","actor":"ann","reason":"peak hour"}"#),
            Request::Cancel(By {
                actor: Some("ann".into()),
                reason: "peak hour".into()
            })
        );
        assert_eq!(
            read(r#"{"version":2,"request":"runs"}"#),
            Request::Runs { limit: None }
        );
        assert_eq!(
            read(r#"{"version":2,"request":"run"}"#),
            Request::Run(Run::default())
        );
        let run = RunId::random();
        assert_eq!(
            read(&format!(
                r#"{{"version":2,"request":"retry","run":"{run}","classes":["refused"],"actor":"ann"}}"#
            )),
            Request::Retry {
                run,
                classes: vec![FailureClass::Refused],
                options: Run {
                    actor: Some("ann".into()),
                    ..Run::default()
                }
            }
        );
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let run = Run {
            which: PlanRequest {
                selection: Some(Selection::all().workflow("loan").percent(2.5)),
                deadline_ms: NonZeroU64::new(5),
                snapshots: None,
                ..PlanRequest::default()
            },
            actor: Some("ann".into()),
            reason: "release 7".into(),
            plan: Some(Confirmation::try_from("5be1a5f3c0ffee00-1f0c9a7e".to_owned()).unwrap()),
            dry_run: true,
            take_over: false,
            again: true,
            allow_newer: true,
            max_failures: Some(7),
            per_second: Some(NonZeroU32::new(9)),
        };
        for said in [
            Request::Run(run.clone()),
            Request::Plan(ForecastRequest {
                which: run.which.clone(),
                sample: 256,
                per_second: Some(NonZeroU32::new(50)),
            }),
            Request::Rehearse(RehearsalRequest {
                keep: true,
                options: run.clone(),
            }),
            Request::Versions { by_tenant: true },
            Request::Migrations,
            Request::Resume {
                actor: Some("ann".into()),
                reason: "again".into(),
                run: RunId::random(),
                force: true,
                take_over: true,
                allow_newer: false,
                max_failures: None,
                per_second: None,
            },
            Request::Retry {
                run: RunId::random(),
                classes: Vec::new(),
                options: Run {
                    per_second: Some(None),
                    ..run
                },
            },
            Request::Throttle {
                per_second: None,
                by: By {
                    actor: None,
                    reason: "night".into(),
                },
            },
            Request::Show {
                run: RunId::random(),
                classes: vec![FailureClass::Panic, FailureClass::Refused],
                after: Some(StreamId::new("s").unwrap()),
                limit: 3,
            },
        ] {
            let line = Line::bytes(said.clone()).unwrap();
            assert_eq!(request(&line).unwrap(), said);
        }
    }

    #[test]
    fn answers_with_a_run_or_a_plan_are_read_as_the_same() {
        let plan = json!({
            "fingerprint": "0000000000000000",
            "selection": Selection::all(),
            "routes": [],
            "options": { "count_all": true, "check_determinism": false, "deadline_ms": 5 },
        });
        let record = json!({
            "id": RunId::random(),
            "number": 1,
            "kind": "migrate",
            "actor": "ann",
            "reason": "release 7",
            "plan": plan,
            "state": "done",
            "executions": 1,
            "took_over": null,
            "started": Timestamp::from_micros(0),
            "ended": null,
        });
        let forecast = json!({
            "versions": [{
                "version": { "name": "loan", "version": "1" },
                "processes": 3, "in_flight": 2, "held": 1, "due": 2,
                "status": "outdated", "route": "loan@1 -> 2", "reason": null,
            }],
            "unreadable": { "streams": 1, "first": "s", "reason": "damaged" },
            "due": 2,
            "estimate": {
                "processes": 2, "low_ms": 1, "high_ms": null, "throttle": 50, "read_bytes": null,
            },
            "sample": {
                "processes": 2, "left_out": 0, "chosen": 2, "conversions": 1, "took_ms": 5,
                "read_bytes": 7,
                "failed": 1,
                "failures": [{
                    "class": "refused", "count": 1, "expected": 1,
                    "subject": { "kind": "stream", "id": "s" }, "message": "no",
                }],
            },
            "edited": [],
            "unknown_names": ["no process has tenant x"],
            "refused": "a state cannot be read back",
        });
        let plan: Plan = serde_json::from_value(plan).unwrap();
        let record: RunRecord = serde_json::from_value(record).unwrap();
        let said = [
            Answer::Show {
                totals: RunTotals::default(),
                record: Box::new(record.clone()),
                counts: RunCounts::default(),
                executions: Vec::new(),
                actions: Vec::new(),
                failures: Vec::new(),
            },
            Answer::Run {
                record: Box::new(record),
                counts: RunCounts::default(),
            },
            Answer::Plan(Box::new(Planned {
                confirmation: plan.confirmation(None),
                store_id: None,
                plan,
                forecast: serde_json::from_value(forecast).unwrap(),
            })),
        ];
        for answer in said {
            let line = Line::bytes(answer.clone()).unwrap();
            let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let is_plan = matches!(answer, Answer::Plan(_));
            let plan = if is_plan {
                &json["plan"]
            } else {
                &json["record"]["plan"]
            };
            let options = r#"{"count_all":true,"check_determinism":false,"deadline_ms":5}"#;
            let options: serde_json::Value = serde_json::from_str(options).unwrap();
            assert_eq!(plan["options"], options, "{json}");
            if !is_plan {
                assert_eq!(json["record"]["actor"], "ann", "{json}");
                assert_eq!(json["record"]["reason"], "release 7", "{json}");
            }
            let read: Line<Answer> = serde_json::from_slice(&line).unwrap();
            assert_eq!(read.said, answer);
        }
    }

    #[test]
    fn an_invalid_request_is_answered_with_the_reason() {
        for (line, kind, says) in [
            ("", ProblemKind::Invalid, "EOF"),
            ("nonsense", ProblemKind::Invalid, "expected"),
            ("{}", ProblemKind::Invalid, "missing field `version`"),
            (r#"{"version":2}"#, ProblemKind::Invalid, "request"),
            (
                r#"{"version":2,"request":"explode"}"#,
                ProblemKind::Invalid,
                "unknown variant `explode`",
            ),
            // A missing field must not remove the limit.
            (
                r#"{"version":2,"request":"throttle"}"#,
                ProblemKind::Invalid,
                "missing field `per_second`",
            ),
            (
                r#"{"version":2,"request":"throttle","per_second":0}"#,
                ProblemKind::Invalid,
                "nonzero",
            ),
            (
                r#"{"version":1,"request":"anything"}"#,
                ProblemKind::Version,
                "version 1 of the control protocol, but this service speaks version 2",
            ),
        ] {
            let problem = request(line.as_bytes()).unwrap_err();
            assert_eq!(problem.kind, kind, "{line}");
            assert!(problem.message.contains(says), "{}", problem.message);
        }
    }

    #[test]
    fn an_answer_stays_small_however_much_a_conversion_has_to_say() {
        let error = MigrationError {
            subject: StreamId::new("s").unwrap().into(),
            stage: Stage::Converting,
            class: FailureClass::Refused,
            sequence: None,
            message: "ä".repeat(1 << 20),
        };
        let report = MigrationReport {
            errors: vec![error; 1_000],
            error_count: 7_000,
            ..MigrationReport::default()
        };
        let shown = shown(report);
        assert_eq!(shown.error_count, 7_000);
        assert!(shown.errors.len() > 100);
        let answer = Answer::Ended {
            report: Some(Box::new(shown)),
            progress: Progress::default(),
        };
        assert!(Line::bytes(answer).unwrap().len() < LONGEST_ANSWER / 4);
    }
}
