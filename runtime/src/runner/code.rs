//! Threads for user code, which may never return.
//!
//! They are not the runtime's own: a thread that is given up must not keep the
//! program from ending.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::{Error, ErrorKind};
use crate::id::StreamId;
use crate::runner::report::{FailureClass, MigrationError, Stage};

type Job = Box<dyn FnOnce() + Send>;

/// The user code of one run.
#[derive(Clone)]
pub(super) struct Code {
    idle: Arc<Mutex<Vec<mpsc::Sender<Job>>>>,
    deadline: Duration,
}

/// Which process user code works on, and since when.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Option<(StreamId, Instant)>>>);

impl Watch {
    /// Runs the work on one process; `Err` when it took longer than it may.
    pub(super) fn over<T>(
        &self,
        stream: &StreamId,
        deadline: Duration,
        work: impl FnOnce() -> Result<T, MigrationError>,
    ) -> Result<T, MigrationError> {
        let began = Instant::now();
        self.set(Some((stream.clone(), began)));
        let done = work();
        self.set(None);
        let took = began.elapsed();
        if took > deadline {
            return Err(MigrationError {
                stream_id: stream.clone(),
                stage: Stage::Converting,
                class: FailureClass::Deadline,
                sequence: None,
                message: format!(
                    "its code took {} ms, and may take {} ms; make it faster or allow it more time, and run again",
                    took.as_millis(),
                    deadline.as_millis()
                ),
            });
        }
        done
    }

    fn set(&self, now: Option<(StreamId, Instant)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// The process that has been worked on for longer than this.
    fn longer_than(&self, limit: Duration) -> Option<StreamId> {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.as_ref()
            .filter(|(_, since)| since.elapsed() > limit)
            .map(|(stream, _)| stream.clone())
    }
}

/// Why user code gave no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// It works on this process and does not return.
    Stuck(StreamId),
    /// Its thread ended.
    Ended(Error),
}

impl NoAnswer {
    /// As the failure of the one process that the code was run for.
    pub(super) fn of(self, stream: &StreamId) -> MigrationError {
        match self {
            Self::Stuck(stream) => never_returned(stream),
            Self::Ended(error) => super::scan::unread(stream, &error),
        }
    }
}

/// The failure of a process whose code does not return.
pub(super) fn never_returned(stream_id: StreamId) -> MigrationError {
    MigrationError {
        stream_id,
        stage: Stage::Converting,
        class: FailureClass::NeverReturned,
        sequence: None,
        message: "its code does not return, so its thread was given up, and runs on until the program ends; correct the code and run again".to_owned(),
    }
}

impl Code {
    pub(super) fn new(deadline: Duration) -> Self {
        Self {
            idle: Arc::default(),
            deadline,
        }
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Runs user code on a thread of its own. Code that does not return within
    /// twice its time is given up, with its thread.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Watch) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let watch = Watch::default();
        let (answer, mut answered) = oneshot::channel();
        let thread = {
            let watch = watch.clone();
            self.start(Box::new(move || {
                // Nobody is left to hear it when the run was dropped.
                let _ = answer.send(work(&watch));
            }))
            .map_err(NoAnswer::Ended)?
        };
        let patience = self.deadline.saturating_mul(2);
        let tick = (self.deadline / 2).clamp(Duration::from_millis(1), Duration::from_secs(1));
        loop {
            match timeout(tick, &mut answered).await {
                Ok(Ok(done)) => {
                    self.idle
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(thread);
                    return Ok(done);
                }
                Ok(Err(_)) => {
                    return Err(NoAnswer::Ended(Error::new(
                        ErrorKind::Unavailable,
                        "a panic left user code by a way that is not guarded; report it as a bug of state-migration",
                    )));
                }
                Err(_) => {
                    if let Some(stream) = watch.longer_than(patience) {
                        return Err(NoAnswer::Stuck(stream));
                    }
                }
            }
        }
    }

    /// Gives a job to a thread that has none.
    fn start(&self, mut job: Job) -> Result<mpsc::Sender<Job>, Error> {
        loop {
            let idle = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            let Some(thread) = idle else { break };
            match thread.send(job) {
                Ok(()) => return Ok(thread),
                // That thread has ended.
                Err(mpsc::SendError(back)) => job = back,
            }
        }
        let (thread, jobs) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("state-migration".to_owned())
            .spawn(move || {
                for job in jobs {
                    job();
                }
            })
            .map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    "a thread for user code could not be started; check the limits of the process",
                )
                .with_source(error)
            })?;
        thread.send(job).map_err(|_| {
            Error::new(
                ErrorKind::Unavailable,
                "a thread for user code ended at once; run again",
            )
        })?;
        Ok(thread)
    }
}
