//! The client side of the control socket.

use std::io::ErrorKind::TimedOut;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use state_migration_control_socket::framing::{ReadError, read, read_line, write};
use state_migration_control_socket::protocol::{
    Answer, ForecastRequest, Hold, LONGEST_ANSWER, Line, MOST_FAILURES, Planned, Problem,
    ProblemKind, Request, Status, VERSION, Versioned,
};
use state_migration_core::{FailureClass, RunId, StreamId};
use state_migration_runner::forecast::Versions;
use state_migration_runner::forecast::linked::Linked;
use state_migration_runner::run::actions::HeldProcess;
use state_migration_runner::run::history::Claim;
use state_migration_runner::{
    Execution, Failure as Failed, RunAction, RunCounts, RunRecord, RunTotals,
};
use tokio::io::BufReader;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::context::Context;
use crate::exit_code::{Failure, Reason};

/// What a service did that ended during a request.
const CLOSED: &str = "closed the connection before it answered";

/// Maximum time for a service to accept the connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Time without an answer after which the client checks whether the service is alive. An
/// answer of a live service may take long, such as a count of all processes. During a run the service reports every few seconds.
const QUIET: Duration = Duration::from_secs(3);
const QUIET_IN_A_RUN: Duration = Duration::from_secs(7);

/// Maximum time for a live service to report its status, which requires no access to
/// its store.
const ALIVE_WITHIN: Duration = Duration::from_secs(4);

#[cfg(unix)]
mod socket {
    use std::io;
    use std::path::Path;

    use tokio::net::UnixStream;
    pub(crate) use tokio::net::unix::{OwnedReadHalf as From, OwnedWriteHalf as To};

    pub(crate) async fn connect(path: &Path) -> io::Result<(From, To)> {
        let service = UnixStream::connect(path).await?;
        let user = |stream: &UnixStream| Ok::<_, io::Error>(stream.peer_cred()?.uid());
        let (own, its) = (user(&UnixStream::pair()?.0)?, user(&service)?);
        match is_trusted(own, its) {
            true => Ok(service.into_split()),
            false => Err(io::Error::other(format!(
                "user {its} listens there, and this command runs as user {own}"
            ))),
        }
    }

    /// Whether a service of user `its` may be the one that user `own` means. In a folder
    /// that others may write to, somebody else may have put a socket at the path.
    fn is_trusted(own: u32, its: u32) -> bool {
        const ROOT: u32 = 0;
        own == ROOT || its == ROOT || own == its
    }

    #[cfg(test)]
    mod tests {
        use super::is_trusted;

        #[test]
        fn the_service_of_another_user_is_not_trusted() {
            assert!(is_trusted(1_000, 1_000));
            assert!(is_trusted(0, 1_000) && is_trusted(1_000, 0));
            assert!(!is_trusted(1_000, 1_001));
        }
    }
}

#[cfg(not(unix))]
mod socket {
    use std::io;
    use std::path::Path;

    pub(crate) use tokio::io::{Empty as From, Sink as To};

    pub(crate) async fn connect(_: &Path) -> io::Result<(From, To)> {
        Err(io::Error::other("this system has no Unix sockets"))
    }
}

/// A service and the path of its control socket.
#[derive(Debug, Clone)]
pub(crate) struct ServiceClient {
    path: PathBuf,
    /// The start of a command line for this service.
    again: String,
}

/// A connection with a request sent.
struct Connected {
    from: BufReader<socket::From>,
    /// Kept open: the service treats a closed connection as a disconnected client.
    _to: socket::To,
}

/// The stream of answers to a request.
pub(crate) struct Answers(mpsc::Receiver<Result<Answer, Failure>>);

impl Answers {
    /// The next answer. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Answer, Failure> {
        let next = self.0.recv().await;
        next.unwrap_or_else(|| {
            Err(Failure::environment(
                Reason::ServiceUnreachable,
                "the service closed the connection; check the service and try again",
            ))
        })
    }
}

impl ServiceClient {
    pub(crate) fn new(path: &Path, context: &Context) -> Self {
        Self {
            path: path.to_owned(),
            again: context.command_line(""),
        }
    }

