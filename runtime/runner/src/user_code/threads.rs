//! Threads for user code, which may never return.
//!
//! User code that does not return within twice its timeout is abandoned together with its
//! thread. These threads are not part of the tokio runtime, so an abandoned one does not
//! block shutdown. Their number is bounded: `abandoned.rs`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use state_migration_core::{
    Error, ErrorKind, FailureClass, MigrationError, Stage, StreamId, Subject,
};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::observe::CurrentSpan;
use crate::run::in_user_code::{InUserCode, Slot};
use crate::user_code::abandoned::{Abandoned, TOO_MANY};
use crate::user_code::exit;
use crate::user_code::gaps::{self, Gaps};

/// The stack of a thread for user code. The main thread of a program has 8 MiB, and the
/// standard library gives other threads 2 MiB. Only what is used takes memory.
const STACK: usize = 16 << 20;

/// Time after which an idle thread ends.
const IDLE: Duration = match cfg!(test) {
    false => Duration::from_secs(10),
    true => Duration::from_millis(200),
};

/// Time for which a cancelled run waits for the process that user code is working on.
const AFTER_CANCEL: Duration = Duration::from_secs(2);

/// Interval at which a job in progress notices that its run was cancelled.
const LOOK: Duration = Duration::from_millis(250);

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

/// A job, which says that its thread is [free](Pool::is_free) before it gives its result.
type Job = Box<dyn FnOnce(&Pool) + Send>;

/// Tells whether a run was cancelled.
pub(crate) type IsCancelled = Arc<dyn Fn() -> bool + Send + Sync>;

/// The executor of the user code of one run.
#[derive(Clone)]
pub(crate) struct UserCode {
    threads: Arc<Threads>,
    deadline: Duration,
    /// Total execution time of user code, in microseconds.
    busy: Arc<AtomicU64>,
    /// The threads that were abandoned, also in other runs of the same runner.
    abandoned: Abandoned,
    /// Limits the number of jobs in progress; the others wait in order.
    jobs: Option<Arc<Semaphore>>,
    /// The file that names the processes in user code.
    in_user_code: Option<Arc<InUserCode>>,
    is_cancelled: Option<IsCancelled>,
}

/// The threads of an executor, which end when they are idle or when it is dropped.
struct Threads(Arc<Pool>);

struct Pool {
    queue: Mutex<Queue>,
    /// Notified when a job is queued, and when the executor is dropped.
    changed: Condvar,
    /// Whether the threads have a lower priority than other threads of the program.
    low_priority: bool,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Number of threads that wait for a job, or are about to.
    idle: usize,
    closed: bool,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a job to an idle thread, or to a new one.
    fn start(self: &Arc<Self>, job: Job) -> Result<(), Error> {
        let mut queue = self.lock();
        if queue.idle > queue.jobs.len() {
            queue.jobs.push_back(job);
            self.changed.notify_one();
            return Ok(());
        }
        drop(queue);
        let pool = self.clone();
        std::thread::Builder::new()
            .name("state-migration".to_owned())
            .stack_size(STACK)
            .spawn(move || pool.work(job))
            .map(drop)
            .map_err(|error| {
                Error::new(
                    ErrorKind::Unavailable,
                    "cannot start a thread for user code; check the resource limits of the program",
                )
                .with_source(error)
            })
    }

    /// Executes jobs until no job has come for a while.
    fn work(&self, first: Job) {
        if self.low_priority {
            lower_priority();
        }
        let mut next = Some(first);
        while let Some(job) = next {
            job(self);
            next = self.next();
        }
    }

    /// Counts the thread as idle: who gets the result of its job may have the next one.
    fn is_free(&self) {
        self.lock().idle += 1;
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        let nothing = |queue: &mut Queue| queue.jobs.is_empty() && !queue.closed;
        let waited = self.changed.wait_timeout_while(queue, IDLE, nothing);
        queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        queue.idle -= 1;
        queue.jobs.pop_front()
    }
}

