//! Threads for user code, which may never return.
//!
//! User code that does not return within twice its timeout is abandoned together with its
//! thread. These threads are not part of the tokio runtime, so an abandoned one does not
//! block shutdown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use state_migration_core::{Error, ErrorKind, FailureClass, MigrationError, Stage, StreamId};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::observe::CurrentSpan;

/// The `nice` value of threads that yield. Competing for the same core, such a thread
/// gets about a tenth of the time of a normal one.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Lowers the priority of the current thread.
fn lower_priority() {
    // Linux has a priority per thread. A refusal of the system is harmless.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICE);
}

type Job = Box<dyn FnOnce() + Send>;

/// The executor of the user code of one run.
#[derive(Clone)]
pub(crate) struct UserCode {
    idle: Arc<Mutex<Vec<mpsc::Sender<Job>>>>,
    deadline: Duration,
    /// Whether the threads have a lower priority than other threads of the program.
    low_priority: bool,
    /// Total execution time of user code, in microseconds.
    busy: Arc<AtomicU64>,
}

/// The process that user code is working on, and since when.
#[derive(Clone, Default)]
pub(crate) struct Watchdog(Arc<Mutex<Option<(StreamId, Instant)>>>);

impl Watchdog {
    /// Runs work on one process. Fails if it takes longer than the timeout.
    pub(crate) fn run_on<T>(
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
            return Err(MigrationError::new(
                Stage::Converting,
                FailureClass::Deadline,
                stream,
                format!(
                    "user code took {} ms, more than the deadline of {} ms; make the code faster, or raise the deadline, and retry",
                    took.as_millis(),
                    deadline.as_millis()
                ),
            ));
        }
        done
    }

    fn set(&self, now: Option<(StreamId, Instant)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// The process, if user code has been working on it for longer than `limit`.
    fn longer_than(&self, limit: Duration) -> Option<StreamId> {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.as_ref()
            .filter(|(_, since)| since.elapsed() > limit)
            .map(|(stream, _)| stream.clone())
    }
}

/// Reason why user code gave no result.
#[derive(Debug)]
pub(crate) enum NoResult {
    /// The code does not return for this process.
    Stuck(StreamId),
    /// The thread has ended.
    Ended(Error),
}

impl NoResult {
    /// The failure of the process that the code was run for.
    pub(crate) fn of(self, stream: &StreamId) -> MigrationError {
        match self {
            Self::Stuck(stream) => never_returned(stream),
            Self::Ended(error) => MigrationError::of(Stage::Reading, stream, &error),
        }
    }
}

/// The failure of a process whose code does not return.
pub(crate) fn never_returned(stream: StreamId) -> MigrationError {
    MigrationError::new(
        Stage::Converting,
        FailureClass::NeverReturned,
        stream,
        "user code did not return; its thread was abandoned and keeps running until the program exits; correct the code and retry",
    )
}

impl UserCode {
    pub(crate) fn new(deadline: Duration, low_priority: bool) -> Self {
        Self {
            idle: Arc::default(),
            deadline,
            low_priority,
            busy: Arc::default(),
        }
    }