    async fn connect(&self, request: &Request) -> Result<Connected, Failure> {
        let connected = timeout(CONNECT_WITHIN, socket::connect(&self.path)).await;
        let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let (from, mut to) = connected.map_err(|error| unreachable(&self.path, &error))?;
        let line = Line::bytes(request).map_err(|error| {
            Failure::environment(
                Reason::Bug,
                format!("cannot serialize the request: {error}; report it as a bug"),
            )
        })?;
        // A service without a free slot answers and closes without reading.
        let _ = write(&mut to, &line, CONNECT_WITHIN).await;
        Ok(Connected {
            from: BufReader::new(from),
            _to: to,
        })
    }

    /// The next answer. Waits for a service that is slow but alive.
    async fn receive(&self, connected: &mut Connected, quiet: Duration) -> Result<Answer, Failure> {
        let path = self.path.display();
        let mut line = pin!(read_line(&mut connected.from, LONGEST_ANSWER));
        let line = loop {
            match timeout(quiet, &mut line).await {
                Ok(line) => break line,
                Err(_) if self.is_alive().await => {}
                Err(_) => return Err(unreachable(&self.path, &TimedOut.into())),
            }
        };
        let line = line.map_err(|no| match no {
            ReadError::TooLate => unreachable(&self.path, &TimedOut.into()),
            ReadError::TooLong => Failure::environment(Reason::ServiceIncompatible, format!(
                "the answer from {path} is larger than {LONGEST_ANSWER} bytes; use the tool of the release that the service is built with"
            )),
            ReadError::Closed | ReadError::Broken => Failure::environment(Reason::ServiceUnreachable, format!(
                "the service behind {path} {CLOSED}; if its run was interrupted, resume the run after the service has restarted"
            ))
            .next(format!("{}status", self.again)),
        })?;
        let unknown = |error: serde_json::Error| {
            Failure::environment(
                Reason::ServiceIncompatible,
                format!(
                    "the service behind {path} does not speak version {VERSION} of the control protocol: {error}; use the tool of the release that the service is built with"
                ),
            )
        };
        let Versioned { version } = serde_json::from_slice(&line).map_err(unknown)?;
        if version != VERSION {
            return Err(Failure::environment(
                Reason::ServiceIncompatible,
                format!(
                    "the service speaks version {version} of the control protocol, but this tool speaks version {VERSION}; use the tool of the release that the service is built with"
                ),
            ));
        }
        let line: Line<Answer> = serde_json::from_slice(&line).map_err(unknown)?;
        match line.said {
            Answer::Error(problem) => Err(self.failure(problem)),
            answer => Ok(answer),
        }
    }

    /// Whether the service responds at all.
    async fn is_alive(&self) -> bool {
        let answers = async {
            let Ok(mut connected) = self.connect(&Request::Status).await else {
                return false;
            };
            // Any answer counts, even that there is no free slot.
            let said = read(&mut connected.from, LONGEST_ANSWER, ALIVE_WITHIN).await;
            !matches!(said, Err(ReadError::TooLate))
        };
        timeout(ALIVE_WITHIN, answers).await.unwrap_or(false)
    }

    /// Converts a problem to a failure with the suggested next command.
    fn failure(&self, problem: Problem) -> Failure {
        let Problem { kind, message, run } = problem;
        let next = |command: &str| format!("{}{command}", self.again);
        match kind {
            ProblemKind::InProgress => Failure::refused(Reason::RunInProgress, message)
                .run(run)
                .next(next("watch")),
            ProblemKind::Paused => Failure::refused(Reason::RunInProgress, message)
                .run(run)
                .next(next("unpause")),
            ProblemKind::Interrupted => {
                let named = run.map_or_else(|| "last".to_owned(), |run| run.to_string());
                Failure::refused(
                    Reason::InterruptedRun,
                    format!("{message} with --take-over"),
                )
                .run(run)
                .next(next(&format!("resume {named}")))
            }
            ProblemKind::AnotherPlan => {
                Failure::refused(Reason::AnotherPlan, message).next(next("plan"))
            }
            ProblemKind::AnotherStore => {
                Failure::refused(Reason::AnotherStore, message).next(next("plan"))
            }
            ProblemKind::OlderProgram => Failure::refused(Reason::OtherProgram, message)
                .run(run)
                .next(next("status")),
            ProblemKind::NoRun => Failure::environment(Reason::NothingToDo, message)
                .run(run)
                .next(next("runs")),
            ProblemKind::UnknownRun => Failure::environment(Reason::NoSuchRun, message)
                .run(run)
                .next(next("runs")),
            ProblemKind::Invalid
            | ProblemKind::Version
            | ProblemKind::Line
            | ProblemKind::TooMany
            | ProblemKind::Service => {
                let reason = match kind {
                    ProblemKind::Version => Reason::ServiceIncompatible,
                    _ => Reason::ServiceRefused,
                };
                let about = run.map_or_else(String::new, |run| format!(" (run {run})"));
                Failure::environment(reason, format!("{message}{about}")).run(run)
            }
        }
    }

