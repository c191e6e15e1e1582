//! The session of one client of a control socket: its requests in sequence.
//!
//! No run and no other client ever waits for a client.

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use state_migration_core::RunId;
use state_migration_runner::options::{RunOptions, RunRequest};
use state_migration_runner::{Progress, RunControl, RunRecord};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::framing::{self, ReadError};
use crate::protocol::{
    self, Answer, By, Hold, LONGEST_REQUEST, Line, MOST_FAILURES, Problem, ProblemKind, Request,
    Status,
};
use crate::server::client_limit::ClientSlot;
use crate::server::service::{Service, unreadable};

/// Maximum time for a request to arrive, and between two requests.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// Maximum time for the client to read a line.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Minimum interval between progress messages.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Maximum interval between progress messages, so that both sides notice a lost
/// connection.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// Time for the end of a client to be seen that has sent a request and left.
const IS_GONE_WITHIN: Duration = Duration::from_millis(20);

/// A connected client.
pub(crate) struct Session {
    service: Arc<Service>,
    watchers: Arc<Semaphore>,
    slot: ClientSlot,
    user: Option<u32>,
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

/// A requested run and its rate limit.
type RunToStart = (RunOptions, RunRequest, Option<Option<NonZeroU32>>);

/// The client has disconnected, or is to be disconnected.
struct Disconnected;

impl From<ReadError> for Disconnected {
    fn from(_: ReadError) -> Self {
        Self
    }
}

impl Session {
    pub(crate) fn new(
        service: Arc<Service>,
        watchers: Arc<Semaphore>,
        slot: ClientSlot,
        client: UnixStream,
    ) -> Self {
        let user = client.peer_cred().map(|peer| peer.uid()).ok();
        let (from, to) = client.into_split();
        Self {
            service,
            watchers,
            slot,
            user,
            from: BufReader::new(from),
            to,
        }
    }

    /// Answers requests until the client has disconnected.
    pub(crate) async fn run(mut self) {
        while self.one().await.is_ok() {}
    }

    async fn one(&mut self) -> Result<(), Disconnected> {
        let line = {
            let read = framing::read(&mut self.from, LONGEST_REQUEST, REQUEST_WITHIN);
            match select(pin!(read), pin!(self.slot.is_needed())).await {
                Either::Left((line, _)) => line,
                Either::Right(_) => Err(ReadError::TooLate),
            }
        };
        if !self.slot.busy() {
            self.report_lost_slot();
            return Err(Disconnected);
        }
        let line = match line {
            Ok(line) => line,
            Err(ReadError::TooLong) => {
                let message = format!(
                    "the request is longer than {LONGEST_REQUEST} bytes; ask for fewer streams at a time"
                );
                self.refuse(message).await?;
                return Err(Disconnected);
            }
            Err(ReadError::TooLate) => {
                let seconds = REQUEST_WITHIN.as_secs();
                self.refuse(format!(
                    "no request came within {seconds} seconds; connect again"
                ))
                .await?;
                return Err(Disconnected);
            }
            Err(gone) => return Err(gone.into()),
        };
        match protocol::request(&line) {
            Ok(request) => self.answer(request).await,
            Err(problem) => self.say(Answer::Error(problem)).await,
        }?;
        self.slot.idle();
        Ok(())
    }

    /// Reports that another client got the slot, without waiting for the client.
    fn report_lost_slot(&self) {
        let problem = Problem::new(
            ProblemKind::TooMany,
            "the service reached its limit of clients and disconnected the client that was idle longest; connect again",
        );
        if let Ok(line) = Line::bytes(Answer::Error(problem)) {
            let _ = self.to.try_write(&line);
        }
    }

    async fn refuse(&mut self, message: String) -> Result<(), Disconnected> {
        self.say(Answer::Error(Problem::new(ProblemKind::Line, message)))
            .await
    }

    async fn say(&mut self, answer: Answer) -> Result<(), Disconnected> {
        let line = Line::bytes(answer).map_err(|_| Disconnected)?;
        let written = framing::write(&mut self.to, &line, READ_WITHIN).await;
        written.map_err(|_| Disconnected)
    }

