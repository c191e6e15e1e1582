//! What is said over a control socket: one JSON object a line, each with the
//! version of the protocol. `docs/control-socket.md` describes it.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use state_migration_core::{FailureClass, Fingerprint, RunId, Selection, StreamId, WorkflowId};
use state_migration_runner::{Failure, MigrationReport, Plan, Progress, RunCounts, RunRecord};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// The longest line that a service takes. A selection may name many streams.
pub const LONGEST_REQUEST: usize = 1 << 20;

/// The longest line that a client takes.
pub const LONGEST_ANSWER: usize = 16 << 20;

/// How many failures one answer shows at most.
pub const MOST_FAILURES: usize = 1_000;

/// The longest text of a failure or a warning on the wire, in bytes. What a
/// conversion says may be of any length.
const LONGEST_TEXT: usize = 4 << 10;

/// How long the texts of one answer may be together.
const LONGEST_TEXTS: usize = 1 << 20;

/// A line, with the version in front.
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

/// The one part of a line that every version has.
#[derive(Debug, Deserialize)]
pub struct Versioned {
    pub version: u32,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Whether a run is under way, and how far it is.
    Status,
    /// How far the run is, again and again until it ends.
    Watch,
    Pause,
    Continue,
    Cancel,
    /// Of this run and those that follow; without a number: as fast as it can.
    Throttle {
        per_second: Option<NonZeroU32>,
    },
    Run(Run),
    Resume {
        run: RunId,
        #[serde(default)]
        force: bool,
        /// As of [`Run`].
        #[serde(default)]
        take_over: bool,
        #[serde(default)]
        per_second: Option<NonZeroU32>,
    },
    Retry {
        run: RunId,
        #[serde(default)]
        classes: Vec<FailureClass>,
        #[serde(flatten)]
        asked: Run,
    },
    Plan(For),
    /// What the store knows of its runs: the last so many, and the one that
    /// holds it.
    Runs {
        #[serde(default)]
        limit: Option<usize>,
    },
    /// One run, with some of its failures.
    Show {
        run: RunId,
        #[serde(default)]
        class: Option<FailureClass>,
        #[serde(default)]
        after: Option<StreamId>,
        limit: usize,
    },
}

/// Which processes, and how; what is not said is as the service has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct For {
    #[serde(default)]
    pub selection: Option<Selection>,
    #[serde(default)]
    pub full_count: Option<bool>,
    #[serde(default)]
    pub twice: Option<bool>,
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

/// How a run is to be started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    #[serde(flatten)]
    pub which: For,
    #[serde(default)]
    pub who: Option<String>,
    #[serde(default)]
    pub why: String,
    /// The plan that it must be by.
    #[serde(default)]
    pub plan: Option<Fingerprint>,
    #[serde(default)]
    pub dry_run: bool,
    /// Although another run was interrupted, and holds the store.
    #[serde(default)]
    pub take_over: bool,
    #[serde(default)]
    pub per_second: Option<NonZeroU32>,
}

/// What a service answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Status(Status),
    /// How far the run is; more follows.
    Progress {
        progress: Progress,
    },
    /// The run is over, and this is what it did; `None` when it was not begun
    /// through the socket.
    Ended {
        report: Option<MigrationReport>,
        progress: Progress,
    },
    Plan(Planned),
    /// One of several; [`Answer::End`] follows the last.
    Run {
        record: Box<RunRecord>,
        counts: RunCounts,
    },
    End {
        /// The run that holds the store.
        claimed_by: Option<RunId>,
        /// The same, if nobody works on it any more.
        #[serde(default)]
        interrupted: Option<RunId>,
    },
    Show {
        record: Box<RunRecord>,
        counts: RunCounts,
        failures: Vec<Failure>,
    },
    Error(Problem),
}

/// How the service stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub under_way: bool,
    /// Whether it was told to pause; it may still be finishing what is in hand.
    pub pausing: bool,
    pub per_second: Option<NonZeroU32>,
    pub progress: Progress,
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub plan: Plan,
    /// The versions of its workflows at which processes stand.
    pub versions: Vec<AtVersion>,
    /// A sentence on each kind of names in the selection that nothing has.
    #[serde(default)]
    pub absent: Vec<String>,
}

/// A version, and how many processes stand there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtVersion {
    pub version: WorkflowId,
    /// About how many.
    pub processes: u64,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub kind: ProblemKind,
    /// What happened, and what to do.
    pub message: String,
    /// The run that it is about, if it is about one.
    pub run: Option<RunId>,
}

/// What kind of problem it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The line is not what this version takes.
    Invalid,
    /// The client speaks another version.
    Version,
    /// The line is too long, or did not come to its end in time.
    Line,
    /// There are as many clients as the service takes.
    TooMany,
    /// A run is under way, and there is one at a time.
    UnderWay,
    /// A run was interrupted, and holds the store until it is resumed.
    Interrupted,
    /// No run is under way.
    NoRun,
    /// The plan is not the one that was named.
    AnotherPlan,
    /// The store has not seen the run.
    UnknownRun,
    /// The store or the program is not as it must be.
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