    /// Sends a request with a single answer.
    async fn ask(&self, request: Request) -> Result<Answer, Failure> {
        let mut connected = self.connect(&request).await?;
        self.receive(&mut connected, QUIET).await
    }

    /// Sends a request with several answers.
    pub(crate) async fn follow(&self, request: Request) -> Result<Answers, Failure> {
        let mut connected = self.connect(&request).await?;
        let (sender, answers) = mpsc::channel(1);
        let client = self.clone();
        tokio::spawn(async move {
            let mut quiet = QUIET;
            loop {
                let answer = client.receive(&mut connected, quiet).await;
                quiet = QUIET_IN_A_RUN;
                let more = matches!(answer, Ok(Answer::Progress { .. } | Answer::Run { .. }));
                if sender.send(answer).await.is_err() || !more {
                    return;
                }
            }
        });
        Ok(Answers(answers))
    }

    /// Sends a request and returns the new status of the service.
    pub(crate) async fn send(&self, request: Request) -> Result<Status, Failure> {
        match self.ask(request).await? {
            Answer::Status(status) => Ok(status),
            answer => Err(self.unexpected(&answer)),
        }
    }

    /// The migrations and versions of the service.
    pub(crate) async fn migrations(&self) -> Result<Linked, Failure> {
        match self.ask(Request::Migrations).await? {
            Answer::Migrations(linked) => Ok(linked),
            answer => Err(self.unexpected(&answer)),
        }
    }

    /// The processes at each version, and of each tenant if that is asked for.
    pub(crate) async fn versions(&self, by_tenant: bool) -> Result<Versions, Failure> {
        match self.ask(Request::Versions { by_tenant }).await? {
            Answer::Versions(versions) => Ok(versions),
            answer => Err(self.unexpected(&answer)),
        }
    }

    pub(crate) async fn plan(&self, request: ForecastRequest) -> Result<Planned, Failure> {
        let answer = match request.sample {
            0 => self.ask(Request::Plan(request)).await,
            _ => {
                let answer = self.ask(Request::Plan(request)).await;
                answer.map_err(|failure| self.tried(failure, "in the sample", "plan --sample 0"))
            }
        };
        match answer? {
            Answer::Plan(planned) => Ok(*planned),
            answer => Err(self.unexpected(&answer)),
        }
    }

    /// The failure of a service that may have been ended by the code of a process that was
    /// only tried.
    pub(crate) fn tried(&self, failure: Failure, which: &str, next: &str) -> Failure {
        if !failure.message().contains(CLOSED) {
            return failure;
        }
        Failure::environment(
            Reason::ServiceUnreachable,
            format!(
                "the service behind {} {CLOSED}; the code of a process {which} may have ended it; start the service and try again, which leaves that process out",
                self.path.display()
            ),
        )
        .next(format!("{}{next}", self.again))
    }

    /// Holds or releases processes.
    pub(crate) async fn hold(&self, hold: Hold, held: bool) -> Result<Vec<HeldProcess>, Failure> {
        let request = match held {
            true => Request::Hold(hold),
            false => Request::Release(hold),
        };
        match self.ask(request).await? {
            Answer::Held { processes } => Ok(processes),
            answer => Err(self.unexpected(&answer)),
        }
    }