    async fn answer(&mut self, request: Request) -> Result<(), Disconnected> {
        // A client may have left before its request was read, and then believes that the
        // service did not answer.
        if matches!(
            request,
            Request::Pause(_)
                | Request::Unpause(_)
                | Request::Cancel(_)
                | Request::Throttle { .. }
                | Request::Hold(_)
                | Request::Release(_)
        ) {
            self.unless_gone(sleep(IS_GONE_WITHIN)).await?;
        }
        let told = match request {
            Request::Status => Ok(()),
            Request::Pause(by) => in_progress(self.signed(by).pause_this(true)),
            Request::Unpause(by) => in_progress(self.signed(by).pause_this(false)),
            Request::Cancel(by) => in_progress(self.signed(by).cancel_this()),
            Request::Throttle { per_second, by } => {
                self.signed(by).throttle(per_second);
                Ok(())
            }
            Request::Watch
            | Request::Run(_)
            | Request::Resume { .. }
            | Request::Retry { .. }
            | Request::Rehearse(_)
            | Request::Erase(_)
            | Request::Verify(_)
            | Request::Undo(_)
            | Request::Redo(_) => {
                return self.follow(request).await;
            }
            // These read the whole store, in vain once the client has left.
            Request::Plan(request) => {
                let service = self.service.clone();
                let planned = self.unless_gone(service.planned(&request)).await?;
                let planned = planned.map(|planned| Answer::Plan(Box::new(planned)));
                return self.say(planned.unwrap_or_else(Answer::Error)).await;
            }
            Request::Versions { by_tenant } => {
                let service = self.service.clone();
                let versions = self.unless_gone(service.versions(by_tenant)).await?;
                let versions = versions.map(Answer::Versions);
                return self.say(versions.unwrap_or_else(Answer::Error)).await;
            }
            Request::Migrations => {
                let linked = self.service.linked().map(Answer::Migrations);
                return self.say(linked.unwrap_or_else(Answer::Error)).await;
            }
            Request::Hold(hold) => {
                let held = self.hold(hold, true).await;
                return self.say(held.unwrap_or_else(Answer::Error)).await;
            }
            Request::Release(hold) => {
                let released = self.hold(hold, false).await;
                return self.say(released.unwrap_or_else(Answer::Error)).await;
            }
            Request::Runs { limit } => return self.all_runs(limit).await,
            Request::Show { .. } => {
                let shown = self.show(request).await;
                return self.say(shown.unwrap_or_else(Answer::Error)).await;
            }
        };
        let answer = match told {
            Ok(()) => Answer::Status(self.status()),
            Err(problem) => Answer::Error(problem),
        };
        self.say(answer).await
    }

    /// Holds or releases processes.
    async fn hold(&self, hold: Hold, held: bool) -> Result<Answer, Problem> {
        let runs = self.service.runs()?;
        let actor = self.actor(hold.by.actor.unwrap_or_default());
        let changed = runs.set_holds(&hold.streams, held, &actor, &hold.by.reason);
        let processes = changed
            .await
            .map_err(|error| Problem::new(ProblemKind::Service, error.to_string()))?;
        Ok(Answer::Held { processes })
    }

    /// The control handle, with the actor of a request.
    fn signed(&self, by: By) -> RunControl {
        let actor = self.actor(by.actor.unwrap_or_default());
        self.service.control().on_behalf_of(actor, by.reason)
    }

    /// The actor of a request; without a name, the user of the client.
    fn actor(&self, name: String) -> String {
        match self.user {
            Some(user) if name.is_empty() => format!("user {user} through the control socket"),
            _ => name,
        }
    }

    fn status(&self) -> Status {
        let control = self.service.control();
        Status {
            in_progress: control.is_in_progress(),
            pausing: control.is_paused(),
            per_second: control.throttled(),
            progress: control.progress(),
        }
    }