    /// Total execution time of user code, on all threads.
    pub(crate) fn busy(&self) -> Duration {
        Duration::from_micros(self.busy.load(Ordering::Relaxed))
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Runs user code on its own thread. Code that does not return within twice the
    /// timeout is abandoned together with its thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Watchdog) -> T + Send + 'static,
    ) -> Result<T, NoResult> {
        let watchdog = Watchdog::default();
        let (answer, mut answered) = oneshot::channel();
        let thread = {
            let (watchdog, busy) = (watchdog.clone(), self.busy.clone());
            let span = CurrentSpan::now();
            self.start(Box::new(move || {
                let began = Instant::now();
                let done = span.enter(|| work(&watchdog));
                let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(0);
                busy.fetch_add(took, Ordering::Relaxed);
                // Fails if the run was dropped, so that the result is not needed.
                let _ = answer.send(done);
            }))
            .map_err(NoResult::Ended)?
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
                    return Err(NoResult::Ended(Error::new(
                        ErrorKind::Unavailable,
                        "a panic in user code was not caught; report it as a bug of state-migration",
                    )));
                }
                Err(_) => {
                    if let Some(stream) = watchdog.longer_than(patience) {
                        return Err(NoResult::Stuck(stream));
                    }
                }
            }
        }
    }

    /// Runs user code on one process, within the timeout.
    pub(crate) async fn run_on<T: Send + 'static>(
        &self,
        stream: &StreamId,
        work: impl FnOnce(&StreamId) -> Result<T, MigrationError> + Send + 'static,
    ) -> Result<T, MigrationError> {
        let (id, deadline) = (stream.clone(), self.deadline);
        self.run(move |watchdog| watchdog.run_on(&id, deadline, || work(&id)))
            .await
            .unwrap_or_else(|none| Err(none.of(stream)))
    }

    /// Passes a job to an idle thread, or to a new one.
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
        let low_priority = self.low_priority;
        std::thread::Builder::new()
            .name("state-migration".to_owned())
            .spawn(move || {
                if low_priority {
                    lower_priority();
                }
                for job in jobs {
                    job();
                }
            })
            .map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    "cannot start a thread for user code; check the resource limits of the program",
                )
                .with_source(error)
            })?;
        thread.send(job).map_err(|_| {
            Error::new(
                ErrorKind::Unavailable,
                "a thread for user code ended at once; retry",
            )
        })?;
        Ok(thread)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn stream() -> StreamId {
        StreamId::new("process/t/p").unwrap()
    }

    fn idle(code: &UserCode) -> usize {
        code.idle.lock().unwrap().len()
    }

    /// Fails without the check of `longer_than`: the test hangs.
    #[tokio::test]
    async fn a_stuck_thread_is_abandoned_and_others_continue() {
        let code = UserCode::new(Duration::from_millis(20), true);
        let stuck = code.run(|watchdog| {
            let forever = || -> Result<(), MigrationError> {
                loop {
                    std::thread::park();
                }
            };
            watchdog.run_on(&stream(), Duration::from_millis(20), forever)
        });
        let began = Instant::now();
        let other = code.run(|_| 7);
        let (stuck, other) = tokio::join!(stuck, other);
        assert!(began.elapsed() >= Duration::from_millis(40));
        assert_eq!(other.unwrap(), 7);
        let Err(NoResult::Stuck(named)) = stuck else {
            panic!("it is stuck");
        };
        assert_eq!(named, stream());
        assert_eq!(idle(&code), 1, "the other one's thread only");
        let failure = NoResult::Stuck(stream()).of(&stream());
        assert_eq!(failure.class, FailureClass::NeverReturned);
    }

    /// The timeout applies to each process, not to the whole job.
    #[tokio::test]
    async fn a_thread_that_goes_from_process_to_process_is_not_stuck() {
        let code = UserCode::new(Duration::from_millis(40), true);
        let worked = code.run(|watchdog| {
            (0..6)
                .map(|_| {
                    let work = || {
                        std::thread::sleep(Duration::from_millis(20));
                        Ok(())
                    };
                    // Unlimited, so that a busy machine does not fail the test.
                    watchdog.run_on(&stream(), Duration::MAX, work)
                })
                .all(|done| done.is_ok())
        });
        assert!(worked.await.unwrap());
    }

    /// Fails without the list of idle threads: each job gets its own thread.
    #[tokio::test]
    async fn threads_are_used_again() {
        let code = UserCode::new(Duration::from_secs(10), true);
        let mut threads = std::collections::HashSet::new();
        for _ in 0..20 {
            threads.insert(code.run(|_| std::thread::current().id()).await.unwrap());
        }
        assert_eq!((threads.len(), idle(&code)), (1, 1));
    }

    /// The `nice` value of the current thread according to the system.
    #[cfg(target_os = "linux")]
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        // The thread name may contain any character; the fields after it contain no
        // parenthesis.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn threads_of_code_that_gives_way_have_a_lower_priority() {
        let code = |low_priority| UserCode::new(Duration::from_secs(10), low_priority);
        let span = nice();
        assert_eq!(code(false).run(|_| nice()).await.unwrap(), span);
        let lower = code(true).run(|_| nice()).await.unwrap();
        assert_eq!(lower, NICE.max(span));
        assert_eq!(nice(), span, "of no other thread");
    }

    /// Jobs catch panics of user code; this test covers a panic that escapes.
    #[tokio::test]
    async fn a_panic_in_a_job_is_an_error_and_its_thread_is_replaced() {
        let code = UserCode::new(Duration::from_secs(10), true);
        assert_eq!(code.run(|_| 1).await.unwrap(), 1);
        let ended = code.run(|_| -> u32 { panic!("past all guards") }).await;
        let Err(NoResult::Ended(error)) = ended else {
            panic!("it ended");
        };
        assert!(error.to_string().contains("report it as a bug"), "{error}");
        assert_eq!(code.run(|_| 2).await.unwrap(), 2);
    }

    #[test]
    fn what_takes_too_long_fails_though_it_came_to_an_end() {
        let limit = Duration::from_millis(5);
        let work = || {
            std::thread::sleep(2 * limit);
            Ok(1)
        };
        let late = Watchdog::default()
            .run_on(&stream(), limit, work)
            .unwrap_err();
        assert_eq!(late.class, FailureClass::Deadline);
        assert!(late.message.contains("the deadline of 5 ms"), "{late}");
        let long = Duration::from_secs(60);
        assert_eq!(
            Watchdog::default()
                .run_on(&stream(), long, || Ok(1))
                .unwrap(),
            1
        );
    }
}