    /// The history of runs of the service's store, or its last `limit` runs.
    pub(crate) async fn runs(&self, limit: Option<usize>) -> Result<ServiceRuns, Failure> {
        let mut answers = self.follow(Request::Runs { limit }).await?;
        let mut runs = Vec::new();
        loop {
            match answers.next().await? {
                Answer::Run { record, counts } => runs.push((*record, counts)),
                Answer::End {
                    claimed_by,
                    interrupted,
                } => {
                    let claim = claimed_by.map(|run| Claim {
                        run,
                        is_dead: interrupted == Some(run),
                    });
                    return Ok(ServiceRuns { runs, claim });
                }
                answer => return Err(self.unexpected(&answer)),
            }
        }
    }

    /// At most `limit` failures of a run, of these classes or of all. The service may return
    /// them in smaller pages.
    pub(crate) async fn failures(
        &self,
        run: RunId,
        classes: &[FailureClass],
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<Failed>, Failure> {
        let mut all: Vec<Failed> = Vec::new();
        while all.len() < limit {
            let last = all.last().and_then(Failed::stream);
            let request = Request::Show {
                run,
                classes: classes.to_vec(),
                after: last.or(after).cloned(),
                limit: (limit - all.len()).min(MOST_FAILURES),
            };
            match self.ask(request).await? {
                Answer::Show { failures, .. } if failures.is_empty() => break,
                Answer::Show { failures, .. } => all.extend(failures),
                answer => return Err(self.unexpected(&answer)),
            }
        }
        Ok(all)
    }

    /// The executions of a run and the requests to it, oldest first.
    pub(crate) async fn executed(
        &self,
        run: RunId,
    ) -> Result<(Vec<Execution>, Vec<RunAction>, RunTotals), Failure> {
        let request = Request::Show {
            run,
            classes: Vec::new(),
            after: None,
            limit: 0,
        };
        match self.ask(request).await? {
            Answer::Show {
                executions,
                actions,
                totals,
                ..
            } => Ok((executions, actions, totals)),
            answer => Err(self.unexpected(&answer)),
        }
    }

    fn unexpected(&self, answer: &Answer) -> Failure {
        let answer = serde_json::to_string(answer).unwrap_or_default();
        let answer: String = answer.chars().take(64).collect();
        Failure::environment(
            Reason::ServiceIncompatible,
            format!(
                "unexpected answer from the service behind {} ({answer}…); use the tool of the release that the service is built with",
                self.path.display()
            ),
        )
    }
}

/// The history of runs as reported by a service.
pub(crate) struct ServiceRuns {
    pub(crate) runs: Vec<(RunRecord, RunCounts)>,
    pub(crate) claim: Option<Claim>,
}

impl ServiceRuns {
    pub(crate) fn of(&self, run: RunId) -> Option<&(RunRecord, RunCounts)> {
        self.runs.iter().find(|(record, _)| record.id == run)
    }
}

/// The failure to communicate with a service.
fn unreachable(path: &Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let shown = path.display();
    Failure::environment(
        Reason::ServiceUnreachable,
        match error.kind() {
            ErrorKind::NotFound => {
                format!("no control socket at {shown}; start the service, or correct --socket")
            }
            ErrorKind::ConnectionRefused if is_socket(path) => format!(
                "no service listens on the control socket {shown}; start the service, which replaces the socket"
            ),
            ErrorKind::ConnectionRefused => {
                format!("{shown} is not a control socket; correct --socket")
            }
            ErrorKind::PermissionDenied => format!(
                "permission denied on the control socket {shown}; run the command as the user of the service"
            ),
            // For a path, this kind only means that it is too long.
            ErrorKind::InvalidInput => format!(
                "the path of the control socket {shown} is too long; give --socket a shorter path, such as a relative path"
            ),
            // `WouldBlock` means that the queue of pending connections is full.
            ErrorKind::TimedOut | ErrorKind::WouldBlock => format!(
                "the service behind the control socket {shown} does not answer; check whether its program is stopped (`kill -CONT` continues it) or overloaded, and try again"
            ),
            _ => format!("cannot use the control socket {shown}: {error}; check --socket"),
        },
    )
}

#[cfg(unix)]
fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|there| there.file_type().is_socket())
}

#[cfg(not(unix))]
fn is_socket(_: &Path) -> bool {
    false
}