    /// Starts a run if one is requested, and reports the progress until it ends.
    async fn follow(&mut self, request: Request) -> Result<(), Disconnected> {
        let Ok(_watching) = self.watchers.clone().try_acquire_owned() else {
            let problem = Problem::new(
                ProblemKind::TooMany,
                "the service reached its limit of watching clients; end one of them and try again",
            );
            return self.say(Answer::Error(problem)).await;
        };
        // Before the check whether a run is in progress, since that run may end meanwhile.
        let watch = self.service.control().watch();
        let prepared = match self.prepare(&request).await {
            Ok(prepared) => prepared,
            Err(problem) => return self.say(Answer::Error(problem)).await,
        };
        let (ended, mut watch) = match prepared {
            None => (self.service.current(), watch),
            Some((options, request, per_second)) => {
                // A client may have disconnected before its request was read, and then
                // believes that the service did not answer. In that case this write
                // fails, and the run is not started.
                let progress = Progress::default();
                self.say(Answer::Progress { progress }).await?;
                match self.service.begin(options, request, per_second) {
                    Ok((ended, watch)) => (Some(ended), watch),
                    Err(problem) => return self.say(Answer::Error(problem)).await,
                }
            }
        };
        loop {
            let next = timeout(AT_LEAST_EVERY, watch.next());
            let progress = match self.unless_gone(next).await? {
                Ok(Some(progress)) => progress,
                Ok(None) => break,
                Err(_) => self.service.control().progress(),
            };
            self.say(Answer::Progress { progress }).await?;
            self.unless_gone(sleep(PROGRESS_EVERY)).await?;
        }
        let report = ended.and_then(|ended| ended.borrow().clone());
        let report = report.map(|report| Box::new(protocol::shown((*report).clone())));
        let progress = self.service.control().progress();
        self.say(Answer::Ended { report, progress }).await
    }

    /// Waits for `work` while the client is connected. A client that sends anything
    /// meanwhile is disconnected.
    async fn unless_gone<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Disconnected> {
        let (work, gone) = (pin!(work), pin!(self.from.fill_buf()));
        match select(work, gone).await {
            Either::Left((done, _)) => Ok(done),
            Either::Right(_) => Err(Disconnected),
        }
    }

    /// Checks whether the requested run may start; `None` for a request to watch the
    /// current run.
    async fn prepare(&self, asked: &Request) -> Result<Option<RunToStart>, Problem> {
        let service = &self.service;
        let (mut options, request, per_second) = match asked {
            Request::Run(run) => {
                let options = service.run_options(run);
                service.check_plan(run.plan.as_ref(), &options).await?;
                let request = match run.dry_run {
                    true => RunRequest::DryRun,
                    false => RunRequest::Run,
                };
                (options, request, run.per_second)
            }
            Request::Retry {
                run,
                classes,
                options: more,
            } => {
                if more.dry_run {
                    return Err(Problem::new(
                        ProblemKind::Invalid,
                        "a retry cannot be a dry run; leave out `dry_run`, or request a dry run",
                    ));
                }
                let options = service.run_options(more);
                service.check_plan(more.plan.as_ref(), &options).await?;
                let request = RunRequest::Retry(*run, classes.clone());
                (options, request, more.per_second)
            }
            Request::Rehearse(rehearsal) => {
                let run = &rehearsal.options;
                let options = service.run_options(run);
                service.check_plan(run.plan.as_ref(), &options).await?;
                let keep = rehearsal.keep;
                (options, RunRequest::Rehearse { keep }, run.per_second)
            }
            Request::Erase(history) => {
                let options = service.run_options(&history.options);
                let dry = history.options.dry_run;
                let per_second = history.options.per_second;
                (options, RunRequest::Erase { dry }, per_second)
            }
            Request::Verify(history) => {
                let options = service.run_options(&history.options);
                let request = RunRequest::Verify(history.run);
                (options, request, history.options.per_second)
            }
            Request::Undo(history) | Request::Redo(history) => {
                let Some(of) = history.run else {
                    return Err(Problem::new(
                        ProblemKind::Invalid,
                        "the request names no run; add `run`",
                    ));
                };
                let options = service.run_options(&history.options);
                let dry = history.options.dry_run;
                let request = match asked {
                    Request::Undo(_) => RunRequest::Undo { of, dry },
                    _ => RunRequest::Redo { of, dry },
                };
                (options, request, history.options.per_second)
            }
            Request::Resume {
                run,
                actor,
                reason,
                force,
                take_over,
                max_failures,
                per_second,
                ..
            } => {
                let mut options = service.run_options(&protocol::Run {
                    actor: actor.clone(),
                    reason: reason.clone(),
                    take_over: *take_over,
                    max_failures: *max_failures,
                    ..protocol::Run::default()
                });
                options.force |= *force;
                (options, RunRequest::Resume(*run), *per_second)
            }
            _ => {
                in_progress(service.control().is_in_progress())?;
                return Ok(None);
            }
        };
        options.actor = self.actor(options.actor);
        service.check_idle()?;
        let allow_newer = allows_newer(asked);
        service.check_program(&request, allow_newer).await?;
        service.check_claim(&options, &request).await?;
        Ok(Some((options, request, per_second)))
    }

