//! The ranges of a pass, and the worker that has each of them.
//!
//! A worker has a range under a lease, which each of its commits renews. In a store with
//! several writers, an idle worker takes over a range whose lease has expired: it raises
//! the token of the range, and the commits of the previous worker are refused. Time
//! decides when to try, and the token decides who may write. SlateDB has one writer, so
//! there a range changes hands only when a run is resumed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use state_migration_core::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::chunk::context::ChunkContext;
use crate::run::run_log::{Range, is_range_lost};

/// Duration of a lease. Each take-over of a range doubles the next lease, so that of
/// two slow workers one can commit.
const LEASE: Duration = Duration::from_secs(60);

/// The ranges of a pass.
pub(crate) struct Queue {
    ranges: Mutex<Ranges>,
    /// Notified when a lease has ended.
    ended: Notify,
    /// Whether leases expire, so that ranges are taken over.
    expires: bool,
}

struct Ranges {
    free: VecDeque<Range>,
    leases: Vec<Lease>,
}

struct Lease {
    /// The range as last committed, as far as known here.
    range: Range,
    term: Duration,
    until: Instant,
}

impl Lease {
    fn new(range: Range, term: Duration) -> Self {
        let until = Instant::now() + term;
        Self { range, term, until }
    }
}

impl Queue {
    /// A queue of ranges; `expires` says whether their leases expire.
    pub(crate) fn new(ranges: Vec<Range>, expires: bool) -> Self {
        let ranges = Ranges {
            free: ranges.into(),
            leases: Vec::new(),
        };
        Self {
            ranges: Mutex::new(ranges),
            ended: Notify::new(),
            expires,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ranges> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next range for a worker: a free range, or else a range with an expired
    /// lease. Returns `None` if nothing is left.
    pub(crate) async fn next(&self, context: &ChunkContext) -> Result<Option<Range>, Error> {
        loop {
            let ended = self.ended.notified();
            let Some(until) = (match self.take() {
                Taken::Range(range) => return Ok(Some(*range)),
                Taken::Nothing(until) => until.filter(|_| self.expires),
            }) else {
                return Ok(None);
            };
            if timeout_at(until, ended).await.is_ok() {
                continue;
            }
            if context.control.is_cancelled() {
                return Ok(None);
            }
            if let Some(range) = self.take_over(context).await? {
                return Ok(Some(range));
            }
        }
    }

    fn take(&self) -> Taken {
        let mut ranges = self.lock();
        match ranges.free.pop_front() {
            Some(range) => {
                ranges.leases.push(Lease::new(range.clone(), LEASE));
                Taken::Range(Box::new(range))
            }
            None => Taken::Nothing(ranges.leases.iter().map(|lease| lease.until).min()),
        }
    }

    /// Takes over a range with an expired lease, if there is one.
    async fn take_over(&self, context: &ChunkContext) -> Result<Option<Range>, Error> {
        let Some(run_log) = context.committer.bookkeeping.run_log() else {
            return Ok(None);
        };
        let now = Instant::now();
        let expired = {
            let mut ranges = self.lock();
            let expired = ranges.leases.iter_mut().find(|lease| lease.until <= now);
            expired.map(|lease| {
                // Keeps other idle workers from trying at the same time.
                lease.until = now + lease.term;
                lease.range.clone()
            })
        };
        // A worker of a slowed run waits on purpose.
        let Some(range) = expired.filter(|_| !context.control.is_slowed()) else {
            return Ok(None);
        };
        let (taken, range) = run_log.take_over(range).await?;
        let mut ranges = self.lock();
        let number = range.number;
        let lease = ranges
            .leases
            .iter_mut()
            .find(|it| it.range.number == number);
        let Some(lease) = lease else { return Ok(None) };
        let term = if taken { lease.term * 2 } else { lease.term };
        *lease = Lease::new(range.clone(), term);
        Ok(taken.then_some(range))
    }

    /// Renews the lease of a range after a commit.
    pub(crate) fn renew(&self, range: &Range) {
        let mut ranges = self.lock();
        if let Some(lease) = ranges.leases.iter_mut().find(|lease| lease.is_of(range)) {
            *lease = Lease::new(range.clone(), lease.term);
        }
    }

    /// Whether a worker failed because its range was taken over. The lease is left to
    /// the new worker, which may not know yet that it has the range.
    pub(crate) fn is_taken_over(&self, error: &Error) -> bool {
        self.expires && is_range_lost(error)
    }

    /// Returns the rest of a range to the queue, unless another worker has taken it
    /// over.
    pub(crate) fn put_back(&self, range: Range) {
        let mut ranges = self.lock();
        if ranges.end_lease(&range) {
            ranges.free.push_front(range);
        }
        drop(ranges);
        self.ended.notify_waiters();
    }

    /// Ends the lease of a range. Returns `false` if another worker has taken over the
    /// range.
    pub(crate) fn end(&self, range: &Range) -> bool {
        let ended = self.lock().end_lease(range);
        self.ended.notify_waiters();
        ended
    }
}

impl Ranges {
    fn end_lease(&mut self, range: &Range) -> bool {
        let at = self.leases.iter().position(|lease| lease.is_of(range));
        at.map(|at| self.leases.swap_remove(at)).is_some()
    }
}

impl Lease {
    fn is_of(&self, range: &Range) -> bool {
        let theirs = (self.range.number, self.range.row.token);
        theirs == (range.number, range.row.token)
    }
}

enum Taken {
    Range(Box<Range>),
    /// No range is free. The time at which the first lease expires; `None` without
    /// leases.
    Nothing(Option<Instant>),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use state_migration_core::{StreamId, StreamRange};

    fn queue() -> Queue {
        Queue::new(vec![Range::of(StreamRange::default())], true)
    }

    fn take(queue: &Queue) -> Option<Range> {
        match queue.take() {
            Taken::Range(range) => Some(*range),
            Taken::Nothing(_) => None,
        }
    }

    /// Fails without `push_front` in `put_back`: no worker gets the rest of the range.
    #[tokio::test]
    async fn a_range_that_is_put_back_continues_where_it_was() {
        let queue = queue();
        let mut range = take(&queue).unwrap();
        assert!(take(&queue).is_none());
        range.row.at = Some(StreamId::new("m").unwrap());
        queue.put_back(range.clone());
        let again = take(&queue).unwrap();
        assert_eq!(again.row.at, range.row.at);
        assert!(queue.end(&again));
        assert!(take(&queue).is_none() && queue.lock().leases.is_empty());
    }

    /// Fails if `put_back` ignores the lease: two workers have the range.
    #[tokio::test]
    async fn what_another_worker_has_taken_over_is_not_put_back() {
        let queue = queue();
        let range = take(&queue).unwrap();
        let mut theirs = range.clone();
        theirs.row.token += 1;
        queue.lock().leases[0].range = theirs.clone();
        queue.put_back(range);
        assert!(take(&queue).is_none());
        assert!(queue.end(&theirs));
    }
}