/// The process that user code is working on, and since when.
#[derive(Clone)]
pub(crate) struct Watchdog {
    now: Arc<Mutex<Now>>,
    gaps: &'static Gaps,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new(None)
    }
}

struct Now {
    work: Option<Work>,
    /// Whether the job has ended.
    ended: bool,
    /// Whether the job is no longer waited for.
    abandoned: bool,
    /// The place of the job in the file of the processes in user code.
    slot: Option<Slot>,
}

#[derive(Clone)]
struct Work {
    stream: StreamId,
    began: Instant,
    /// The time lost before the work began.
    lost: Duration,
}

impl Watchdog {
    fn new(in_user_code: Option<&Arc<InUserCode>>) -> Self {
        let now = Now {
            work: None,
            ended: false,
            abandoned: false,
            slot: in_user_code.map(InUserCode::slot),
        };
        Self {
            now: Arc::new(Mutex::new(now)),
            gaps: gaps::of_program(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs work on one process. Fails if it takes longer than the timeout.
    pub(crate) fn run_on<T>(
        &self,
        stream: &StreamId,
        deadline: Duration,
        work: impl FnOnce() -> Result<T, MigrationError>,
    ) -> Result<T, MigrationError> {
        let lost = self.gaps.lost();
        let began = Instant::now();
        {
            let mut now = self.lock();
            if now.abandoned {
                return Err(never_returned(stream.clone()));
            }
            // Written before the code begins, which may end the program.
            if let Some(slot) = &mut now.slot {
                slot.name(stream);
            }
            now.work = Some(Work {
                stream: stream.clone(),
                began,
                lost,
            });
        }
        let done = exit::watched(stream, work);
        self.lock().work = None;
        let elapsed = began.elapsed();
        let took = || elapsed.saturating_sub(self.gaps.lost().saturating_sub(lost));
        if took() > deadline {
            // The program may have been stopped, which the watcher notices a moment later.
            self.gaps.wait();
        }
        let took = took();
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

    /// Whether the job is no longer waited for.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// The process, if user code has been working on it for longer than `limit`.
    fn longer_than(&self, limit: Duration) -> Option<StreamId> {
        let now = self.lock();
        let work = now.work.as_ref()?;
        let lost = self.gaps.lost().saturating_sub(work.lost);
        let took = work.began.elapsed().saturating_sub(lost);
        (took > limit).then(|| work.stream.clone())
    }

    /// Abandons the job: it begins no further process, and the one that it works on is no
    /// longer in user code. Returns `false` if the job has just ended.
    fn abandon(&self, count: impl FnOnce()) -> bool {
        let mut now = self.lock();
        if now.ended {
            return false;
        }
        now.abandoned = true;
        // A run fails the process, and does not run its code again.
        now.slot = now.slot.take().filter(Slot::is_of_dry_run);
        count();
        self.gaps.end();
        true
    }
}

/// Reason why user code gave no result.
#[derive(Debug)]
pub(crate) enum NoResult {
    /// The code does not return for this process.
    Stuck(StreamId),
    /// The run has to end, and the process is left to another execution.
    EndOfRun(EndOfRun),
    /// The thread has ended.
    Ended(Error),
}

/// Reason why a run ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndOfRun {
    #[error("{TOO_MANY}")]
    TooManyAbandoned,
    #[error("the run was cancelled; resume the run")]
    Cancelled,
}

impl EndOfRun {
    /// The failure of the run.
    pub(crate) fn failure(self) -> MigrationError {
        let (stage, class) = (Stage::Converting, FailureClass::Run);
        MigrationError::new(stage, class, Subject::Run, self.to_string())
    }

    /// The error of a worker.
    pub(crate) fn error(self) -> Error {
        Error::invalid(self.to_string()).with_source(self)
    }

    /// The reason behind the error of a worker.
    pub(crate) fn behind(error: &Error) -> Option<Self> {
        std::error::Error::source(error)?.downcast_ref().copied()
    }

    /// The reason behind a failure that is not about a process.
    pub(crate) fn behind_failure(failure: &MigrationError) -> Option<Self> {
        let all = [Self::TooManyAbandoned, Self::Cancelled].into_iter();
        let mut all = all.filter(|end| end.failure() == *failure);
        all.next()
    }
}

impl NoResult {
    /// The failure of the process that the code was run for. If the run has to end, the
    /// failure is that of the run.
    pub(crate) fn of(self, stream: &StreamId) -> MigrationError {
        match self {
            Self::Stuck(stream) => never_returned(stream),
            Self::EndOfRun(end) => end.failure(),
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

/// A job in progress on a thread.
struct InProgress {
    watchdog: Watchdog,
    abandoned: Abandoned,
    id: u64,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let abandoned = {
            let mut now = self.watchdog.lock();
            now.work = None;
            now.ended = true;
            now.slot = None;
            now.abandoned
        };
        if abandoned {
            self.abandoned.returned(self.id);
        } else {
            self.watchdog.gaps.end();
        }
    }
}

impl UserCode {
    pub(crate) fn new(deadline: Duration, low_priority: bool) -> Self {
        let pool = Pool {
            queue: Mutex::default(),
            changed: Condvar::new(),
            low_priority,
        };
        Self {
            threads: Arc::new(Threads(Arc::new(pool))),
            deadline,
            busy: Arc::default(),
            abandoned: Abandoned::default(),
            jobs: None,
            in_user_code: None,
            is_cancelled: None,
        }
    }

    /// Counts abandoned threads together with those of other executors.
    pub(crate) fn counting(mut self, abandoned: &Abandoned) -> Self {
        self.abandoned = abandoned.clone();
        self
    }

    /// The same threads, with a timeout of at most `deadline`.
    pub(crate) fn within(&self, deadline: Duration) -> Self {
        Self {
            deadline: self.deadline.min(deadline),
            ..self.clone()
        }
    }

    /// Limits the number of jobs in progress.
    pub(crate) fn at_most(mut self, jobs: usize) -> Self {
        self.jobs = Some(Arc::new(Semaphore::new(jobs)));
        self
    }

    /// Does not wait for slow code after a run was cancelled.
    pub(crate) fn until(mut self, is_cancelled: IsCancelled) -> Self {
        self.is_cancelled = Some(is_cancelled);
        self
    }

    /// Names the processes in user code in this file.
    pub(crate) fn name_processes_in(&mut self, in_user_code: Option<Arc<InUserCode>>) {
        self.in_user_code = in_user_code;
    }

    /// Total execution time of user code, on all threads.
    pub(crate) fn busy(&self) -> Duration {
        Duration::from_micros(self.busy.load(Ordering::Relaxed))
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The threads that were abandoned.
    pub(crate) fn abandoned(&self) -> &Abandoned {
        &self.abandoned
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.as_ref().is_some_and(|is| is())
    }

    /// Runs user code on its own thread. Code that does not return within twice the
    /// timeout is abandoned together with its thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Watchdog) -> T + Send + 'static,
    ) -> Result<T, NoResult> {
        let _permit = match &self.jobs {
            // Fails only for a closed semaphore, and this one is never closed.
            Some(jobs) => jobs.acquire().await.ok(),
            None => None,
        };
        if self.abandoned.is_full() {
            return Err(NoResult::EndOfRun(EndOfRun::TooManyAbandoned));
        }
        let watchdog = Watchdog::new(self.in_user_code.as_ref());
        let (answer, mut answered) = oneshot::channel();
        let id = self.abandoned.next_id();
        let (busy, here) = (self.busy.clone(), CurrentSpan::now());
        watchdog.gaps.begin();
        let in_progress = InProgress {
            watchdog: watchdog.clone(),
            abandoned: self.abandoned.clone(),
            id,
        };
        let job = move |pool: &Pool| {
            let began = Instant::now();
            let done = here.enter(|| work(&in_progress.watchdog));
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(0);
            busy.fetch_add(took, Ordering::Relaxed);
            drop(in_progress);
            // If the run was dropped, the result is not needed, and dropping it may run
            // user code, too.
            let needed = Some(done).filter(|_| !answer.is_closed());
            pool.is_free();
            if let Some(done) = needed {
                let _ = answer.send(done);
            }
        };
        let started = self.threads.0.start(Box::new(job));
        started.map_err(NoResult::Ended)?;
        let patience = self.deadline.saturating_mul(2);
        let tick = (self.deadline / 2).clamp(Duration::from_millis(1), LOOK);
        let mut cancelled: Option<Instant> = None;
        loop {
            match timeout(tick, &mut answered).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(_)) => {
                    return Err(NoResult::Ended(Error::new(
                        ErrorKind::Unavailable,
                        "a panic in user code was not caught; report it as a bug of state-migration",
                    )));
                }
                Err(_) => {}
            }
            if let Some(stream) = self.is_stuck(&watchdog, patience).await
                && watchdog.abandon(|| self.abandoned.add(id, Some(&stream)))
            {
                return Err(NoResult::Stuck(stream));
            }
            if self.is_cancelled() {
                let since = cancelled.get_or_insert_with(Instant::now);
                if since.elapsed() > AFTER_CANCEL
                    && watchdog.abandon(|| self.abandoned.add(id, None))
                {
                    return Err(NoResult::EndOfRun(EndOfRun::Cancelled));
                }
            }
        }
    }

    /// The process that user code does not return for.
    async fn is_stuck(&self, watchdog: &Watchdog, patience: Duration) -> Option<StreamId> {
        watchdog.longer_than(patience)?;
        // The program may have been stopped, which the watcher notices a moment later.
        let seen = watchdog.gaps.looks();
        while !watchdog.gaps.looked_since(seen) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        watchdog.longer_than(patience)
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
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn stream() -> StreamId {
        StreamId::new("process/t/p").unwrap()
    }

    fn idle(code: &UserCode) -> usize {
        code.threads.0.lock().idle
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

    /// Fails without `STACK`: the default of 2 MiB ends the test program.
    #[tokio::test]
    async fn user_code_has_a_stack_of_16_mib() {
        fn deep(kib: u32) -> u32 {
            let frame = std::hint::black_box([1_u8; 1024]);
            match kib {
                0 => 0,
                _ => deep(kib - 1) + u32::from(frame[17]),
            }
        }
        let code = UserCode::new(Duration::from_secs(10), false);
        let depth = code.run(|_| deep(5 << 10)).await.unwrap();
        assert_eq!(depth, 5 << 10);
    }

    /// Fails without `IDLE`: the threads stay.
    #[tokio::test]
    async fn an_idle_thread_ends_after_a_while() {
        let code = UserCode::new(Duration::from_secs(10), false);
        let first = code.run(|_| std::thread::current().id()).await.unwrap();
        assert_eq!(idle(&code), 1);
        std::thread::sleep(3 * IDLE);
        assert_eq!(idle(&code), 0);
        let second = code.run(|_| std::thread::current().id()).await.unwrap();
        assert_ne!(first, second);
    }

    /// Code that was only slow counts until it returns, and begins no further process.
    #[tokio::test]
    async fn a_thread_that_returns_after_all_is_no_longer_abandoned() {
        let code = UserCode::new(Duration::from_millis(10), false);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let stuck = code.run(move |watchdog| {
            let limit = Duration::from_millis(10);
            let first = watchdog.run_on(&stream(), limit, || {
                let _ = wait.recv();
                Ok(())
            });
            let second = || -> Result<(), MigrationError> { panic!("it was abandoned") };
            (first, watchdog.run_on(&stream(), limit, second))
        });
        assert!(matches!(stuck.await, Err(NoResult::Stuck(_))));
        assert!(code.abandoned().has(&stream()));
        go.send(()).unwrap();
        while code.abandoned().has(&stream()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!code.abandoned().is_full());
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
