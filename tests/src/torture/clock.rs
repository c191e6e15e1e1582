//! The clocks of a world: one that its object store goes by, and one that its
//! programs go by, which jumps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use slatedb_common::clock::{DefaultSystemClock, SystemClock, SystemClockTicker};
use tokio::time::Instant;

/// When every world begins.
const BEGINNING: i64 = 1_750_000_000_000;

/// The virtual time of a world, which continues across the lives of its programs.
/// Within a life it is tokio's paused clock; between two lives no time passes.
#[derive(Debug)]
pub struct WorldClock {
    /// Milliseconds since 1970 when this life began.
    began_at: AtomicI64,
    /// By how much the clock of the programs is ahead, in milliseconds.
    ahead: AtomicI64,
}

impl WorldClock {
    /// The clock of a world that begins.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            began_at: AtomicI64::new(BEGINNING),
            ahead: AtomicI64::new(0),
        })
    }

    /// Lets the clock of the programs jump.
    pub fn jump(&self, millis: i64) {
        self.ahead.fetch_add(millis, Ordering::SeqCst);
    }

    /// The clock within a life, which begins now.
    #[must_use]
    pub fn life(self: &Arc<Self>) -> Arc<LifeClock> {
        Arc::new(LifeClock {
            world: self.clone(),
            began: Instant::now(),
            steady: DefaultSystemClock::new(),
        })
    }
}

/// The clock of a world within the life of a program.
#[derive(Debug)]
pub struct LifeClock {
    world: Arc<WorldClock>,
    began: Instant,
    steady: DefaultSystemClock,
}

impl LifeClock {
    fn elapsed(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// What the object store says the time is.
    #[must_use]
    pub fn true_time(&self) -> DateTime<Utc> {
        let now = self.world.began_at.load(Ordering::SeqCst) + self.elapsed();
        DateTime::from_timestamp_millis(now).unwrap_or_default()
    }

    /// The life is over: the next one begins when it ended.
    pub fn end(&self) {
        self.world
            .began_at
            .fetch_add(self.elapsed(), Ordering::SeqCst);
    }
}

impl SystemClock for LifeClock {
    fn now(&self) -> DateTime<Utc> {
        let ahead = self.world.ahead.load(Ordering::SeqCst);
        self.true_time() + TimeDelta::milliseconds(ahead)
    }

    fn sleep<'a>(
        &'a self,
        duration: Duration,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.steady.sleep(duration)
    }

    /// Ticks by the steady clock, as tokio's timers do on a real machine.
    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        self.steady.ticker(duration)
    }
}