    /// Sends every run of the store in its own line. With a limit, sends only the last
    /// runs and the one that has claimed the store.
    async fn all_runs(&mut self, limit: Option<usize>) -> Result<(), Disconnected> {
        let found = async {
            let runs = self.service.runs()?;
            let (records, claim) = runs.list_claimed().await.map_err(unreadable)?;
            Ok((runs, records, claim))
        };
        let (runs, records, claim) = match found.await {
            Ok(found) => found,
            Err(problem) => return self.say(Answer::Error(problem)).await,
        };
        let claimed_by = claim.map(|claim| claim.run);
        let first = limit.map_or(0, |limit| records.len().saturating_sub(limit));
        let told = records
            .into_iter()
            .enumerate()
            .filter(|(number, record)| *number >= first || Some(record.id) == claimed_by);
        for (_, record) in told {
            let answer = match runs.counts(record.id).await {
                Ok(counts) => Answer::Run {
                    record: Box::new(record),
                    counts,
                },
                Err(error) => return self.say(Answer::Error(unreadable(error))).await,
            };
            self.say(answer).await?;
        }
        self.say(Answer::End {
            claimed_by,
            interrupted: claim.filter(|claim| claim.is_dead).map(|claim| claim.run),
        })
        .await
    }

    async fn show(&self, request: Request) -> Result<Answer, Problem> {
        let Request::Show {
            run,
            classes,
            after,
            limit,
        } = request
        else {
            return Err(Problem::new(
                ProblemKind::Invalid,
                "the request names no run; add `run`",
            ));
        };
        let runs = self.service.runs()?;
        let record = self.record(run).await?;
        let counts = runs.counts(run).await.map_err(unreadable)?;
        let limit = limit.min(MOST_FAILURES);
        let failures = runs.failures(run, classes, after.as_ref(), limit).await;
        let executions = runs.executions(run).await.map_err(unreadable)?;
        Ok(Answer::Show {
            record: Box::new(record),
            counts,
            executions,
            actions: runs.actions(run).await.map_err(unreadable)?,
            totals: runs.totals(run).await.map_err(unreadable)?,
            failures: protocol::page(failures.map_err(unreadable)?),
        })
    }

    async fn record(&self, run: RunId) -> Result<RunRecord, Problem> {
        let record = self.service.runs()?.get(run).await.map_err(unreadable)?;
        record.ok_or_else(|| {
            let message = format!(
                "run {run} is not in the store of the service; check the id in the list of runs"
            );
            Problem::new(ProblemKind::UnknownRun, message).about(Some(run))
        })
    }
}

/// Whether a request allows processes that are newer than the program.
fn allows_newer(request: &Request) -> bool {
    match request {
        Request::Run(options)
        | Request::Retry { options, .. }
        | Request::Rehearse(protocol::RehearsalRequest { options, .. }) => options.allow_newer,
        Request::Verify(history)
        | Request::Undo(history)
        | Request::Redo(history)
        | Request::Erase(history) => history.options.allow_newer,
        Request::Resume { allow_newer, .. } => *allow_newer,
        _ => false,
    }
}

/// Requires a run in progress.
fn in_progress(is_in_progress: bool) -> Result<(), Problem> {
    match is_in_progress {
        true => Ok(()),
        false => Err(Problem::new(
            ProblemKind::NoRun,
            "no run is in progress in this service; start a run, or resume an earlier run",
        )),
    }
}