/// Reads a request; says what is wrong with it.
pub fn request(line: &[u8]) -> Result<Request, Problem> {
    let invalid = |error: serde_json::Error| {
        Problem::new(
            ProblemKind::Invalid,
            format!(
                "this is no request of the control protocol, version {VERSION}: {error}; see docs/control-socket.md"
            ),
        )
    };
    let Versioned { version } = serde_json::from_slice(line).map_err(invalid)?;
    if version != VERSION {
        return Err(Problem::new(
            ProblemKind::Version,
            format!(
                "the request is of version {version} of the control protocol, and this service speaks version {VERSION}; use a tool of the release that the service is built with"
            ),
        ));
    }
    let line: Line<Request> = serde_json::from_slice(line).map_err(invalid)?;
    Ok(line.said)
}

/// Cuts the texts of a report to what an answer may hold; counts stay.
pub fn shown(mut report: MigrationReport) -> MigrationReport {
    let mut room = Room::default();
    report
        .errors
        .retain_mut(|error| room.takes(&mut error.message));
    let warnings = &mut report.warnings;
    warnings.retain_mut(|warning| room.takes(&mut warning.message));
    report
}

/// The same for a page of failures: the next page begins after the last one.
pub fn page(mut failures: Vec<Failure>) -> Vec<Failure> {
    let mut room = Room::default();
    failures.retain_mut(|failure| room.takes(&mut failure.error.message));
    failures
}

/// How much room texts have taken in an answer.
#[derive(Default)]
struct Room {
    taken: usize,
}

impl Room {
    /// Cuts a text to what may be shown of it. After the first that there is no
    /// room for there is none for any.
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
    use state_migration_core::{MigrationError, Stage};

    fn read(line: &str) -> Request {
        request(line.as_bytes()).unwrap()
    }

    /// The lines of `docs/control-socket.md` are what clients write.
    #[test]
    fn requests_read_like_this() {
        assert_eq!(read(r#"{"version":1,"request":"status"}"#), Request::Status);
        assert_eq!(
            read(r#"{"version":1,"request":"throttle","per_second":50}"#),
            Request::Throttle {
                per_second: NonZeroU32::new(50)
            }
        );
        assert_eq!(
            read(r#"{"version":1,"request":"throttle","per_second":null}"#),
            Request::Throttle { per_second: None }
        );
        assert_eq!(
            read(r#"{"version":1,"request":"runs"}"#),
            Request::Runs { limit: None }
        );
        assert_eq!(
            read(r#"{"version":1,"request":"run"}"#),
            Request::Run(Run::default())
        );
        let run = RunId::random();
        assert_eq!(
            read(&format!(
                r#"{{"version":1,"request":"retry","run":"{run}","classes":["refused"],"who":"ann"}}"#
            )),
            Request::Retry {
                run,
                classes: vec![FailureClass::Refused],
                asked: Run {
                    who: Some("ann".into()),
                    ..Run::default()
                }
            }
        );
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let run = Run {
            which: For {
                selection: Some(Selection::all().workflow("loan").percent(2.5)),
                deadline_ms: Some(5),
                ..For::default()
            },
            who: Some("ann".into()),
            why: "release 7".into(),
            plan: Some(Fingerprint::new(7)),
            dry_run: true,
            take_over: false,
            per_second: NonZeroU32::new(9),
        };
        for said in [
            Request::Run(run.clone()),
            Request::Plan(run.which.clone()),
            Request::Resume {
                run: RunId::random(),
                force: true,
                take_over: true,
                per_second: None,
            },
            Request::Retry {
                run: RunId::random(),
                classes: Vec::new(),
                asked: run,
            },
            Request::Show {
                run: RunId::random(),
                class: Some(FailureClass::Panic),
                after: Some(StreamId::new("s").unwrap()),
                limit: 3,
            },
        ] {
            let line = Line::bytes(said.clone()).unwrap();
            assert_eq!(request(&line).unwrap(), said);
        }
    }

    #[test]
    fn what_is_no_request_is_told_why() {
        for (line, kind, says) in [
            ("", ProblemKind::Invalid, "EOF"),
            ("nonsense", ProblemKind::Invalid, "expected"),
            ("{}", ProblemKind::Invalid, "missing field `version`"),
            (r#"{"version":1}"#, ProblemKind::Invalid, "request"),
            (
                r#"{"version":1,"request":"explode"}"#,
                ProblemKind::Invalid,
                "unknown variant `explode`",
            ),
            (
                r#"{"version":1,"request":"throttle","per_second":0}"#,
                ProblemKind::Invalid,
                "nonzero",
            ),
            (
                r#"{"version":2,"request":"anything"}"#,
                ProblemKind::Version,
                "of version 2 of the control protocol, and this service speaks version 1",
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
            stream_id: StreamId::new("s").unwrap(),
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
            report: Some(shown),
            progress: Progress::default(),
        };
        assert!(Line::bytes(answer).unwrap().len() < LONGEST_ANSWER / 4);
    }
}
